"""What a diff says, and what it must not say: properties over programs assembled here."""

from __future__ import annotations

import struct
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relokit.codegen.base.documents import to_data
from relokit.diffing.instructions.normalise import Aspect
from relokit.diffing.read.routine import MAX_ROUTINE, DiffError, Names, Routine, Side
from relokit.diffing.routines.align import CellBudget, align
from relokit.diffing.routines.classify import ChangeKind
from relokit.diffing.routines.compare import compare
from relokit.diffing.routines.model import Action, Diff
from relokit.diffing.routines.report import summary, unified

BASE = 0xFFFF_8000_0800_0000
NOP, RET, ISB, DSB_NSH, DSB_SY = 0xD503201F, 0xD65F03C0, 0xD5033FDF, 0xD503379F, 0xD5033F9F
IC_IALLU, TLBI_VMALLE1 = 0xD508751F, 0xD508871F


def dc_ivac(register: int) -> int:
    return 0xD5087620 | register


def dc_civac(register: int) -> int:
    return 0xD50B7E20 | register


def add(rd: int, rn: int, immediate: int) -> int:
    return 0x91000000 | immediate << 10 | rn << 5 | rd


def ldr(rt: int, rn: int, offset: int) -> int:
    return 0xF9400000 | offset // 8 << 10 | rn << 5 | rt


def add_registers(rd: int, rn: int, rm: int) -> int:
    return 0x8B000000 | rm << 16 | rn << 5 | rd


def mrs_ctr(rt: int) -> int:
    return 0xD53B0020 | rt


def branch(words: int) -> int:
    return 0x14000000 | words & 0x3FFFFFF


def cbz(rt: int, words: int) -> int:
    return 0xB4000000 | (words & 0x7FFFF) << 5 | rt


def side(*words: int, at: int = BASE, name: str = "f", names: Names | None = None) -> Side:
    routine = Routine(name, at, struct.pack(f"<{len(words)}I", *words))
    return Side(f"side at {at:#x}", {name: routine}, names or Names(()))


def diff(left: tuple[int, ...], right: tuple[int, ...], **more: Any) -> Diff:
    return compare(side(*left), side(*right), **more)


# Instructions whose general registers are given: a function of them, and how many.
FORMS = (
    (lambda a, b, _: add(a, b, 0x40), 2),
    (lambda a, b, _: add(a, b, 0x80), 2),
    (add_registers, 3),
    (lambda a, b, _: ldr(a, b, 0x18), 2),
    (lambda a, _b, _c: mrs_ctr(a), 1),
    (lambda a, _b, _c: dc_civac(a), 1),
    (lambda a, _b, _c: dc_ivac(a), 1),
    (lambda *_: ISB, 0),
    (lambda *_: DSB_NSH, 0),
    (lambda *_: TLBI_VMALLE1, 0),
    (lambda *_: IC_IALLU, 0),
)
REGISTER = st.integers(0, 28)
STATEMENT = st.tuples(st.integers(0, len(FORMS) - 1), REGISTER, REGISTER, REGISTER)
PROGRAM = st.lists(STATEMENT, min_size=1, max_size=24)
TAIL = (cbz(27, -1), RET)


def encode(program: list[tuple[int, int, int, int]], names: list[int] | None = None) -> list[int]:
    names = names or list(range(32))
    return [FORMS[form][0](names[a], names[b], names[c]) for form, a, b, c in program]


def mirrored(found: Diff) -> Counter[Any]:
    swap = {Action.INSERTED: Action.DELETED, Action.DELETED: Action.INSERTED}
    return Counter(
        (swap.get(one.action, one.action), one.kind, one.right, one.left) for one in found.changes()
    )


@settings(max_examples=150)
@given(PROGRAM)
def test_a_routine_is_no_different_from_itself(program: list[tuple[int, int, int, int]]) -> None:
    words = (*encode(program), *TAIL)
    for kept in ((), tuple(Aspect)):
        found = diff(words, words, kept=kept)
        assert found.same
        assert found.changed == 0
        assert found.score == 100
        assert unified(found) == summary(found) == ""
        assert to_data(found)["hunks"] == []
        assert to_data(found)["registers"] == {}


