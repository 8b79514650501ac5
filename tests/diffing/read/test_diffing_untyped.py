"""What is a routine though no type says so, and pointers that stand among code."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import relokit
from relokit.building import encoder
from relokit.codegen.gas.assembler import assemble
from relokit.codegen.source import Unit
from relokit.diffing.read.object_side import object_side
from relokit.diffing.read.program_sides import image_side
from relokit.diffing.read.routine import Side
from relokit.diffing.read.untyped import branch_targets, untyped_routines
from relokit.diffing.routines.compare import compare
from relokit.diffing.routines.report import unified
from relokit.linker.elf.elf_writer import write_rel
from relokit.linker.link.linking import link

TYPED = """
        .globl helper
        .type helper, %function
helper: cbz x0, 1f
inside: mov x0, #0
1:      ret
        .size helper, . - helper
"""
SCRIPT = "SECTIONS { . = 0x400000; .text : { *(.text) } .data : { *(.data) } }"


def sides(text: str) -> list[Side]:
    """As an object, and linked."""
    built = assemble(Unit.from_text("t.S", text), encoder().encode)
    image = link([built], Unit.from_text("t.ld", SCRIPT), name="t")
    return [object_side(built, "t.o"), image_side(image, "t")]


@pytest.mark.parametrize(
    ("text", "routines"),
    [
        ("handler: msr vbar_el2, x1; eret; .size handler, . - handler", ["handler"]),
        (".globl handler; handler: eret", ["handler"]),
        ("handler: eret; .type go, %function; go: b handler; .size go, 4", ["go", "handler"]),
        ("handler: eret; .type go, %function; go: cbz x1, handler; .size go, 4", ["go", "handler"]),
        ("nobody: eret", ["nobody"]),
        ("nobody: eret; none: ret", ["nobody"]),
        (".type open, %function; open: nop; nobody: eret", ["open"]),
        (".type later, %notype; later: eret; .size later, 4; nobody: ret", ["later", "nobody"]),
        (".data; datum: .quad 1; .size datum, 8", []),
    ],
)
def test_a_size_or_a_branch_makes_a_routine_beside_functions(
    text: str, routines: list[str]
) -> None:
    for side in sides(TYPED + text + "\n"):
        assert sorted(side.routines) == sorted(["helper", *routines]), side.name
        assert "inside" not in side.routines


GAPS = [
    ("mov x0, #1", "mov x0, #2", "code behind helper"),
    (".size helper, 4", ".size helper, 4; nop", None),
    ("nop; nop; .word 0", "nop", None),
    (
        ".type go, %function; go: mov x1, #1; ret; .size go, 4",
        ".type go, %function; go: mov x1, #1; br x30; .size go, 4",
        "code behind go",
    ),
    (
        '.section .more, "ax"; msr vbar_el2, x0',
        '.section .more, "ax"; msr vbar_el1, x0',
        "code in .more",
    ),
    (
        ".type helper2, %function; helper2: ret; .size helper2, 4; .quad 1",
        ".type helper2, %function; helper2: ret; .size helper2, 4; .quad 2",
        None,
    ),
]


@pytest.mark.parametrize(("one", "other", "routine"), GAPS)
def test_code_without_a_name_is_compared(one: str, other: str, routine: str | None) -> None:
    for left, right in zip(sides(TYPED + one + "\n"), sides(TYPED + other + "\n"), strict=True):
        diff = compare(left, right)
        assert diff.same is (routine is None)
        assert [found.name for found in diff.routines if any(row.change for row in found.rows)] == (
            [routine] if routine else []
        )


NAMESAKES = """
        .type twin, %function
twin:   mov x0, #1
        ret
        .size twin, . - twin
        .section .text.more, "ax"
        .type twin2, %function
twin2:  mov x0, #2
        ret
        .size twin2, . - twin2
