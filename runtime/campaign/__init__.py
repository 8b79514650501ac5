"""Many runs: the cells of the matrix."""
