"""What uses a register whose new value may not be seen yet, and would be another thing under the
old one. Source: ARM DDI 0487, D24.1.2.2, and the registers' descriptions in D24.2.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from relokit.codegen.facts import HCR_EL2_E2H, HCR_EL2_RW, HCR_EL2_TGE
from relokit.codegen.system_registers import OPERATIONS, REGISTERS
from relokit.runtime.arch.redirection import TO_EL1, TO_EL2
from relokit.runtime.arch.translation import SCTLR_M, SCTLR_WXN
from relokit.runtime.judge.model.pending import Pending
from relokit.runtime.record.code_seen import CodeSeen
from relokit.runtime.record.trace import (
    ATTRIBUTE_MAIR,
    ATTRIBUTE_MMU,
    Records,
    Trace,
    TraceFlag,
    TraceKind,
    are_of,
)

Mask = npt.NDArray[np.bool_]

SCTLR_A, SCTLR_C, SCTLR_EE = 1 << 1, 1 << 2, 1 << 25
HOST = HCR_EL2_E2H | HCR_EL2_TGE
TTBR_CNP = 1
TTBR_ASID = 0xFFFF << 48
PAGE = 4096
"""Bytes that a fill is of, whatever the granule."""
UPPER = 55
"""The VA bit that chooses TTBR1."""

# TCR_ELx with two ranges: what is of TTBR0's alone, what of TTBR1's; the rest is of both.
_TCR_LOW = 0xFFFF & ~(1 << 6) | 1 << 37 | 1 << 41 | 0xF << 43 | 1 << 51 | 1 << 53 | 1 << 55
_TCR_HIGH = 0xFFFF << 16 & ~(1 << 22) | 1 << 38 | 1 << 42 | 0xF << 47 | 1 << 52 | 1 << 54 | 1 << 56
_REDIRECTED = sorted(TO_EL1.keys() | TO_EL2.keys())
_OF_EL1 = sorted(
    key
    for name, key in OPERATIONS.items()
    if name.startswith(("tlbi", "at"))
    and ("e1" in name or "s12" in name)
    and not name.startswith("tlbi alle1")
)
"""TLBI and AT whose regime HCR_EL2 decides, or whose VMID VTTBR_EL2 has."""
_VECTOR_LENGTHS = sorted(
    key for name, key in REGISTERS.items() if name.startswith(("ZCR_EL", "SMCR_EL"))
)


def first_use(trace: Trace, code: CodeSeen, write: Pending) -> int | None:
    """The number of the first record that the value of ``write`` makes a difference to.

    The end of the trace is none: see :func:`counts_at_entry`.
    """
    window = trace.records[write.number + 1 : write.end]
    match write.family:
        case "SCTLR":
            found = _sctlr(trace, write, window)
        case "TTBR0" | "TTBR1":
            found = _ttbr(write, window)
        case "TCR":
            found = _tcr(write, window)
        case "MAIR":
            found = _mair(write, window)
        case "HCR":
            found = _hcr(write, window)
        case "VTTBR" | "VTCR":
            found = (window["el"] == 2) & np.isin(window["encoding"], _OF_EL1)
            found &= _is(window, TraceKind.TLBI, TraceKind.AT)
        case "CPACR" | "CPTR":
            found = _traps(code, window)
        case _:
            # VBAR: an exception that synchronises takes the new one (D24.1.2.2).
            found = _is(window, TraceKind.EXCEPTION) & (window["el"] == write.owner)
    if found.any():
        return write.number + 1 + int(found.argmax())
    last = trace.records[write.end] if write.end < len(trace.records) else None
    returns = last is not None and last["kind"] == TraceKind.ERET and last["el"] == 2
    # An ERET may look at HCR_EL2 before it synchronises.
    if returns and write.family == "HCR" and write.changed & (HOST | HCR_EL2_RW):
        return write.end
    return None


def counts_at_entry(write: Pending, el: int, *, mmu: bool) -> bool:
    """Whether what is entered at ``el`` behind the trace depends on ``write``.

    ``mmu`` says that it goes on with its MMU on, and so with the tables it finds.
    """
    if write.family == "HCR":
        return el == 2 and bool(write.changed & HOST)
    if write.owner != max(el, 1):
        return False
    if write.family == "SCTLR":
        return bool(write.changed & (SCTLR_M | SCTLR_EE | (SCTLR_C if mmu else 0)))
    return mmu and write.family in ("TTBR0", "TTBR1", "TCR", "MAIR")


def _is(window: Records, *kinds: TraceKind) -> Mask:
    return are_of(window, kinds)


def _accesses(window: Records, level: int) -> tuple[Mask, Mask, Mask]:
    """At ``level``: loads and stores, fetches, and maintenance by address."""
    at = np.maximum(window["el"], 1) == level
    data = at & _is(window, TraceKind.LOAD, TraceKind.STORE)
    maintained = at & _is(window, TraceKind.DC, TraceKind.IC) & (window["length"] > 0)
    return data, at & _is(window, TraceKind.FETCH), maintained


def _translated(write: Pending, window: Records) -> Mask:
    """All that the tables of the register's level translate, AT among it."""
    data, fetched, maintained = _accesses(window, write.owner)
    on = (window["attributes"] & ATTRIBUTE_MMU) != 0
    return np.asarray((data | fetched | maintained) & on | _asked(write, window))


