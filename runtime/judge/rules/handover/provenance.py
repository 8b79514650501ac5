"""Where what is wrong at a hand-over comes from: the instruction that set it on the way out.

The trace has no general registers, but the instructions that were executed, in order where it
counts: from the last ISB on, each one. There it is followed back from register to register.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from relokit.codegen.base.nouns import dataclass
from relokit.codegen.system_registers import REGISTERS, encode_key
from relokit.runtime.arch.redirection import TO_EL2
from relokit.runtime.judge.rules.disassembly import listing
from relokit.runtime.judge.rules.history import called
from relokit.runtime.judge.rules.made import Used
from relokit.runtime.judge.rules.rule import Broken
from relokit.runtime.record.code_seen import CodeSeen
from relokit.runtime.record.known import Unknown
from relokit.runtime.record.record import Record

MAX_BACK, MAX_MOVES = 4096, 8
"""Instructions that are looked at, and those that may move arguments on the way out."""
_MOVE_MASK, _MOVE = 0xFFE0FFE0, 0xAA0003E0  # mov xd, xm
_ZERO = 31
_INSTRUCTION = 4
CALL = (0, 1)
"""Registers of a call's function and of what that goes by."""
_NO_IMMEDIATE = 0xFFFF ^ encode_key(0, 0, 0, 0xF, 0)
_DAIF_FIELDS = [encode_key(0, 3, 4, 0, op2) for op2 in (6, 7)]  # DAIFSet, DAIFClr


@dataclass(frozen=True, slots=True)
class Whence:
    """The instruction at VA ``pc`` is where a finding is told; ``notes`` say what it has done.

    ``uses`` are what the finding is about; None is what that instruction goes by. ``by_call`` says
    that it was to be a call's.
    """

    pc: int
    notes: tuple[str, ...] = ()
    uses: tuple[Used, ...] | None = None
    by_call: bool = False


@dataclass(frozen=True, slots=True)
class _Way:
    """The code up to what is entered: executed addresses, the last one first.

    ``out`` of them come after the last store, so on the way out. Number ``left`` is the instruction
    by which the code was left: the HVC to EL2 if there is one, else the branch.
    """

    addresses: list[int]
    out: int
    left: int
    by_call: bool

    @property
    def leaves(self) -> int:
        """VA of the instruction by which the code was left."""
        return self.addresses[self.left]


def origin(record: Record, station: int, register: int) -> Whence | None:
    """Who set x``register`` to what it holds where station number ``station`` is entered.

    What the stub moves on is told where it is called. What nobody has set on the way out is told
    where that ends.
    """
    way = _way_to(record, station)
    if way is None or isinstance(record.code, Unknown):
        return None
    made = Used(registers=(register,), begun=record.begun(station))
    uses = made, *_moves_out(record.code, way), Used(way.leaves, (), cost=2)
    return replace(_followed(record.code, way, 0, register), uses=uses)


def _moves_out(code: CodeSeen, way: _Way) -> Iterator[Used]:
    """The last instructions before the entry, one behind the other, that set registers or leave.

    They put arguments where they belong: what is missing or mistaken is among them.
    """
    from relokit.runtime.judge.rules.register_use import SYSTEM, use_of

    behind = way.addresses[0] + _INSTRUCTION
    for pc in way.addresses[:MAX_MOVES]:
        word = code.word(pc)
        if pc + _INSTRUCTION != behind or word is None:
            return
        behind = pc
        use = use_of(word)
        if use.ends or any(one < SYSTEM for one in use.writes):
            yield Used(pc, (), cost=1, itself=True)


def called_with(record: Record, station: int) -> Whence | None:
    """Who set the number of the call by which what was before station number ``station`` was left;
    where it was left, if that was no call.
    """
    way = _way_to(record, station)
    if way is None or isinstance(record.code, Unknown):
        return None
    if not way.by_call:
        return Whence(way.leaves, uses=(Used(way.leaves),))
    uses = (Used(way.leaves, CALL),)
    return replace(_followed(record.code, way, way.left, 0), uses=uses, by_call=True)