@settings(max_examples=150)
@given(PROGRAM, PROGRAM)
def test_a_diff_mirrors_the_diff_of_the_sides_exchanged(
    one: list[tuple[int, int, int, int]], other: list[tuple[int, int, int, int]]
) -> None:
    left, right = (*encode(one), *TAIL), (*encode(other), *TAIL)
    there, back = diff(left, right), diff(right, left)
    assert there.changed == back.changed
    assert there.score == back.score
    plain = Counter((c.action, c.kind, c.left, c.right) for c in there.changes())
    assert plain == mirrored(back)
    renamed = {tuple(reversed(pair)) for routine in back.routines for pair in routine.registers}
    assert {*there.routines[0].registers} == renamed


@settings(max_examples=150)
@given(PROGRAM, PROGRAM)
def test_a_diff_accounts_for_every_instruction(
    one: list[tuple[int, int, int, int]], other: list[tuple[int, int, int, int]]
) -> None:
    left, right = (*encode(one), *TAIL), (*encode(other), *TAIL)
    rows = diff(left, right).routines[0].rows
    assert [row.left.word for row in rows if row.left] == list(left)
    assert [row.right.word for row in rows if row.right] == list(right)


@settings(max_examples=150)
@given(PROGRAM, st.permutations(range(29)))
def test_renaming_registers_one_to_one_is_no_difference(
    program: list[tuple[int, int, int, int]], names: list[int]
) -> None:
    left, right = (*encode(program), RET), (*encode(program, names), RET)
    assert diff(left, right).same


@settings(max_examples=100)
@given(PROGRAM, st.integers(-(1 << 30), 1 << 30))
def test_moving_a_routine_is_no_difference(
    program: list[tuple[int, int, int, int]], pages: int
) -> None:
    words = (*encode(program), *TAIL)
    moved = (BASE + pages * 4) % (1 << 64)
    assert compare(side(*words), side(*words, at=moved)).same


@settings(max_examples=150)
@given(PROGRAM, st.data())
def test_changing_one_operand_is_always_seen(
    program: list[tuple[int, int, int, int]], data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(program)))
    left = [*encode(program), add(1, 1, 8), *TAIL]
    right = left.copy()
    place = len(program) if at == len(program) else at
    left[place], right[place] = add(3, 3, 0x10), add(3, 3, 0x18)
    found = diff(tuple(left), tuple(right))
    assert found.changed == 1
    (change,) = found.changes()
    assert (change.left and change.left.word, change.right and change.right.word) == (
        left[place],
        right[place],
    )


@settings(max_examples=150)
@given(PROGRAM, st.data())
def test_changing_one_register_is_a_difference_or_a_renaming(
    program: list[tuple[int, int, int, int]], data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(program) - 1))
    form, *registers = program[at]
    count = FORMS[form][1]
    if not count:
        return
    changed = data.draw(st.integers(0, count - 1))
    old = registers[changed]
    registers[changed] = data.draw(REGISTER.filter(lambda new: new != old))
    other = [*program]
    other[at] = (form, registers[0], registers[1], registers[2])
    found = diff((*encode(program), RET), (*encode(other), RET))
    assert found.changed or found.renames()
    assert diff((*encode(program), RET), (*encode(other), RET), kept=[Aspect.REGISTERS]).changed


@settings(max_examples=200)
@given(st.binary(min_size=4, max_size=512), st.binary(min_size=4, max_size=512))
def test_random_words_are_compared_without_a_fault(one: bytes, other: bytes) -> None:
    sides = [
        Side(name, {"f": Routine("f", BASE, code[: len(code) & ~3])}, Names(()))
        for name, code in (("one", one), ("other", other))
    ]
    found = compare(sides[0], sides[1])
    unified(found)
    summary(found)
    assert found.same == (found.changed == 0)
    assert compare(sides[0], sides[0]).same


