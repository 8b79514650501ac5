"""The assembler as a whole: objects from text, errors that name template and line, limits."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relokit.codegen.aarch64_elf import RelocationType as R
from relokit.codegen.base import budget
from relokit.codegen.base.budget import LIMITS
from relokit.codegen.base.errors import AssemblyError, BudgetError, RelokitError
from relokit.codegen.gas import assembler, unit
from relokit.codegen.gas.assembler import assemble
from relokit.codegen.gas.lexer import StatementKind, parse_line, without_block_comments
from relokit.codegen.object import (
    ABSOLUTE,
    UNDEFINED,
    Binding,
    Object,
    SectionFlag,
    SectionType,
    SourceLine,
    SymbolType,
)
from relokit.codegen.source import Origin, Unit
from support.bounds import cpu_time_below

# The few instructions these tests need, so that no encoder has to run.
WORDS = {
    "nop": 0xD503201F,
    "ret": 0xD65F03C0,
    "b #0": 0x14000000,
    "bl #0": 0x94000000,
    "b.ne #0": 0x54000001,
    "adrp x0, #0": 0x90000000,
    "add x0, x0, #0": 0x91000000,
    "ldr x0, [x0, #0]": 0xF9400000,
    "ldr x0, #0": 0x58000000,
    "movz x0, #0": 0xD2800000,
    "mov x0, #5": 0xD28000A0,
    "mov x0, #8": 0xD2800100,
}


def encode(statements: Sequence[str]) -> list[bytes | str]:
    return [WORDS[s].to_bytes(4, "little") if s in WORDS else "no such word" for s in statements]


def build(text: str) -> Object:
    return assemble(Unit.from_text("t.S", text), encode)


def words(built: Object, section: str = ".text") -> list[int]:
    data = built.section(section).data
    return [int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data), 4)]


def failure(text: str) -> RelokitError:
    with pytest.raises((AssemblyError, BudgetError)) as caught:
        build(text)
    return caught.value


def test_a_small_unit_from_end_to_end() -> None:
    built = build(
        """
        .section .reloc, "ax"
        .globl entry
        .type entry, %function
entry:  nop
1:      b.ne 1b
        bl helper
        adrp x0, table
        add x0, x0, :lo12:table
        ret
        .size entry, . - entry
        .section .rodata, "a"
        .balign 8
