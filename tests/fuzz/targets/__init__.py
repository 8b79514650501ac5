"""Every door there is."""

from __future__ import annotations

from fuzz.door import Door
from fuzz.targets import (
    boards,
    compared,
    elf_files,
    guests,
    kernels,
    languages,
    stored,
    stubs,
    templates,
    words,
)

DOORS: tuple[Door, ...] = (
    *languages.DOORS,
    *templates.DOORS,
    *elf_files.DOORS,
    *kernels.DOORS,
    *boards.DOORS,
    *compared.DOORS,
    *stored.DOORS,
    *words.DOORS,
    *stubs.DOORS,
    *guests.DOORS,
)
