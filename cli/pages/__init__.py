"""What is shown as an HTML page."""
