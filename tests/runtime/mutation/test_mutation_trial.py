"""Mutants tried: what kills them, where, and what never comes to an answer."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

from relokit.codegen.target import Regime, Target
from relokit.runtime.kexec.job import Job
from relokit.runtime.mutation.data_edits import spoil
from relokit.runtime.mutation.layouts import layouts_for
from relokit.runtime.mutation.mutant import (
    FindingPlace,
    Likeness,
    Mutant,
    MutantResult,
    MutantStatus,
    RoutineName,
)
from relokit.runtime.mutation.mutant_survey import MutantSurvey, limited, survey
from relokit.runtime.mutation.mutated import CodeSet, words_of
from relokit.runtime.mutation.trial import Trier, prepared
from support.machines import programs

STATES = (0, 9, 15)


def code(target: Target) -> CodeSet:
    return CodeSet(programs(target))


@cache
def surveyed(target: Target) -> MutantSurvey:
    return survey(target, code(target), layouts_for(target, Job(), Regime), RoutineName)


def tried(target: Target, mutant: Mutant, **limits: object) -> MutantResult:
    found = surveyed(target)
    layouts = tuple(
        replace(one, job=replace(one.job, **limits))  # type: ignore[arg-type]
        for one in (limited(one, found.layouts) for one in layouts_for(target, Job(), Regime))
    )
    return Trier(target, code(target), layouts).result_of(mutant)


def mutant(target: Target, routine: str, text: str) -> Mutant:
    [found] = [
        one
        for one in surveyed(target).mutants
        if one.routine == routine and one.text == text and one.operator != "move"
    ]
    return found


@pytest.mark.parametrize("series", STATES)
def test_good_code_is_surveyed_in_every_layout_and_all_that_ran_is_mutated(series: int) -> None:
    target = Target(series=series, regime=Regime.NVHE)
    found = surveyed(target)
    # States 7 to 11 read struct kimage after the copy, which has overwritten it in this one.
    fails = {"old-kernel, nvhe"} if series == 9 else set()
    assert len(found.layouts) == 16
    assert {one.name for one in found.layouts if one.why_not} == fails
    ids = [one.id for one in found.mutants]
    assert len(set(ids)) == len(ids)
    for routine in found.routines:
        words = words_of(code(target).image, routine.name, target)
        assert len(words) == routine.instructions
        dropped = [
            one for one in found.mutants if (one.routine, one.operator) == (routine.name, "drop")
        ]
        assert len(dropped) == routine.instructions - routine.not_executed


def test_one_that_caches_reveal_is_killed_at_its_instruction() -> None:
    target = Target(series=15, regime=Regime.NVHE)
    result = tried(target, mutant(target, "relocation", "dc civac, x10 -> dc ivac, x10"))
    assert result.status is MutantStatus.KILLED
    assert (result.rule, result.place) == ("caches.discard", FindingPlace.AT)
    assert result.layout == "shuffled, nvhe"


@pytest.mark.parametrize(
    ("series", "routine", "text"),
    [
        (15, "vectors", "br x4 -> nop"),
        (9, "vectors", "mov x0, x2 -> nop"),
        (0, "soft-restart", "hvc #0 -> nop"),
        (15, "soft-restart", "hvc #0 -> nop"),
        (15, "hibernate-exit", "stnp x0, x1, [x13] -> nop"),
        (0, "hibernate-exit", "br x20 -> nop"),
    ],
)
def test_every_routine_has_mutants_that_are_killed(series: int, routine: str, text: str) -> None:
    target = Target(series=series, regime=Regime.NVHE)
    assert tried(target, mutant(target, routine, text)).status is MutantStatus.KILLED


def test_what_changes_nothing_survives() -> None:
    """One neighbour of a pair of loads before the other: neither needs the other."""
    target = Target(series=15, regime=Regime.NVHE)
    swapped = next(
        one
        for one in surveyed(target).mutants
        if one.operator == "swap" and one.text.count("ldr") == 4
    )
    result = tried(target, swapped)
    assert result == MutantResult(swapped.id, MutantStatus.SURVIVED, likeness=Likeness.EFFECTS)


def test_a_loop_without_an_end_is_killed_and_not_waited_for() -> None:
    target = Target(series=15, regime=Regime.NVHE)
    result = tried(target, mutant(target, "relocation", "add x10, x10, x15 -> nop"))
    assert (result.status, result.rule) == (MutantStatus.KILLED, "run.limit")


def test_the_hosts_clock_kills_nobody() -> None:
    target = Target(series=15, regime=Regime.NVHE)
    # Entry after entry is the first one: a loop that leaves little behind to be judged.
    endless = mutant(target, "relocation", "ldr x16, [x14], #8 -> nop")
    result = tried(target, endless, max_instructions=1 << 60, timeout=0.05)
    assert result.status is MutantStatus.NO_ANSWER
    assert (result.layout, result.why) == ("shuffled, nvhe", "timeout")


def of_data(target: Target) -> dict[str, Mutant]:
    found = survey(
        target, code(target), layouts_for(target, Job(), [Regime.NVHE]), [RoutineName.DATA]
    )
    return {one.text: one for one in found.mutants}


def test_what_the_code_reads_is_mutated_and_what_is_wrong_is_named() -> None:
    target = Target(series=15, regime=Regime.NVHE)
    mutants = of_data(target)
    result = tried(target, mutants["field ttbr1: as zero_page"])
    assert result.status is MutantStatus.KILLED
    assert "setup.kimage" in result.rules
    result = tried(target, mutants["descriptor destination, level 2: read-only"])
    assert (result.status, result.place) == (MutantStatus.KILLED, FindingPlace.NAMED)
    for text in (
        "entry 1: a page further",
        "entry 0: a source",
        "descriptor control page, level 3: never executable",
        "descriptor control page, level 0: invalid",
    ):
        assert tried(target, mutants[text]).status is MutantStatus.KILLED, text


@pytest.mark.parametrize("page_size", [16384, 65536])
def test_another_address_is_another_page(page_size: int) -> None:
    """Bits 13:12, or 15:12, are none of an address with larger pages: nothing would be wrong."""
    target = Target(series=15, regime=Regime.NVHE, page_size=page_size)
    for use in ("kimage", "source"):
        one = of_data(target)[f"descriptor {use}, level 3: another address"]
        assert tried(target, one).rule == "setup.tables"


@pytest.mark.parametrize("change", ["Device", "read-only", "another address", "invalid"])
def test_an_entry_for_kimage_counts_where_kimage_is_a_destination(change: str) -> None:
    target = Target(series=15, regime=Regime.NVHE)
    result = tried(target, of_data(target)[f"descriptor kimage, level 3: {change}"])
    assert (result.status, result.layout) == (MutantStatus.KILLED, "old-kernel, nvhe")


def test_every_mutant_of_data_changes_something() -> None:
    target = Target(series=15, regime=Regime.NVHE)
    [layout, *_] = layouts_for(target, Job(), [Regime.NVHE])
    for one in of_data(target).values():
        assert one.data is not None
        with prepared(target, code(target), layout) as machine:
            assert spoil(machine, one.data)


def test_before_there_is_a_kimage_argument_other_words_are_read() -> None:
    before, after = (
        {one.place for one in of_data(Target(series=n)).values() if one.operator == "field"}
        for n in (0, 15)
    )
    assert before < after
    assert "field ttbr1" in after - before
