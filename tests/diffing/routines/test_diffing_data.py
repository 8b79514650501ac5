"""The data that code takes the address of: compared by symbol and by bytes, wherever it lies."""

from __future__ import annotations

from pathlib import Path

import pytest

from relokit.building import encoder
from relokit.codegen.gas.assembler import assemble
from relokit.codegen.object import Object
from relokit.codegen.source import Unit
from relokit.diffing.read.object_side import object_side
from relokit.diffing.read.program_sides import image_side
from relokit.diffing.read.routine import Extent, Side
from relokit.diffing.routines.compare import compare
from relokit.diffing.routines.data_changes import _numbered
from relokit.diffing.routines.model import Diff
from relokit.diffing.routines.report import summary, unified
from relokit.linker.link.linking import link
from support.bounds import cpu_time_below

SCRIPT = "SECTIONS {{ . = {0}; .text : {{ *(.text) }} .rodata : {{ *(.rodata) }} {1} }}"
LAYOUTS = SCRIPT.format("0x400000", ".data : { *(.data) } .bss : { *(.bss) }")
ELSEWHERE = SCRIPT.format("0x7654000", ". = . + 0x12340; .data : { *(.data) } .bss : { *(.bss) }")

TABLE = """
        .globl go
        .type go, %function
go:     adrp x1, table
        add x1, x1, :lo12:table
        ldrsw x2, [x1, x0, lsl #2]
        add x1, x1, x2
        br x1
case0:  mov x0, #0
        ret
case1:  mov x0, #1
        ret
        .size go, . - go
"""
ENTRIES = """
        .balign 8
table:  .word case0 - table
        .word case1 - table
"""
CONSTANTS = """
        .globl go
        .type go, %function
go:     adrp x1, {name}
        ldr x0, [x1, :lo12:{name}]
        adrp x2, variable
        add x2, x2, :lo12:variable
        ldr w3, pool
        ret
        .size go, . - go
pool:   .word 0x1234
        .section .rodata
        .balign 8
        .quad 7
{name}: .quad 0x55
.Lend:  .quad 0x66
strings: .quad text, text + 5
text:   .asciz "one!"
        .asciz "two!"
        .data
        .balign 8
        .type variable, %object
variable: .quad strings, 1
        .size variable, 16
"""


def built(text: str) -> Object:
    return assemble(Unit.from_text("t.S", text), encoder().encode)


def linked(text: str, script: str) -> Side:
    return image_side(link([built(text)], Unit.from_text("t.ld", script), name="t"), "t")


def both_ways(left: str, right: str) -> list[Diff]:
    """As objects, and as programs that are linked elsewhere."""
    return [
        compare(object_side(built(left), "t.o"), object_side(built(right), "t.o")),
        compare(linked(left, LAYOUTS), linked(right, ELSEWHERE)),
    ]


@pytest.mark.parametrize("section", ["", "        .section .rodata\n"])
def test_two_entries_of_a_jump_table_swapped(section: str) -> None:
    swapped = ENTRIES.replace("case0", "x").replace("case1", "case0").replace("x", "case1")
    text = TABLE + section + ENTRIES
    for diff in both_ways(text, text):
        assert diff.same
        assert diff.data == ("table",)
    for diff in both_ways(text, TABLE + section + swapped):
        assert not diff.same
        assert "go+0x14" in unified(diff)
        assert "table" in unified(diff)


@pytest.mark.parametrize("section", ["", "        .section .rodata\n"])
def test_a_table_leads_to_instructions_and_not_to_distances(section: str) -> None:
    text = TABLE + section + ENTRIES
    inserted = text.replace("case0:", "nop\ncase0:")
    for diff in both_ways(text, inserted):
        assert diff.changed == 1, unified(diff)
        assert "nop" in summary(diff)


@pytest.mark.parametrize("name", ["constant", ".Lconstant"])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        (".quad 0x55", ".quad 0x56"),
        (".word 0x1234", ".word 0x1235"),
        ("text, text + 5", "text + 5, text"),
        ('"two!"', '"too!"'),
        (".quad strings, 1", ".quad strings, 2"),
        (".quad strings, 1", ".quad strings + 8, 1"),
    ],
)
def test_constants_and_what_they_point_to(name: str, old: str, new: str) -> None:
    text = CONSTANTS.format(name=name)
    assert old in text
    for diff in both_ways(text, text.replace(old, new)):
        assert not diff.same, diff.left.name


@pytest.mark.parametrize("name", ["constant", ".Lconstant"])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        (".quad 7", ".quad 7, 8, 9"),  # in front of it, and nothing refers to it
        (".quad 0x66", ".quad 0x66, 0x77"),
        ("strings:", ".quad 3\nstrings:"),
        (".data\n", ".data\n.quad 1\n"),
    ],
)
def test_moved_is_not_changed(name: str, old: str, new: str) -> None:
    text = CONSTANTS.format(name=name)
    assert old in text
    left, right = built(text), built(text.replace(old, new))
    found = compare(object_side(left, "t.o"), object_side(right, "t.o"))
    assert found.same, unified(found)
    assert compare(linked(text, LAYOUTS), linked(text, ELSEWHERE)).same


