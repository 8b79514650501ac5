"""When an exception would find no vectors."""

from __future__ import annotations

import pytest

from relokit.runtime.judge.model.exposure import MAX_PLACES, Exposure, Loss, exposures
from relokit.runtime.record.known import UnknownFactError
from support.traces import Story

VBAR, AT, TABLE = 0xFFFF_8000_0000_0800, 0x6000_0800, 0x800
OPEN, SHUT = 0b0000, 0b1111


def found(story: Story) -> list[Exposure]:
    return list(exposures(story.trace()))


@pytest.mark.parametrize("daif", range(16))
def test_any_of_four_that_is_not_masked_counts(daif: int) -> None:
    lost = [Exposure(0, 0, 0, Loss.UNMAPPED)]
    assert found(Story().vectors(VBAR, daif=daif)) == (lost if daif != SHUT else [])


def test_vectors_that_are_there_are_no_exposure() -> None:
    story = Story().vectors(VBAR, pa=AT).store(AT - 64, 64).store(AT + TABLE, 64)
    assert found(story.vectors(VBAR, daif=SHUT, pa=AT).store(AT, 64)) == []


@pytest.mark.parametrize(("word", "lost"), [(0, True), (0xFFFF, True), (0x1400_0000, False)])
def test_a_slot_without_an_instruction_is_no_vector(word: int, lost: bool) -> None:
    losses = [one.loss for one in found(Story().vectors(VBAR, pa=AT, word=word))]
    assert losses == [Loss.EMPTY] * lost


@pytest.mark.parametrize(("at", "size"), [(AT - 16, 17), (AT, 1), (AT + TABLE - 1, 16)])
def test_a_store_to_them_loses_them_then_or_later(at: int, size: int) -> None:
    before = Story().vectors(VBAR, daif=SHUT, pa=AT).store(at, size).vectors(VBAR, pa=AT)
    assert found(before) == [Exposure(2, 2, 1, Loss.OVERWRITTEN)]
    later = Story().vectors(VBAR, pa=AT).dsb().store(at, size)
    assert found(later) == [Exposure(0, 0, 2, Loss.OVERWRITTEN)]


def test_what_was_unmasked_first_is_what_counts() -> None:
    story = Story().vectors(VBAR, daif=SHUT, pa=AT).dsb().vectors(VBAR, daif=0b1011, pa=AT)
    assert found(story.dsb().vectors(VBAR, daif=OPEN)) == [Exposure(2, 4, 4, Loss.UNMAPPED)]


def test_a_return_goes_on_where_the_exception_came() -> None:
    story = Story().vectors(VBAR, pa=AT).exception().vectors(0, daif=SHUT, pa=AT).eret()
    assert found(story.vectors(VBAR)) == [Exposure(0, 4, 4, Loss.UNMAPPED)]


def test_a_loop_is_told_once() -> None:
    story = Story()
    for _ in range(5):
        story.pc = 0x5000_0000
        story.vectors(VBAR).dsb().vectors(VBAR, daif=SHUT)
    assert len(found(story)) == 1


def test_a_trace_that_does_not_tell_is_not_judged() -> None:
    with pytest.raises(UnknownFactError, match="does not tell"):
        found(Story().dsb())


def test_more_places_than_a_move_has_are_not_judged() -> None:
    story = Story()
    for number in range(MAX_PLACES + 1):
        story.vectors(VBAR, pa=AT + number * TABLE)
    with pytest.raises(UnknownFactError, match="places"):
        found(story)