"""


@pytest.mark.parametrize("wanted", [None, "twin"])
def test_all_of_one_name_are_compared(tmp_path: Path, wanted: str | None) -> None:
    """Two static functions of one name, as ``ld -r`` leaves them."""
    paths = []
    for name, text in (("a.o", NAMESAKES), ("b.o", NAMESAKES.replace("#2", "#3"))):
        built = assemble(Unit.from_text("t.S", text), encoder().encode)
        twins = [replace(one, name=one.name.rstrip("2")) for one in built.symbols]
        paths.append(tmp_path / name)
        paths[-1].write_bytes(write_rel(replace(built, symbols=tuple(twins))))
    left, right = (f"{path}:{wanted}" if wanted else str(path) for path in paths)
    assert [one.name for one in relokit.diff(left, left).routines] == ["twin", "twin (2)"]
    assert [
        one.name
        for one in relokit.diff(left, right).routines
        if any(row.change for row in one.rows)
    ] == ["twin (2)"]


def test_a_routine_of_any_length_is_compared_to_its_end(tmp_path: Path) -> None:
    text = (
        f".type go, %function; go: .rept {(1 << 16) + 8}; nop; .endr; mov x0, #1; .size go, . - go"
    )
    paths = [tmp_path / "a.S", tmp_path / "b.S"]
    paths[0].write_text(text)
    paths[1].write_text(text.replace("#1", "#2"))
    diff = relokit.diff(*map(str, paths))
    assert [one.name for one in diff.routines if any(row.change for row in one.rows)] == [
        "go+0x40000"
    ]


def test_extents_within_one_another() -> None:
    typed = [(0, 0x100, 0x40, "outer"), (0, 0x104, 8, "inner")]
    labels = [(0, 0x120, 0, "within"), (0, 0x140, 0, "behind"), (0, 0x144, 0, "unknown")]
    assert untyped_routines(typed, labels, {0x120, 0x140}) == [labels[1]]


def test_where_branches_lead() -> None:
    words = (0x14000002, 0x97FFFFFF, 0x54000040, 0xB4FFFFE0, 0x36000020, 0x58000040, 0xD503201F)
    code = b"".join(word.to_bytes(4, "little") for word in words)
    assert branch_targets(code + b"x", 0x1000) == {0x1008, 0x1000, 0x1010, 0x1014}


CHANGES = [
    ("ldr x9, =first", "ldr x9, =second"),
    ("ldr x10, 2f", "ldr x10, 2f + 8"),
    (".quad first", ".quad second"),
    (".quad first", ".quad first + 8"),
    (".word first - .", ".word second - ."),
]
LITERALS = """
        .type go, %function
go:     ldr x9, =first
        ldr x10, 2f
        br x9
        .ltorg
        .balign 8
2:      .quad first
        .quad first + 16
        .word first - .
        .size go, . - go
        .data
        .balign 16
        .type first, %object
first:  .quad 1, 2, 3
        .size first, 24
        .type second, %object
second: .quad 1, 2, 3
        .size second, 24
"""


@pytest.mark.parametrize(("old", "new"), CHANGES)
def test_a_pointer_to_another_symbol_is_a_difference(old: str, new: str, tmp_path: Path) -> None:
    left, right = tmp_path / "a.S", tmp_path / "b.S"
    left.write_text(LITERALS)
    right.write_text(LITERALS.replace(old, new, 1))
    assert left.read_text() != right.read_text()
    assert relokit.diff(str(left), str(left)).same
    assert not relokit.diff(str(left), str(right)).same


def test_a_linked_pointer_is_compared_by_symbol() -> None:
    # What no instruction in sight loads is not known to be a pointer once it is linked.
    text = LITERALS.replace("        .quad first + 16\n", "")
    built = assemble(Unit.from_text("t.S", text), encoder().encode)
    one, other = (
        image_side(link([built], Unit.from_text("t.ld", script), name="t"), "t")
        for script in (SCRIPT, SCRIPT.replace("0x400000", "0x500000"))
    )
    assert one.routines["go"].code != other.routines["go"].code
    assert compare(one, other).same


def test_a_function_is_code_whatever_its_section_is(tmp_path: Path) -> None:
    text = TYPED + '.section .odd, "a"; .type odd, %function; odd: mov x0, #1; .size odd, 4\n'
    paths = [tmp_path / "a.S", tmp_path / "b.S"]
    paths[0].write_text(text)
    paths[1].write_text(text.replace("#1", "#2"))
    diff = relokit.diff(*map(str, paths))
    assert [one.name for one in diff.routines if any(row.change for row in one.rows)] == ["odd"]


def test_a_name_does_not_make_lines_of_its_own(tmp_path: Path) -> None:
    name = "f\n-forged\x1b[2J"
    paths = [tmp_path / "a.o", tmp_path / "b.o"]
    for path, text in zip(paths, ("f: mov x0, #1", "f: mov x0, #2"), strict=True):
        built = assemble(Unit.from_text("t.S", f".globl f; {text}"), encoder().encode)
        symbols = tuple(
            replace(one, name=name) if one.name == "f" else one for one in built.symbols
        )
        path.write_bytes(write_rel(replace(built, symbols=symbols)))
    shown = unified(relokit.diff(*map(str, paths)))
    assert shown.splitlines()[2].endswith(r"@@ f\n-forged\x1b[2J")