def _asked(write: Pending, window: Records) -> Mask:
    return np.asarray(_is(window, TraceKind.AT) & (window["el"] == write.level))


def _sctlr(trace: Trace, write: Pending, window: Records) -> Mask:
    data, fetched, maintained = _accesses(window, write.owner)
    found = np.zeros(len(window), bool)
    changed = write.changed
    if changed & SCTLR_M:
        # With the MMU on or off alike only at a VA that is the PA, mapped; and no data: Device or
        # not is a difference.
        astray = (window["va"] != window["pa"]) | ~_identical(trace, write, window)
        found |= data | (fetched | maintained) & astray | _asked(write, window)
    if changed & SCTLR_C and write.value & SCTLR_M:
        found |= data
    if changed & SCTLR_EE:
        found |= data
    if changed & SCTLR_A:
        found |= data & ((window["flags"] & TraceFlag.UNALIGNED) != 0)
    if changed & SCTLR_WXN and write.value & SCTLR_M:
        found |= fetched & np.isin(window["va"] & ~np.uint64(PAGE - 1), _writable(trace))
    return found


def _identical(trace: Trace, write: Pending, window: Records) -> Mask:
    """Which records are in a page that was executed at its own PA with the MMU on."""
    fills = trace.records[: write.end][trace.kinds[: write.end] == TraceKind.FILL]
    on = (fills["attributes"] & ATTRIBUTE_MMU) != 0
    executed = (fills["flags"] & TraceFlag.EXECUTABLE) != 0
    mapped = fills["va"][
        on & executed & (fills["va"] == fills["pa"]) & (fills["el"] == write.owner)
    ]
    return np.asarray(np.isin(window["va"] & ~np.uint64(PAGE - 1), mapped))


def _writable(trace: Trace) -> npt.NDArray[np.uint64]:
    """Pages that were filled to be written."""
    fills = trace.of(TraceKind.FILL)
    found: npt.NDArray[np.uint64] = fills["va"][(fills["flags"] & TraceFlag.WRITABLE) != 0]
    return found


def _half(write: Pending, window: Records, upper: bool) -> Mask:
    """Which records the tables of TTBR1 (``upper``) or of TTBR0 translate."""
    if write.owner == 2 and not write.is_host(HCR_EL2_E2H):
        return np.full(len(window), not upper)
    return np.asarray((window["va"] >> np.uint64(UPPER) & np.uint64(1) == 1) == upper)


def _ttbr(write: Pending, window: Records) -> Mask:
    if not write.changed & ~TTBR_CNP:
        return np.zeros(len(window), bool)
    upper = write.family == "TTBR1"
    if upper and not write.changed & ~(TTBR_ASID | TTBR_CNP):
        # By either ASID the same tables translate a kernel's half: what they have there is global.
        # It is the other half that would find what is another process's.
        upper = False
    # The operand of AT is in `value`; which half it is in is of no account.
    half = _half(write, window, upper) | _is(window, TraceKind.AT)
    return _translated(write, window) & half


def _tcr(write: Pending, window: Records) -> Mask:
    low, high = write.changed & ~_TCR_HIGH, write.changed & ~_TCR_LOW
    if write.owner == 2 and not write.is_host(HCR_EL2_E2H):
        low = write.changed
    half = np.zeros(len(window), bool)
    if low:
        half |= _half(write, window, upper=False)
    if high:
        half |= _half(write, window, upper=True)
    return _translated(write, window) & (half | _is(window, TraceKind.AT))


def _mair(write: Pending, window: Records) -> Mask:
    shifts = [shift for shift in range(0, 64, 8) if write.changed >> shift & 0xFF]
    bytes_of = {one >> shift & 0xFF for shift in shifts for one in (write.value, *write.olds)}
    chosen = np.isin(window["attributes"] & ATTRIBUTE_MAIR, sorted(bytes_of))
    return _translated(write, window) & (chosen | _is(window, TraceKind.AT))


def _hcr(write: Pending, window: Records) -> Mask:
    at_el2 = window["el"] == 2
    if not write.changed & HOST:
        return np.zeros(len(window), bool)
    named = _is(window, TraceKind.MSR) & np.isin(window["encoding"], _REDIRECTED)
    named |= _is(window, TraceKind.TLBI, TraceKind.AT) & np.isin(window["encoding"], _OF_EL1)
    data, fetched, maintained = _accesses(window, 2)
    on = (window["attributes"] & ATTRIBUTE_MMU) != 0
    return np.asarray(at_el2 & named | (data | fetched | maintained) & on)


def _traps(code: CodeSeen, window: Records) -> Mask:
    vectors = [
        at for at, seen in code.words.items() if seen.word is not None and _trapped(seen.word)
    ]
    at = np.sort(np.array(vectors, np.uint64))
    ends = window["va"] + window["length"]
    inside = np.searchsorted(at, window["va"]) < np.searchsorted(at, ends)
    lengths = _is(window, TraceKind.MSR) & np.isin(window["encoding"], _VECTOR_LENGTHS)
    return np.asarray(_is(window, TraceKind.FETCH) & inside | lengths)


def _trapped(word: int) -> bool:
    """Whether the instruction is of SIMD, floating point or SVE (C4.1), which CPTR may trap."""
    group = word >> 25 & 0xF
    is_access = group & 0b0101 == 0b0100
    return group in (0b0010, 0b0111, 0b1111) or (is_access and bool(word >> 26 & 1))
