"""The stage 1 translation table walk: what an address means, and why it faults.

Source: ARM DDI 0487, D8.2 (translation process), D8.4 (permissions), D8.15 (faults). Modelled:
the EL1&0 and EL2&0 regimes (two ranges, by VA bit 55) and EL2 without E2H (one range); 48 and
52-bit addresses; privileged accesses. Not modelled, because the engine's CPU has none of it or
does not enable it: stage 2, hardware update of the access flag and of dirty state, PAN.
"""

from __future__ import annotations

from enum import Enum

import numpy as np
from numpy.typing import NDArray

from relokit.codegen.base.nouns import dataclass
from relokit.runtime.arch import descriptors as d
from relokit.runtime.arch.geometry import ENTRY_SIZE, LEAF_LEVEL
from relokit.runtime.arch.translation import (
    SCTLR_M,
    SCTLR_WXN,
    TableRange,
    WalkRegisters,
    table_range,
    two_ranges,
)
from relokit.runtime.guest.memory import GuestMemory, Words

HALF = 1 << 55  # the VA bit that chooses between TTBR0 and TTBR1


class Access(Enum):
    """What an instruction wants of an address."""

    READ = "read"
    WRITE = "write"
    EXECUTE = "execute"


class FaultKind(Enum):
    """Fault classes; the value is the DFSC/IFSC code at level 0 (ARM DDI 0487, ESR_ELx.ISS)."""

    ADDRESS_SIZE = 0b000000
    TRANSLATION = 0b000100
    ACCESS_FLAG = 0b001000
    PERMISSION = 0b001100
    EXTERNAL_ABORT_ON_WALK = 0b010100

    @property
    def text(self) -> str:
        """``translation``, ``address size``, ``external abort on walk`` ..."""
        return self.name.lower().replace("_", " ")


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of ``kind`` at ``level`` of the walk."""

    kind: FaultKind
    level: int

    @property
    def code(self) -> int:
        """The DFSC or IFSC field of the syndrome."""
        return _CODES_ABOVE[self.kind] if self.level < 0 else self.kind.value + self.level

    def __str__(self) -> str:
        return f"{self.kind.text} fault, level {self.level}"


# What a table at level -1 can cause (DDI 0487, ESR_ELx.ISS of aborts).
_CODES_ABOVE = {
    FaultKind.ADDRESS_SIZE: 0b101001,
    FaultKind.TRANSLATION: 0b101011,
    FaultKind.EXTERNAL_ABORT_ON_WALK: 0b010011,
}
_FAULTS = {kind.value + level: Fault(kind, level) for kind in FaultKind for level in range(4)} | {
    code: Fault(kind, -1) for kind, code in _CODES_ABOVE.items()
}


def fault_of(code: int) -> Fault | None:
    """The fault a DFSC/IFSC code names, if it is one of a walk."""
    return _FAULTS.get(code)


@dataclass(frozen=True, slots=True)
class WalkStep:
    """One table read: the entry at PA ``entry`` of the table at PA ``table``."""

    level: int
    table: int
    entry: int
    descriptor: int
    output: d.AddressFormat = d.PLAIN

    @property
    def leads_to(self) -> int:
        """The output address of the descriptor, whether that is valid or not."""
        return self.output.decode(self.descriptor)

    def __str__(self) -> str:
        words = d.describe(self.descriptor, self.level, self.output)
        return f"L{self.level} {self.entry:#x}: {words}"


@dataclass(frozen=True, slots=True)
class Walk:
    """How ``va`` translates. ``pa`` is None if and only if ``fault`` is set.

    ``size`` is the bytes the leaf maps. ``writable`` and ``executable`` are what the regime's
    privileged level may do, limits of the tables above included. ``attr_index`` and ``mair_byte``
    are None with the MMU off, where ``trail`` is empty too.
    """

    va: int
    pa: int | None
    fault: Fault | None
    level: int
    size: int
    trail: tuple[WalkStep, ...]
    writable: bool
    executable: bool
    attr_index: int | None
    mair_byte: int | None

    def fault_for(self, access: Access) -> Fault | None:
        """What ``access`` gets: the walk's own fault, a permission fault, or None."""
        if self.fault:
            return self.fault
        denied = (access is Access.WRITE and not self.writable) or (
            access is Access.EXECUTE and not self.executable
        )
        return Fault(FaultKind.PERMISSION, self.level) if denied else None

    def __str__(self) -> str:
        end = str(self.fault) if self.pa is None else f"PA {self.pa:#x}"
        return "\n".join([f"VA {self.va:#x}: {end}", *(f"  {step}" for step in self.trail)])


