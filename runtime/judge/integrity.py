"""What was prepared for the move, compared with what is there after it.

The old kernel leaves a list, tables, vectors and code in pages of their own, and nothing of the
move may change them. Looked at when the run is over: damage here explains findings that would
puzzle otherwise, and is a finding even where nothing came of it this time. What each part must
hold is derived anew, from the ledger and the job, not from what was written.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from relokit.codegen.base.bits import MASK64
from relokit.codegen.base.errors import MachineError
from relokit.codegen.series import Feature
from relokit.codegen.target import Regime
from relokit.runtime.arch.geometry import txsz
from relokit.runtime.arch.translation import SCTLR_M, WalkRegisters, to_ttbr
from relokit.runtime.arch.walker import Access, Fault, walk, walk_many
from relokit.runtime.guest.memory import Words
from relokit.runtime.guest.owner import Owner, OwnerKind
from relokit.runtime.judge.outcome import Finding
from relokit.runtime.kexec.address_space import idmap_va_bits, kernel_ttbr1, with_t0sz
from relokit.runtime.kexec.kimage import destination_pages, read_field, walk_list
from relokit.runtime.kexec.machine import Machine

# What each word is for, as causes say it.
FIELDS: dict[str, str] = {
    "head": "where the list starts",
    "start": "where the new kernel is entered (PA)",
    "dtb_mem": "what the new kernel gets in x0 (PA)",
    "kern_reloc": "where machine_kexec jumps (PA of the code in the control page)",
    "el2_vectors": "the copied EL2 vectors (PA), 0 where no stub waits at EL2",
    "ttbr0": "the identity map of the control page",
    "ttbr1": "the copy of the linear map (PA)",
    "zero_page": "the empty table between two values of TTBR1 (PA)",
    "phys_offset": "PA - VA of the linear map",
    "t0sz": "TCR.T0SZ of the identity map",
}


OVERWRITTEN = 3
"""More wrong words of struct kimage than this are not mistakes one by one."""


def check_integrity(machine: Machine) -> list[Finding]:
    """A finding for each thing that is not as the move needs it; some ms for 100 MiB."""
    findings = [*_kimage(machine)]
    if machine.jump is None:
        return findings
    findings += _code(machine)
    if machine.kimage.in_place:
        return findings
    try:
        pairs = walk_list(
            machine.memory,
            read_field(machine.memory, machine.kimage, "head"),
            machine.target.page_size,
        )
    except MachineError as error:
        findings.append(
            Finding(
                "setup.list",
                error.message,
                cause="the list was built wrong, or a page that is not the list's was copied "
                "over it",
            )
        )
        return findings
    findings += _destinations(machine, pairs[0])
    if machine.target.has(Feature.LINEAR_MAP_COPY):
        findings += _zero_page(machine)
    if machine.target.has(Feature.MMU_ON):
        findings += _tables(machine, *pairs)
    return findings


def expected_fields(machine: Machine) -> dict[str, int]:
    """The words of struct kimage that this state of the series reads, with their values."""
    target, kimage = machine.target, machine.kimage
    fields = {"head": kimage.head, "start": machine.start}
    if kimage.layout.arch is not None:
        fields["dtb_mem"] = machine.stages[0].x0
    if machine.jump is None:
        return fields
    if kimage.layout.arch is not None:
        fields["kern_reloc"] = machine.jump
    if target.has(Feature.KEXEC_EL2_VECTORS):
        nvhe = target.regime is Regime.NVHE
        fields["el2_vectors"] = _base(machine, OwnerKind.EL2_VECTORS) if nvhe else 0
    if target.has(Feature.LINEAR_MAP_COPY):
        fields["ttbr1"] = _base(machine, OwnerKind.LINEAR_MAP)
        fields["zero_page"] = machine.old.zero_page
    if target.has(Feature.MMU_ON):
        fields["ttbr0"] = to_ttbr(_base(machine, OwnerKind.CONTROL_IDMAP), target.pa_bits)
        fields["t0sz"] = txsz(idmap_va_bits(kimage.control_page))
        fields["phys_offset"] = -machine.old.linear_offset & MASK64
    return fields


def _base(machine: Machine, kind: OwnerKind) -> int:
    """PA of what ``kind`` owns; of tables, of their root."""
    owner = Owner(kind)
    return next(region.base for region in machine.allocator.regions if region.owner == owner)


def _kimage(machine: Machine) -> Iterator[Finding]:
    fields = expected_fields(machine)
    held = {name: read_field(machine.memory, machine.kimage, name) for name in fields}
    wrong = [name for name in fields if held[name] != fields[name]]
    if len(wrong) > OVERWRITTEN:
        yield Finding(
            "setup.kimage",
            f"struct kimage at PA {machine.kimage.pa:#x} was overwritten: {len(wrong)} of its "
            f"{len(fields)} words are wrong",
            address=machine.kimage.pa,
            notes=tuple(f"{name} is {held[name]:#x}, was {fields[name]:#x}" for name in wrong),
            cause="its page was a destination, or a store went astray",
        )
        return
    for name in wrong:
        yield Finding(
            "setup.kimage",
            f"kimage {name} is {held[name]:#x}, and has to be {fields[name]:#x}",
            address=machine.kimage.pa,
            notes=_owned(machine, held[name]),
            cause=f"it is {FIELDS[name]}: set wrongly, or overwritten",
        )


def _code(machine: Machine) -> Iterator[Finding]:
    """The copied code and vectors, byte by byte."""
    copies = [("relocation code", machine.kimage.control_page, machine.routines.relocation)]
    vectors = machine.routines.vectors
    if vectors is not None:
        copies += [
            ("EL2 vectors", region.base, vectors)
            for region in machine.allocator.regions
            if region.owner.kind is OwnerKind.EL2_VECTORS
        ]
    for name, base, wanted in copies:
        held = machine.memory.read(base, len(wanted))
        if held != wanted:
            at = next(i for i, (a, b) in enumerate(zip(held, wanted, strict=True)) if a != b) & -4
            word = int.from_bytes(held[at : at + 4], "little")
            before = int.from_bytes(wanted[at : at + 4], "little")
            yield Finding(
                "setup.code",
                f"the copy of the {name} was changed: {word:#010x} instead of {before:#010x} at "
                f"PA {base + at:#x}",
                address=base + at,
                cause="its page is nobody else's: a destination that overlaps it, a store that "
                "went astray, or a copy of the wrong bytes",
            )


def _destinations(machine: Machine, listed: Words) -> Iterator[Finding]:
    """Where the list sends pages, against the segments."""
    wanted = destination_pages(machine.kimage.segments, machine.target.page_size)
    if len(listed) != len(wanted):
        yield Finding(
            "setup.list",
            f"the list moves {len(listed)} pages, and the segments have {len(wanted)}",
            cause="an entry is missing, is there twice, or has a flag that makes it another one",
        )
    count = min(len(listed), len(wanted))
    wrong = np.flatnonzero(listed[:count] != wanted[:count])
    if len(wrong):
        at = int(wrong[0])
        pa = int(listed[at])
        owner = machine.allocator.owner(pa)
        foreign = owner is not None and not owner.owner.is_destination
        yield Finding(
            "setup.list",
            f"page {at} of the list goes to PA {pa:#x} instead of {int(wanted[at]):#x}",
            address=pa,
            notes=_owned(machine, pa),
            cause=f"it overwrites what the move itself needs: {owner}"
            if foreign
            else "its destination entry is wrong, or a source before it is missing",
        )


def _zero_page(machine: Machine) -> Iterator[Finding]:
    """TTBR1 points there for a moment: any entry in it would be a live translation."""
    page = machine.memory.view(machine.old.zero_page, machine.target.page_size)
    if page.any():
        yield Finding(
            "setup.zero-page",
            f"the empty table at PA {machine.old.zero_page:#x} is not empty",
            address=machine.old.zero_page + int(page.argmax()),
            cause="something was stored to it: between the two values of TTBR1 the CPU may take "
            "translations from it",
        )


def _registers(machine: Machine) -> tuple[WalkRegisters, int]:
    """The translation registers during the move, and their level."""
    own = dict(machine.state.sysregs)
    el = machine.state.el
    memory, kimage, target = machine.memory, machine.kimage, machine.target
    return WalkRegisters(
        sctlr=SCTLR_M,
        tcr=with_t0sz(own[f"TCR_EL{el}"], read_field(memory, kimage, "t0sz")),
        ttbr0=read_field(memory, kimage, "ttbr0"),
        ttbr1=kernel_ttbr1(target, read_field(memory, kimage, "ttbr1")),
        e2h=el == 2,
        cpu_bits=target.cpu_bits,
    ), el


def _tables(machine: Machine, destinations: Words, sources: Words) -> Iterator[Finding]:
    """Whether the tables send every page of the list where the list says."""
    registers, el = _registers(machine)
    offset = np.uint64(machine.old.linear_offset & MASK64)
    for kind, pas in (("destination", destinations), ("source", sources)):
        walks = walk_many(machine.memory, registers, pas + offset, el=el)
        bad = (walks.fault >= 0) | (walks.pa != pas)
        if kind == "destination":
            bad |= ~walks.writable
        if bad.any():
            pa = int(pas[int(bad.argmax())])
            yield _misled(machine, registers, el, pa, kind)
    control = machine.kimage.control_page
    found = walk(machine.memory, registers, control, el=el)
    if found.pa != control or found.fault_for(Access.EXECUTE):
        fault = found.fault_for(Access.EXECUTE)
        yield Finding(
            "setup.tables",
            f"the identity map sends the control page, PA {control:#x}, to "
            f"{_target(found.pa, fault)}",
            address=control,
            notes=tuple(line.strip() for line in str(found).splitlines()),
            cause="the code has to run on while TTBR1 and SCTLR change: TTBR0 must map its page "
            "to itself, executable",
        )


def _misled(machine: Machine, registers: WalkRegisters, el: int, pa: int, kind: str) -> Finding:
    va = pa + machine.old.linear_offset & MASK64
    found = walk(machine.memory, registers, va, el=el)
    fault = found.fault_for(Access.WRITE if kind == "destination" else Access.READ)
    return Finding(
        "setup.tables",
        f"the copy of the linear map sends VA {va:#x}, the {kind} page at PA {pa:#x}, to "
        f"{_target(found.pa, fault)}",
        address=va,
        notes=tuple(line.strip() for line in str(found).splitlines()),
        cause="the entry was copied wrongly, or the table was overwritten",
    )


def _target(pa: int | None, fault: Fault | None) -> str:
    return f"nothing: {fault}" if fault or pa is None else f"PA {pa:#x}"


def _owned(machine: Machine, pa: int) -> tuple[str, ...]:
    owner = machine.allocator.owner(pa)
    return (f"PA {pa:#x} belongs to {owner}",) if owner else ()
