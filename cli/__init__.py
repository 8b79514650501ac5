"""The commands: arguments in, one call of the facade, a view out."""
