"""Target to Source to Object: the series, the templates' environment, the assembler."""
