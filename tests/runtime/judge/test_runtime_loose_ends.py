"""Loose ends: each kind is found in code that has it, and not in its good twin."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relokit.codegen.target import Regime, Target
from relokit.runtime.judge.rules.executed_steps import ExecutedSteps
from relokit.runtime.judge.rules.loose_ends import EndKind, LooseEnd, loose_ends
from relokit.runtime.judge.rules.makers import judged_steps
from relokit.runtime.judge.rules.register_use import FLAGS
from relokit.runtime.kexec.job import Job
from relokit.runtime.mutation.layouts import layouts_for
from relokit.runtime.mutation.mutated import CodeSet
from relokit.runtime.mutation.trial import tried
from relokit.runtime.record.code_path import PATH_BLOCK, CodePath
from relokit.runtime.record.code_seen import CodeSeen
from relokit.runtime.record.scene import SeenWord
from support.machines import programs

AT = 0x4000_0000
NOP = 0xD503201F
RET = 0xD65F03C0
MOV_X1_X2, MOV_X1_X3, MOV_X4_X1, MOV_XZR_X2 = 0xAA0203E1, 0xAA0303E1, 0xAA0103E4, 0xAA0203FF
CMP_X10_X13, ADD_X10_X10_X15, STR_X1_X10 = 0xEB0D015F, 0x8B0F014A, 0xF9000141
B_LO_BACK_2, B_LO_BACK_3 = 0x54FFFFC3, 0x54FFFFA3
MOV_X9_4 = 0xD2800089
HVC = 0xD4000002


def ends(words: list[int], *blocks: tuple[int, int, int], given: int = 0) -> list[LooseEnd]:
    """``blocks`` are (number of the first word, words, times)."""
    rows, before = [], 0
    for first, length, times in blocks or ((0, len(words), 1),):
        rows.append((AT + 4 * first, before, length, times))
        before += length * times
    path = CodePath(np.array(rows, PATH_BLOCK).tobytes())
    seen = {AT + 4 * at: SeenWord(AT + 4 * at, word, None) for at, word in enumerate(words)}
    steps = ExecutedSteps(path, CodeSeen(seen, {}), before, hosts=False)
    return list(loose_ends(steps, 0, given))


def kinds(found: list[LooseEnd]) -> list[EndKind]:
    return [one.kind for one in found if one.kind is not EndKind.PENDING]


def test_what_is_set_again_before_it_was_used_was_set_for_nothing() -> None:
    [end] = [one for one in ends([MOV_X1_X2, NOP, MOV_X1_X3, MOV_X4_X1]) if one.register == 1]
    assert (end.kind, end.step, end.others) == (EndKind.UNUSED, 0, (AT + 8,))


def test_its_good_twin_uses_it_between() -> None:
    assert kinds(ends([MOV_X1_X2, MOV_X4_X1, MOV_X1_X3, MOV_X4_X1])) == [EndKind.UNUSED]  # x4
    assert kinds(ends([MOV_X1_X2, STR_X1_X10, MOV_X1_X3, STR_X1_X10])) == []


def test_what_only_one_turn_of_a_loop_uses_is_used() -> None:
    words = [STR_X1_X10, MOV_X1_X2, CMP_X10_X13, 0x54FFFFA3, RET]  # b.lo to the first
    assert kinds(ends(words, (0, 4, 3), (4, 1, 1))) == [EndKind.ENDLESS]
    assert kinds(ends(words, (0, 4, 1), (4, 1, 1))) == [EndKind.ONCE]


def test_what_is_not_used_at_the_end_may_have_been_about_to_be() -> None:
    found = ends([MOV_X9_4, MOV_X1_X2, NOP])
    assert [(one.kind, one.register) for one in found] == [
        (EndKind.PENDING, 1),
        (EndKind.PENDING, 9),
    ]


@pytest.mark.parametrize("words", [[MOV_X9_4, MOV_X1_X2, NOP], [MOV_X9_4, MOV_X1_X2, HVC]])
def test_arguments_are_for_what_is_entered_and_for_a_call(words: list[int]) -> None:
    found = ends(words, given=8 if words[-1] == NOP else 0)
    assert [one.register for one in found] == [9]


def test_an_unknown_instruction_may_use_everything() -> None:
    seen = ends([MOV_X1_X2, 0x0000_0000, MOV_X1_X3, STR_X1_X10])
    assert kinds(seen) == [EndKind.UNUSED]  # UDF is known, and reads nothing
    words = {AT: SeenWord(AT, MOV_X1_X2, None), AT + 8: SeenWord(AT + 8, MOV_X1_X3, None)}
    path = CodePath(np.array([(AT, 0, 4, 1)], PATH_BLOCK).tobytes())
    steps = ExecutedSteps(path, CodeSeen(words, {}), 4, hosts=False)
    assert kinds(list(loose_ends(steps, 0, 0))) == []


def test_what_writes_to_the_zero_register_is_in_vain_and_a_nop_is_not() -> None:
    assert kinds(ends([MOV_XZR_X2, NOP, RET])) == [EndKind.IN_VAIN]
    assert kinds(ends([CMP_X10_X13, NOP, RET])) == []  # it sets the flags


def test_a_loop_that_only_counts_is_idle() -> None:
    words = [ADD_X10_X10_X15, CMP_X10_X13, B_LO_BACK_2, RET]
    [end] = [one for one in ends(words, (0, 3, 9), (3, 1, 1)) if one.kind is EndKind.IDLE]
    assert end.others == (AT,)


def test_its_good_twin_stores() -> None:
    words = [STR_X1_X10, ADD_X10_X10_X15, CMP_X10_X13, B_LO_BACK_3, RET]
    assert kinds(ends(words, (0, 4, 9), (4, 1, 1))) == []


def test_a_loop_whose_end_comes_no_nearer() -> None:
    words = [STR_X1_X10, NOP, CMP_X10_X13, B_LO_BACK_3, RET]
    [end] = [one for one in ends(words, (0, 4, 9), (4, 1, 1)) if one.kind is EndKind.ENDLESS]
    assert end.others == (AT, AT + 8)  # who uses x10, and who compares it


def test_a_loop_that_was_gone_through_once() -> None:
    words = [STR_X1_X10, ADD_X10_X10_X15, CMP_X10_X13, B_LO_BACK_3, RET]
    [end] = [one for one in ends(words, (0, 4, 1), (4, 1, 1)) if one.kind is EndKind.ONCE]
    assert (end.step, end.others) == (3, (AT,))


def test_flags_that_nothing_tests() -> None:
    found = ends([CMP_X10_X13, NOP, CMP_X10_X13, 0x54000043, NOP, RET])
    assert [(one.kind, one.register) for one in found] == [(EndKind.UNUSED, FLAGS)]


@pytest.mark.parametrize("series", [0, 9, 15])
def test_good_code_has_none(series: int) -> None:
    target = Target(series=series, regime=Regime.NVHE)
    for layout in layouts_for(target, Job(), [Regime.NVHE])[:2]:
        with tried(target, CodeSet(programs(target)), layout) as trial:
            assert trial.errors == ()
            found = judged_steps(trial.record)
            assert found is not None
            assert len(found.steps) > 100
            assert found.loose == ()


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(st.integers(0, 31), st.integers(1, 40), st.integers(1, 5)), min_size=1, max_size=6
    ),
    st.lists(
        st.sampled_from(
            [NOP, MOV_X1_X2, MOV_XZR_X2, CMP_X10_X13, B_LO_BACK_2, RET, HVC, 0xD69F03E0]
        ),
        min_size=8,
        max_size=24,
    ),
)
def test_whatever_the_path_an_end_is_of_a_step_that_there_is(
    blocks: list[tuple[int, int, int]], words: list[int]
) -> None:
    for end in ends(words, *blocks):
        assert end.step >= 0
        assert all(AT <= other < AT + 4 * 100 for other in end.others)
