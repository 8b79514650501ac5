"""Evidence to what is shown of it: a stored trace has the facts, and no guest memory."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from relokit.codegen.base.errors import FormatError
from relokit.codegen.facts import HCR_EL2_E2H
from relokit.codegen.system_registers import operation_name, register_name
from relokit.runtime.arch.descriptors import LPA, LPA2, PLAIN
from relokit.runtime.arch.geometry import GRANULES
from relokit.runtime.arch.translation import SCTLR_M, WalkRegisters
from relokit.runtime.arch.walker import HALF, permissions
from relokit.runtime.evidence.evidence import Evidence
from relokit.runtime.guest.ledger import Region
from relokit.runtime.judge.rules.disassembly import disassemble
from relokit.runtime.record.code_seen import CodeSeen
from relokit.runtime.record.executed import Executed
from relokit.runtime.record.known import Unknown
from relokit.runtime.record.memory_facts import Arrival
from relokit.runtime.record.record import Record
from relokit.runtime.record.tables import Leaves, TableKey, Tables, UnknownTables
from relokit.runtime.record.trace import Trace, TraceFlag, TraceKind
from relokit.runtime.show.descriptor_words import leaf_words
from relokit.runtime.show.memory_map import pieces_of
from relokit.runtime.show.shown.code_shown import CodePiece, CodeShown, CodeWord
from relokit.runtime.show.shown.memory_shown import MemoryShown, Moved, RamBank
from relokit.runtime.show.shown.question import Moment, Question
from relokit.runtime.show.shown.steps_shown import Step, StepsShown, steps_asked
from relokit.runtime.show.shown.tables_shown import (
    MappedRange,
    TablesOfRange,
    TablesShown,
    WalkShown,
)

_RANGES = (TraceKind.LOAD, TraceKind.STORE, TraceKind.FETCH, TraceKind.DC, TraceKind.IC)
_OPERATIONS = (TraceKind.DC, TraceKind.IC, TraceKind.TLBI, TraceKind.AT, TraceKind.SYS)
_PSTATE_EL = 2


def memory_of(evidence: Evidence) -> MemoryShown:
    """Who owns RAM, and how much of each segment is as it should be where it was compared."""
    record, page = evidence.record, evidence.subject.target.page_size
    if isinstance(record.banks, Unknown):
        raise FormatError(f"no map of memory: {record.banks.why}")
    arrived = record.arrived if isinstance(record.arrived, tuple) else ()
    results = {one.base: one for one in arrived}
    return MemoryShown(
        of=evidence.subject.name,
        moment=Moment.START,
        page_size=page,
        banks=tuple(RamBank(*one) for one in record.banks),
        pieces=pieces_of(record.regions, record.banks),
        moves=tuple(
            Moved(
                one.name, one.base, one.size, -(-one.size // page), right=_right(results, one.base)
            )
            for one in record.segments
        ),
    )


def _right(results: Mapping[int, Arrival], base: int) -> int | None:
    one = results.get(base)
    return None if one is None else one.result.pages - one.result.bad_pages


def code_of(evidence: Evidence) -> CodeShown:
    """All instructions that were carried out, with how often; pieces that follow each other."""
    record = evidence.record
    if not isinstance(record.code, CodeSeen):
        raise FormatError(f"no code: {record.code.why}")
    addresses = sorted(record.code.words)
    times = _times(record, addresses)
    breaks = [0, *(i for i in range(1, len(addresses)) if addresses[i] != addresses[i - 1] + 4)]
    pieces = []
    for first, end in zip(breaks, [*breaks[1:], len(addresses)], strict=True):
        lines = tuple(_lines(record.code, addresses[first:end], times))
        if lines:
            named = record.code.places.get(lines[0].address, f"{lines[0].address:#x}")
            pieces.append(CodePiece(named.partition(" (")[0], lines[0].address, lines))
    return CodeShown(evidence.subject.name, Moment.START, tuple(pieces))


def _lines(code: CodeSeen, addresses: list[int], times: Mapping[int, int]) -> Iterator[CodeWord]:
    for at in addresses:
        seen = code.words[at]
        if seen.word is not None:
            symbol = code.places.get(at, "").partition(" (")[0]
            named = symbol.removesuffix("+0x0") if symbol.endswith("+0x0") else None
            text = disassemble(seen.word, at)
            yield CodeWord(at, seen.word, text, named, seen.source, times.get(at))


def _times(record: Record, addresses: list[int]) -> dict[int, int]:
    """How often each of ``addresses`` was carried out; none where that was not counted."""
    if not isinstance(record.executed, Executed) or not addresses:
        return {}
    rows = record.executed.rows()
    at = np.array(addresses, np.uint64)
    length = np.minimum(rows["length"], np.uint64(1 << 14))
    first = np.searchsorted(at, rows["pc"])
    end = np.searchsorted(at, rows["pc"] + length * np.uint64(4))
    change = np.zeros(len(at) + 1, np.uint64)
    np.add.at(change, first, rows["times"])
    np.subtract.at(change, end, rows["times"])
    return dict(zip(addresses, np.cumsum(change[:-1]).tolist(), strict=True))


def tables_of(evidence: Evidence, question: Question) -> TablesShown:
    """What the tables in each TTBR mapped before the first instruction, or where an address led."""
    record = evidence.record
    if isinstance(record.tables, Unknown):
        raise FormatError(f"no tables: {record.tables.why}")
    start = record.trace.start if isinstance(record.trace, Trace) else {}
    el = max(start.get("PSTATE", 0) >> _PSTATE_EL & 3, 1)
    registers = _walk_registers(start, el)
    owners = _Owners(record.regions)
    found = [_told(owners, one, el, registers) for one in record.tables.tables]
    names = [f"{name}_EL{el}" for name in ("SCTLR", "TCR", "TTBR0", "TTBR1", "MAIR")]
    held = {name: start[name] for name in names if name in start}
    about = evidence.subject.name, Moment.START, el, held
    if question.place is None:
        return TablesShown(*about, tuple(found))
    if isinstance(question.place, str):
        raise FormatError(
            f"{question.place!r} is no address: a trace has no symbols", hint="give one with 0x"
        )
    return TablesShown(*about, walks=tuple(_led(found, question.place)))


def _walk_registers(start: Mapping[str, int], el: int) -> WalkRegisters:
    hcr = start.get("HCR_EL2", 0)
    return WalkRegisters(
        sctlr=start.get(f"SCTLR_EL{el}", SCTLR_M),
        tcr=start.get(f"TCR_EL{el}", 0),
        ttbr0=0,
        mair=start.get(f"MAIR_EL{el}", 0),
        e2h=el == 2 and bool(hcr & HCR_EL2_E2H),
    )


class _Owners:
    """Who owns a PA, by regions that may be in any order."""

    def __init__(self, regions: Iterable[Region]) -> None:
        self._regions = sorted(regions, key=lambda region: region.base)
        self._bases = [region.base for region in self._regions]

    def at(self, pa: int) -> str | None:
        """How the owner of PA ``pa`` is called."""
        index = bisect_right(self._bases, pa) - 1
        found = index >= 0 and pa in self._regions[index]
        return str(self._regions[index].owner) if found else None


def _told(
    owners: _Owners, one: Tables | UnknownTables, el: int, registers: WalkRegisters
) -> TablesOfRange:
    key = one.key
    two = el == 1 or registers.e2h
    leaves = one.leaves if isinstance(one, Tables) else ()
    return TablesOfRange(
        register=f"TTBR{key.upper:d}_EL{el}",
        value=key.root,
        regime=f"EL{el}&0" if two else f"EL{el}",
        walked=True,
        root=key.root,
        va_bits=key.va_bits,
        pa_bits=key.pa_bits,
        page_size=key.page_size,
        format=_format(key),
        levels=(),
        maps=tuple(_mapped(owners, key, each, el, registers) for each in leaves),
        missing=one.missing if isinstance(one, Tables) else None,
        problem=one.why.why if isinstance(one, UnknownTables) else None,
    )


def _format(key: TableKey) -> str:
    if not key.wide:
        return "48-bit"
    return "LPA2" if GRANULES[key.page_size].has_ds else "LPA"


def _mapped(
    owners: _Owners, key: TableKey, one: Leaves, el: int, registers: WalkRegisters
) -> MappedRange:
    writable, executable = permissions(np.array([one.bits], np.uint64), registers, el)
    output = PLAIN if not key.wide else LPA2 if GRANULES[key.page_size].has_ds else LPA
    two = el == 1 or registers.e2h
    owner = owners.at(one.pa)
    return MappedRange(
        one.va, one.pa, one.size, one.level, bool(writable[0]), bool(executable[0]),
        leaf_words(one.bits, output, two=two, mair=registers.mair), owner,
    )  # fmt: skip


def _led(found: list[TablesOfRange], va: int) -> Iterator[WalkShown]:
    """Where ``va`` led by each of the tables that translate it."""
    for tables in found:
        if tables.regime.endswith("&0") and tables.register.startswith("TTBR1") != bool(va & HALF):
            continue
        hit = next((one for one in tables.maps if one.va <= va < one.va + one.bytes), None)
        name = f"{tables.register} = {tables.root:#x}"
        if hit is None:
            why = tables.problem or "nothing is mapped there"
            yield WalkShown(tables.regime, name, va, None, why, False, False, ())
        else:
            pa = hit.pa + va - hit.va
            yield WalkShown(
                tables.regime, name, va, pa, None, hit.writable, hit.executable, (), hit.owner
            )


def steps_of(evidence: Evidence, question: Question) -> StepsShown:
    """What the trace has of the instructions that ``question`` asks for, a record a step."""
    record, most = evidence.record, steps_asked(question)
    if not isinstance(record.trace, Trace):
        raise FormatError(f"no steps: {record.trace.why}")
    records = record.trace.records
    last = np.uint64(question.first + most - 1 if question.last is not None else (1 << 64) - 1)
    within = np.flatnonzero(
        (records["before"] >= np.uint64(question.first)) & (records["before"] <= last)
    )
    code = record.code if isinstance(record.code, CodeSeen) else CodeSeen({}, {})
    steps = tuple(_step(one, code) for one in records[within[:most]])
    more = len(within) - len(steps)
    ended = f"{more:,} more records follow" if more else "that is all there is in the trace"
    return StepsShown(evidence.subject.name, question.first, steps, ended)


def _step(one: np.void, code: CodeSeen) -> Step:
    pc, kind = int(one["pc"]), TraceKind(int(one["kind"]))
    word = code.word(pc)
    changed = {}
    if kind is TraceKind.MSR:
        changed = {register_name(int(one["encoding"])): int(one["value"])}
    return Step(
        number=int(one["before"]),
        pc=pc,
        el=int(one["el"]),
        text=kind.name.lower() if word is None else disassemble(word, pc),
        changed=changed,
        place=code.places.get(pc),
        did=_did(one, kind),
    )


def _did(one: np.void, kind: TraceKind) -> str:
    name = kind.name.lower().replace("_", " ")
    if kind in _OPERATIONS:
        name = operation_name(int(one["encoding"]))
    if kind is TraceKind.FILL or kind in _RANGES:
        to = "no PA" if one["flags"] & TraceFlag.NO_PA else f"PA {int(one['pa']):#x}"
        where = f"VA {int(one['va']):#x}, {to}"
        if kind is TraceKind.FILL or not one["length"]:
            return f"{name}: {where}"
        return f"{name}: {int(one['length']):,} bytes, {int(one['count']):,} times, {where}"
    return f"{name} {int(one['value']):#x}" if kind in _OPERATIONS else name
