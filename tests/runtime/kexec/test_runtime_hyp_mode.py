"""is_hyp_nvhe over every boot mode, level and E2H; its users before and after patch 1."""

from __future__ import annotations

from itertools import product

import pytest

from relokit.codegen.target import Regime, Target
from relokit.runtime.kexec import hyp_mode
from relokit.runtime.kexec.hyp_mode import CASES, MODE_OF, BootMode, Case, User

WORDS = (0xE11, 0xE12)
EVERY = [
    BootMode(boot, el, e2h)
    for boot, el, e2h in product(product(WORDS, WORDS), (1, 2), (False, True))
]
BEFORE, AFTER = Target(series=0), Target(series=1)


def test_the_table_has_every_combination_once() -> None:
    assert sorted(map(repr, EVERY)) == sorted(repr(case.mode) for case in CASES)
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_predicate_gives_the_tables_answer(case: Case) -> None:
    assert hyp_mode.is_hyp_nvhe(case.mode) is case.nvhe


@pytest.mark.parametrize("user", User)
@pytest.mark.parametrize("mode", EVERY, ids=repr)
def test_patch_1_changes_no_users_mind(user: User, mode: BootMode) -> None:
    assert hyp_mode.answer(user, mode, BEFORE) is hyp_mode.answer(user, mode, AFTER)


@pytest.mark.parametrize("user", User)
def test_a_user_learns_whether_the_kernel_is_nvhe(user: User) -> None:
    for mode in EVERY:
        assert hyp_mode.answer(user, mode, AFTER) is (mode.boot == (0xE12, 0xE12) and mode.el == 1)


def test_only_one_possible_mode_is_nvhe_and_it_is_the_regimes() -> None:
    possible = [case.mode for case in CASES if case.impossible is None and case.nvhe]
    assert possible == [MODE_OF[Regime.NVHE]]


@pytest.mark.parametrize("regime", Regime)
def test_each_regime_is_a_possible_mode(regime: Regime) -> None:
    [case] = [case for case in CASES if case.mode == MODE_OF[regime]]
    assert case.impossible is None
    assert hyp_mode.is_hyp_nvhe(case.mode) is (regime is Regime.NVHE)


def test_mismatched_cpus_have_no_hyp_mode() -> None:
    for mode in EVERY:
        assert mode.boot[0] == mode.boot[1] or not hyp_mode.is_hyp_mode_available(mode)
    assert not hyp_mode.is_hyp_nvhe(BootMode((0xE11, 0xE12), 1, False))