def test_another_place_in_a_variable_is_another_place_though_its_bytes_are_equal() -> None:
    text = """
        .globl go
        .type go, %function
go:     adrp x1, variable + {0}
        str x0, [x1, :lo12:variable + {0}]
        ret
        .size go, . - go
        .{1}
variable: .zero 64
"""
    for section in ("data", "bss"):
        left, right = (built(text.format(at, section)) for at in (8, 16))
        assert not compare(object_side(left, "t.o"), object_side(right, "t.o")).same


def test_what_a_relocation_puts_into_an_instruction() -> None:
    text = """
        .type go, %function
go:     movz x0, #:abs_g1:{0}
        movk x0, #:abs_g0_nc:{0}
        ret
        .size go, . - go
"""
    left, right = built(text.format("first")), built(text.format("second"))
    same = compare(object_side(left, "t.o"), object_side(left, "t.o"))
    diff = compare(object_side(left, "t.o"), object_side(right, "t.o"))
    assert same.same
    assert diff.changed == 2
    assert "first" in unified(diff)


def test_a_place_far_from_its_symbol_is_called_by_it() -> None:
    text = """
        .type go, %function
go:     adrp x0, away + {0}
        add x0, x0, :lo12:away + {0}
        adrp x1, away - {0}
        ret
        .size go, . - go
"""
    far = text.format("0x12345678")
    more = far + "        .data\nnear: .quad 1\n"
    sides = [object_side(built(one), "t.o") for one in (far, more)]
    assert compare(*sides).same  # whatever number the symbol has
    diff = compare(sides[0], object_side(built(text.format("0x12345670")), "t.o"))
    assert diff.changed == 3
    assert "away+0x12345678" in unified(diff)
    assert "away-0x12345678" in unified(diff)


HASHED = """
        .type before, %function
before: mov x0, #1
        ret
        .word {0}
        .globl go
        .type go, %function
go:     mov x0, #2
        ret
        .size go, . - go
"""


def test_a_type_hash_is_no_part_of_the_routine_before_it() -> None:
    left, right = (HASHED.format(value) for value in ("0x12345678", "0x12345679"))
    for diff in both_ways(left, right):
        (change,) = diff.hunks()
        assert change.routine == "type hash of go"
    side = object_side(built(left), "t.o")
    assert len(side.routines["before"].code) == 8
    # A literal that the routine before it loads is not taken for one, nor are two words.
    two = object_side(built(HASHED.format("1, 2")), "t.o")
    assert not two.hashes


def test_what_is_not_compared_is_said(tmp_path: Path) -> None:
    text = """
        .type go, %function
go:     adrp x0, large
        add x0, x0, :lo12:large
        ret
        .size go, . - go
        .section .rodata
        .type large, %object
large:  .zero 0x20000
        .size large, 0x20000
"""
    diff = compare(*(object_side(built(text), "t.o"),) * 2)
    assert diff.same
    assert diff.data_not_compared == ("large",)
    assert summary(diff) == "data not compared: large"


TABLES = """
        .type go, %function
go:     ldr x0, [x1]
        ret
        .size go, . - go
        .section __ex_table, "a"
        .long go - ., go + 4 - .
        .hword 3, 0
        .section .altinstructions, "a"
        .word go - ., 0
        .hword 5
        .data
        .type datum, %object
datum:  .quad 1
        .size datum, 8
"""


@pytest.mark.parametrize(
    ("old", "new", "table"),
    [
        (".hword 3", ".hword 4", "__ex_table"),
        ("go + 4 - .", "go - .", "__ex_table"),
        (".hword 5", ".hword 6", ".altinstructions"),
        (".quad 1", ".quad 2", "datum"),
    ],
)
def test_tables_that_others_read_are_compared(old: str, new: str, table: str) -> None:
    """What no code of the object takes anything of: a kernel finds it by its section."""
    left, right = (object_side(built(text), "t.o") for text in (TABLES, TABLES.replace(old, new)))
    diff = compare(left, right)
    assert [one.name for one in diff.routines if any(row.change for row in one.rows)] == [table]
    assert compare(left, left).same


def test_a_table_that_only_one_has_is_told() -> None:
    sides = (object_side(built(text), "t.o") for text in (TABLES, TABLES.partition(".data")[0]))
    assert compare(*sides).data_not_compared == (".data",)


def test_many_tables_cost_what_they_are() -> None:
    """As many as an object may have sections; of one name, by number."""
    tables = [Extent(f".x{number}", 0, 4) for number in range(66_000)]
    with cpu_time_below(2):
        assert len(_numbered(tables)) == len(tables)
    several = [Extent("a", 0, 4), Extent("b", 0, 0), Extent("a", 8, 4), Extent("a", 16, 4)]
    assert [*_numbered(several)] == ["a", "a (2)", "a (3)"]
