"""Register writes that may not be seen yet: from an MSR to the next context synchronisation event
either value counts, for every use by itself. Source: ARM DDI 0487, D24.1.2.2.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from relokit.codegen.base.nouns import dataclass
from relokit.codegen.system_registers import register_name
from relokit.runtime.arch.redirection import reached
from relokit.runtime.record.known import UnknownFactError
from relokit.runtime.record.trace import Trace, TraceKind

MAX_WRITES = 1 << 16
"""Register writes that are looked at; a move has some ten."""
MAX_OLDS = 8
"""Old values that are kept of a register, the latest: more are no code that means it."""
SCTLR_EOS, SCTLR_EIS = 1 << 11, 1 << 22
"""With FEAT_ExS, whether a return from, and an exception to, the level synchronises (D24.1.2.2)."""
_EXS = 44
"""FEAT_ExS is told in bits 47:44 of ID_AA64MMFR0_EL1."""

TRACKED = frozenset(
    (
        *(
            f"{name}_EL{el}"
            for name in ("SCTLR", "TCR", "TTBR0", "TTBR1", "MAIR", "VBAR")
            for el in (1, 2)
        ),
        "CPACR_EL1", "CPTR_EL2", "HCR_EL2", "VTTBR_EL2", "VTCR_EL2",
    )
)  # fmt: skip
"""Registers whose writes need synchronisation, and whose uses a trace shows. SPSR, ELR, SP and
PSTATE need none (D24.1.2.2: special-purpose registers)."""
_EVENTS = (TraceKind.MSR, TraceKind.ISB, TraceKind.EXCEPTION, TraceKind.ERET)


@dataclass(frozen=True, slots=True)
class Pending:
    """The write of ``value`` to ``register``, at ``level``, by the MSR that is record ``number``.

    Until record ``end`` (not in it) a use may still see one of ``olds``: there the context is
    synchronised or the register written once more, or the trace is over (``open``). With no
    ``olds`` nobody knows what it was. ``before`` are the values of all tracked registers before
    the write, by name, as far as they are known.
    """

    register: str
    number: int
    end: int
    value: int
    olds: tuple[int, ...]
    level: int
    before: Mapping[str, int]
    open: bool = False

    @property
    def owner(self) -> int:
        """The exception level whose register it is."""
        return int(self.register[-1])

    @property
    def family(self) -> str:
        """The register's name without its level."""
        return self.register.rpartition("_")[0]

    @property
    def changed(self) -> int:
        """Bits that may have either value; -1, which has them all, if that is unknown."""
        bits = 0 if self.olds else -1
        for old in self.olds:
            bits |= old ^ self.value
        return bits

    def is_host(self, bit: int) -> bool:
        """Whether HCR_EL2 has ``bit``, by all that is known."""
        return bool(self.before.get("HCR_EL2", 0) & bit)


def pending_writes(trace: Trace) -> Iterator[Pending]:
    """Every write that changes a tracked register, as its window ends.

    Raises UnknownFactError behind the first MAX_WRITES.
    """
    records = trace.records
    numbers = np.flatnonzero(trace.are(_EVENTS))
    columns = (records[name][numbers].tolist() for name in ("kind", "encoding", "value", "el"))
    values = {name: trace.start[name] for name in TRACKED if name in trace.start}
    has_exs = bool(trace.start.get("ID_AA64MMFR0_EL1", 0) >> _EXS & 0xF)
    begun: dict[str, Pending] = {}
    writes = 0
    for number, kind, key, value, el in zip(numbers.tolist(), *columns, strict=True):
        if kind != TraceKind.MSR:
            if not has_exs or _synchronises(kind, values.get(f"SCTLR_EL{el}", 0)):
                yield from (replace(one, end=number) for one in begun.values())
                begun.clear()
            continue
        name = register_name(reached(key, values.get("HCR_EL2", 0), el))
        if name not in TRACKED:
            continue
        writes += 1
        if writes > MAX_WRITES:
            raise UnknownFactError(f"more than {MAX_WRITES:,} register writes")
        olds = [values[name]] if name in values else []
        if name in begun:
            earlier = begun.pop(name)
            olds = [*earlier.olds, *olds] if earlier.olds else []
            yield replace(earlier, end=number)
        kept = tuple(dict.fromkeys(old for old in olds if old != value))[-MAX_OLDS:]
        if kept or not olds:
            begun[name] = Pending(name, number, number, value, kept, el, dict(values))
        values[name] = value
    yield from (replace(one, end=len(records), open=True) for one in begun.values())


def _synchronises(kind: int, sctlr: int) -> bool:
    """Whether an event of ``kind`` does, with FEAT_ExS and this SCTLR of its level."""
    match kind:
        case TraceKind.EXCEPTION:
            return bool(sctlr & SCTLR_EIS)
        case TraceKind.ERET:
            return bool(sctlr & SCTLR_EOS)
    return True


def unsynchronised_results(trace: Trace) -> Iterator[tuple[int, int]]:
    """Reads of PAR_EL1 with no context synchronisation since the AT: numbers of both records."""
    kinds = (TraceKind.AT, TraceKind.MRS, TraceKind.ISB, TraceKind.EXCEPTION, TraceKind.ERET)
    numbers = np.flatnonzero(trace.are(kinds))
    asked: int | None = None
    for number, kind in zip(numbers.tolist(), trace.kinds[numbers].tolist(), strict=True):
        if kind == TraceKind.AT:
            asked = number
        elif kind != TraceKind.MRS:
            asked = None
        elif asked is not None:
            yield asked, number
            asked = None
