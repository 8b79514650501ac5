"""Where a finding leads: the mutated instruction is named, or that one is missing is."""

from __future__ import annotations

from functools import cache

import pytest

from relokit.codegen.target import Regime, Target
from relokit.runtime.kexec.job import Job
from relokit.runtime.mutation.layouts import layouts_for
from relokit.runtime.mutation.mutant import FindingPlace, Mutant, MutantResult, RoutineName
from relokit.runtime.mutation.mutant_survey import MutantSurvey, limited, survey
from relokit.runtime.mutation.mutated import CodeSet
from relokit.runtime.mutation.trial import Trier
from support.machines import programs

TARGET = Target(series=15, regime=Regime.NVHE)
LAYOUTS = layouts_for(TARGET, Job(), [Regime.NVHE])[:1]


@cache
def surveyed() -> MutantSurvey:
    routines = RoutineName.RELOCATION, RoutineName.DATA
    return survey(TARGET, CodeSet(programs(TARGET)), LAYOUTS, routines)


def tried(mutant: Mutant) -> MutantResult:
    layouts = tuple(limited(one, surveyed().layouts) for one in LAYOUTS)
    return Trier(TARGET, CodeSet(programs(TARGET)), layouts).result_of(mutant)


def the(text: str, operator: str) -> Mutant:
    return next(
        one for one in surveyed().mutants if one.text.startswith(text) and one.operator == operator
    )


@pytest.mark.parametrize(
    ("text", "operator", "most"),
    [
        # A wrong offset: the crash is at the load through what was loaded, two steps on.
        ("ldr x16, [x0] -> ldr x16, [x0, #8]", "immediate", 8),
        # The branch over the copy: data would be copied to where no destination is.
        ("tbz w16, #3", "condition", 3),
        # One wrong word of a pair: which store it was, and who loaded that.
        ("ldp x2, x3, [x12, #-0x30] -> ldp x2, x3, [x12, #-0x38]", "immediate", 1),
    ],
)
def test_what_made_it_so_is_named(text: str, operator: str, most: int) -> None:
    result = tried(the(text, operator))
    assert result.place is FindingPlace.NAMED, result
    assert result.rank is not None
    assert result.rank <= most


def test_what_was_forgotten_is_told_as_set_before_the_jump_only() -> None:
    result = tried(the("ldr x24, [x0", "drop"))
    assert result.place is FindingPlace.MISSED, result


@pytest.mark.parametrize("change", ["dropped", "repeated", "a page further"])
def test_an_entry_of_the_list_is_named_before_all_that_comes_of_it(change: str) -> None:
    result = tried(the(f"entry 2: {change}", "entry"))
    assert (result.rule, result.place) == ("setup.list", FindingPlace.NAMED)


def test_a_word_of_kimage_comes_before_the_crash_that_it_explains() -> None:
    result = tried(the("field ttbr1: as zero_page", "field"))
    assert (result.rule, result.place) == ("setup.kimage", FindingPlace.NAMED)
