"""Counts on a machine, as a sum of terms: numbers times parameters."""

from __future__ import annotations

from collections.abc import Iterator

from relokit.codegen.base.nouns import dataclass
from relokit.runtime.judge.model.caches.memory_type import MemoryType
from relokit.runtime.timing.counts import OF_THE_MOVE, Count, MoveCounts, Phase, Quantity
from relokit.runtime.timing.model.hardware import Hardware, ParameterKey, ParameterName

LINE = 64
"""Bytes that line_ns is about, whatever a line of the machine has."""
PAGE_LINES = 64
"""Lines that wait for a DSB where its part was measured: those of 4 KiB."""
_IN_CACHES = (MemoryType.WRITE_BACK, MemoryType.THROUGH)


@dataclass(frozen=True, slots=True)
class Term:
    """In ``phase``: ``number`` (of nanoseconds) times all of ``of``."""

    phase: Phase
    number: float
    of: tuple[ParameterKey, ...]


def terms_of(counts: MoveCounts, hardware: Hardware) -> tuple[Term, ...]:
    """What ``counts`` take, phase by phase; what takes nothing is left out."""
    walks = _walks(counts, hardware)
    found = [term for row in counts.rows for term in _terms(row, counts, hardware, walks)]
    return tuple(term for term in found if term.number)


def _walks(counts: MoveCounts, hardware: Hardware) -> Quantity:
    """Whether a TLB holds all entries that the move needs, or every page is walked for."""
    needed = counts.total(Quantity.TRANSLATIONS)
    fits = needed <= hardware.constant(ParameterName.TLB_ENTRIES)
    return Quantity.TRANSLATIONS if fits else Quantity.PAGES


def _terms(row: Count, counts: MoveCounts, hardware: Hardware, walks: Quantity) -> Iterator[Term]:
    number = float(row.number)
    line = hardware.unknown(ParameterName.LINE)
    match row.quantity:
        case Quantity.LOADS | Quantity.STORES if row.memory not in _IN_CACHES:
            yield Term(row.phase, number, (hardware.unknown(ParameterName.ACCESS),))
        case Quantity.LINES_LOADED | Quantity.LINES_STORED if row.memory in _IN_CACHES:
            yield Term(row.phase, number * counts.line / LINE, (line,))
        case Quantity.OPERATIONS if row.of.startswith(("dc ", "ic ")):
            factor, of = _maintenance(hardware)
            yield Term(row.phase, number * factor * counts.line / LINE, of)
        case Quantity.OPERATIONS if row.of.startswith("dsb"):
            factor, of = _barrier(hardware)
            yield Term(row.phase, number * factor, of)
        case Quantity.INSTRUCTIONS:
            seen = 1 - hardware.constant(ParameterName.OVERLAP)
            yield Term(row.phase, number * seen, (hardware.unknown(ParameterName.INSTRUCTION),))
        case quantity if quantity is walks:
            yield Term(row.phase, number, (hardware.unknown(ParameterName.WALK),))


def _maintenance(hardware: Hardware) -> tuple[float, tuple[ParameterKey, ...]]:
    """What an instruction for 64 bytes costs: a factor, and parameters."""
    if hardware.has(ParameterName.MAINTENANCE):
        return 1.0, (hardware.unknown(ParameterName.MAINTENANCE),)
    return 1 - hardware.constant(ParameterName.BARRIER_SHARE), _cleaning(hardware)


def _barrier(hardware: Hardware) -> tuple[float, tuple[ParameterKey, ...]]:
    """The same of a DSB."""
    if hardware.has(ParameterName.BARRIER):
        return 1.0, (hardware.unknown(ParameterName.BARRIER),)
    return PAGE_LINES * hardware.constant(ParameterName.BARRIER_SHARE), _cleaning(hardware)


def _cleaning(hardware: Hardware) -> tuple[ParameterKey, ...]:
    return hardware.unknown(ParameterName.LINE), hardware.unknown(ParameterName.CLEAN)


def of_move(terms: tuple[Term, ...]) -> tuple[Term, ...]:
    """Those between the jump and what is entered after the move."""
    return tuple(term for term in terms if term.phase in OF_THE_MOVE)
