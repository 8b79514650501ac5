"""What is shown as an HTML page; imports codegen.base, diffing.*."""
