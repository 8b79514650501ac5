"""The campaign itself: whatever goes wrong is found, kept and made small, and told once."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import repeat
from random import Random
from signal import SIGKILL
from threading import Event

import pytest

from fuzz import campaign
from fuzz.campaign import Told, batches, run, shares, smaller
from fuzz.door import MAX_TOLD, Door
from fuzz.mutations import mutated, text_of
from relokit.codegen.base.errors import FormatError

# A child does its cases and ends by os._exit: what other threads held is of no use to it.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

SEEDS = (b"good" * 10, b"\n".join([b"one 1", b"two 2"]))


def door(call: Callable[[bytes], object], **more: float) -> Door:
    bounds = {"seconds": 0.2, "memory": 256} | more
    return Door("door", "a door", lambda: SEEDS, mutated, call, 1.0, **bounds)  # type: ignore[arg-type]


def told(call: Callable[[bytes], object], cases: int = 4, **more: float) -> Told:
    found = Told()
    run(door(call, **more), 1, 0, cases, found)
    return found


def refuse(_case: bytes) -> None:
    raise FormatError("no")


class LongError(FormatError):
    """An error that says more than one may."""

    def __str__(self) -> str:
        return "x" * (MAX_TOLD + 1)


def refuse_at_length(_case: bytes) -> None:
    raise LongError("no")


def turn_round(_case: bytes) -> None:
    while True:
        pass


def test_answers_are_counted() -> None:
    assert told(len).answers == {"taken": 4}
    assert told(refuse).answers == {"FormatError": 4}
    assert not told(refuse).findings


WRONG: dict[str, tuple[Callable[[bytes], object], str]] = {
    "an exception": (lambda case: [][len(case)], "IndexError"),
    "too long": (turn_round, "TooLongError"),
    "too long in C": (lambda _: sum(repeat(0)), "the process ended by SIGPROF"),
    "too large": (lambda _: bytearray(1 << 30), "MemoryError"),
    "a death": (lambda _: os.kill(os.getpid(), SIGKILL), "the process ended by SIGKILL"),
    "an exit": (lambda _: os._exit(3), "the process ended with code 3"),
    "many words": (refuse_at_length, "WrongError"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_goes_wrong_is_found_and_the_next_case_is_run(name: str) -> None:
    call, how = WRONG[name]
    found = told(call, cases=2, memory=256)
    assert found.cases == 2
    assert [one for one, _ in found.findings] == [how]
    ((first, second),) = found.findings.values()
    assert [first.number, second.number] == [0, 1]
    assert first.case == door(call).case(1, 0)


def test_what_waits_for_ever_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaign, "STUCK", 1)
    found = told(lambda _: Event().wait(), cases=1)
    assert [how for how, _ in found.findings] == ["it waits for ever"]


def test_no_more_than_a_few_of_a_kind_are_kept() -> None:
    found = told(lambda case: [][len(case)], cases=50)
    assert found.answers["finding"] == 50
    assert [len(kept) for kept in found.findings.values()] == [campaign.RELATED]


def test_a_finding_is_made_small() -> None:
    def call(case: bytes) -> None:
        if b"o" in case:
            raise IndexError

    found = told(call)
    assert [smaller(door(call), kept[0]) for kept in found.findings.values()] == [b"o"]


@pytest.mark.parametrize("mutate", [mutated, text_of("word 0")])
def test_a_case_is_the_same_wherever_it_is_made(
    mutate: Callable[[Random, tuple[bytes, ...]], bytes],
) -> None:
    one = Door("door", "", lambda: SEEDS, mutate, len, 1.0)
    cases = [one.case(7, number) for number in range(300)]
    again = Door("door", "", lambda: SEEDS, mutate, len, 1.0)
    assert [again.case(7, number) for number in range(300)] == cases
    assert len(set(cases)) > 150
    assert one.case(8, 0) != cases[0]


def test_doors_share_the_time_and_rounds_share_the_cases() -> None:
    cheap, dear = (Door(str(cost), "", tuple, mutated, len, cost) for cost in (1.0, 9.0))
    assert shares([cheap, dear], 1000) == {"1.0": 900, "9.0": 100}
    assert shares([cheap, dear], 1) == {"1.0": 1, "9.0": 1}
    parts = list(batches(10, 3))
    assert parts == [(0, 3), (3, 6), (6, 10)]
