"""Guest RAM, who owns which page of it, and what is put there; imports codegen.base."""
