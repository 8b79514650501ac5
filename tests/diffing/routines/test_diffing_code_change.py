"""What counts as a change of machine code: not addresses, but instructions and where they lead."""

from __future__ import annotations

import pytest

from relokit.building import encoder
from relokit.codegen.base.documents import to_data
from relokit.codegen.gas.assembler import assemble
from relokit.codegen.source import Unit
from relokit.diffing.read.program_sides import image_side
from relokit.diffing.routines.code_change import CodeChange, CodeLine, code_change
from relokit.linker.image import Image
from relokit.linker.link.linking import link

SCRIPT = "SECTIONS { . = 0x10000; .text : { *(.text) } }"


def image(*routines: str) -> Image:
    """Link routines given as ``name: instructions``, in this order."""
    text = "\t.text\n"
    for routine in routines:
        name, _, body = routine.partition(":")
        text += f"\t.globl {name}\n\t.type {name}, %function\n{name}:\n"
        text += "".join(f"{one.strip()}\n" for one in body.split(";"))
        text += f"\t.size {name}, . - {name}\n"
    unit = assemble(Unit.from_text("t.S", text), encoder().encode)
    return link((unit,), Unit.from_text("t.lds", SCRIPT), name="t")


def compare(before: Image, after: Image) -> CodeChange:
    return code_change(
        (before, image_side(before, "before", data=True)),
        (after, image_side(after, "after", data=True)),
    )


def signed(lines: tuple[CodeLine, ...]) -> list[str]:
    return [line.sign + line.text for line in lines if line.sign != " "]


def test_nothing_changes_between_equals() -> None:
    one = image("a: mov x0, x1; ret")
    assert compare(one, one) == CodeChange((), (), ())


def test_a_routine_that_moves_is_the_same() -> None:
    before = image("a: nop", "b: bl a; adr x0, b; ret")
    after = image("a: nop", "c: nop; nop; nop", "b: bl a; adr x0, b; ret")
    [change] = compare(before, after).routines
    assert (change.name, change.change, change.before, change.after) == ("c", "added", 0, 12)
    assert compare(before, after).added == ("c",)
    [change] = compare(after, before).routines
    assert (change.name, change.change, change.before, change.after) == ("c", "removed", 12, 0)
    assert compare(after, before).removed == ("c",)


def test_an_instruction_put_in_moves_the_branches_around_it() -> None:
    before = image("a: cbz x0, .Lend; mov x1, x2; .Lend: ret")
    after = image("a: cbz x0, .Lend; mov x1, x2; mov x3, x4; .Lend: ret")
    [change] = compare(before, after).routines
    [hunk] = change.hunks
    assert signed(hunk) == ["+mov x3, x4"]
    [added] = [line for line in hunk if line.sign == "+"]
    assert (added.before, added.after, added.word) == (None, 8, 0xAA0403E3)
    assert [(line.before, line.after) for line in hunk] == [(0, 0), (4, 4), (None, 8), (8, 12)]


@pytest.mark.parametrize(
    "branch", ["b", "b.ne", "cbz x0,", "cbnz w0,", "tbz x0, #3,", "tbnz x0, #40,"]
)
def test_a_branch_to_another_place_is_a_change(branch: str) -> None:
    before = image(f"a: {branch} .Lone; mov x1, x2; .Lone: nop; .Ltwo: ret")
    after = image(f"a: {branch} .Ltwo; mov x1, x2; .Lone: nop; .Ltwo: ret")
    [change] = compare(before, after).routines
    [hunk] = change.hunks
    assert [text[0] for text in signed(hunk)] == ["-", "+"]
    assert [text.rpartition("+")[2] for text in signed(hunk)] == ["0x8>", "0xc>"]
    assert compare(before, before).routines == ()


def test_an_address_in_the_routine_is_an_offset() -> None:
    before = image("a: nop; adr x0, a; adr x1, .Lend; .Lend: ret")
    after = image("a: nop; brk #1; adr x0, a; adr x1, .Lend; .Lend: ret")
    [change] = compare(before, after).routines
    assert [line.text for line in change.hunks[0]][-3:-1] == ["adr x0, <+0x0>", "adr x1, <+0x10>"]
    assert signed(change.hunks[0]) == ["+brk #1"]


def test_calls_are_by_name() -> None:
    before = image("a: ret", "b: ret", "c: bl a; ret")
    after = image("a: ret", "b: ret", "c: bl b; ret")
    [change] = compare(before, after).routines
    assert (change.name, signed(change.hunks[0])) == ("c", ["-bl a", "+bl b"])


def test_a_tail_call_to_what_follows_is_named() -> None:
    before = image("c: nop; b b", "b: ret")
    after = image("c: nop; nop; b b", "b: ret")
    [change] = compare(before, after).routines
    assert signed(change.hunks[0]) == ["+nop"]
    assert change.hunks[0][-1].text == "b b"


def test_a_new_name_alone_is_no_change_anywhere() -> None:
    before = image("__old: mov x0, #7; ret", "caller: bl __old; ret")
    after = image("new: mov x0, #7; ret", "caller: bl new; ret")
    change = compare(before, after)
    [routine] = change.routines
    assert (routine.name, routine.change, routine.was, routine.hunks) == (
        "new",
        "renamed",
        "__old",
        (),
    )
    assert (change.added, change.removed) == ((), ())


def test_a_new_name_with_another_body_is_another_routine() -> None:
    before = image("old: mov x0, #7; ret", "other: ret")
    change = compare(before, image("new: mov x0, #8; ret", "other: ret"))
    assert [(one.name, one.change) for one in change.routines] == [
        ("new", "added"),
        ("old", "removed"),
    ]
    assert (change.added, change.removed) == (("new",), ("old",))


def test_far_changes_are_apart_and_near_ones_together() -> None:
    body = "; ".join(f"mov x{n % 8}, #{n}" for n in range(40))
    before = image(f"a: {body}; ret")
    far = image("a: " + body.replace("#2;", "#102;").replace("#35;", "#135;") + "; ret")
    near = image("a: " + body.replace("#2;", "#102;").replace("#9;", "#109;") + "; ret")
    [change] = compare(before, far).routines
    assert [signed(hunk) for hunk in change.hunks] == [
        ["-mov x2, #2", "+mov x2, #0x66"],
        ["-mov x3, #0x23", "+mov x3, #0x87"],
    ]
    assert all(len(hunk) <= 2 + 6 for hunk in change.hunks)
    [change] = compare(before, near).routines
    assert len(change.hunks) == 1


def test_json_is_plain_data() -> None:
    [change] = compare(image("a: nop"), image("a: ret")).routines
    document = to_data(change)
    assert document["change"] == "changed"
    assert document["hunks"][0][0] == {
        "sign": "-",
        "before": 0,
        "after": None,
        "word": 0xD503201F,
        "text": "nop",
    }
