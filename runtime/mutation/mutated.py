"""Where routines are in an Image, and the Image with some of their words changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from relokit.codegen.base.nouns import dataclass
from relokit.codegen.series import Feature
from relokit.codegen.target import Target
from relokit.linker.image import Image
from relokit.linker.kernel.shipped import ShippedCode
from relokit.runtime.kexec.programs import Programs
from relokit.runtime.kexec.routines import routines_of
from relokit.runtime.mutation.mutant import RoutineName, WordEdit

WORD = 4


@dataclass(frozen=True, slots=True)
class CodeSet:
    """All code of a machine: ours, and a shipped kernel's that runs in its place, if any."""

    programs: Programs
    shipped: ShippedCode | None = None

    def image_of(self, routine: RoutineName) -> Image:
        """The Image whose ``routine`` is executed."""
        if self.shipped is None or routine not in (RoutineName.RELOCATION, RoutineName.VECTORS):
            return self.programs.kernel
        return self.shipped.image

    def with_edits(self, routine: RoutineName, edits: tuple[WordEdit, ...]) -> CodeSet:
        """The same with words of ``routine`` changed."""
        image = with_words(self.image_of(routine), {edit.va: edit.word for edit in edits})
        if self.shipped is not None and image.name == self.shipped.image.name:
            return replace(self, shipped=replace(self.shipped, image=image))
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
    name = _symbol(routine, target)
    symbol = next((one for one in image.symbols if one.name == name), None)
    return (symbol.value, symbol.size) if symbol and symbol.size else None


def _symbol(routine: RoutineName, target: Target) -> str:
    if routine is RoutineName.VECTORS:
        shared = target.has(Feature.COPY_EL2_VECTORS)
        return "trans_pgd_stub_vectors" if shared else "hibernate_el2_vectors"
    if routine is RoutineName.SOFT_RESTART:
        plain = target.has(Feature.NO_CPU_RESET_HEADER)
        return "cpu_soft_restart" if plain else "__cpu_soft_restart"
    return "swsusp_arch_suspend_exit"


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