def test_one_cache_operation() -> None:
    left = (mrs_ctr(9), dc_ivac(2), DSB_SY, RET)
    right = (mrs_ctr(9), dc_civac(19), DSB_SY, RET)
    found = diff(left, right)
    assert found.changed == 1
    assert summary(found) == "1 cache operation changed: dc ivac → dc civac"
    (hunk,) = to_data(found)["hunks"]
    assert hunk["action"] == "operand changed"
    assert hunk["changes"][0]["kind"] == "cache"
    assert hunk["changes"][0]["left"] == {
        "offset": 4, "word": f"{dc_ivac(2):08x}", "text": "dc ivac, x2",
    }  # fmt: skip


def test_a_renaming_is_told_but_is_no_difference() -> None:
    left = (add(2, 2, 8), dc_civac(2), RET)
    right = (add(19, 19, 8), dc_civac(19), RET)
    found = diff(left, right)
    assert found.same
    assert summary(found) == "registers renamed x2→x19"
    assert unified(found) == ""
    strict = diff(left, right, kept=[Aspect.REGISTERS])
    assert {change.action for change in strict.changes()} == {Action.RENAMED}
    assert strict.changed == 2


def test_two_registers_that_become_one_are_a_difference() -> None:
    left = (add(1, 1, 8), add(2, 2, 16), dc_civac(1), dc_civac(2))
    right = (add(1, 1, 8), add(1, 1, 16), dc_civac(1), dc_civac(1))
    assert diff(left, right).changed == 2


def test_a_renaming_leaves_no_two_registers_with_one_name() -> None:
    left = (add(1, 1, 8), dc_civac(1), mrs_ctr(5), RET)
    right = (add(5, 5, 8), dc_civac(5), mrs_ctr(5), RET)
    assert diff(left, right).changed == 1


def test_the_link_register_is_not_renamed() -> None:
    assert diff((add(30, 30, 8), RET), (add(9, 9, 8), RET)).changed


def test_barriers_that_change_places_are_moved() -> None:
    found = diff((ISB, DSB_NSH, RET), (DSB_NSH, ISB, RET))
    assert [change.action for change in found.changes()] == [Action.MOVED]
    assert not found.same
    assert summary(found).startswith("1 barrier moved: ")


def test_an_inserted_instruction_does_not_change_the_branches_over_it() -> None:
    left = (cbz(1, 3), add(2, 2, 8), branch(-2), RET)
    right = (cbz(1, 4), add(2, 2, 8), ISB, branch(-3), RET)
    (change,) = diff(left, right).changes()
    assert (change.action, change.kind) == (Action.INSERTED, ChangeKind.BARRIER)


def test_a_branch_to_another_place_is_a_difference() -> None:
    left = (cbz(1, 2), add(2, 2, 8), add(3, 3, 16), RET)
    right = (cbz(1, 3), add(2, 2, 8), add(3, 3, 16), RET)
    (change,) = diff(left, right).changes()
    assert (change.action, change.kind) == (Action.OPERAND, ChangeKind.CONTROL)


def test_a_call_is_compared_by_name_where_there_is_one() -> None:
    call = 0x94000000 | 0x100
    here = Names([(BASE + 0x400, "memcpy")])
    there = Names([(BASE + 0x1400, "__pi_memcpy"), (BASE + 0x1400, "memcpy")])
    other = Names([(BASE + 0x400, "memset")])
    left = side(call, RET, names=here)
    assert compare(left, side(call, RET, at=BASE + 0x1000, names=there)).same
    found = compare(left, side(call, RET, names=other))
    assert summary(found) == "1 branch changed: bl memcpy → bl memset"
    # By address they differ in the first case.
    moved = side(call, RET, at=BASE + 0x1000, names=there)
    assert compare(left, moved, kept=[Aspect.ADDRESSES]).changed == 1


@pytest.mark.parametrize("padding", [(NOP,), (NOP, NOP, NOP), (0, 0)])
def test_padding_at_the_end_is_no_difference(padding: tuple[int, ...]) -> None:
    words = (add(1, 1, 8), RET)
    assert diff(words, words + padding).same
    assert diff(words, words + padding, kept=[Aspect.PADDING]).changed == len(padding)


