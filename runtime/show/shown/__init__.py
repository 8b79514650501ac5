"""What is asked of a machine, and the answers, as nouns; imports codegen.base."""
