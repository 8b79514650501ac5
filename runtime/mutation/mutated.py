"""Where routines are in an Image, and the Image with some of their words changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from relokit.codegen.base.nouns import dataclass
from relokit.codegen.kexec_routines import KexecRoutine, symbol_of
from relokit.codegen.target import Target
from relokit.linker.foreign.code import ForeignCode
from relokit.linker.image import Image
from relokit.runtime.kexec.programs import Programs
from relokit.runtime.kexec.routines import routines_of
from relokit.runtime.mutation.mutant import RoutineName, WordEdit

WORD = 4


@dataclass(frozen=True, slots=True)
class CodeSet:
    """All code of a machine, and what is known of the file that part of it is from, if any."""

    programs: Programs
    foreign: ForeignCode | None = None

    @property
    def image(self) -> Image:
        """The Image whose routines are executed."""
        return self.programs.kernel

    def with_edits(self, edits: tuple[WordEdit, ...]) -> CodeSet:
        """The same with words of the routines changed."""
        image = with_words(self.image, {edit.va: edit.word for edit in edits})
        return replace(self, programs=replace(self.programs, kernel=image))


def words_of(image: Image, routine: RoutineName, target: Target) -> dict[int, int]:
    """The instructions of ``routine`` by VA; none where the Image has no such routine."""
    span = _span(image, routine, target)
    if span is None:
        return {}
    va, size = span
    code = image.read(va, size)
    return {va + at: int.from_bytes(code[at : at + WORD], "little") for at in range(0, size, WORD)}


def _span(image: Image, routine: RoutineName, target: Target) -> tuple[int, int] | None:
    if routine is RoutineName.RELOCATION:
        found = routines_of(image)
        return found.va, len(found.relocation)
    name = symbol_of(KexecRoutine(routine), target)
    symbol = next((one for one in image.symbols if one.name == name), None)
    return (symbol.value, symbol.size) if symbol and symbol.size else None


def with_words(image: Image, words: Mapping[int, int]) -> Image:
    """``image`` with other instructions at some VAs."""
    sections = []
    for section in image.sections:
        inside = [va for va in words if section.va <= va < section.va + section.size]
        if image.section_at(section.va) is not section or not inside:
            sections.append(section)
            continue
        data = bytearray(section.data)
        for va in inside:
            data[va - section.va : va - section.va + WORD] = words[va].to_bytes(WORD, "little")
        sections.append(replace(section, data=bytes(data)))
    return replace(image, sections=tuple(sections))