def test_a_nop_in_between_is_a_difference() -> None:
    (change,) = diff((ISB, RET), (ISB, NOP, RET)).changes()
    assert change.kind is ChangeKind.HINT


EQUIVALENT = {
    "mov and add #0": (0xAA0103E0, add(0, 1, 0)),
    "mov xzr and movz #0": (0xAA1F03E0, 0xD2800000),
    "32 and 64 bits of a positive number": (0x52800020, 0xD2800020),
    "movz and orr of one number": (0xD2800020, 0xB24003E0),
    "ldr and ldur": (ldr(0, 1, 8), 0xF8408020),
    "eor with itself and zero": (0xCA010020, 0xD2800000),
}


@pytest.mark.parametrize("name", EQUIVALENT)
def test_equivalent_encodings_are_no_difference(name: str) -> None:
    one, other = EQUIVALENT[name]
    assert diff((one, RET), (other, RET)).same
    assert diff((one, RET), (other, RET), kept=[Aspect.ENCODINGS]).changed


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (0x52800020, 0x12800020),  # mov w0, #1 and #-2
        (0xD2800020, 0x92800020),
        (ldr(0, 1, 8), 0xF8407020),  # ldr [x1, #8], ldur [x1, #7]
        (0xF9400420, 0xB9400820),  # 64 and 32 bits
        (add(0, 1, 0), 0x11000020),  # add x, add w: the upper half is cleared
    ],
)
def test_encodings_that_are_not_equivalent(one: int, other: int) -> None:
    assert diff((one, RET), (other, RET)).changed


def test_only_some_kinds_count() -> None:
    left, right = (ISB, add(1, 1, 8), DSB_NSH, RET), (ISB, add(1, 1, 16), DSB_SY, RET)
    assert diff(left, right).changed == 2
    barriers = diff(left, right, kinds=[ChangeKind.BARRIER])
    assert [change.kind for change in barriers.changes()] == [ChangeKind.BARRIER]
    tlb = diff(left, right, kinds=[ChangeKind.TLB])
    assert tlb.same
    assert unified(tlb) == summary(tlb) == ""
    assert to_data(tlb)["hunks"] == []
    assert tlb.score == 100


def test_hunks_far_apart_are_shown_apart() -> None:
    middle = tuple(add(register, register, 8) for register in range(1, 20))
    found = diff((ISB, *middle, ISB, RET), (DSB_SY, *middle, DSB_SY, RET))
    assert unified(found).count("@@ -") == 2
    assert unified(found).startswith("--- side")
    near = diff((ISB, *middle[:2], ISB, RET), (DSB_SY, *middle[:2], DSB_SY, RET))
    assert unified(near).count("@@ -") == 1


def test_nothing_in_common() -> None:
    routines = {name: Routine(name, BASE, struct.pack("<I", RET)) for name in ("f", "g")}
    one = Side("one", routines, Names(()))
    other = Side("other", {"h": routines["f"], "i": routines["g"]}, Names(()))
    with pytest.raises(DiffError, match="no routine of one is in other"):
        compare(one, other)


@pytest.mark.parametrize("size", [0, 2, MAX_ROUTINE + 4])
def test_a_routine_of_no_possible_size(size: int) -> None:
    with pytest.raises(DiffError, match=f"routine f has {size} bytes"):
        Routine("f", BASE, bytes(size))


def test_alignment_prefers_the_one_real_match_to_many_weak_ones() -> None:
    left, right = ["mov 1", "mov 2", "isb 1"], ["isb 1", "mov 3", "mov 4"]

    def score(i: int, j: int) -> int:
        return 24 if left[i] == right[j] else 5 * (left[i][:3] == right[j][:3])

    assert align(left, right, score, CellBudget()) == [(2, 0)]


def test_alignment_without_a_budget_still_ends() -> None:
    left, right = [n % 7 for n in range(4000)], [n % 5 for n in range(4000)]
    pairs = align(left, right, lambda i, j: 24 * (left[i] == right[j]), CellBudget(cells=10))
    assert pairs == sorted(pairs)
    assert all(left[i] == right[j] for i, j in pairs)
