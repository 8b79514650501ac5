"""All functions of two kernels, by words."""
