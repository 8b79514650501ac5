"""Who made it: registers back to their writers, branches that decided, what nothing has set."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from relokit.runtime.judge.rules.executed_steps import ExecutedSteps
from relokit.runtime.judge.rules.register_use import FLAGS, name_of, system_register, use_of
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


def test_branches_that_always_went_one_way() -> None:
    words = [NOP, TBZ_OVER_ONE, SUB_X12, LOOP_BACK, RET]
    found = steps(words, (0, 2, 1), (2, 2, 1), (2, 2, 1), (4, 1, 1))
    assert [found.pc(step) - AT for step in found.one_way(0)] == [4]


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
