"""The script language: what a text means, and how it is refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relokit.codegen.base.errors import LinkError
from relokit.codegen.source import Origin, Unit
from relokit.linker.script.expression import MAX_DEPTH, Binary, Number
from relokit.linker.script.parser import MAX_TEXT, parse_script
from relokit.linker.script.statements import (
    Assertion,
    Assignment,
    Data,
    Fill,
    InputSections,
    OutputSection,
    Pattern,
    Script,
    SortKey,
)
from relokit.linker.script.words import NOT_CARRIED_OUT


def parse(text: str) -> Script:
    return parse_script(Unit.from_text("t.ld", text))


def only_section(text: str) -> OutputSection:
    (statement,) = parse(f"SECTIONS {{ {text} }}").statements
    assert isinstance(statement, OutputSection)
    return statement


def refused(text: str) -> LinkError:
    with pytest.raises(LinkError) as caught:
        parse(text)
    return caught.value


def test_statements_come_in_order_with_their_lines() -> None:
    script = parse('a = 1;\nSECTIONS\n{\n  . = 2;\n  .text : { *(.text) }\n}\nASSERT(1, "m")\n')
    assert [(type(s), s.line) for s in script.statements] == [
        (Assignment, 1),
        (Assignment, 4),
        (OutputSection, 5),
        (Assertion, 7),
    ]


def test_everything_an_output_section_can_say() -> None:
    section = only_section(
        ".text-x 0x1000 (NOLOAD) : AT(5) ALIGN(64) { x = .; } >ram AT>rom :code :note =0x00ff"
    )
    assert section.name == ".text-x"
    assert section.address == Number(0x1000, 4)
    assert section.noload
    assert section.load_address == Number(5)
    assert section.align == Number(64)
    assert (section.region, section.load_region) == ("ram", "rom")
    assert section.headers == ("code", "note")
    assert section.fill == Fill(1, b"\x00\xff")


def test_the_body_of_an_output_section() -> None:
    section = only_section(
        ".x : { *(.a .b*) KEEP(f.o(SORT(.c.*))) *(EXCLUDE_FILE(a.o *b.o) .d) BYTE(1) SHORT(2)\n"
        'LONG(3) QUAD(4) SQUAD(5) FILL(0x90); PROVIDE_HIDDEN(y = 1); ; ASSERT(1, "ok"); }'
    )
    assert section.body[:3] == (
        InputSections(1, "*", (Pattern(".a"), Pattern(".b*"))),
        InputSections(1, "f.o", (Pattern(".c.*"),), (SortKey.NAME,), True),
        InputSections(1, "*", (Pattern(".d", ("a.o", "*b.o")),)),
    )
    assert [item.width for item in section.body if isinstance(item, Data)] == [1, 2, 4, 8, 8]
    provided = section.body[-2]
    assert isinstance(provided, Assignment)
    assert (provided.name, provided.provide, provided.hidden) == ("y", True, True)


def test_memory_and_headers() -> None:
    script = parse(
        "MEMORY { rom (rx) : ORIGIN = 0x10, LENGTH = 2K  my-ram : o = 1 + 1, l = 1M }\n"
        "PHDRS { text PT_LOAD FLAGS(4 | 1); note PT_NOTE; } ENTRY(_start)"
    )
    assert [(r.name, r.attributes) for r in script.regions] == [("rom", "rx"), ("my-ram", "")]
    assert script.regions[1].length == Number(1 << 20)
    assert [(h.name, h.type) for h in script.headers] == [("text", 1), ("note", 4)]
    assert script.entry == "_start"


def test_what_a_script_defines_and_reads() -> None:
    script = parse(
        "a = b + 1; PROVIDE(c = d); SECTIONS { .x ADDR(.x) + e : AT(f) { g = DEFINED(h); "
        'LONG(i) . = j; } } ASSERT(k, "m")'
    )
    assert script.assigned == {"a", "g"}
    assert script.provided == {"c": {"d"}}
    assert script.read == {"b", "e", "f", "i", "j", "k"}


def test_numbers() -> None:
    values = {"10": 10, "0x1F": 31, "010": 8, "2K": 2048, "3m": 3 << 20, "0x2k": 2048, "0": 0}
    for text, value in values.items():
        (statement,) = parse(f"a = {text};").statements
        assert isinstance(statement, Assignment)
        assert isinstance(statement.value, Number)
        assert statement.value.value == value


def test_a_compound_assignment_is_an_operator_on_the_symbol() -> None:
    (_, statement) = parse("a = 1; a <<= 2;").statements
    assert isinstance(statement, Assignment)
    assert isinstance(statement.value, Binary)
    assert statement.value.operator == "<<"
    assert statement.value.names == {"a"}


def test_fill_patterns_are_hexadecimal_digits_or_four_bytes() -> None:
    assert only_section(".x : {} =0x090").fill == Fill(1, b"\x00\x90")
    assert only_section(".x : {} =144").fill == Fill(1, b"", Number(144))


def test_after_a_fill_the_next_section_begins() -> None:
    script = parse("SECTIONS { .a : {} =0x90 .b : {} =1 + 2 /DISCARD/ : { *(.c) } }")
    assert [s.name for s in script.statements if isinstance(s, OutputSection)] == [
        ".a",
        ".b",
        "/DISCARD/",
    ]


def test_comments_are_nothing() -> None:
    assert parse("/* a = 1; */ /**/ /***/ /* x * / */").statements == ()


def test_a_syntax_error_names_place_line_and_what_could_stand_there() -> None:
    origins = (Origin("kernel.lds.j2", 7), Origin("macros/x.j2", 3))
    with pytest.raises(LinkError) as caught:
        parse_script(Unit("kernel.lds", "a = 1;\nb = = 2;\n", origins))
    error = caught.value
    assert error.where == "macros/x.j2:3:5"
    assert error.text == "b = = 2;"
    assert "'='" in error.message
    assert "a number" in (error.hint or "")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("SECTIONS { .t : { *(.t) }", "the end of the script"),
        ("a = 1", "the end of the script"),
        ("/* never", "comment that does not end"),
        ("SECTIONS { .t : { x-=1; } }", "'x-=1' is one name to GNU ld"),
        ("SECTIONS { 1t : {} }", "'1t'"),
        ("a = 0x1ffffffffffffffff;", "64 bits"),
        ("a = 09;", "no number"),
        (f"a = {'9' * 5000};", "64 bits"),
        ("OUTPUT_ARCH(riscv)", "riscv"),
        ('OUTPUT_FORMAT("elf32-i386")', "elf32-i386"),
        ("MEMORY { a : ORIGIN = 1, LENGTH = 2 a : ORIGIN = 1, LENGTH = 2 }", "twice"),
        ("PHDRS { a PT_LOAD; a PT_LOAD; }", "twice"),
        ("PHDRS { a PT_TLS; }", "PT_TLS"),
        ("PHDRS { a PT_NOTE FILEHDR; }", "PT_NOTE"),
        ("PHDRS { a PT_LOAD FLAGS(1) FLAGS(2); }", "twice"),
        ("SECTIONS { /DISCARD/ : { x = 1; } }", "input sections only"),
        ("SECTIONS { .t : { *(SORT(.a) .b) } }", "SORT"),
        (f"SECTIONS {{ .t : {{ *({'a' * 300}) }} }}", "300"),
        ("a = CONSTANT(PAGESIZE);", "MAXPAGESIZE"),
        ('SECTIONS { .t : { ASSERT(1, "x") *(.t) } }', "syntax error"),
        ("a = FOO(1);", "'('"),
        ("a = 1 ^ 2;", "'^'"),
    ],
)
def test_what_is_refused_says_why(text: str, words: str) -> None:
    error = refused(text)
    assert words in str(error)
    assert error.where
    assert error.where.startswith("t.ld:1")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("INCLUDE other.ld", "INCLUDE"),
        ("SECTIONS { . = SEGMENT_START(x, 1); }", "SEGMENT_START"),
        ("a = DATA_SEGMENT_ALIGN(1, 2);", "DATA_SEGMENT_ALIGN"),
        ("SECTIONS { OVERLAY 0x1000 { } }", "OVERLAY"),
    ],
)
def test_ld_words_that_are_not_carried_out_are_named(text: str, word: str) -> None:
    assert word in NOT_CARRIED_OUT
    assert refused(text).message.startswith(f"{word} is not part")


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "-" * 5000 + "1;",
        "a = " + "1+" * 5000 + "1;",
        "a = " + "1?" * 500 + "1" + ":1" * 500 + ";",
        "a = " + "ALIGN(" * 500 + "1" + ")" * 500 + ";",
        "a = " + "MAX(1," * 500 + "1" + ")" * 500 + ";",
    ],
)
def test_deep_expressions_are_refused(text: str) -> None:
    assert f"more than {MAX_DEPTH} levels" in refused(text).message


def test_a_long_script_is_refused_before_it_is_read() -> None:
    assert "262145 bytes" in refused(" " * (MAX_TEXT + 1)).message


def test_the_same_text_is_parsed_once() -> None:
    assert parse("once = 1;") is parse("once = 1;")


WORDS = """
SECTIONS MEMORY PHDRS ENTRY PROVIDE ASSERT KEEP SORT BYTE FILL ALIGN ADDR ORIGIN LENGTH AT DEFINED
MAX FLAGS PT_LOAD NOLOAD EXCLUDE_FILE INCLUDE ( ) { } : ; , = += > < + - * / ? ! ~ && | << . .text
*(.text) x 0x10 1K "m" /* */ /DISCARD/ $ \\ ' "
"""
TOKENS = st.sampled_from([*WORDS.split(), "\n"])


@settings(max_examples=300)
@given(st.one_of(st.text(max_size=80), st.lists(TOKENS, max_size=40).map(" ".join)))
def test_any_text_parses_or_is_refused_with_a_place(text: str) -> None:
    try:
        parse(text)
    except LinkError as error:
        assert error.where  # noqa: PT017
