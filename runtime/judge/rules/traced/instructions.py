"""code.*: instruction words that a CPU may refuse, though the engine has carried them out."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from relokit.runtime.arch.encodings_refused import unallocated, unpredictable
from relokit.runtime.judge.rules.rule import Broken, Check, Rule, always
from relokit.runtime.judge.rules.severity import Severity
from relokit.runtime.judge.rules.traced.caches import ARM
from relokit.runtime.judge.rules.traced.lapses_told import (
    ask_whole,
    bounded,
    instruction,
    told_at,
)
from relokit.runtime.record.known import known
from relokit.runtime.record.record import Record


def _each(why: Callable[[int], str | None], tell: str) -> Check:
    def found(record: Record) -> Iterator[Broken]:
        for at, seen in sorted(known(record.code).words.items()):
            reason = None if seen.word is None else why(seen.word)
            if reason:
                yield told_at(record, f"{instruction(record, at)} {tell}: {reason}", at)

    def check(record: Record) -> Iterator[Broken]:
        yield from bounded(found(record))
        ask_whole(known(record.trace))

    return check


INSTRUCTIONS = (
    Rule(
        "code.allocated",
        "every word that is executed is one that the architecture has an instruction for",
        ARM + "C4.1: unallocated encodings are UNDEFINED; C6.2, ERET",
        Severity.ERROR,
        always,
        _each(unallocated, "is no instruction"),
        "a field that the encoding fixes has another value",
    ),
    Rule(
        "code.predictable",
        "what an instruction that is executed does is the same on every CPU",
        ARM + "C6.2, K1.2: CONSTRAINED UNPREDICTABLE behavior, UNDEFINED included",
        Severity.ERROR,
        always,
        _each(unpredictable, "may do one thing or another"),
        "two registers of it are the same, or one is named that it has no use for",
    ),
)