table:  .quad entry, . - table
"""
    )
    assert [section.name for section in built.sections] == [".reloc", ".rodata"]
    code = built.section(".reloc")
    assert code.flags == SectionFlag.ALLOC | SectionFlag.EXEC
    assert (code.type, code.align, code.size) == (SectionType.PROGBITS, 4, 24)
    assert words(built, ".reloc") == [
        0xD503201F, 0x54000001, 0x94000000, 0x90000000, 0x91000000, 0xD65F03C0,
    ]  # fmt: skip
    names = [(built.symbols[r.symbol].name, r.type, r.offset, r.addend) for r in code.relocations]
    assert names == [
        ("helper", R.CALL26, 8, 0),
        (".rodata", R.ADR_PREL_PG_HI21, 12, 0),
        (".rodata", R.ADD_ABS_LO12_NC, 16, 0),
    ]
    entry, helper = built.symbol("entry"), built.symbol("helper")
    assert (entry.section, entry.value, entry.size) == (0, 0, 24)
    assert (entry.binding, entry.type) == (Binding.GLOBAL, SymbolType.FUNC)
    assert (helper.section, helper.binding) == (UNDEFINED, Binding.GLOBAL)
    table = built.section(".rodata")
    assert table.data == bytes(8) + (8).to_bytes(8, "little")
    assert [(r.type, r.offset) for r in table.relocations] == [(R.ABS64, 0)]
    # Locals come before globals, as an ELF symbol table wants them.
    bindings = [symbol.binding is not Binding.LOCAL for symbol in built.symbols]
    assert bindings == sorted(bindings)


def test_the_line_map_names_template_line_and_statement() -> None:
    text = "nop; ret\n\n.balign 16\nlabel: nop\n.data\n.byte 1\n.byte 2\n"
    origins = tuple(Origin("x.S.j2", 100 + n) for n in range(8))
    built = assemble(Unit("x.S", text, origins), encode)
    assert tuple(built.section(".text").lines) == (
        (0, SourceLine("x.S.j2", 100, "nop")),
        (4, SourceLine("x.S.j2", 100, "ret")),
        (8, SourceLine("x.S.j2", 102, ".balign 16")),
        (16, SourceLine("x.S.j2", 103, "nop")),
    )
    assert [offset for offset, _ in built.section(".data").lines] == [0, 1]


def test_an_error_names_the_template_line_the_statement_and_a_way_out() -> None:
    origins = (Origin("relocate.S.j2", 7), Origin("macros/cache.j2", 41))
    with pytest.raises(AssemblyError) as caught:
        assemble(Unit("relocate.S", 'nop\nnop; .include "foo"\n', origins), encode)
    assert caught.value.where == "macros/cache.j2:41"
    assert caught.value.text == '.include "foo"'
    assert "template" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("text", "line", "words_of_it"),
    [
        ("nop\nfrob x0\n", 2, "no such word"),
        ("nop\n\n.org 0x40000008\n", 3, "1024 MiB"),
        ("\nb.ne far\n.org 0x100004\nfar: nop\n", 2, "out of range"),
        ("b x + 2\nx: nop\n", 1, "not aligned"),
        (".byte 256\n", 1, "does not fit in 1 byte"),
        (".byte later\nlater = 300\n", 1, "does not fit in 1 byte"),
        (".hword a - b\n.data\na: .bss\nb:\n", 1, "no relocation"),
        (".byte ext\n", 1, "1 byte"),
        ("b .Lnowhere\n", 1, ".Lnowhere"),
        ("nop\nmov x0, #ext\n", 2, "`ext'"),
        ("a: nop\na: nop\n", 2, "already defined"),
        (".data\n.byte 1\nnop\n", 3, "not a multiple of 4"),
        (".bss\n.byte 1\n", 2, "NOBITS"),
        (".bss\nnop\n", 2, "NOBITS"),
        (".bss\n.quad x\n", 2, "NOBITS"),
        (".popsection\n", 1, ".pushsection"),
        (".previous\n", 1, ".previous"),
        ('.section .x, "aG"\n', 1, "flag `G'"),
        ('.section .x, "a", @init_array\n', 1, "type"),
        ('.section .x, "aM"\n', 1, "entry size"),
        (".text 9000\n", 1, "subsection"),
        (".altmacro\n", 1, ".altmacro"),
        (".endm\n", 1, "without its beginning"),
        (".purgem nothing\n", 1, "no macro"),
        ("x .req y\n.if 1\n.endif\n", 1, "no register"),
        ("nop\n.macro m\n.frob\n.endm\nm\n", 5, "macro m (line 2)"),
        ('.incbin "/etc/passwd"\n', 1, ".incbin"),
        ('.include "x"\n', 1, ".include"),
        ("nop\n#include <x.h>\n", 2, "preprocessor"),
        ('.ascii "abc\n', 1, "never closed"),
        ('.ascii "\\q"\n', 1, "escape"),
        ('.ascii "\\400"\n', 1, "escape"),
        (".ascii abc\n", 1, "double quotes"),
        (".fill 1, 8, 0x123456789\n", 1, "4 bytes"),
        (".set x, 1\n.quad y\n.set y, 1\n.set y, 2\n", 4, "set again"),
        (".quad a\n.set a, b\n.set b, a\n", 1, "defined by itself"),
        (".org later\nlater:\n", 1, ".org"),
        (".type x\n", 1, "%function"),
        (".globl 1x\n", 1, "symbol name"),
        (".weird 1\n", 1, ".weird"),
        (".local x\nbl x\n", 2, ".local"),
        (".globl x\n.local x\nx: nop\n", 2, "global already"),
        ("lab\u00e9l: nop\n", 1, "ASCII"),
        ("nop \\\n", 1, "character"),
        (".: nop\n", 1, "label"),
    ],
)
def test_errors(text: str, line: int, words_of_it: str) -> None:
    error = failure(text)
    assert error.where == f"t.S:{line}"
    assert words_of_it in str(error)


@pytest.mark.parametrize(
    ("text", "words_of_it"),
    [
        ("b 1f\n", "`1:'"),
        (".if 1\n", ".if without .endif"),
        (".macro m\n.if 1\n.endm\nm\n", "in macro m"),
        (".macro m\n", ".endm is missing"),
        ("nop /* open\n\n", "line 1"),
        (".globl x\n.set x, ext\n", "`ext'"),
        (".size x, ext\n", ".size"),
        (".size x, -1\n", "-1"),
        (".data\na: .bss\nb: .set c, a - b\n", "no address"),
    ],
)
def test_errors_about_the_whole_unit(text: str, words_of_it: str) -> None:
    error = failure(text)
    assert (error.where or "").startswith("t.S")
    assert words_of_it in str(error)


def doubling(body: str) -> str:
    """Forty macros, each of which calls the next as ``body`` says."""
    return "".join(f".macro m{n} a\n{body.format(n + 1)}\n.endm\n" for n in range(40))


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "_limits", {**budget.limits(), "memory": 64 << 20})
    with cpu_time_below(10):
        for text in (
            ".zero 0x4000001\n",
            ".zero 0x7fffffffffffffff\n",
            ".fill 0x7fffffff, 8, 1\n",
            ".org 0x7fffffffffffffff\n",
            "nop\n.balign 0x40000000\n",
            ".align 63\n",
            ".align 9999999\n",
            ".data\n" + ".zero 0x2000000\n" * 3,
            '.pushsection .x, "a"\n' * 100,
            "nop ;" * 4000 + "\n",
            ".macro m; m; .endm; m\n",
            ".macro m; m; m; .endm; m\n",
            ".rept 0x7fffffff; .rept 0x7fffffff; .endr; .endr\n",
            ".rept 0x7fffffff\n.if 0\n.endif\n.endr\n",
            doubling("m{} \\a\\a") + "m0 xxxxxxxx\n",
            doubling("m{0} \\a\nm{0} \\a") + "m0 1\n",
            ".irpc c, " + "x" * 16000 + "\n.irpc d, " + "x" * 16000 + "\n.endr\n.endr\n",
            ".if 1\n" * 200,
            "".join(f'.section .s{n}, "a"\n' for n in range(2000)),
        ):
            failure(text)
        monkeypatch.setattr(unit, "SYMBOL_COUNT", 10)
        failure("".join(f"s{n}:\n" for n in range(11)))
        few = dict.fromkeys(LIMITS, 1 << 30) | {"steps": 10}
        monkeypatch.setattr(budget, "_limits", few)
        build("nop\n" * 10)
        assert failure("nop\n" * 11).message == "more than 10 statements"
        assert failure(".rept 2\nnop\n.endr\n").message == "macros make more than 2 statements"
        monkeypatch.setattr(budget, "_limits", few | {"steps": 1 << 20, "memory": 100 << 20})
        failure("".join(f'.section .s{n}, "a"\n.zero 0x3000000\n' for n in range(3)))
        monkeypatch.setattr(assembler, "TEXT_LIMIT", 10)
        failure("// a long comment\n")


def test_an_image_of_the_largest_section_is_possible() -> None:
    assert build(".bss\n.zero 0x4000000\n").section(".bss").size == 64 << 20


def test_symbols_local_global_weak_hidden_alias_absolute() -> None:
    built = build(
        """
