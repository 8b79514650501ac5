"""Kinds of difference that do not count, and what hides behind them and is seen."""

from __future__ import annotations

import struct

import capstone
import numpy as np
import pytest

from relokit.building import encoder
from relokit.codegen.base.documents import to_data
from relokit.codegen.base.errors import RelokitError
from relokit.codegen.gas.assembler import assemble
from relokit.codegen.source import Unit
from relokit.diffing.instructions.ignorable import Ignorable, ignorable_named, ignorable_word
from relokit.diffing.instructions.normalise import Aspect
from relokit.diffing.read.object_side import object_side
from relokit.diffing.read.routine import Names, Replaced, Routine, Side
from relokit.diffing.routines.classify import ChangeKind
from relokit.diffing.routines.compare import compare
from relokit.diffing.routines.model import Diff, DiffVerdict
from relokit.diffing.routines.report import summary, unified

PAC, BTI, HINTS, OFFSETS = Ignorable
BODY = """
	ldr	x2, [x1, #8]
	cbz	x2, 1f
	ldp	x3, x4, [x2, #16]
	str	x3, [x4]
1:	ldr	x5, [sp, #8]
	str	x5, [x1], #8
	mov	x0, x5
	ret
"""
START = "\tldr\tx2, [x1, #8]\n"


def side(text: str) -> Side:
    unit = Unit.from_text("t.S", f"\t.type go, %function\ngo:{text}\t.size go, . - go\n")
    return object_side(assemble(unit, encoder().encode), "t.o")


def compared(right: str, *ignore: Ignorable, left: str = BODY) -> Diff:
    return compare(side(left), side(right), ignore=ignore)


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        (START, f"\tpaciasp\n{START}", PAC),
        (START, f"\tpacibsp\n{START}", PAC),
        ("\tret\n", "\tautiasp\n\tret\n", PAC),
        ("\tret\n", "\txpaclri\n\tret\n", PAC),
        ("\tret\n", "\thint\t#12\n\tret\n", PAC),
        ("\tret\n", "\t.inst\t0xdac143e5\n\tret\n", PAC),  # xpaci x5
        ("\tret\n", "\t.inst\t0xdac10041\n\tret\n", PAC),  # pacia x1, x2
        ("\tret\n", "\t.inst\t0xdac133e5\n\tret\n", PAC),  # autiza x5
        (START, f"\tbti\tc\n{START}", BTI),
        ("1:\t", "1:\tbti\tj\n\t", BTI),
        ("\tret\n", "\tnop\n\tret\n", HINTS),
        ("\tret\n", "\tyield\n\tret\n", HINTS),
        ("\tret\n", "\tcsdb\n\tret\n", HINTS),
        ("\tret\n", "\tesb\n\tret\n", HINTS),
        ("\tret\n", "\thint\t#22\n\tret\n", HINTS),
        ("\tret\n", "\thint\t#100\n\tret\n", HINTS),  # a NOP, as it is not allocated
        ("[x1, #8]", "[x1, #16]", OFFSETS),
        ("[x1, #8]", "[x1]", OFFSETS),
        ("[x2, #16]", "[x2, #-16]", OFFSETS),
        ("[x4]", "[x4, #32]", OFFSETS),
    ],
)
def test_what_is_ignored_is_counted_and_no_difference(old: str, new: str, kind: Ignorable) -> None:
    right = BODY.replace(old, new, 1)
    assert right != BODY
    plain = compared(right)
    assert (plain.verdict, plain.same) == (DiffVerdict.DIFFERENT, False)
    for left, other in ((BODY, right), (right, BODY)):
        found = compared(other, kind, left=left)
        assert (found.same, found.verdict) == (True, DiffVerdict.APART)
        assert found.differences_ignored == {kind: 1}
        assert found.score == 100
        assert unified(found) == ""
        assert summary(found) == f"same apart from what is ignored; 1 difference ignored: 1 {kind}"
        document = to_data(found)
        assert (document["hunks"], document["differences_ignored"]) == ([], {kind: 1})
    # Of another kind it is not.
    others = compared(right, *(one for one in Ignorable if one is not kind))
    assert not others.same
    assert "no difference ignored: none is" in summary(others)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("\tret\n", "\tisb\n\tret\n"),
        ("\tret\n", "\tdsb\tsy\n\tret\n"),
        ("\tret\n", "\tclrex\n\tret\n"),
        ("\tret\n", "\tretaa\n"),  # returns as well
        ("\tret\n", "\t.inst\t0xdac10400 | 0x1c000\n\tret\n"),  # unallocated
        ("\tret\n", "\trbit\tx0, x0\n\tret\n"),
        ("[sp, #8]", "[sp, #16]"),  # a slot of the stack
        ("[x1], #8", "[x1], #16"),  # moves the pointer
        ("ldr\tx2, [x1, #8]", "ldr\tx2, [x3, #8]"),  # another base
        ("ldr\tx2, [x1, #8]", "ldr\tw2, [x1, #8]"),  # another size
        ("ldr\tx2, [x1, #8]", "str\tx2, [x1, #8]"),
        ("ldr\tx2, [x1, #8]", "ldr\tx2, [x1, x0]"),
        ("cbz\tx2, 1f", "cbz\tx2, 2f"),  # leads elsewhere
        ("mov\tx0, x5", "add\tx0, x5, #8"),
        ("0xd503201f", "0xd503233f"),  # data that looks like hints
    ],
)
def test_what_is_none_of_them_is_seen(old: str, new: str) -> None:
    left = BODY.replace("\tmov\tx0", "\tldr\tw7, 3f\n2:\tmov\tx0") + "3:\t.word 0xd503201f\n"
    right = left.replace(old, new, 1)
    assert right != left
    plain, found = compared(right, left=left), compared(right, *Ignorable, left=left)
    assert found.changed == plain.changed > 0
    assert found.verdict is DiffVerdict.DIFFERENT


