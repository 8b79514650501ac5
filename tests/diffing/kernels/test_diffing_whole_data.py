"""Two programs as a whole: the constant data that functions take, wherever it lies."""

from __future__ import annotations

from pathlib import Path

import pytest

from relokit.building import encoder
from relokit.cli.terminal.diff_overview import summary
from relokit.codegen.base.documents import document
from relokit.codegen.gas.assembler import assemble
from relokit.codegen.source import Unit
from relokit.diffing.kernels.whole import WholeDiff, compare_kernels
from relokit.diffing.read.image_symbols import image_symbols
from relokit.diffing.read.references import branch_references, data_references
from relokit.diffing.read.routine import DiffError
from relokit.diffing.read.sides import read_sides
from relokit.diffing.read.untyped import branch_targets
from relokit.diffing.routines.classify import ChangeKind
from relokit.diffing.routines.compare import compare
from relokit.diffing.routines.report import summary as routine_summary
from relokit.linker.elf.elf_writer import write_exec, write_rel
from relokit.linker.image import Image
from relokit.linker.link.linking import link

HERE = """SECTIONS { . = 0x400000; .text : { *(.text) } .rodata : { *(.rodata) }
           .data : { *(.data) } .bss : { *(.bss) } }"""
THERE = """SECTIONS { . = 0x7654000; .text : { *(.text) } . = . + 0x12348;
            .rodata : { *(.rodata) } . = . + 0x2340; .data : { *(.data) } .bss : { *(.bss) } }"""

PROGRAM = """
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
        .type read, %function
read:   adrp x1, .Lconstant
        ldr x0, [x1, :lo12:.Lconstant]
        adrp x2, .Lpointers
        add x2, x2, :lo12:.Lpointers
        adrp x3, variable
        add x3, x3, :lo12:variable
        ldr x4, =.Ltext
        ret
        .ltorg
        .size read, . - read
handler: msr vbar_el2, x1
inner:  eret
        .size handler, . - handler
        .section .rodata
        .balign 8
table:  .word case0 - table
        .word case1 - table
.Lconstant: .quad 0x55
.Lpointers: .quad .Ltext, go, .Lmore, variable
        .word .Lother - ., read - .
.Lmore: .quad .Lother, 7
.Ltext: .asciz "some text"
.Lother: .asciz "other text"
        .data
        .balign 8
        .type variable, %object
variable: .quad 1
        .size variable, 8
"""


def image(text: str, script: str = HERE) -> Image:
    built = assemble(Unit.from_text("t.S", text), encoder().encode)
    return link([built], Unit.from_text("t.ld", script), name="t")


def compared(tmp_path: Path, left: Image, right: Image) -> WholeDiff:
    paths = tmp_path / "left.elf", tmp_path / "right.elf"
    for path, one in zip(paths, (left, right), strict=True):
        path.write_bytes(write_exec(one))
    return compare_kernels(*paths)


def test_moved_is_not_changed(tmp_path: Path) -> None:
    diff = compared(tmp_path, image(PROGRAM), image(PROGRAM, THERE))
    assert diff.same, diff.functions
    assert sorted(diff.unchanged) == ["go", "handler", "read"]
    assert diff.data == 4
    assert diff.data_not_compared == 1


@pytest.mark.parametrize(
    ("old", "new", "function"),
    [
        ("table:  .word case0 - table", "table:  .word case1 - table", "go"),
        (".word case1 - table", ".word case0 - table", "go"),
        ("0x55", "0x56", "read"),
        (".quad .Ltext, go", ".quad .Lother, go", "read"),
        ("go, .Lmore", "read, .Lmore", "read"),
        (".Lother, 7", ".Lother, 8", "read"),
        (".Lother, 7", ".Ltext, 7", "read"),
        (".Lmore, variable", ".Lmore, variable + 8", "read"),
        (".Lother - ., read - .", ".Ltext - ., read - .", "read"),
        (".Lother - ., read - .", ".Lother - ., go - .", "read"),
        ('"some text"', '"same text"', "read"),
        ("ldr x4, =.Ltext", "ldr x4, =variable", "read"),
        ("msr vbar_el2", "msr vbar_el1", "handler"),
        ("inner:  eret", "inner:  ret", "handler"),
    ],
)
def test_each_thing_that_differs_is_found(
    old: str, new: str, function: str, tmp_path: Path
) -> None:
    assert old in PROGRAM
    for script in (THERE, HERE):  # where pointers differ in any case, and where they do not
        diff = compared(tmp_path, image(PROGRAM), image(PROGRAM.replace(old, new), script))
        assert [one.name for one in diff.functions] == [function]
        if function != "handler":
            assert list(diff.functions[0].kinds) == [ChangeKind.DATA]


def test_data_of_a_changed_function_counts_as_data(tmp_path: Path) -> None:
    changed = PROGRAM.replace("0x55", "0x56").replace("ldr x4", "nop\nldr x4")
    diff = compared(tmp_path, image(PROGRAM), image(changed, THERE))
    (one,) = diff.functions
    assert one.kinds[ChangeKind.DATA].operands == 1
    assert sum(count.inserted for count in one.kinds.values()) >= 1


def test_places_are_found_as_word_by_word() -> None:
    built = image(PROGRAM)
    (code,) = (one for one in built.sections if one.name == ".text")
    assert set(branch_references(code.data, code.va)) == branch_targets(code.data, code.va)
    taken = data_references(code.data, code.va)
    assert built.symbol("table") in taken
    assert built.symbol("variable") in taken
    names = [name for _, name in image_symbols(built).names]
    assert "inner" not in names  # a place in a routine
    assert "handler" in names


