"""TLBI instructions of a trace: what each invalidates, where it is legal, when it is complete.

Source: ARM DDI 0487, D8.17.5 (TLB maintenance: scope, operands), D8.17.6 (completion), D24.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import replace
from enum import Enum

import numpy as np

from relokit.codegen.base.nouns import dataclass
from relokit.codegen.facts import HCR_EL2_E2H, HCR_EL2_TGE
from relokit.codegen.system_registers import (
    REGISTERS,
    encode_key,
    operation_name,
    split_key,
)
from relokit.runtime.judge.model.synchronising import DSB_FULL, DSB_TYPE
from relokit.runtime.record.known import UnknownFactError
from relokit.runtime.record.trace import Trace, TraceKind
from relokit.runtime.record.views import NEVER

MAX_INVALIDATIONS = 1 << 13
"""TLBIs that are looked at: a move has one to four."""
_NAME = re.compile(
    r"tlbi (?P<range>r?)(?P<what>vmalle1|aside1|alle1|vmalls12e1|ipas2l?e1|alle2|alle3|"
    r"vaa?l?e[123])(?P<form>is|os)?"
)
_HCR = REGISTERS["HCR_EL2"]
_NXS_CRN, _PLAIN_CRN = 9, 8
_ADDRESS = (1 << 44) - 1
_SIGN = 1 << 55
_TOP = 0xFF << 56
_BASE_BITS = 37
_TLB = 56
"""ID_AA64ISAR0_EL1.TLB, bits 59:56: 1 has the outer shareable forms, 2 those by range, too."""
GRANULE_CODES = {1: 4096, 2: 16384, 3: 65536}
"""TG of a range and the upper two bits of TTL, as pages of so many bytes; 0 says nothing."""
RESERVED = -1
"""The granule of a range that names none: it is for no tables."""


class Reach(Enum):
    """Which entries of a regime an instruction is about."""

    ALL = "all"
    ASID = "those of an ASID that are not global"
    ADDRESS = "those for an address"
    STAGE2 = "those of stage 2"


class Broadcast(Enum):
    """Whose TLBs it reaches, and the domains of a DSB (CRm[3:2]) that complete it there."""

    LOCAL = frozenset({0, 1, 2, 3})
    INNER = frozenset({0, 2, 3})
    OUTER = frozenset({0, 3})


@dataclass(frozen=True, slots=True)
class Completion:
    """A DSB behind a TLBI: record ``number``. ``wide`` says that its domain takes in all TLBs that
    were told, and all kinds of access; it is ``fast`` if it does not wait for those with XS, and
    the TLBI does."""

    number: int
    wide: bool
    fast: bool


@dataclass(frozen=True, slots=True)
class Invalidation:
    """The TLBI that is record ``number``, executed at ``el`` for the regime of ``level``.

    ``va`` and ``size`` are what an operand names, in bytes (0 where there is none), ``page`` the
    granule it has to be for (0: any), ``ttl`` the level it claims (None: any). ``illegal`` is why
    it is UNDEFINED. ``completion`` is the first DSB of full type behind it, ``weak`` the number of
    one before that which is for loads or stores only.
    """

    number: int
    name: str
    el: int
    level: int
    scope: Reach
    form: Broadcast
    operand: int
    illegal: str | None
    completion: Completion | None
    weak: int | None
    last_level: bool = False
    any_asid: bool = True
    va: int = 0
    size: int = 0
    page: int = 0
    ttl: int | None = None

    @property
    def asid(self) -> int:
        """The ASID in its operand."""
        return self.operand >> 48

    @property
    def complete(self) -> int:
        """The moment from which it is complete."""
        return NEVER if self.completion is None else self.completion.number + 1


def invalidations(trace: Trace) -> tuple[Invalidation, ...]:
    """All TLBIs of ``trace`` in order; raises UnknownFactError for too many."""
    records = trace.records
    numbers = np.flatnonzero(trace.kinds == TraceKind.TLBI)
    if len(numbers) > MAX_INVALIDATIONS:
        raise UnknownFactError(f"{len(numbers):,} TLB invalidations")
    barriers = np.flatnonzero(trace.kinds == TraceKind.DSB)
    kinds = records["encoding"][barriers].tolist()
    return tuple(_each(trace, numbers.tolist(), barriers.tolist(), kinds))


def _each(
    trace: Trace, numbers: list[int], barriers: list[int], kinds: list[int]
) -> Iterator[Invalidation]:
    records, start = trace.records, trace.start
    writes = np.flatnonzero(trace.kinds == TraceKind.MSR)
    writes = writes[records["encoding"][writes] == _HCR]
    has = start.get("ID_AA64ISAR0_EL1", 0) >> _TLB & 0xF
    for number in numbers:
        at = int(np.searchsorted(writes, number))
        hcr = int(records["value"][writes[at - 1]]) if at else start.get("HCR_EL2", 0)
        host = hcr & HCR_EL2_E2H and hcr & HCR_EL2_TGE
        found = _decode(
            number, int(records["encoding"][number]), int(records["value"][number]),
            int(records["el"][number]), bool(host), has,
        )  # fmt: skip
        if found is None:
            continue
        waits = slice(bisect_right(barriers, number), None)
        yield _completed(found, barriers[waits], kinds[waits])


def _completed(found: Invalidation, barriers: list[int], kinds: list[int]) -> Invalidation:
    weak = None
    for number, encoding in zip(barriers, kinds, strict=True):
        if encoding & DSB_TYPE == DSB_FULL:
            fast = bool(encoding >> 4) and "nxs" not in found.name
            wide = not fast and encoding >> 2 & 3 in found.form.value
            return replace(found, completion=Completion(number, wide, fast), weak=weak)
        weak = number if weak is None else weak
    return replace(found, weak=weak)


def _decode(
    number: int, encoding: int, operand: int, el: int, host: bool, has: int
) -> Invalidation | None:
    op0, op1, crn, crm, op2 = split_key(encoding)
    nxs = crn == _NXS_CRN
    name = operation_name(encode_key(op0, op1, _PLAIN_CRN, crm, op2) if nxs else encoding)
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    what, by_range = match["what"], bool(match["range"])
    form = {"is": Broadcast.INNER, "os": Broadcast.OUTER}.get(match["form"] or "", Broadcast.LOCAL)
    owner = int(what[-1])
    own = what in ("alle1", "vmalls12e1") or what.startswith("ipas2")
    level = 2 if owner == 2 or (el == 2 and host and not own) else owner
    needs = 3 if owner == 3 else 2 if owner == 2 or own else 1
    illegal = None
    if el < needs:
        illegal = f"it is UNDEFINED below EL{needs}"
    elif by_range and has < 2:
        illegal = "this CPU has no TLBI by range (FEAT_TLBIRANGE)"
    elif form is Broadcast.OUTER and not has:
        illegal = "this CPU has no TLBI of the outer shareable domain (FEAT_TLBIOS)"
    scope = (
        Reach.STAGE2 if what.startswith("ipas2")
        else Reach.ASID if what == "aside1"
        else Reach.ADDRESS if what.startswith("va")
        else Reach.ALL
    )  # fmt: skip
    found = Invalidation(
        number, name + "nxs" * nxs, el, level, scope, form, operand, illegal, None, None
    )
    if scope is not Reach.ADDRESS:
        return found
    return _addressed(found, what, by_range)


def _addressed(found: Invalidation, what: str, by_range: bool) -> Invalidation:
    operand = found.operand
    found = replace(found, any_asid=what.startswith("vaa"), last_level="l" in what)
    if not by_range:
        ttl = operand >> 44 & 0xF
        return replace(
            found,
            va=_extended((operand & _ADDRESS) << 12),
            size=1,
            page=GRANULE_CODES.get(ttl >> 2, 0),
            ttl=ttl & 3 if ttl >> 2 else None,
        )
    page = GRANULE_CODES.get(operand >> 46 & 3, RESERVED)
    unit = max(page, 1)
    scale, count = operand >> 44 & 3, operand >> 39 & 0x1F
    base = operand & (1 << _BASE_BITS) - 1
    if base >> _BASE_BITS - 1:
        base -= 1 << _BASE_BITS
    size = (count + 1 << 5 * scale + 1) * unit
    return replace(found, va=base * unit & (1 << 64) - 1, size=size, page=page)


def _extended(va: int) -> int:
    """The VA with bits 63:56 as bit 55."""
    return va | _TOP if va & _SIGN else va
