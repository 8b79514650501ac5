"""Machine to an Image for a debugger: names and lines of its code, and none of its bytes."""

from __future__ import annotations

from relokit.codegen.object import SectionFlag, SectionType
from relokit.linker.elf.line_tables import with_lines
from relokit.linker.image import Image, ImageSymbol, PlacedSection
from relokit.runtime.kexec.hibernate import Resume
from relokit.runtime.kexec.machine import Machine
from relokit.runtime.state.code_copies import code_in_ram, code_mapped

_ALIGN = 4


def symbol_image(guest: Machine | Resume) -> Image:
    """What of ``guest``'s code has a name, where it runs: by VA and, as it is copied, by PA."""
    sections: list[PlacedSection] = []
    symbols: list[ImageSymbol] = []
    flags = SectionFlag.ALLOC | SectionFlag.EXEC
    for copy in (*code_mapped(guest), *code_in_ram(guest)):
        symbols += copy.symbols(len(sections))
        sections.append(
            PlacedSection(
                f".text.{copy.name}",
                copy.at,
                copy.at,
                copy.size,
                _ALIGN,
                SectionType.NOBITS,
                flags,
                b"",
                copy.lines,
            )
        )
    image = Image("machine", tuple(sections), (), tuple(symbols), guest.state.pc)
    return with_lines(image)
