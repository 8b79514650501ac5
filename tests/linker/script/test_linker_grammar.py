"""The parser's ready tables: those of the grammar beside them, and the same language."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import lark
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relokit.codegen.base.errors import LinkError
from relokit.codegen.source import Unit
from relokit.linker.script import grammar
from relokit.linker.script import parser as parsing
from relokit.linker.script.builder import Builder
from relokit.linker.script.statements import InputSections, OutputSection, Script

FROM_GRAMMAR = lark.Lark(grammar.GRAMMAR.read_text(), parser="lalr", transformer=Builder())
_WORDS = """
SECTIONS { } { } ( ) : ; , = += . .text x *(.text) * 0x10 4K + - ? && KEEP ALIGN MAX ASSERT
PROVIDE( DEFINED MEMORY PHDRS PT_LOAD FLAGS >ram AT> /DISCARD/ BYTE FILL SORT "m" ENTRY ORIGIN
/* */ EXCLUDE_FILE OUTPUT_ARCH aarch64
"""
WORDS = _WORDS.split()
GOOD = """OUTPUT_ARCH(aarch64) ENTRY(_head)
MEMORY { ram (rwx) : ORIGIN = 0x1000, LENGTH = 4K }
PHDRS { code PT_LOAD FLAGS(5); }
SECTIONS {
  . = ALIGN(4096) + (x > 2 ? MAX(1, -y) : ~SIZEOF(.text));
  .text : AT(ADDR(.text)) { PROVIDE(start = .); KEEP(*(SORT(.text*))) *(EXCLUDE_FILE(a.o) .t .u)
    QUAD(1) FILL(0x00) } >ram :code =0xff
  /DISCARD/ : { *(.comment) }
}
ASSERT(DEFINED(start), "no start")
"""


@pytest.fixture(autouse=True)
def _parsed_anew() -> Iterator[None]:
    """What a process remembers of parsers and scripts is put aside around each test."""
    _forget()
    yield
    _forget()


def _forget() -> None:
    grammar.parser.cache_clear()
    parsing._parse.cache_clear()


def _meaning(text: str) -> object:
    try:
        return parsing.parse_script(Unit.from_text("t.ld", text))
    except LinkError as error:
        return str(error)


def test_the_tables_are_those_of_the_grammar() -> None:
    made = grammar.tables_text()
    assert grammar.TABLES.read_text() == made, "run: make linker/script/grammar.json"
    json.loads(made)


def test_the_tables_are_what_parses(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(*_: object, **__: object) -> None:
        raise AssertionError("tables were made")

    monkeypatch.setattr(lark.Lark, "__init__", build)
    assert not isinstance(_meaning(GOOD), str)


@settings(max_examples=200, deadline=None)
@given(st.one_of(
    st.lists(st.sampled_from(WORDS), max_size=14).map(" ".join),
    st.builds(
        lambda at, size, new: GOOD[:at] + new + GOOD[at + size:],
        st.integers(0, len(GOOD)), st.integers(0, 6), st.sampled_from(["", *WORDS]),
    ),
))  # fmt: skip
def test_tables_and_grammar_are_one_language(text: str) -> None:
    """Every script means the same, and every refusal reads the same."""
    with pytest.MonkeyPatch.context() as patch:
        _forget()
        by_tables = _meaning(text)
        patch.setattr(grammar, "parser", lambda: FROM_GRAMMAR)
        parsing._parse.cache_clear()
        assert _meaning(text) == by_tables


def test_an_edited_grammar_is_what_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    edited = tmp_path / "ldscript.lark"
    text = grammar.GRAMMAR.read_text()
    assert "BYTE" in text
    edited.write_text(text.replace('"BYTE"', '"BYTE" | "OCTET"'))
    script = "SECTIONS { .a : { OCTET(1) } }"
    found = _meaning(script)
    assert isinstance(found, Script)
    [section] = found.statements
    assert isinstance(section, OutputSection)
    [one] = section.body
    assert isinstance(one, InputSections)
    assert one.file == "OCTET"
    _forget()
    monkeypatch.setattr(grammar, "GRAMMAR", edited)
    with pytest.raises(KeyError, match="OCTET"):  # parsed; no width to build it
        grammar.parser().parse(script)


@pytest.mark.parametrize("how", ["another lark", "no tables"])
def test_tables_that_do_not_fit_are_left_aside(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, how: str
) -> None:
    if how == "no tables":
        monkeypatch.setattr(grammar, "TABLES", tmp_path / "grammar.json")
    else:
        monkeypatch.setattr(lark, "__version__", "1.0.0")
    monkeypatch.setattr(lark.Lark, "_load_from_dict", None)
    assert not isinstance(_meaning(GOOD), str)
