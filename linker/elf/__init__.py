"""ELF files in and out."""