def _followed(code: CodeSeen, way: _Way, start: int, register: int) -> Whence:
    """Who set x``register``, going back from instruction number ``start``."""
    from relokit.runtime.judge.rules.register_use import use_of

    wanted = register
    told: int | None = None
    notes: list[str] = []
    for number, pc in enumerate(way.addresses[start:], start):
        word = code.word(pc)
        if word is None or wanted not in use_of(word).writes:
            continue
        notes.append(f"x{wanted} was set by {called(code, pc)}")
        if way.left <= number < way.out:
            told = pc
        if word & _MOVE_MASK != _MOVE or (word >> 16 & 31) == _ZERO:
            break
        wanted = word >> 16 & 31
    if told is None:
        notes.append("and by nothing on the way out")
    return Whence(way.leaves if told is None else told, tuple(notes))


def leaving(record: Record, station: int) -> Whence | None:
    """The instruction by which what was before station number ``station`` was left."""
    way = _way_to(record, station)
    return Whence(way.leaves) if way else None


def located(
    record: Record, message: str, station: int, where: Whence | None, *, cause: str | None = None
) -> Broken:
    """A finding at station number ``station``, told at ``where``; else at what is entered."""
    if where is None or isinstance(record.code, Unknown):
        return Broken(message, address=record.reached[station].pc, station=station, cause=cause)
    code = record.code
    return Broken(
        message,
        address=where.pc,
        place=code.places.get(where.pc),
        listing=listing(code.around(where.pc), where.pc),
        notes=where.notes,
        station=station,
        cause=cause,
        uses=where.uses,
    )


def system_writer(record: Record, *names: str) -> Whence | None:
    """The last MSR to one of these registers, by whatever name; None if there is none."""
    keys = {REGISTERS[name] for name in names if name in REGISTERS}
    by_host = [low for low, high in TO_EL2.items() if high in keys]
    if not keys or isinstance(record.trace, Unknown):
        return None
    import numpy as np

    from relokit.runtime.record.trace import TraceKind

    writes = record.trace.of(TraceKind.MSR)
    hosts = (writes["el"] == 2) & np.isin(writes["encoding"], by_host)
    found = writes["pc"][hosts | np.isin(writes["encoding"], list(keys))]
    return Whence(int(found[-1])) if len(found) else None


def mask_writer(record: Record) -> Whence | None:
    """The last instruction that wrote PSTATE.DAIF; None if there is none."""
    if isinstance(record.trace, Unknown):
        return None
    import numpy as np

    from relokit.runtime.record.trace import TraceKind

    writes = record.trace.of(TraceKind.MSR, TraceKind.MSR_FIELD)
    encodings = writes["encoding"]
    fields = (writes["kind"] == TraceKind.MSR_FIELD) & np.isin(
        encodings & _NO_IMMEDIATE, _DAIF_FIELDS
    )
    found = writes["pc"][fields | (encodings == REGISTERS["DAIF"])]
    return Whence(int(found[-1])) if len(found) else None


def _way_to(record: Record, station: int) -> _Way | None:
    """The way to station number ``station``; None without a trace of it."""
    if isinstance(record.trace, Unknown):
        return None
    import numpy as np

    from relokit.runtime.record.trace import TraceKind

    records = record.trace.records
    kinds = records["kind"]
    if station < len(record.promises) - 1:
        entered = np.flatnonzero(
            (kinds == TraceKind.FETCH) & (records["va"] == record.reached[station].pc)
        )
        records = records[: entered[0]] if len(entered) else records
        kinds = records["kind"]
    stores = np.flatnonzero(kinds == TraceKind.STORE)
    last_store = int(stores[-1]) if len(stores) else -1
    addresses: list[int] = []
    out = 0
    for at in np.flatnonzero(kinds == TraceKind.FETCH)[::-1].tolist():
        va, length = int(records["va"][at]), int(records["length"][at])
        addresses += range(va + length - _INSTRUCTION, va - _INSTRUCTION, -_INSTRUCTION)
        if at > last_store:
            out = len(addresses)
        if len(addresses) >= MAX_BACK:
            break
    if not addresses:
        return None
    called = records["pc"][kinds == TraceKind.HVC]
    by_call = len(called) > 0 and int(called[-1]) in addresses[:out]
    return _Way(addresses, out, addresses.index(int(called[-1])) if by_call else 0, by_call)