@dataclass(frozen=True)
class WalkMany:
    """The walks of an array of VAs, element by element.

    ``fault`` holds DFSC codes, -1 where there is none; ``pa`` is 0 where there is one.
    ``attr_index`` is -1 with the MMU off and where there is a fault.
    """

    pa: Words
    fault: NDArray[np.int16]
    level: NDArray[np.int8]
    writable: NDArray[np.bool_]
    executable: NDArray[np.bool_]
    attr_index: NDArray[np.int8]


def inherited(limits: Words, table: Words) -> Words:
    """Fold the limits of table descriptors into leaf attribute positions."""
    access = table & np.uint64(d.TABLE_AP_READ_ONLY | d.TABLE_AP_NO_EL0)
    never = table & np.uint64(d.TABLE_UXN | d.TABLE_PXN)
    folded: Words = limits | access >> np.uint64(55) | never >> np.uint64(6)
    return folded


def effective(leaf: Words, limits: Words) -> Words:
    """The permission bits of leaves under their tables' limits; a no-EL0 limit clears AP[1]."""
    kept = leaf & ~(limits & np.uint64(d.AP_EL0))
    bits: Words = kept | limits & np.uint64(d.AP_READ_ONLY | d.PXN | d.UXN)
    return bits


def walk(memory: GuestMemory, regs: WalkRegisters, va: int, *, el: int) -> Walk:
    """Translate ``va`` as the privileged level ``el`` (1 or 2) does, under ``regs``.

    Never raises for what the tables hold: a table outside RAM is an external abort on the walk.
    The PA a walk ends at need not be RAM.
    """
    if not regs.sctlr & SCTLR_M:
        return _flat(va, regs.cpu_bits)
    r = table_range(regs, el, two_ranges(regs, el) and bool(va & HALF))
    mask, wanted = r.above
    if not r.enabled or va & mask != wanted:
        return _faulted(va, FaultKind.TRANSLATION, 0, ())
    table = r.root_table
    if table >> r.pa_bits:
        return _faulted(va, FaultKind.ADDRESS_SIZE, 0, ())
    trail: tuple[WalkStep, ...] = ()
    for level in range(r.start, LEAF_LEVEL + 1):
        shift = r.granule.shift(level)
        index = (va & (1 << r.va_bits) - 1) >> shift & (r.granule.entries - 1)
        entry = table + index * ENTRY_SIZE
        if not memory.contains(entry, ENTRY_SIZE):
            return _faulted(va, FaultKind.EXTERNAL_ABORT_ON_WALK, level, trail)
        descriptor = memory.read_u64(entry)
        trail += (WalkStep(level, table, entry, descriptor, r.output),)
        kind = descriptor & d.TYPE
        if (level == LEAF_LEVEL and kind == d.PAGE) or (
            level in r.block_levels and kind == d.BLOCK
        ):
            return _leaf(va, regs, r, el, level, trail)
        if level == LEAF_LEVEL or kind != d.TABLE:
            return _faulted(va, FaultKind.TRANSLATION, level, trail)
        table = r.output.decode(descriptor) & ~(r.granule.page_size - 1)
        if table >> r.pa_bits:
            return _faulted(va, FaultKind.ADDRESS_SIZE, level, trail)
    raise AssertionError("level 3 always ends a walk")


