"""stack.*: code that has no stack uses none."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from relokit.runtime.judge.rules.rule import Broken, Rule
from relokit.runtime.judge.rules.severity import Severity
from relokit.runtime.judge.rules.traced.caches import ARM
from relokit.runtime.judge.rules.traced.lapses_told import (
    ask_whole,
    bounded,
    first_fetch,
    instruction,
    told_at,
)
from relokit.runtime.record.known import known
from relokit.runtime.record.record import JumpFacts, Record
from relokit.runtime.record.trace import TraceKind

_SP = 31


def _moves(record: Record) -> str | None:
    return None if record.jump is not None else "nothing is moved"


def _used(record: Record) -> Iterator[Broken]:
    yield from bounded(_accesses(record))
    ask_whole(known(record.trace))


def _accesses(record: Record) -> Iterator[Broken]:
    jump, trace = known(record.jump), known(record.trace)
    assert isinstance(jump, JumpFacts)
    end = first_fetch(trace, record.reached[0].pc) if record.reached else len(trace.records)
    moved = trace.records[first_fetch(trace, jump.cpu.pc) : end]
    fetched = moved[moved["kind"] == TraceKind.FETCH]
    words = known(record.code).words
    for at in sorted(at for at, seen in words.items() if _uses_stack(seen.word)):
        pc = np.uint64(at)
        if ((fetched["va"] <= pc) & (pc < fetched["va"] + fetched["length"])).any():
            yield told_at(record, f"{instruction(record, at)} accesses memory through SP", at)


def _uses_stack(word: int | None) -> bool:
    """Whether it is a load or store with SP as its base register (C4.1, loads and stores)."""
    if word is None or word >> 25 & 0b0101 != 0b0100:
        return False
    is_literal = word >> 24 & 0b111011 == 0b011000
    return not is_literal and word >> 5 & 0x1F == _SP


STACK = (
    Rule(
        "stack.used",
        "from the jump to what is entered next nothing is loaded or stored through SP: the stack "
        "is the old kernel's, and out of reach",
        ARM + "D1.2.2: SP alignment; series: the code uses no stack",
        Severity.ERROR,
        _moves,
        _used,
        "a routine of the kernel was called, or registers were saved",
    ),
)
