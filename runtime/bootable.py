"""Machine to a bootable Image: guest memory as segments, and a harness that starts it.

The same tables, list, pages and code that run in the engine run on any machine with QEMU virt's
memory map; the harness only loads the registers that :class:`CpuState` holds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from relokit.codegen.build import HARNESS
from relokit.codegen.encoder import Encoder
from relokit.codegen.object import Binding, SectionFlag, SectionType, SymbolType
from relokit.linker.image import Image, ImageSymbol, PlacedSection, Segment, SegmentFlag
from relokit.linker.program import build_program
from relokit.runtime import trans_pgd
from relokit.runtime.machine import Machine

PT_LOAD = 1


@dataclass(frozen=True, slots=True)
class HarnessState:
    """What the harness template loads; all but ``entry`` (VA) are register values."""

    vbar_el2: int
    mair: int
    tcr: int
    ttbr0: int
    ttbr1: int
    sctlr: int
    arguments: tuple[int, ...]
    entry: int


def bootable_image(machine: Machine, encoder: Encoder) -> Image:
    """Add the harness to ``machine``'s memory and describe all of it as one Image.

    Section data are views of guest RAM, not copies: write the ELF before closing the machine.
    """
    memory, allocator = machine.memory, machine.allocator
    page = allocator.alloc("harness", machine.target.page_size)
    ttbr0, _ = trans_pgd.idmap_page(memory, allocator, machine.target, page.base)
    registers = {
        re.sub("_EL[12]$", "", name): value
        for name, value in machine.state.sysregs
        if name != "SCTLR_EL2" or machine.state.el == 2
    }
    state = HarnessState(
        vbar_el2=registers.get("VBAR", 0),
        mair=registers["MAIR"],
        tcr=registers["TCR"],
        ttbr0=ttbr0,
        ttbr1=registers["TTBR1"],
        sctlr=registers["SCTLR"],
        arguments=machine.state.x,
        entry=machine.state.pc,
    )
    extra = {"state": state, "harness_paddr": page.base}
    harness = build_program(HARNESS, machine.target, encoder, extra=extra).image

    sections = list(harness.sections)
    segments = list(harness.segments)
    symbols = list(harness.symbols)
    for region in allocator.regions:
        if region == page or region.name.startswith("destination: "):
            continue
        name = ".guest." + re.sub("[^a-z0-9]+", "_", region.name.lower())
        content = memory.view(region.base, region.size)
        used = content.any()
        code = region.name in ("old kernel", "control code page", "EL2 vectors copy")
        flags = SectionFlag.ALLOC | (SectionFlag.EXEC if code else SectionFlag.WRITE)
        symbols.append(
            ImageSymbol(
                name=f"guest_{name.removeprefix('.guest.')}_{region.base:x}",
                value=region.base,
                size=region.size,
                binding=Binding.LOCAL,
                type=SymbolType.OBJECT,
                section=len(sections),
            )
        )
        segments.append(
            Segment(
                name=name,
                type=PT_LOAD,
                flags=SegmentFlag.R | (SegmentFlag.X if code else SegmentFlag.W),
                sections=(len(sections),),
                align=4096,
            )
        )
        sections.append(
            PlacedSection(
                name=name,
                va=region.base,
                pa=region.base,
                size=region.size,
                align=4096,
                type=SectionType.PROGBITS if used else SectionType.NOBITS,
                flags=flags,
                data=content.data if used else b"",
            )
        )
    return Image("bootable", tuple(sections), tuple(segments), tuple(symbols), harness.entry)
