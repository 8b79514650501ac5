"""code.landing: what an indirect branch enters in a guarded page (FEAT_BTI)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from relokit.codegen.instruction_forms import BLR, BR, InstructionForm
from relokit.runtime.arch import descriptors as d
from relokit.runtime.judge.rules.rule import Broken, Rule, always
from relokit.runtime.judge.rules.severity import Severity
from relokit.runtime.judge.rules.traced.caches import ARM
from relokit.runtime.judge.rules.traced.lapses_told import (
    bounded,
    instruction,
    placed,
    told_at,
)
from relokit.runtime.record.code_seen import CodeSeen
from relokit.runtime.record.known import UnknownFactError, known
from relokit.runtime.record.record import Record
from relokit.runtime.record.trace import Records, TraceKind

_PAGE = 4096
_FETCHES = 2
"""What a FILL is for, in its ``encoding``."""
_WORD = 4
_BR_AUTHENTICATED = InstructionForm(0xFEFFF800, 0xD61F0800)
_BLR_AUTHENTICATED = InstructionForm(0xFEFFF800, 0xD63F0800)
_SCRATCH = (16, 17)
"""A BR by one of these is as a call is: what a linker puts between ends so."""
_FROM_ANYWHERE, _JUMPED, _CALLED = "from a page that is not guarded", "jumped to", "called"
_PADS = {
    0xD503245F: {_FROM_ANYWHERE, _CALLED},  # bti c
    0xD503249F: {_FROM_ANYWHERE, _JUMPED},  # bti j
    0xD50324DF: {_FROM_ANYWHERE, _JUMPED, _CALLED},  # bti jc
    0xD503233F: {_FROM_ANYWHERE, _CALLED},  # paciasp
    0xD503237F: {_FROM_ANYWHERE, _CALLED},  # pacibsp
}
"""Landing pads, and for which branches (C6.2, BTI): PACIASP for no jump, if SCTLR.BT is set."""


def _unguided(record: Record) -> Iterator[Broken]:
    trace = known(record.trace)
    fills = trace.of(TraceKind.FILL)
    fills = fills[(fills["encoding"] == _FETCHES)]
    if not (fills["value"] & np.uint64(d.GUARDED)).any():
        return
    yield from bounded(_entered(record, fills))
    if known(record.path).left_out:
        raise UnknownFactError("not all of the way through the code was kept")


def _entered(record: Record, fills: Records) -> Iterator[Broken]:
    rows = known(record.path).rows()
    code: CodeSeen = known(record.code)
    told = set()
    for block, following in pairwise(rows):
        length, at = int(block["length"]), int(following["pc"])
        done = int(block["before"]) + length * int(block["times"])
        last = int(block["pc"]) + (length - 1) * _WORD
        word = code.word(last)
        if word is None or done != following["before"] or at in told:
            continue
        if not _is_guarded(fills, at, done):
            continue
        how = _branch(word, guarded=_is_guarded(fills, last, done))
        if how is not None and how not in _PADS.get(code.word(at) or 0, ()):
            told.add(at)
            yield told_at(
                record,
                f"{instruction(record, at)} is {how}, and no landing pad for that, in a page "
                "that is guarded",
                at,
                notes=(f"entered by {instruction(record, last)} at {placed(record, last)}",),
            )


def _is_guarded(fills: Records, va: int, before: int) -> bool:
    """Whether the page of ``va`` is, for the instruction that ``before`` others come before."""
    page = np.uint64(va & -_PAGE)
    asked = fills[(fills["va"] == page) & (fills["before"] <= before)]
    return bool(len(asked)) and bool(asked["value"][-1] & np.uint64(d.GUARDED))


def _branch(word: int, *, guarded: bool) -> str | None:
    """What PSTATE.BTYPE is behind ``word``, None for 0."""
    if BLR.holds(word) or _BLR_AUTHENTICATED.holds(word):
        return _CALLED
    if BR.holds(word) or _BR_AUTHENTICATED.holds(word):
        return _JUMPED if guarded and word >> 5 & 31 not in _SCRATCH else _FROM_ANYWHERE
    return None


LANDING = (
    Rule(
        "code.landing",
        "what an indirect branch enters in a guarded page is a landing pad",
        ARM + "D8.4, the GP bit; PSTATE.BTYPE; C6.2, BTI. With stage 1 off no page is guarded "
        "(D8.2.12.1)",
        Severity.ERROR,
        always,
        _unguided,
        "a BTI is missing, or is for the other kind of branch; or the page is guarded by mistake",
    ),
)
