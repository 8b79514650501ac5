"""Every door there is."""

from __future__ import annotations

from fuzz.door import Door
from fuzz.targets import (
    boards,
    clusters,
    compared,
    elf_files,
    guests,
    kernels,
    languages,
    macro_programs,
    memories,
    stored,
    stories,
    stubs,
    templates,
    trees,
    words,
)

DOORS: tuple[Door, ...] = (
    *languages.DOORS,
    *macro_programs.DOORS,
    *trees.DOORS,
    *templates.DOORS,
    *elf_files.DOORS,
    *kernels.DOORS,
    *boards.DOORS,
    *compared.DOORS,
    *stored.DOORS,
    *stories.DOORS,
    *clusters.DOORS,
    *memories.DOORS,
    *words.DOORS,
    *stubs.DOORS,
    *guests.DOORS,
)
