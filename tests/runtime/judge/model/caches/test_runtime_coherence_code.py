"""The model of the caches, of code: what is fetched after which steps."""

from __future__ import annotations

import pytest

from relokit.runtime.judge.model.caches.coherence import Coherence
from relokit.runtime.judge.model.caches.holdings import Delivered
from relokit.runtime.judge.model.caches.lapse import LapseKind
from relokit.runtime.judge.model.synchronising import Missing
from relokit.runtime.record.prehistory import Prehistory
from support.coherence import BASE, CLEAN, OTHER, SIZE, lapses
from support.traces import Story

WHOLE = ("store", "cvau", "dsb", "ic", "dsb", "isb", "fetch")


def _told(steps: tuple[str, ...]) -> Story:
    story = Story()
    for step in steps:
        match step:
            case "store":
                story.store(BASE, 64)
            case "cvau":
                story.dc("cvau", BASE, 64)
            case "fetch":
                story.fetch(BASE)
            case _:
                getattr(story, step)()
    return story


def test_code_is_fetched_new_after_five_steps_and_after_no_four() -> None:
    kinds = LapseKind.FETCHED_OLD, LapseKind.FETCHED_DIRTY
    assert not lapses(_told(WHOLE), *kinds)
    for missing in range(1, 6):
        assert lapses(_told(WHOLE[:missing] + WHOLE[missing + 1 :]), *kinds), WHOLE[missing]
    for at in range(1, 5):
        swapped = list(WHOLE)
        swapped[at : at + 2] = reversed(swapped[at : at + 2])
        if swapped != list(WHOLE):
            assert lapses(_told(tuple(swapped)), *kinds), swapped


def test_data_beside_code_in_its_line_changes_no_instruction() -> None:
    kinds = LapseKind.FETCHED_OLD, LapseKind.FETCHED_DIRTY
    for off in (False, True):
        for stored, old in ((BASE + 32, False), (BASE + 28, False), (BASE + 15, True)):
            story = Story().store(BASE, 64).dc("civac", BASE, 64).fetchable()
            story = story.mmu_off() if off else story
            story.fetch(BASE, 16).store(stored, 4).fetch(BASE, 16)
            assert bool(lapses(story, *kinds)) == old
            assert lapses(story.fetch(stored), *kinds), "what was stored is executed itself"
    story = Story().store(BASE, 64).dc("cvau", BASE, 64).fetchable().store(BASE + 32, 4)
    assert not lapses(story.fetch(BASE), *kinds)
    assert lapses(story.mmu_off().fetch(BASE), *kinds), "memory has nothing of the line"
    story = Story().store(BASE, 64).dc("civac", BASE, 64).dsb().store(BASE + 32, 4).fetch(BASE)
    assert lapses(story, *kinds), "the code was never invalidated"


def test_a_clean_from_the_middle_of_a_line_does_not_reach_the_line_behind_its_last() -> None:
    """Addresses of lines, none of which is the one that the code is in: nothing beside them."""
    for first, old in ((BASE, True), (BASE + 16, True), (BASE + 64, False), (BASE + 80, False)):
        story = Story().store(BASE, 128).dc("civac", BASE, 128).fetchable().fetch(BASE, 128)
        story.store(BASE + 64, 4).dc("cvau", first, 64).fetchable()
        story.store(BASE + 96, 4)
        assert bool(lapses(story.fetch(BASE + 64), LapseKind.FETCHED_OLD)) == old, hex(first)


def test_with_the_mmu_off_code_has_to_be_in_memory() -> None:
    for name, old in (("cvau", True), ("cvac", False), ("civac", False)):
        story = Story().store(BASE, 64).dc(name, BASE, 64).fetchable().mmu_off().fetch(BASE)
        assert bool(lapses(story, LapseKind.FETCHED_DIRTY)) == old


def test_a_fetch_is_cached_as_sctlr_i_has_it() -> None:
    """F4: with the MMU off a fetch reads memory, or a line that hides what was written to it."""
    for sctlr, hidden in ((0, False), (1 << 12, True)):
        story = Story(hcr=0).mmu_off().msr("SCTLR_EL1", sctlr).isb()
        story.store(BASE, 64).fetchable().fetch(BASE)
        assert bool(lapses(story, LapseKind.FETCHED_HIDDEN)) == hidden
    story = Story().msr("SCTLR_EL1", 1).isb().store(OTHER, 64).dc("cvau", OTHER, 64).fetchable()
    assert not lapses(story.fetch(OTHER), LapseKind.FETCHED_DIRTY), "it was stored around them"
    story = Story().store(OTHER, 64).dc("cvau", OTHER, 64).msr("SCTLR_EL1", 5).fetchable()
    assert lapses(story.fetch(OTHER), LapseKind.FETCHED_DIRTY), "a fetch that goes around them"


