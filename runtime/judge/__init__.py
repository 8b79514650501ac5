"""What a run has to fulfil, and why it did not."""
