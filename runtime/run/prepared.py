"""Machine to Prepared: what the move finds at the jump, beside what it has to find.

What each part must hold is derived anew, from the ledger and the job, not from what was written.
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
from relokit.runtime.arch.walker import Access, walk, walk_many
from relokit.runtime.guest.memory import Words
from relokit.runtime.guest.owner import Owner, OwnerKind
from relokit.runtime.kexec.address_space import idmap_va_bits, kernel_ttbr1, with_t0sz
from relokit.runtime.kexec.kimage import destination_pages, read_field, walk_list
from relokit.runtime.kexec.machine import Machine
from relokit.runtime.record.known import Unknown
from relokit.runtime.record.memory_facts import (
    BrokenList,
    CodeCopy,
    EmptyTable,
    KimageWord,
    ListFacts,
    MisledPage,
    MisplacedPage,
    PageUse,
    Prepared,
    WordDifference,
)


def prepared_facts(machine: Machine) -> Prepared:
    """What is there now, the moment before the move; some ms for 100 MiB."""
    words = tuple(_words(machine))
    moves = machine.jump is not None
    lists = moves and not machine.kimage.in_place
    listed: ListFacts | BrokenList | None = None
    pairs: tuple[Words, Words] | None = None
    if lists:
        try:
            pairs = walk_list(
                machine.memory,
                read_field(machine.memory, machine.kimage, "head"),
                machine.target.page_size,
            )
        except MachineError as error:
            listed = BrokenList(error.message)
        else:
            listed = _list_facts(machine, pairs[0])
    misled: tuple[MisledPage, ...] | Unknown | None = None
    if lists and machine.target.has(Feature.MMU_ON):
        misled = (
            Unknown("the list cannot be walked")
            if pairs is None
            else tuple(_misled(machine, *pairs))
        )
    has_empty_table = lists and machine.target.has(Feature.LINEAR_MAP_COPY)
    return Prepared(
        kimage=machine.kimage.pa,
        words=words,
        copies=tuple(_copies(machine)) if moves else None,
        listed=listed,
        empty_table=_empty_table(machine) if has_empty_table else None,
        misled=misled,
        entry=_changed_entry(machine) if lists else None,
    )


def expected_fields(machine: Machine) -> dict[str, int]:
    """The words of struct kimage that this state of the series reads, with their values.

    Of a machine that was found, as its load had left them.
    """
    target, kimage = machine.target, machine.kimage
    if machine.found is not None:
        return dict(machine.found.words)
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


def _words(machine: Machine) -> Iterator[KimageWord]:
    for name, wanted in expected_fields(machine).items():
        held = read_field(machine.memory, machine.kimage, name)
        yield KimageWord(name, held, wanted, machine.allocator.owner(held))


def _copies(machine: Machine) -> Iterator[CodeCopy]:
    """The copied code and vectors, byte by byte."""
    routines = machine.routines
    yield _copy(machine, OwnerKind.CONTROL_PAGE, machine.kimage.control_page, routines.relocation)
    if routines.vectors is not None:
        for region in machine.allocator.regions:
            if region.owner.kind is OwnerKind.EL2_VECTORS:
                yield _copy(machine, OwnerKind.EL2_VECTORS, region.base, routines.vectors)


def _copy(machine: Machine, owner: OwnerKind, base: int, wanted: bytes) -> CodeCopy:
    held = machine.memory.read(base, len(wanted))
    difference = None
    if held != wanted:
        at = next(i for i, (a, b) in enumerate(zip(held, wanted, strict=True)) if a != b) & -4
        difference = WordDifference(
            base + at,
            int.from_bytes(held[at : at + 4], "little"),
            int.from_bytes(wanted[at : at + 4], "little"),
        )
    return CodeCopy(owner, base, len(wanted), difference)


def _list_facts(machine: Machine, listed: Words) -> ListFacts:
    """Where the list sends pages, against the segments."""
    wanted = destination_pages(machine.kimage.segments, machine.target.page_size)
    count = min(len(listed), len(wanted))
    wrong = np.flatnonzero(listed[:count] != wanted[:count])
    misplaced = None
    if len(wrong):
        at = int(wrong[0])
        pa = int(listed[at])
        misplaced = MisplacedPage(at, pa, int(wanted[at]), machine.allocator.owner(pa))
    return ListFacts(len(listed), len(wanted), misplaced)


def _changed_entry(machine: Machine) -> WordDifference | None:
    """The first word of the list that is not as it was written."""
    kimage = machine.kimage
    offset = 0
    for start, end in kimage.list_extents:
        held = machine.memory.u64(start, (end - start) // 8)
        wanted = np.frombuffer(kimage.listed, np.uint64, len(held), offset)
        wrong = np.flatnonzero(held != wanted)
        if len(wrong):
            at = int(wrong[0])
            return WordDifference(start + 8 * at, int(held[at]), int(wanted[at]))
        offset += end - start
    return None


def _empty_table(machine: Machine) -> EmptyTable:
    pa = machine.old.zero_page
    page = machine.memory.view(pa, machine.target.page_size)
    return EmptyTable(pa, pa + int(page.argmax()) if page.any() else None)


def translation_of(machine: Machine) -> tuple[WalkRegisters, int]:
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


def _misled(machine: Machine, destinations: Words, sources: Words) -> Iterator[MisledPage]:
    """Where the tables do not send a page of the list to where the list says; each use once."""
    registers, el = translation_of(machine)
    offset, count = machine.old.linear_offset, len(destinations)
    pas = np.concatenate((destinations, sources))
    walks = walk_many(machine.memory, registers, pas + np.uint64(offset & MASK64), el=el)
    bad = (walks.fault >= 0) | (walks.pa != pas)
    bad[:count] |= ~walks.writable[:count]
    for use, first, end in (
        (PageUse.DESTINATION, 0, count),
        (PageUse.SOURCE, count, len(pas)),
    ):
        if bad[first:end].any():
            pa = int(pas[first + int(bad[first:end].argmax())])
            va = pa + offset & MASK64
            found = walk(machine.memory, registers, va, el=el)
            access = Access.WRITE if use is PageUse.DESTINATION else Access.READ
            yield MisledPage(use, pa, va, found, found.fault_for(access))
    control = machine.kimage.control_page
    found = walk(machine.memory, registers, control, el=el)
    fault = found.fault_for(Access.EXECUTE)
    if found.pa != control or fault:
        yield MisledPage(PageUse.CONTROL, control, control, found, fault)
