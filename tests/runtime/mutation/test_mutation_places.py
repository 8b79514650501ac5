"""Where a finding leads: the mutated instruction is named, or that one is missing is."""

from __future__ import annotations

import re
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
    routines = RoutineName.RELOCATION, RoutineName.VECTORS, RoutineName.DATA
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
        # A register that is set again before it was used, seen from both sides.
        ("mov x1, x28 -> mov x2, x28", "register", 2),
        ("ldr x26, [x0, #0x288] -> ldr x27, [x0, #0x288]", "register", 2),
        ("mrs x9, ctr_el0 -> mrs x10, ctr_el0", "register", 2),
        ("mrs x9, ctr_el0 -> mrs xzr, ctr_el0", "register", 1),
        # A loop whose end comes no nearer: who should have changed what it goes by.
        ("ldp x0, x1, [x12], #0x40 -> ldp x0, x1, [x12, #0x40]", "kind", 7),
        ("tbz w16, #2, #0xffff800008005044 -> tbz w17", "register", 1),
        # A loop that was gone through once: its branch, who compares, what with.
        ("add x11, x12, #1, lsl #12 -> add x11, x12, #0, lsl #12", "immediate", 5),
        # A stride that is too long: what it is made of.
        ("ubfx x9, x9, #0x10, #4 -> ubfx x9, x9, #0x10, #5", "immediate", 11),
        # The number of a call, and who looks at it.
        ("mov x0, #1 -> mov x0, #5", "constant", 1),
        ("cmp x0, #1 -> cmp x0, #2", "immediate", 5),
        # The stub's own moves, for an argument that arrives as the caller's.
        ("mov x1, x3 -> mov x2, x3", "register", 4),
        # The address is cut before the branch by it.
        ("mov x1, x28 -> mov w1, w28", "width", 2),
    ],
)
def test_what_made_it_so_is_named(text: str, operator: str, most: int) -> None:
    result = tried(the(text, operator))
    assert result.place is FindingPlace.NAMED, result
    assert result.rank is not None
    assert result.rank <= most


@pytest.mark.parametrize(
    ("text", "how"),
    [
        # Set before the jump only.
        ("ldr x24, [x0", FindingPlace.MISSED),
        # What is loaded is not stored, what is set for a call is not used.
        ("stnp x0, x1, [x13] ->", FindingPlace.MISSED),
        ("hvc #0 ->", FindingPlace.MISSED),
        # The loop that it was in does nothing.
        ("dc civac, x10 ->", FindingPlace.MISSED),
        # The loop's branch: what is compared is not tested.
        ("b.lo #0xffff800008005058 ->", FindingPlace.MISSED),
        # Between two barriers.
        ("ic iallu ->", FindingPlace.BESIDE),
        # What is behind it is the stub's own way out.
        ("mov x1, x3 ->", FindingPlace.BESIDE),
    ],
)
def test_what_was_forgotten_is_told_by_what_it_leaves_behind(text: str, how: FindingPlace) -> None:
    result = tried(the(text, "drop"))
    assert result.place in (how, FindingPlace.NAMED), result


def test_a_branch_that_is_missing_leaves_flags_behind_where_the_way_ended_early() -> None:
    """What was set last is about to be used, but for flags: a compare has its branch behind it."""
    layouts = layouts_for(TARGET, Job(), [Regime.NVHE])
    layouts = tuple(one for one in layouts if one.name == "hibernate, nvhe")
    code = CodeSet(programs(TARGET))
    found = survey(TARGET, code, layouts, [RoutineName.VECTORS])
    mutant = next(one for one in found.mutants if re.match(r"b\.ne \S+ -> nop", one.text))
    result = Trier(TARGET, code, layouts).result_of(mutant)
    assert (result.rule, result.place) == ("run.spin", FindingPlace.MISSED), result


@pytest.mark.parametrize(
    ("text", "how"),
    [
        ("mov x12, #0x800 -> mov x12, #0x801", FindingPlace.NAMED),
        ("msr sctlr_el1, x12 -> nop", FindingPlace.MISSED),
    ],
)
def test_where_a_pa_is_fetched_with_the_mmu_on_it_is_sctlr_that_is_asked_for(
    text: str, how: FindingPlace
) -> None:
    """Before the jump, too: nothing has promised yet what is to be entered."""
    result = of_a_soft_restart(text)
    assert (result.rule, result.place) == ("exception.instruction-abort", how), result


def test_what_decided_is_told_before_the_jump_as_well() -> None:
    result = of_a_soft_restart("mov x12, #0x800 -> mov x0, #0x800")
    assert (result.rule, result.place) == ("exception.undefined", FindingPlace.NAMED), result


def of_a_soft_restart(text: str) -> MutantResult:
    target = Target(series=3, regime=Regime.EL1)
    layouts = layouts_for(target, Job(), [Regime.EL1])[:1]
    code = CodeSet(programs(target))
    found = survey(target, code, layouts, [RoutineName.SOFT_RESTART])
    mutant = next(one for one in found.mutants if one.text == text)
    return Trier(target, code, layouts).result_of(mutant)


def test_an_entry_of_the_tables_comes_before_what_caches_have_of_its_memory() -> None:
    for change in ("Device", "not cacheable", "not shareable"):
        result = tried(the(f"descriptor list, level 3: {change}", "descriptor"))
        assert (result.rule, result.place) == ("tlb.attributes", FindingPlace.NAMED), change


def test_a_wrong_word_of_kimage_comes_before_the_vectors_that_it_named() -> None:
    result = tried(the("field el2_vectors: zero", "field"))
    assert (result.rule, result.place) == ("setup.kimage", FindingPlace.NAMED)


@pytest.mark.parametrize("change", ["dropped", "repeated", "a page further"])
def test_an_entry_of_the_list_is_named_before_all_that_comes_of_it(change: str) -> None:
    result = tried(the(f"entry 2: {change}", "entry"))
    assert (result.rule, result.place) == ("setup.list", FindingPlace.NAMED)


def test_a_word_of_kimage_comes_before_the_crash_that_it_explains() -> None:
    result = tried(the("field ttbr1: as zero_page", "field"))
    assert (result.rule, result.place) == ("setup.kimage", FindingPlace.NAMED)
