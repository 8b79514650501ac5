"""The ld-script language: text to statements and expressions."""
