"""How it came to that: who stored what is wrong, who set the registers that an instruction went by.

The trace has no general registers. Which instructions were executed it has, so those that write a
register are named, nearest first, and those that set what these go by.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

from relokit.codegen.base.nouns import dataclass
from relokit.runtime.judge.rules.disassembly import disassemble, listing
from relokit.runtime.judge.rules.rule import Broken
from relokit.runtime.record.code_seen import CodeSeen
from relokit.runtime.record.known import Unknown
from relokit.runtime.record.record import Record

if TYPE_CHECKING:
    from relokit.runtime.record.trace import Trace

MAX_SETTERS = 8
"""Instructions that are named."""
DEPTH = 2
"""Steps back: who sets a register, and who sets what that goes by."""
REACH = 0x1000
"""Bytes of code on either side in which is looked: a routine that moves has a page at most."""


@dataclass(frozen=True, slots=True)
class RegisterUse:
    """Numbers of the general registers that an instruction reads and writes; ``address`` are those
    that its address or its target is made of.
    """

    reads: frozenset[int]
    writes: frozenset[int]
    address: frozenset[int]


def setters(record: Record, pc: int, registers: Iterable[int] | None = None) -> Iterator[str]:
    """A note for each instruction that sets what the one at VA ``pc`` goes by: its address or its
    target, or ``registers``.
    """
    code = record.code
    word = None if isinstance(code, Unknown) else code.word(pc)
    if isinstance(code, Unknown) or word is None:
        return
    use = use_of(word)
    wanted = set((use.address or use.reads) if registers is None else registers)
    near = sorted((at for at in code.words if abs(at - pc) < REACH), key=lambda at: _order(at, pc))
    told: dict[int, str] = {}
    for _ in range(DEPTH):
        further: set[int] = set()
        for at in near:
            seen = code.words[at].word
            if at in told or at == pc or seen is None:
                continue
            use = use_of(seen)
            if use.writes & wanted and len(told) < MAX_SETTERS:
                told[at] = f"{_names(use.writes & wanted)} set by {called(code, at)}"
                further |= use.reads
        wanted = further
    yield from told.values()


def told_where_stored(record: Record, broken: Broken, pa: int) -> Broken:
    """``broken``, which is about PA ``pa``, told at the instruction that has stored there last."""
    if isinstance(record.trace, Unknown) or isinstance(record.code, Unknown):
        return broken
    pc = _last_store(record.trace, pa)
    if pc is None:
        return replace(broken, notes=(*broken.notes, "nothing has stored to it"))
    code, word = record.code, record.code.word(pc)
    registers = use_of(word).reads if word is not None else frozenset()
    return replace(
        broken,
        address=pc,
        place=code.places.get(pc),
        listing=listing(code.around(pc), pc),
        notes=(*broken.notes, *setters(record, pc, registers)),
    )


def _last_store(trace: Trace, pa: int) -> int | None:
    """VA of the instruction that has stored to PA ``pa`` last."""
    import numpy as np

    from relokit.runtime.record.trace import TraceKind

    stores = trace.of(TraceKind.STORE)
    first, length = stores["pa"], stores["length"]
    at = np.uint64(pa)
    found = np.flatnonzero((first <= at) & (at - first < length))
    return int(stores["pc"][found[-1]]) if len(found) else None


def come_from(record: Record) -> Iterator[str]:
    """Which instruction of code that is known was executed last, and who has set its target."""
    if isinstance(record.trace, Unknown) or isinstance(record.code, Unknown):
        return
    from relokit.runtime.record.trace import TraceKind

    for row in record.trace.of(TraceKind.FETCH)[::-1][:MAX_SETTERS]:
        pc = int(row["va"]) + int(row["length"]) - 4
        if pc in record.code.places:
            yield f"come from {called(record.code, pc)}"
            yield from setters(record, pc)
            return


def called(code: CodeSeen, pc: int) -> str:
    """The instruction at VA ``pc`` and its place."""
    word, place = code.word(pc), code.places.get(pc)
    text = "code" if word is None else f"`{disassemble(word, pc)}`"
    return f"{text} at {pc:#x}, {place}" if place else f"{text} at {pc:#x}"


def _order(at: int, pc: int) -> tuple[bool, int]:
    """What is before ``pc`` first, the nearest of it; what is behind may have run in a loop."""
    return at > pc, abs(at - pc)


def _names(registers: Iterable[int]) -> str:
    return " and ".join(f"x{number}" for number in sorted(registers))


@cache
def use_of(word: int) -> RegisterUse:
    """What the instruction ``word`` does with general registers; SP and XZR are left out."""
    engine, arm64 = _capstone()
    for instruction in engine.disasm(word.to_bytes(4, "little"), 0):
        reads, writes = instruction.regs_access()
        made_of: set[int] = set()
        for operand in instruction.operands:
            if operand.type == arm64.ARM64_OP_MEM:
                made_of |= {operand.mem.base, operand.mem.index}
            elif operand.type == arm64.ARM64_OP_REG and instruction.mnemonic in (
                "br",
                "blr",
                "ret",
            ):
                made_of.add(operand.reg)
        return RegisterUse(*(_numbers(engine, one) for one in (reads, writes, made_of)))
    return RegisterUse(frozenset(), frozenset(), frozenset())


def _numbers(engine: Any, registers: Iterable[int]) -> frozenset[int]:
    names = (engine.reg_name(register) if register else None for register in registers)
    return frozenset(number for name in names if (number := _number(name)) is not None)


def _number(name: str | None) -> int | None:
    if name and name[0] in "wx" and name[1:].isdigit():
        return int(name[1:])
    return {"fp": 29, "lr": 30}.get(name or "")


@cache
def _capstone() -> tuple[Any, Any]:
    import capstone
    from capstone import arm64

    engine = capstone.Cs(capstone.CS_ARCH_ARM64, capstone.CS_MODE_LITTLE_ENDIAN)
    engine.detail = True
    return engine, arm64
