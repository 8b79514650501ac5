"""The tool's version; setup.cfg says the same, and a test holds them together."""

VERSION = "0.1.0"
