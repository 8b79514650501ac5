"""Machine to a bootable Image: guest memory as segments, and a harness that starts it.

The same tables, list, pages and code that run in the engine run on any machine with QEMU virt's
memory map; the harness only loads the registers that :class:`CpuState` holds.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from relokit.codegen import facts
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.build import HARNESS
from relokit.codegen.gas.instructions.encoder import Encoder
from relokit.codegen.object import Binding, SectionFlag, SectionType, SourceLines, SymbolType
from relokit.codegen.target import WIDE, Regime
from relokit.linker.elf.line_tables import with_lines
from relokit.linker.elf_format import PT_LOAD
from relokit.linker.image import Image, ImageSymbol, PlacedSection, Segment, SegmentFlag
from relokit.linker.link.program import build_program
from relokit.runtime.guest.ledger import Region
from relokit.runtime.guest.owner import Owner, OwnerKind
from relokit.runtime.kexec import trans_pgd
from relokit.runtime.kexec.address_space import with_t0sz
from relokit.runtime.kexec.machine import Machine
from relokit.runtime.state.code_copies import code_in_ram

SEGMENT_ALIGN = 4096

# Nothing of floating point, SVE or trace is trapped: the RES1 bits of CPTR_EL2 alone, or FPEN
# (21:20) in the layout it has with E2H set (DDI 0487, CPTR_EL2).
CPTR_EL2_NVHE = 0x33FF
CPTR_EL2_VHE = 0b11 << 20
# EL1 may read the physical counter and use its timer: bits 1:0, or with E2H set 11:10 (DDI 0487,
# CNTHCTL_EL2).
CNTHCTL_EL2_NVHE = 0b11
CNTHCTL_EL2_VHE = 0b11 << 10

CODE = (OwnerKind.OLD_KERNEL, OwnerKind.CONTROL_PAGE, OwnerKind.EL2_VECTORS)
"""Owners of guest RAM that instructions are fetched from."""


@dataclass(frozen=True, slots=True)
class HarnessState:
    """What the harness template loads; all but ``entry`` (VA) are register values.

    ``mair`` to ``vbar`` are those of the level the old kernel runs at; what ends in ``_el2`` counts
    only where the machine has an EL2, ``stub_vectors`` where it has a stub there. ``wide``: the
    machine has to have 52-bit addresses.
    """

    stub_vectors: int
    hcr_el2: int
    cptr_el2: int
    cnthctl_el2: int
    mair: int
    tcr: int
    ttbr0: int
    ttbr1: int
    sctlr: int
    vbar: int
    arguments: tuple[int, ...]
    entry: int
    wide: bool


def bootable_image(machine: Machine, encoder: Encoder) -> Image:
    """Add the harness to ``machine``'s memory and describe all of it as one Image.

    Destinations are left out where relocation fills them. Section data are views of guest RAM, not
    copies: write the ELF before closing the machine. Raises MachineError for lack of memory.
    """
    page = machine.allocator.alloc(Owner(OwnerKind.HARNESS), machine.target.page_size)
    extra = {
        "state": _harness_state(machine, page),
        "harness_paddr": page.base,
        "spsr_el1h": facts.SPSR_DAIF | facts.SPSR_MODE_EL1H,
    }
    harness = build_program(HARNESS, machine.target, encoder, extra=extra).image
    sections = list(harness.sections)
    segments = list(harness.segments)
    symbols = list(harness.symbols)
    for region in machine.allocator.regions:
        if region == page:
            continue
        section = _section(machine, region)
        if region.owner.is_destination and section.type is SectionType.NOBITS:
            continue
        code = bool(section.flags & SectionFlag.EXEC)
        symbols.append(
            ImageSymbol(
                name=f"guest_{section.name.removeprefix('.guest.')}_{region.base:x}",
                value=region.base,
                size=region.size,
                binding=Binding.LOCAL,
                type=SymbolType.OBJECT,
                section=len(sections),
            )
        )
        segments.append(
            Segment(
                name=section.name,
                type=PT_LOAD,
                flags=SegmentFlag.R | (SegmentFlag.X if code else SegmentFlag.W),
                sections=(len(sections),),
                align=SEGMENT_ALIGN,
            )
        )
        sections.append(section)
    for copy in code_in_ram(machine):
        index = _holding(sections, copy.at)
        offset = copy.at - sections[index].va
        lines = SourceLines(sections[index].lines)
        lines.extend(copy.lines, offset)
        sections[index] = replace(sections[index], lines=lines)
        symbols += copy.symbols(index)
    image = Image("bootable", tuple(sections), tuple(segments), tuple(symbols), harness.entry)
    return with_lines(image)


def _holding(sections: Sequence[PlacedSection], pa: int) -> int:
    return next(index for index, one in enumerate(sections) if one.va <= pa < one.va + one.size)


def _harness_state(machine: Machine, page: Region) -> HarnessState:
    """The registers of ``machine``'s CPU; TTBR0 maps the harness's own ``page`` instead."""
    target = machine.target
    ttbr0, t0sz = trans_pgd.idmap_page(
        machine.memory, machine.allocator, target, page.base, OwnerKind.HARNESS_IDMAP
    )
    registers = dict(machine.state.sysregs)
    own = f"_EL{machine.state.el}"
    vhe = target.regime is Regime.VHE
    return HarnessState(
        stub_vectors=0 if vhe else registers.get("VBAR_EL2", 0),
        hcr_el2=registers.get("HCR_EL2", 0),
        cptr_el2=CPTR_EL2_VHE if vhe else CPTR_EL2_NVHE,
        cnthctl_el2=CNTHCTL_EL2_VHE if vhe else CNTHCTL_EL2_NVHE,
        mair=registers["MAIR" + own],
        tcr=with_t0sz(registers["TCR" + own], t0sz),
        ttbr0=ttbr0,
        ttbr1=registers["TTBR1" + own],
        sctlr=registers["SCTLR" + own],
        vbar=registers["VBAR" + own],
        arguments=machine.state.x,
        entry=machine.state.pc,
        wide=WIDE in (target.va_bits_at_run, target.pa_bits_at_run),
    )


def _section(machine: Machine, region: Region) -> PlacedSection:
    """One region of guest RAM; the file holds nothing of it where it is all zero."""
    content = machine.memory.view(region.base, region.size)
    if region.owner.is_destination and not machine.kimage.in_place:
        used = (content.view(np.uint64) != facts.POISON).any()
    else:
        used = content.any()
    code = region.owner.kind in CODE
    return PlacedSection(
        name=".guest." + re.sub("[^a-z0-9]+", "_", str(region.owner).lower()),
        va=region.base,
        pa=region.base,
        size=region.size,
        align=SEGMENT_ALIGN,
        type=SectionType.PROGBITS if used else SectionType.NOBITS,
        flags=SectionFlag.ALLOC | (SectionFlag.EXEC if code else SectionFlag.WRITE),
        data=content.data if used else b"",
    )