def test_words_are_of_the_kinds_that_a_disassembler_names() -> None:
    """All hints, and what is encoded around what signs and authenticates."""
    decoder = capstone.Cs(capstone.CS_ARCH_ARM64, capstone.CS_MODE_ARM)
    words = [0xD503201F | number << 5 for number in range(128) if number != 39]  # PACM: not known
    around = np.random.default_rng(7).integers(0, 1 << 17, 3000)
    for word in [*words, *(0xDAC00000 | around).tolist()]:
        name = next((one[2] for one in decoder.disasm_lite(struct.pack("<I", word), 0)), "")
        kind = HINTS if word in words else None
        if name.startswith(("pac", "aut", "xpac")):
            kind = PAC
        elif name == "bti":
            kind = BTI
        assert ignorable_word(word) is kind, name


def test_an_offset_of_what_is_no_plain_load_is_seen() -> None:
    """LDAPUR orders what it loads."""
    left = BODY.replace("\tret\n", "\t.inst\t0xd9408020\n\tret\n")
    assert not compared(left.replace("0xd9408020", "0xd9410020"), *Ignorable, left=left).same


def test_a_change_beside_what_is_ignored_is_seen() -> None:
    """A hint in place of a barrier, a landing pad in place of a load, and registers renamed."""
    left = BODY.replace("\tret\n", "\tdsb\tsy\n\tret\n")
    right = BODY.replace("\tret\n", "\tnop\n\tret\n").replace(
        START, f"\tbti\tc\n\tpaciasp\n{START}"
    )
    right = right.replace("x3", "x9")
    found = compared(right, *Ignorable, left=left)
    assert [change.left and change.left.text for change in found.changes()] == ["dsb sy"]
    assert found.differences_ignored == {PAC: 1, BTI: 1, HINTS: 1, OFFSETS: 0}
    assert summary(found) == (
        "1 barrier deleted: dsb sy; registers renamed x3→x9; "
        "3 differences ignored: 1 pac, 1 bti, 1 hints"
    )
    assert " nop  // only on the right" in unified(found)


def test_a_field_that_is_known_by_its_name_is_no_offset() -> None:
    """Where both sides say how struct kimage is laid out, another field is another field."""
    code = struct.pack("<2I", 0xF9400001, 0xD65F03C0), struct.pack("<2I", 0xF9400401, 0xD65F03C0)
    from relokit.codegen.kimage_layouts import layout_named

    sides = [
        Side(
            "a side",
            {"f": Routine("f", 0, one, kimage_argument=True)},
            Names(()),
            layout=layout_named("6.1"),
        )
        for one in code
    ]
    assert compare(*sides, ignore=[OFFSETS]).changed == 1
    assert compare(*sides, ignore=[OFFSETS], kept=[Aspect.FIELDS]).same


def test_data_of_one_symbol_at_another_distance_is_an_offset_another_symbol_is_none() -> None:
    def taking(what: str) -> str:
        return f"\n\tadrp\tx0, {what}\n\tadd\tx0, x0, :lo12:{what}\n\tbl\tg\n\tret\n"

    found = compared(taking("table+16"), OFFSETS, left=taking("table+8"))
    assert (found.same, found.differences_ignored) == (True, {OFFSETS: 2})
    assert not compared(taking("other+8"), OFFSETS, left=taking("table+8")).same
    # A section has more than one thing in it.
    assert not compared(taking(".rodata+16"), OFFSETS, left=taking(".rodata+8")).same
    called = taking("table+8").replace("bl\tg", "bl\tg+8")
    assert not compared(called, OFFSETS, left=taking("table+8")).same


def test_what_boot_puts_in_place_of_a_hint_is_no_hint() -> None:
    words = struct.pack("<3I", 0xD5033FDF, 0xD503201F, 0xD65F03C0)
    replaced = (Replaced(4, 4, (0xD5033F9F,), None, "an erratum"),)
    left = Side("a side", {"f": Routine("f", 0, words)}, Names(()))
    right = Side("a side", {"f": Routine("f", 0, words, replaced=replaced)}, Names(()))
    assert compare(left, right, ignore=[*Ignorable]).changed == 1


def test_a_routine_of_one_side_is_a_difference_whatever_it_holds() -> None:
    two = "\tret\n\t.size go, . - go\n\t.type on, %function\non:\tnop\n\tnop\n\t.size on, . - on\n"
    unit = Unit.from_text("t.S", f"\t.type go, %function\ngo:{two}")
    right = object_side(assemble(unit, encoder().encode), "t.o")
    assert compare(side("\tret\n"), right, ignore=[*Ignorable]).only_right == ("on",)
    assert not compare(side("\tret\n"), right, ignore=[*Ignorable]).same


def test_only_what_was_asked_for_is_said_to_be_ignored() -> None:
    right = BODY.replace("\tret\n", "\tnop\n\tcsdb\n\tret\n")
    found = compare(side(BODY), side(right), ignore=[HINTS], kinds=[ChangeKind.BARRIER])
    assert found.differences_ignored == {HINTS: 1}


def test_kinds_are_named_or_refused_with_what_was_meant() -> None:
    assert ignorable_named("pac, BTI") == {PAC, BTI}
    with pytest.raises(RelokitError, match="'hint' is no kind") as refused:
        ignorable_named("pac,hint")
    assert refused.value.hint == "did you mean 'hints'? there are pac, bti, hints, offsets"
    with pytest.raises(RelokitError):
        ignorable_named("")