.globl g, w
.weak w, uw
.hidden h
.local l
.Lprivate: g: w: h: l: nop
bl uw
.set a, l + 4
.equ n, -1
1: nop
"""
    )
    found = {s.name: (s.section, s.value, s.binding, s.hidden) for s in built.symbols}
    assert found["g"] == (0, 0, Binding.GLOBAL, False)
    assert found["w"] == (0, 0, Binding.WEAK, False)
    assert found["h"] == (0, 0, Binding.LOCAL, True)
    assert found["l"] == (0, 0, Binding.LOCAL, False)
    assert found["uw"] == (UNDEFINED, 0, Binding.WEAK, False)
    assert found["a"] == (0, 4, Binding.LOCAL, False)
    assert found["n"] == (ABSOLUTE, (1 << 64) - 1, Binding.LOCAL, False)
    assert ".Lprivate" not in found
    assert not any(name.isdigit() for name in found)


def test_a_global_in_the_same_section_is_left_to_the_linker() -> None:
    built = build(".globl g\ng: nop\nb g\nl: b l\n.weak w\nw: b w\n")
    assert [(r.offset, built.symbols[r.symbol].name) for r in built.sections[0].relocations] == [
        (4, "g"),
        (12, "w"),
    ]
    assert words(built)[1:] == [0x14000000] * 3


def test_fields_that_stay_for_the_linker_are_zero() -> None:
    built = build(
        "adrp x0, here + 0x1234\nadd x0, x0, :lo12:here + 3\nhere: ldr x0, [x0, :lo12:here]\n"
    )
    assert words(built) == [0x90000000, 0x91000000, 0xF9400000]
    assert [r.addend for r in built.sections[0].relocations] == [0x123C, 11, 8]


def test_empty_sections_nobody_asked_for_are_left_out() -> None:
    assert build("").sections == ()
    assert [s.name for s in build(".data\n.byte 1\n").sections] == [".data"]
    assert [s.name for s in build("x:\n.data\n").sections] == [".text", ".data"]
    built = build(".data\nl: .quad l\n")
    assert built.symbol("l").section == 0
    assert built.symbols[built.sections[0].relocations[0].symbol].section == 0


def test_mapping_symbols_tell_code_from_data() -> None:
    built = build("nop\n.quad 1\nret\n.balign 16\n.data\n.byte 1\n")
    marks = [(s.name, s.section, s.value) for s in built.symbols if s.name in ("$x", "$d")]
    assert marks == [("$x", 0, 0), ("$d", 0, 4), ("$x", 0, 12)]


def test_comments_strings_and_separators() -> None:
    built = build(
        "# don't \"mind\n"
        'nop // ; frob "\n'
        "/* ; \" ' */ nop ; /* a\n"
        "b */ ret ;; \n"
        ".ascii \"// ; /* \\\" */\" ; .byte ';', '\"', '/'\n"
        "//\n"
    )
    data = built.section(".text").data
    assert words(build("nop; nop; ret\n")) == [WORDS["nop"], WORDS["nop"], WORDS["ret"]]
    assert data[12:] == b'// ; /* " */;"/'
    lines = [source.line for _, source in built.section(".text").lines]
    assert lines == [2, 3, 3, 5, 5]


def test_block_comments_keep_the_line_numbers() -> None:
    text = 'a /* 1\n2\n3 */ b\nc /* */ d\n\'"\' /* " */ e // /* f\n# /* g\n"/*" /*\n*/ h\ni'
    bare = without_block_comments(text)
    assert bare.split("\n") == [
        "a   b", "", "", "c   d", "'\"'   e // /* f", "# /* g", '"/*"   h', "", "i",
    ]  # fmt: skip


def test_statements_of_a_line() -> None:
    kinds = [(s.kind, s.head, s.rest) for s in parse_line("a: 1: .Quad 1, 2 ; x = y + 1; NOP // z")]
    assert kinds == [
        (StatementKind.LABEL, "a", ""),
        (StatementKind.LOCAL, "1", ""),
        (StatementKind.DIRECTIVE, ".quad", "1, 2"),
        (StatementKind.ASSIGNMENT, "x", "y + 1"),
        (StatementKind.INSTRUCTION, "nop", ""),
    ]


def test_immediates_wait_for_symbols_defined_later() -> None:
    assert words(build("mov x0, #n\n.set n, 5\n")) == [WORDS["mov x0, #5"]]
    assert words(build("s: mov x0, #e - s\nnop\ne:\n"))[0] == WORDS["mov x0, #8"]
    assert words(build(".set n, 5\nmov x0, #n\n.set n, 8\nmov x0, #n\n")) == [
        WORDS["mov x0, #5"],
        WORDS["mov x0, #8"],
    ]


def test_the_encoder_is_asked_once_for_a_unit_and_its_words_are_counted() -> None:
    asked: list[list[str]] = []

    def spy(statements: Sequence[str]) -> list[bytes | str]:
        asked.append(list(statements))
        return encode(statements)

    assemble(Unit.from_text("t.S", "nop\n.data\n.byte 1\n.text\nret\n"), spy)
    assert asked == [["nop", "ret"]]
    with pytest.raises(ValueError, match="zip"):
        assemble(Unit.from_text("t.S", "nop\nret\n"), lambda _: [b"\0\0\0\0"])


def test_the_same_text_gives_the_same_object() -> None:
    text = ".globl b, a\nz: bl b\nbl a\n.quad z, q\n.data\ny: .quad y\n"
    assert build(text) == build(text)


def test_origins_that_run_out_do_not_hide_a_line() -> None:
    with pytest.raises(AssemblyError) as caught:
        assemble(Unit("x.S", "nop\nnop\nfrob\n", (Origin("x.j2", 1),)), encode)
    assert caught.value.where == "x.S:3"


SOUP = """
    nop b bl adr ldr x0 w1 sp [ ] { } ( ) , ; : # ' " \\ // /* */ = == + - * / ~ ! 1 0x1f 1b 1f 9
    a .La . $x label: 2: :lo12: :abs_g0: .byte .quad .ascii .asciz .align .balign .org .zero .fill
    .section .text .data .bss .pushsection .popsection .previous .globl .weak .size .type .set
    .equiv .inst .ltorg .hidden .local @progbits %function "a" "ax" lsl mrs msr daifset dc tlbi
    NEWLINE NEWLINE \0 é
