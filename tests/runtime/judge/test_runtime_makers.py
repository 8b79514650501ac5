"""Who made it: registers back to their writers, branches that decided, what nothing has set."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from relokit.runtime.judge.rules.executed_steps import ExecutedSteps
from relokit.runtime.judge.rules.register_use import FLAGS, Effect, name_of, system_register, use_of
from relokit.runtime.record.code_path import PATH_BLOCK, CodePath
from relokit.runtime.record.code_seen import CodeSeen
from relokit.runtime.record.scene import SeenWord

AT = 0x4000_0000
CMP_X12_X11 = 0xEB0B019F
CBZ_X27 = 0xB400011B
MRS_X9_CTR = 0xD53B0029
MSR_TTBR1_X17 = 0xD5182031
DC_CIVAC_X10 = 0xD50B7E2A
MOV_X14_X12 = 0xAA0C03EE
SUB_X12 = 0xCB18018C  # sub x12, x12, x24
LDP_POST = 0xA8C40580  # ldp x0, x1, [x12], #64
B_LO = 0x54FFFEC3
NOP = 0xD503201F


def test_what_an_instruction_reads_and_writes() -> None:
    compared = use_of(CMP_X12_X11)
    assert (compared.reads, compared.writes) == ({11, 12}, {FLAGS})
    assert use_of(CBZ_X27).reads == {27}
    assert (use_of(B_LO).reads, use_of(B_LO).decides) == ({FLAGS}, True)
    assert use_of(MRS_X9_CTR).writes == {9}
    assert use_of(MSR_TTBR1_X17).writes == {system_register("TTBR1_EL1")}
    assert use_of(DC_CIVAC_X10).address == {10}
    loads = use_of(LDP_POST)
    assert (loads.writes, loads.address) == ({0, 1, 12}, {12})
    assert name_of(system_register("VBAR_EL2")) == "VBAR_EL2"
    assert use_of(0xFFFF_FFFF).reads == frozenset()
    # RET without an operand, with one, BR.
    for word, register in ((RET, 30), (0xD65F0000, 0), (0xD61F0080, 4)):
        assert (use_of(word).reads, use_of(word).address) == ({register}, {register})


def steps(words: list[int], *blocks: tuple[int, int, int], hosts: bool = False) -> ExecutedSteps:
    """``blocks`` are (number of the first word, words, times)."""
    rows, before = [], 0
    for first, length, times in blocks:
        rows.append((AT + 4 * first, before, length, times))
        before += length * times
    path = CodePath(np.array(rows, PATH_BLOCK).tobytes())
    seen = {AT + 4 * at: SeenWord(AT + 4 * at, word, None) for at, word in enumerate(words)}
    return ExecutedSteps(path, CodeSeen(seen, {}), before, hosts=hosts)


def test_the_last_writer_before_a_step() -> None:
    found = steps([SUB_X12, MOV_X14_X12, SUB_X12, NOP], (0, 4, 1))
    assert found.writer(12, 1) == 0
    assert found.writer(12, 2) == 0
    assert found.writer(12, 3) == 2
    assert found.writer(14, 1) is None
    assert found.writer(24, 4) is None


def test_of_a_loop_the_first_and_the_last_time_are_there() -> None:
    found = steps([NOP, SUB_X12, MOV_X14_X12, NOP], (0, 1, 1), (1, 2, 1_000_000), (3, 1, 1))
    assert len(found) == 1 + 4 + 1
    assert int(found.begun[-1]) == 2_000_001
    assert found.writer(12, len(found)) == 3


def test_a_block_that_ended_early_has_only_what_was_begun() -> None:
    rows = [(AT, 0, 4, 1), (AT + 64, 2, 1, 1)]
    path = CodePath(np.array(rows, PATH_BLOCK).tobytes())
    words = {AT + 4 * at: SeenWord(AT + 4 * at, NOP, None) for at in range(4)}
    found = ExecutedSteps(path, CodeSeen(words, {}), 3, hosts=False)
    assert [found.pc(step) - AT for step in range(len(found))] == [0, 4, 64]


def test_a_host_writes_registers_of_el2_by_their_other_names() -> None:
    low, high = system_register("TTBR1_EL1"), system_register("TTBR1_EL2")
    assert steps([MSR_TTBR1_X17, NOP], (0, 2, 1), hosts=True).writer(high, 2) == 0
    assert steps([MSR_TTBR1_X17, NOP], (0, 2, 1)).writer(high, 2) is None
    assert steps([MSR_TTBR1_X17, NOP], (0, 2, 1)).writer(low, 2) == 0


TBZ_OVER_ONE = 0x36180050  # tbz w16, #3, +8
LOOP_BACK = 0x54FFFFE3  # b.lo -4
RET = 0xD65F03C0


def test_the_branch_that_might_have_led_past_it_decides() -> None:
    found = steps([NOP, TBZ_OVER_ONE, SUB_X12, RET], (0, 2, 1), (2, 2, 1))
    assert found.decider(2) == 1
    assert found.decider(3) is None


def test_the_end_of_a_loop_decides_nothing_of_what_is_behind_it() -> None:
    found = steps([SUB_X12, LOOP_BACK, MOV_X14_X12, RET], (0, 2, 5), (2, 2, 1))
    behind = len(found) - 2
    assert found.decider(behind) is None
    assert found.repeater(0) == behind - 1


def test_branches_that_had_a_choice_and_whether_they_always_went_one_way() -> None:
    words = [NOP, TBZ_OVER_ONE, SUB_X12, LOOP_BACK, RET]
    found = steps(words, (0, 2, 1), (2, 2, 1), (2, 2, 1), (4, 1, 1))
    choices = [(found.pc(step) - AT, one_way) for step, one_way in found.choices(0)]
    assert choices == [(12, False), (4, True)]


HVC = 0xD4000002


def test_what_comes_behind_the_last_call_is_the_way_out_and_had_no_choice() -> None:
    words = [TBZ_OVER_ONE, HVC, TBZ_OVER_ONE, NOP, RET]
    found = steps(words, (0, 5, 1))
    assert [found.pc(step) - AT for step, _ in found.choices(0)] == [0]
    # A call before all that is asked about is none of it.
    assert [found.pc(step) - AT for step, _ in found.choices(2)] == [8]


def test_what_comes_next_and_who_used_it_first() -> None:
    found = steps([SUB_X12, MOV_X14_X12, SUB_X12, MOV_X14_X12], (0, 4, 1))
    assert (found.next(AT, 0), found.next(AT + 8, 0), found.next(AT - 4, 0)) == (None, 2, None)
    assert (found.writer_behind(12, 0), found.writer_behind(12, 2)) == (2, None)
    assert (found.reader_behind(12, 0), found.reader_behind(24, 2)) == (1, None)


def test_what_came_behind_what() -> None:
    found = steps([SUB_X12, LOOP_BACK, RET], (0, 2, 5), (2, 1, 1))
    assert found.behind(0) == {AT: {AT + 4}, AT + 4: {AT, AT + 8}, AT + 8: set()}
    assert found.behind(len(found) - 1) == {AT + 8: set()}


def test_the_first_step_below_an_address_is_where_other_code_began() -> None:
    rows = [(1 << 63 | AT, 0, 2, 1), (AT, 2, 2, 1)]
    path = CodePath(np.array(rows, PATH_BLOCK).tobytes())
    found = ExecutedSteps(path, CodeSeen({}, {}), 4, hosts=False)
    assert found.first_below(1 << 55) == 2
    assert steps([NOP, NOP], (0, 2, 1)).first_below(1 << 55) == 0


B_OVER_ONE = 0x14000002


def test_the_branch_that_was_taken_last() -> None:
    found = steps([B_OVER_ONE, NOP, SUB_X12, MOV_X14_X12], (0, 1, 1), (2, 2, 1))
    assert found.taken(2) == 0
    assert steps([TBZ_OVER_ONE, NOP, SUB_X12], (0, 1, 1), (2, 1, 1)).taken(1) is None  # it decides
    assert steps([SUB_X12, MOV_X14_X12], (0, 2, 1)).taken(1) is None


B_LO_BACK_2 = 0x54FFFFC3


def test_around_the_branch_of_a_loop_is_the_next_loop() -> None:
    words = [SUB_X12, LOOP_BACK, 0x54FFFFC3, RET]  # b.lo to the first, from the third
    found = steps(words, (0, 2, 3), (2, 1, 1), (0, 2, 3), (2, 1, 1), (3, 1, 1))
    inner = found.repeater(0)
    assert inner is not None
    assert found.pc(inner) == AT + 4
    outer = found.repeater(inner)
    assert outer is not None
    assert found.pc(outer) == AT + 8
    assert found.repeater(outer) is None


def test_by_what_an_address_goes_on_in_its_loop() -> None:
    words = [DC_CIVAC_X10, 0x8B0F014A, CMP_X12_X11, 0x54FFFFA3, RET]  # add x10, x10, x15
    assert steps(words, (0, 4, 9), (4, 1, 1)).goes_on_by(AT) == (AT + 4, (15,))
    assert steps(words[:3], (0, 3, 1)).goes_on_by(AT) is None


def test_what_was_done_before_a_run_of_nops_led_into_something_else() -> None:
    words = [SUB_X12, NOP, NOP, 0x14000000]  # b .
    found = steps(words, (0, 4, 1), (3, 1, 9))
    first = found.first_of_run(AT + 12)
    assert (first, found.fallen_from(first)) == (3, 0)
    assert found.fallen_from(1) is None  # nothing between
    assert steps([B_OVER_ONE, NOP, NOP, NOP], (0, 1, 1), (2, 2, 1)).fallen_from(2) is None


DSB_SY, ISB = 0xD5033F9F, 0xD5033FDF


def test_the_barrier_behind_maintenance() -> None:
    found = steps([DC_CIVAC_X10, NOP, DSB_SY, ISB], (0, 4, 1))
    assert found.barrier_behind(AT) == 2
    assert found.barrier_behind(AT + 12) is None


def test_what_an_instruction_is_for() -> None:
    effects = {
        NOP: Effect.HINT,
        DSB_SY: Effect.DSB,
        0xD503323F: Effect.DSB,  # dsb oshnxs
        ISB: Effect.ISB,
        0xD5033FBF: Effect.BARRIER,  # dmb sy
        DC_CIVAC_X10: Effect.MAINTENANCE,
        MSR_TTBR1_X17: Effect.SYSTEM,
        0xD5034FDF: Effect.SYSTEM,  # msr daifset, #15
        MRS_X9_CTR: Effect.REGISTERS,
        0xD53B003F: Effect.NONE,  # mrs xzr, ctr_el0
        0xAA1C03FF: Effect.NONE,  # mov xzr, x28
        CMP_X12_X11: Effect.REGISTERS,
        LDP_POST: Effect.MEMORY,
        0xF94006BF: Effect.NONE,  # ldr xzr, [x21, #8]
        0xF9800000: Effect.MEMORY,  # prfm
        CBZ_X27: Effect.BRANCH,
        HVC: Effect.LEAVES,
        0xD4000003: Effect.LEAVES,  # smc #0
        0xD69F03E0: Effect.LEAVES,  # eret
    }
    assert {word: use_of(word).effect for word in effects} == effects


def test_what_goes_on_with_a_constant_and_what_cuts_an_address() -> None:
    assert use_of(0xF2A6060C).goes_on  # movk x12, #0x3050, lsl #16
    assert not use_of(0xD281000C).goes_on
    assert use_of(0x2A0C03EE).cuts  # mov w14, w12
    assert not use_of(MOV_X14_X12).cuts
    assert not use_of(0x52800020).cuts  # mov w0, #1


blocks = st.lists(
    st.tuples(
        st.integers(0, 2**64 - 1),
        st.integers(0, 2**64 - 1),
        st.integers(0, 2**32 - 1),
        st.integers(0, 2**32 - 1),
    ),
    max_size=8,
)


@settings(max_examples=30)
@given(blocks, st.integers(0, 2**64 - 1))
def test_whatever_a_file_has_for_a_path_is_followed_within_bounds(
    rows: list[tuple[int, int, int, int]], instructions: int
) -> None:
    path = CodePath(np.array(rows, PATH_BLOCK).tobytes() + b"x")
    found = ExecutedSteps(path, CodeSeen({}, {}), instructions, hosts=False)
    assert len(found) <= 1 << 18
    assert found.writer(0, len(found)) is None
    assert all(found.decider(one) is None for one in range(min(len(found), 4)))