def _leaf(
    va: int,
    regs: WalkRegisters,
    r: TableRange,
    el: int,
    level: int,
    trail: tuple[WalkStep, ...],
) -> Walk:
    descriptor = trail[-1].descriptor
    size = r.granule.span(level)
    base = r.output.decode(descriptor) & ~(size - 1)
    if base >> r.pa_bits:
        return _faulted(va, FaultKind.ADDRESS_SIZE, level, trail)
    if not descriptor & d.AF:
        return _faulted(va, FaultKind.ACCESS_FLAG, level, trail)
    words = np.array([[step.descriptor] for step in trail], dtype=np.uint64)
    limits = np.zeros(1, dtype=np.uint64)
    for table in words[:-1] if r.hierarchical else ():
        limits = inherited(limits, table)
    writable, executable = permissions(effective(words[-1], limits), regs, el)
    index = (descriptor & d.ATTR_INDEX) >> d.ATTR_INDEX_SHIFT
    return Walk(
        va=va,
        pa=base | va & (size - 1),
        fault=None,
        level=level,
        size=size,
        trail=trail,
        writable=bool(writable[0]),
        executable=bool(executable[0]),
        attr_index=index,
        mair_byte=regs.mair >> 8 * index & 0xFF,
    )


def permissions(
    bits: Words, regs: WalkRegisters, el: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(writable, executable) at the privileged level, from effective leaf bits."""
    writable = bits & np.uint64(d.AP_READ_ONLY) == 0
    if two_ranges(regs, el):
        # What EL0 may write, the privileged level never executes.
        el0_writes = writable & (bits & np.uint64(d.AP_EL0) != 0)
        executable = (bits & np.uint64(d.PXN) == 0) & ~el0_writes
    else:
        executable = bits & np.uint64(d.XN_EL2) == 0
    if regs.sctlr & SCTLR_WXN:
        executable &= ~writable
    return writable, executable


def _faulted(va: int, kind: FaultKind, level: int, trail: tuple[WalkStep, ...]) -> Walk:
    return Walk(
        va=va,
        pa=None,
        fault=Fault(kind, level),
        level=level,
        size=0,
        trail=trail,
        writable=False,
        executable=False,
        attr_index=None,
        mair_byte=None,
    )


def _flat(va: int, cpu_bits: int) -> Walk:
    """MMU off: the address itself, as wide as the CPU's, whatever TCR says."""
    if va >> cpu_bits:
        return _faulted(va, FaultKind.ADDRESS_SIZE, 0, ())
    return Walk(
        va=va,
        pa=va,
        fault=None,
        level=0,
        size=1 << cpu_bits,
        trail=(),
        writable=True,
        executable=True,
        attr_index=None,
        mair_byte=None,
    )


def walk_many(memory: GuestMemory, regs: WalkRegisters, vas: Words, *, el: int) -> WalkMany:
    """What :func:`walk` says of every element of ``vas``, a level at a time for all of them."""
    count = len(vas)
    out = WalkMany(
        pa=np.zeros(count, dtype=np.uint64),
        fault=np.full(count, -1, dtype=np.int16),
        level=np.zeros(count, dtype=np.int8),
        writable=np.zeros(count, dtype=np.bool_),
        executable=np.zeros(count, dtype=np.bool_),
        attr_index=np.full(count, -1, dtype=np.int8),
    )
    if not regs.sctlr & SCTLR_M:
        fits = vas >> np.uint64(regs.cpu_bits) == 0
        out.pa[fits] = vas[fits]
        out.fault[~fits] = FaultKind.ADDRESS_SIZE.value
        out.writable[fits] = out.executable[fits] = True
        return out
    high = vas & np.uint64(HALF) != 0
    if not two_ranges(regs, el):
        high[:] = False
    for upper in (False, True):
        elements = np.flatnonzero(high == upper)
        if len(elements):
            _Batch(memory, regs, el, table_range(regs, el, upper), out).run(elements, vas[elements])
    return out


class _Batch:
    """The walks of one range that are still under way; ended ones are in ``out``."""

    def __init__(
        self, memory: GuestMemory, regs: WalkRegisters, el: int, r: TableRange, out: WalkMany
    ) -> None:
        self.memory = memory
        self.regs = regs
        self.el = el
        self.range = r
        self.out = out

    def run(self, elements: NDArray[np.intp], vas: Words) -> None:
        """Walk ``vas``, which are the ``elements`` of the output."""
        r = self.range
        self.elements = elements
        self.va = vas
        self.table = np.full_like(vas, r.root_table)
        self.limits = np.zeros_like(vas)
        self.descriptor = np.zeros_like(vas)
        mask, wanted = r.above
        outside = vas & np.uint64(mask) != np.uint64(wanted)
        self._end(outside | (not r.enabled), FaultKind.TRANSLATION, 0)
        self._end(self.table >> np.uint64(r.pa_bits) != 0, FaultKind.ADDRESS_SIZE, 0)
        for level in range(r.start, LEAF_LEVEL + 1):
            if len(self.va):
                self._step(level)

    def _step(self, level: int) -> None:
        r, memory = self.range, self.memory
        offset = self.va & np.uint64((1 << r.va_bits) - 1)
        index = offset >> np.uint64(r.granule.shift(level)) & np.uint64(r.granule.entries - 1)
        entry = self.table + index * np.uint64(ENTRY_SIZE)
        absent = memory.absent(entry)
        self._end(absent, FaultKind.EXTERNAL_ABORT_ON_WALK, level)
        self.descriptor = memory.words[memory.slots(entry[~absent])]
        kind = self.descriptor & np.uint64(d.TYPE)
        legal = kind == d.TABLE  # the same bits are a page at level 3
        if level in r.block_levels:
            legal |= kind == d.BLOCK
        self._end(~legal, FaultKind.TRANSLATION, level)
        leaf = self.descriptor & np.uint64(d.TYPE) == (d.PAGE if level == LEAF_LEVEL else d.BLOCK)
        size = np.where(leaf, r.granule.span(level), r.granule.page_size).astype(np.uint64)
        self.table = r.output.decode(self.descriptor) & ~(size - np.uint64(1))
        too_big = self.table >> np.uint64(r.pa_bits) != 0
        self._end(too_big, FaultKind.ADDRESS_SIZE, level)
        leaf = leaf[~too_big]
        no_access = leaf & (self.descriptor & np.uint64(d.AF) == 0)
        self._end(no_access, FaultKind.ACCESS_FLAG, level)
        leaf = leaf[~no_access]
        self._finish(leaf, level)
        self._keep(~leaf)
        if r.hierarchical:
            self.limits = inherited(self.limits, self.descriptor)

    def _finish(self, leaf: NDArray[np.bool_], level: int) -> None:
        out, at = self.out, self.elements[leaf]
        within = np.uint64(self.range.granule.span(level) - 1)
        out.pa[at] = self.table[leaf] | self.va[leaf] & within
        out.level[at] = level
        bits = effective(self.descriptor[leaf], self.limits[leaf])
        out.writable[at], out.executable[at] = permissions(bits, self.regs, self.el)
        out.attr_index[at] = (bits & np.uint64(d.ATTR_INDEX)) >> np.uint64(d.ATTR_INDEX_SHIFT)

    def _end(self, faulted: NDArray[np.bool_], kind: FaultKind, level: int) -> None:
        if not faulted.any():
            return
        at = self.elements[faulted]
        self.out.fault[at] = Fault(kind, level).code
        self.out.level[at] = level
        self._keep(~faulted)

    def _keep(self, going: NDArray[np.bool_]) -> None:
        self.elements = self.elements[going]
        self.va = self.va[going]
        self.table = self.table[going]
        self.limits = self.limits[going]
        self.descriptor = self.descriptor[going]
