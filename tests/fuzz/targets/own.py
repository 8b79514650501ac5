"""What this project builds, as good inputs."""

from __future__ import annotations

from functools import cache

from relokit.building import build
from relokit.codegen.target import Target
from relokit.linker.elf.elf_writer import write_exec, write_rel
from relokit.linker.link.program import Program


@cache
def program() -> Program:
    """The old kernel's routines, every step of them."""
    return build(Target())


@cache
def objects() -> tuple[bytes, ...]:
    """Its units as .o files."""
    return tuple(write_rel(item) for item in program().objects)


@cache
def linked() -> bytes:
    """The same as a linked ELF."""
    return write_exec(program().image)