MODULE = PROGRAM.replace("ret", "bl helper\n b helper", 1).replace(
    "ldr x4", "adrp x5, others + 8\nldr x5, [x5, :lo12:others + 8]\nldr x4", 1
)


@pytest.mark.parametrize(
    ("old", "new", "function"),
    [
        ("bl helper", "bl keeper", "go"),
        ("others", "another", "read"),
        ("others + 8", "others + 16", "read"),
        (".word case1 - table", ".word case0 - table", "go"),
        (".Lother, 7", ".Lother, 8", "read"),
        ("msr vbar_el2", "msr vbar_el1", "handler"),
        (".quad .Ltext, go", ".quad helper, go", "read"),
    ],
)
def test_objects_and_modules_as_a_whole(old: str, new: str, function: str, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a.ko", "b.ko", "c.o")]
    more = "        .quad unused\n" + MODULE + "        .quad first\n"
    for file, text in zip(files, (MODULE, MODULE.replace(old, new), more), strict=True):
        file.write_bytes(write_rel(assemble(Unit.from_text("t.S", text), encoder().encode)))
    assert old in MODULE
    assert compare_kernels(files[0], files[0]).same
    assert [one.name for one in compare_kernels(*files[:2]).functions] == [function]
    moved = compare_kernels(files[0], files[2])
    assert moved.same, moved.functions


# What LLVM makes of an array of texts: distances from the table, each by a relocation.
TEXTS = """
        .text
        .type name, %function
name:   adrp x8, table
        add x8, x8, :lo12:table
        ldrsw x9, [x8, w0, sxtw #2]
        add x0, x8, x9
        ret
        .size name, . - name
        .section .rodata, "a"
table:  .long one - ., two - . + 4
        .section .rodata.texts, "a"
        .globl one, two
one:    .asciz "one"
two:    .asciz "two"
"""


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ('"two"', '"twi"', False),
        ("one - ., two - . + 4", "two - ., one - . + 4", False),
        ("table:  .long", "        .quad 5\ntable:  .long", True),
        ('one:    .asciz "one"', 'zero:   .asciz "zero"\none:    .asciz "one"', True),
    ],
)
def test_a_table_of_distances_is_followed(old: str, new: str, same: bool, tmp_path: Path) -> None:
    """Though its own bytes are the same, or though they are others."""
    files = [tmp_path / name for name in ("a.o", "b.o")]
    assert old in TEXTS
    for file, text in zip(files, (TEXTS, TEXTS.replace(old, new)), strict=True):
        file.write_bytes(write_rel(assemble(Unit.from_text("t.S", text), encoder().encode)))
    assert compare_kernels(*files).same == same


def test_a_relocation_that_is_not_known_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.ko"
    data = write_rel(assemble(Unit.from_text("t.S", MODULE), encoder().encode))
    file.write_bytes(data.replace((283).to_bytes(4, "little"), (311).to_bytes(4, "little")))
    with pytest.raises(DiffError, match="311") as caught:
        compare_kernels(file, file)
    assert "--all" in (caught.value.hint or "")


OTHERS = (
    PROGRAM
    + """
        .section __ex_table, "a"
        .balign 4
        .long 3, 4
"""
)
WITH_TABLE = HERE.replace(".rodata :", "__ex_table : { *(__ex_table) } .rodata :")


def test_a_table_that_only_others_read_is_not_compared_and_told(tmp_path: Path) -> None:
    """Whether it differs or not: nothing is green that nobody looked at."""
    assert WITH_TABLE != HERE
    for other in (OTHERS, OTHERS.replace(".long 3", ".long 5")):
        diff = compared(tmp_path, image(OTHERS, WITH_TABLE), image(other, WITH_TABLE))
        assert diff.same
        assert diff.tables_not_compared == ("__ex_table",)
        said = "\n".join(summary(diff))
        assert "data not compared, for no code takes it: __ex_table" in said
        assert document(diff)["tables_not_compared"] == ["__ex_table"]
    assert not compared(tmp_path, image(PROGRAM), image(PROGRAM)).tables_not_compared


def test_a_table_of_a_linked_file_is_told_where_routines_are_compared(tmp_path: Path) -> None:
    path = tmp_path / "t.elf"
    path.write_bytes(write_exec(image(OTHERS, WITH_TABLE)))
    diff = compare(*read_sides(str(path), str(path), encoder))
    assert diff.same
    assert "__ex_table" in diff.data_not_compared
    assert "data not compared: " in routine_summary(diff)
    one = compare(*read_sides(f"{path}:go", f"{path}:go", encoder))
    assert "__ex_table" not in one.data_not_compared


def test_what_is_behind_a_string_is_none_of_it(tmp_path: Path) -> None:
    """Nothing says where a string ends but its zero, where it has no symbol."""
    program = """
            .type f, %function
    f:      adrp x0, .Ltext
            add x0, x0, :lo12:.Ltext
            ret
            .size f, . - f
            .section .rodata
    .Ltext: .asciz "a text"
            .asciz "one"
    """
    other = program.replace('"one"', '"two"')
    changed = program.replace("a text", "b text")
    assert compared(tmp_path, image(program), image(other)).same
    assert not compared(tmp_path, image(program), image(changed)).same