@pytest.mark.parametrize("clean", [True, False])
def test_code_changed_before_the_trace(clean: bool) -> None:
    """F10: C has copied it, and no I-cache was invalidated since."""
    code = ((BASE, BASE + 0x1000),)
    prehistory = Prehistory(clean=code if clean else (), needed=code, unfetchable=code)
    kinds = LapseKind.FETCHED_OLD, LapseKind.FETCHED_DIRTY
    assert lapses(Story().fetch(BASE), *kinds, prehistory=prehistory)
    assert not lapses(Story().fetch(OTHER), *kinds, prehistory=prehistory)
    assert bool(lapses(Story().fetchable().fetch(BASE), *kinds, prehistory=prehistory)) != clean


def test_invalidation_by_address_reaches_that_address() -> None:
    high = BASE | 0xFFFF << 48
    other, old, elsewhere = BASE + 0x1000, LapseKind.FETCHED_OLD, LapseKind.FETCHED_ELSEWHERE
    for va, executed, kinds in (
        (BASE, BASE, []), (high, high, []), (other, other, []),
        (high, BASE, [elsewhere]), (BASE, high, [elsewhere]),
        (other, BASE, [old]), (BASE, other, [old]), (high, other, [old]),
    ):  # fmt: skip
        story = Story().store(BASE, 64).dc("civac", BASE, 64).dsb()
        story.ic_by_address(BASE, 64, va=va).dsb().isb().fetch(BASE, va=executed)
        assert [lapse.kind for lapse in lapses(story, old, elsewhere)] == kinds


@pytest.mark.parametrize("line", [16, 32, 64, 128, 512])
def test_lines_of_code_may_be_of_another_size_than_those_of_data(line: int) -> None:
    story = Story().store(BASE, 1024).dc("civac", BASE, 1024).dsb()
    story.ic_by_address(BASE, 512, line=line).dsb().isb().fetch(BASE, 512)
    assert not lapses(story, LapseKind.FETCHED_OLD)
    [lapse] = lapses(story.fetch(BASE + 508, 8), LapseKind.FETCHED_OLD)
    assert lapse.spans == [(BASE + 512, 64)]


def test_invalidation_at_another_address_has_to_be_complete_and_behind_the_clean() -> None:
    high = BASE | 0xFFFF << 48
    old, elsewhere = LapseKind.FETCHED_OLD, LapseKind.FETCHED_ELSEWHERE
    early = Story().store(BASE, 64).ic_by_address(BASE, 64, va=high).dsb()
    early.dc("civac", BASE, 64).dsb().isb().fetch(BASE)
    without = Story().store(BASE, 64).dc("civac", BASE, 64).dsb()
    without.ic_by_address(BASE, 64, va=high).isb().fetch(BASE)
    half = Story().store(BASE, 128).dc("civac", BASE, 128).dsb()
    half.ic_by_address(BASE, 64, va=high).dsb().isb().fetch(BASE).fetch(BASE + 64)
    for story, kinds in ((early, [old]), (without, [old]), (half, [elsewhere, old])):
        assert [lapse.kind for lapse in lapses(story, old, elsewhere)] == kinds


def test_no_trace_can_have_memory_used_up_by_aliases() -> None:
    story = Story().store(BASE, 64).dc("civac", BASE, 64).dsb()
    for number in range(100):
        story.ic_by_address(BASE, 64, va=BASE + (number << 12))
    story.dsb().isb().fetch(BASE, va=BASE + (99 << 12)).fetch(BASE)
    # The first ones count; of others nothing is certain.
    [lapse] = lapses(story, LapseKind.FETCHED_OLD)
    assert lapse.pc == story.pc - 8


def test_the_image_is_invalidated_after_it_was_cleaned() -> None:
    early = Story().ic().dsb().isb().store(BASE, SIZE).dc("civac", BASE, SIZE).dsb().isb()
    assert lapses(early, LapseKind.OLD_CODE)
    assert not lapses(early.fetchable(), LapseKind.OLD_CODE)


def test_what_is_resumed_has_to_be_fetched_as_it_is() -> None:
    """With its MMU on, so that the point of unification is as far as it need be cleaned."""
    for steps, missing in (
        (WHOLE[:-1], None),
        (("store", "dsb", "ic", "dsb", "isb"), Missing.CLEAN),
        (("store", "cvau", "ic", "dsb", "isb"), Missing.IC),
        (("store", "cvau", "ic", "isb"), Missing.DSB_BEFORE),
        (("store", "cvau", "dsb", "isb"), Missing.IC),
        (("store", "cvau", "dsb", "ic", "isb"), Missing.DSB_AFTER),
        (("store", "cvau", "dsb", "ic", "dsb"), Missing.CONTEXT),
        (("cvau", "dsb", "ic", "dsb", "isb"), None),
    ):
        trace = _told(steps).trace()
        one = Delivered(0, False, BASE, SIZE, len(trace.records), resumed=True)
        found = list(Coherence(trace, CLEAN, (one,)).lapses.of(LapseKind))
        assert [lapse.missing for lapse in found] == [missing] * (missing is not None), steps
