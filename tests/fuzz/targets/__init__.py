"""Every door there is."""

from __future__ import annotations

from fuzz.door import Door
from fuzz.targets import elf_files, languages

DOORS: tuple[Door, ...] = (*languages.DOORS, *elf_files.DOORS)
