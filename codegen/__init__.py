"""Target to Source to Object: the series, the templates' environment, the assembler; its own
modules import codegen.base, templates.
"""
