"""Which routines are compared with which, and how what only one side has is told."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from relokit.codegen.base.documents import to_data
from relokit.diffing.instructions.normalise import Aspect
from relokit.diffing.read.routine import DiffError, Names, Routine, Side
from relokit.diffing.routines.classify import WEIGHT, ChangeKind, kind_of_word, kinds_of_words
from relokit.diffing.routines.compare import compare
from relokit.diffing.routines.model import Action
from relokit.diffing.routines.report import folded, summary, unified

BASE = 0xFFFF_8000_0800_0000
NOP, RET, ISB = 0xD503201F, 0xD65F03C0, 0xD5033FDF
MOV_X0_1, MOV_X0_2 = 0xD2800020, 0xD2800040


def bl(words: int) -> int:
    return 0x94000000 | words & 0x3FFFFFF


def movz(rd: int, value: int, half: int = 0) -> int:
    return 0xD2800000 | half << 21 | value << 5 | rd


def movk(rd: int, value: int, half: int) -> int:
    return 0xF2800000 | half << 21 | value << 5 | rd


def side(*, part: bool = False, **routines: tuple[int, ...]) -> Side:
    """Routines one after another, 0x100 bytes apart."""
    found, names = {}, []
    for number, (name, words) in enumerate(routines.items()):
        at = BASE + 0x100 * number
        names.append((at, name))
        found[name] = Routine(name, at, struct.pack(f"<{len(words)}I", *words))
    return Side("a side", found, Names(names), part=part)


F, G = (ISB, MOV_X0_1, RET), (MOV_X0_2, ISB, RET)


def test_a_routine_that_only_one_side_has_is_a_difference() -> None:
    found = compare(side(f=F), side(f=F, g=G))
    assert not found.same
    assert (found.changed, found.only_left, found.only_right) == (3, (), ("g",))
    assert {change.action for change in found.changes()} == {Action.INSERTED}
    assert summary(found) == "1 routine inserted (instructions): g (3)"
    assert "+isb" in unified(found)
    back = compare(side(f=F, g=G), side(f=F))
    assert (back.changed, back.only_left) == (3, ("g",))
    assert summary(back) == "1 routine deleted (instructions): g (3)"
    assert compare(side(f=F), side(f=F, g=G), kinds=[ChangeKind.BARRIER]).changed == 1
    assert compare(side(f=F), side(f=F, g=G), kinds=[ChangeKind.TLB]).same


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_unit_is_not_expected_to_have_all_that_a_program_has(mirrored: bool) -> None:
    sides = side(f=F, part=True), side(f=F, g=G)
    found = compare(*(sides[::-1] if mirrored else sides))
    assert found.same
    assert found.ignored == ("g",)
    assert to_data(found)["ignored"] == ["g"]
    # But what the unit has and the program has not is a difference.
    assert not compare(side(f=F, h=G, part=True), side(f=F, g=G)).same
    # And two units are compared whole.
    assert not compare(side(f=F, part=True), side(f=F, g=G, part=True)).same


def test_nothing_but_what_is_ignored_is_an_error() -> None:
    with pytest.raises(DiffError, match="no routine of a side is in a side"):
        compare(side(h=F, part=True), side(f=F, g=G))


def test_a_new_name_alone_is_no_difference_anywhere() -> None:
    left = side(old=F, caller=(bl(-0x40), RET), last=G)
    right = side(new=F, caller=(bl(-0x40), RET), last=G)
    found = compare(left, right)
    assert found.same
    assert [one.name for one in found.routines if one.renamed] == ["old → new"]
    assert to_data(found)["renamed"] == ["old → new"]
    assert summary(found) == "routine renamed: old → new"
    other = compare(left, side(new=G, caller=(bl(-0x40), RET), last=G))
    assert (other.only_left, other.only_right) == (("old",), ("new",))


def test_two_sides_with_a_routine_each_are_compared_whatever_they_are_called() -> None:
    assert compare(side(f=F), side(g=F)).same


def test_many_equal_rows_are_shown_once() -> None:
    found = compare(side(f=(ISB, RET)), side(f=(ISB, *[NOP] * 30, RET)))
    rows = found.routines[0].rows
    assert [count for _, count in folded(rows)] == [1, 30, 1]
    assert unified(found).split("\n")[3:] == [" isb", "+nop", "+... 29 more of these", " ret"]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ((movz(1, 0x800), movk(1, 0x3050, 1)), (movz(1, 0x3050, 1), movk(1, 0x800, 0)), True),
        ((movz(1, 0x800), movk(1, 0x3050, 1)), (movz(1, 0x3050, 1), movk(1, 0x801, 0)), False),
        ((movz(1, 0x800), movk(2, 0x3050, 1)), (movz(1, 0x3050, 1), movk(2, 0x800, 0)), False),
        # A constant of three moves, in another order.
        (
            (movz(1, 1), movk(1, 2, 1), movk(1, 3, 2)),
            (movz(1, 3, 2), movk(1, 1, 0), movk(1, 2, 1)),
            True,
        ),
    ],
)
def test_a_constant_is_what_its_moves_put_together(
    one: tuple[int, ...], other: tuple[int, ...], same: bool
) -> None:
    left, right = side(f=(*one, RET)), side(f=(*other, RET))
    assert compare(left, right).same is same
    assert not compare(left, right, kept=[Aspect.ENCODINGS]).same


def test_a_branch_into_the_moves_of_a_constant_keeps_them_apart() -> None:
    """cbz x0 goes to the second move, which then adds to what was there before."""
    into = 0xB4000040
    left = (into, movz(1, 0x800), movk(1, 0x3050, 1), RET)
    right = (into, movz(1, 0x3050, 1), movk(1, 0x800, 0), RET)
    assert not compare(side(f=left), side(f=right)).same


def test_one_text_with_two_meanings_has_a_note() -> None:
    """x1 and x2 change places, but not in the last instruction."""
    string = 0xF9000401  # str x1, [x0, #8]
    left = (movz(1, 1), movz(2, 2), 0x8B020023, string, RET)
    right = (movz(2, 1), movz(1, 2), 0x8B010043, string, RET)
    found = compare(side(f=left), side(f=right))
    (change,) = found.changes()
    assert change.left is not None
    assert change.left.text == "str x1, [x0, #8]"
    assert change.note == "another value in x1"
    assert "-str x1, [x0, #8]  // another value in x1" in unified(found)
    assert to_data(change)["note"] == change.note


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        (0x00000000, ChangeKind.DATA),  # udf
        (0xE11F8000, ChangeKind.MEMORY),  # ldr zt0, [x0]
        (0x80800000, ChangeKind.ARITHMETIC),  # fmopa
        (0xC8A07C41, ChangeKind.MEMORY),  # cas
        (0xD503225F, ChangeKind.BARRIER),  # tsb csync
        (0xD503201F, ChangeKind.HINT),
        (0xD50B7E20, ChangeKind.CACHE),
        (0xD508871F, ChangeKind.TLB),
        (0xD5087800, ChangeKind.SYSTEM),  # at
        (0xD4000002, ChangeKind.CONTROL),  # hvc
    ],
)
def test_what_a_word_is_about(word: int, kind: ChangeKind) -> None:
    assert kind_of_word(word) is kind
    numbers = kinds_of_words(np.array([word], np.uint32))
    assert WEIGHT[int(numbers[0])] is kind