"""
PIECES = st.sampled_from(SOUP.split())


@settings(max_examples=600)
@given(st.lists(PIECES, max_size=30).map(" ".join) | st.text(max_size=40))
def test_garbage_is_an_assembly_error_and_nothing_else(text: str) -> None:
    text = text.replace("NEWLINE", "\n")

    def lenient(statements: Sequence[str]) -> list[bytes | str]:
        return [b"\0\0\0\0" for _ in statements]

    try:
        built = assemble(Unit.from_text("t.S", text), lenient)
    except AssemblyError as error:
        where = error.where or ""
    else:
        where = "t.S"
        _check(built)
    assert where.startswith("t.S")


def _check(built: Object) -> None:
    for section in built.sections:
        assert len(section.data) == (0 if section.type is SectionType.NOBITS else section.size)
        for relocation in section.relocations:
            assert 0 <= relocation.symbol < len(built.symbols)
            assert 0 <= relocation.offset < section.size


@pytest.mark.parametrize(
    "line",
    [
        "fadd z0.s, z1.s, z2.s",
        "mov z0.b, #1",
        "ptrue p0.s",
        "whilelo p0.b, x0, x1",
        "str z0, [x0]",
    ],
)
def test_scalable_vectors_are_refused_by_name(line: str) -> None:
    with pytest.raises(AssemblyError, match="SVE and SME are not encoded") as refused:
        assemble(Unit.from_text("t.S", f"f: {line}\n"), lambda texts: [bytes(4)] * len(texts))
    assert "give the .o" in str(refused.value.hint)
