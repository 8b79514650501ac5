"""Joining objects: sections, symbols, relocations and line maps arrive shifted."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relokit.codegen.aarch64_elf import RelocationType as R
from relokit.codegen.base.errors import LinkError
from relokit.codegen.object import (
    ABSOLUTE,
    UNDEFINED,
    Binding,
    Object,
    Relocation,
    Section,
    SectionFlag,
    SectionType,
    SourceLine,
    SourceLines,
    Symbol,
    SymbolType,
)
from relokit.codegen.source import Unit
from relokit.linker.link.linking import link
from relokit.linker.link.merge import merge_objects

A = SectionFlag.ALLOC


def section(name: str, data: bytes, align: int = 1, *relocations: Relocation) -> Section:
    return Section(name, SectionType.PROGBITS, A, align, data, len(data), relocations)


def shared(name: str, number: int, value: int = 0, binding: Binding = Binding.GLOBAL) -> Symbol:
    return Symbol(name, number, value, binding=binding)


def test_sections_of_one_name_are_joined_where_their_alignment_asks() -> None:
    first = Object("1.o", (section(".a", b"abc"), section(".b", b"x")), ())
    second = Object("2.o", (section(".c", b"y"), section(".a", b"de", 8)), ())
    joined = merge_objects([first, second], "j")
    assert joined.name == "j"
    assert [(s.name, s.data, s.align) for s in joined.sections] == [
        (".a", b"abc\0\0\0\0\0de", 8),
        (".b", b"x", 1),
        (".c", b"y", 1),
    ]


def test_only_like_sections_are_joined() -> None:
    bss = Section(".a", SectionType.NOBITS, A, 4, b"", 6)
    joined = merge_objects(
        [Object("1", (bss, section(".a", b"x")), ()), Object("2", (bss,), ())], "j"
    )
    assert [(s.type, s.size, s.data) for s in joined.sections] == [
        (SectionType.NOBITS, 14, b""),
        (SectionType.PROGBITS, 1, b"x"),
    ]


def test_symbols_and_relocations_follow_their_section() -> None:
    local = Symbol("here", 0, 2)
    relocations = (Relocation(4, R.ABS32, 0, 3), Relocation(0, R.ABS32, 1, 5))
    owner = Symbol("", 0, 0, type=SymbolType.SECTION)
    items = [
        Object(
            f"{n}.o",
            (section(".a", bytes(8), 8, *relocations),),
            (owner, local),
        )
        for n in range(2)
    ]
    joined = merge_objects(items, "j")
    assert [(s.type, s.value) for s in joined.symbols] == [
        (SymbolType.SECTION, 0),
        (SymbolType.NOTYPE, 2),
        (SymbolType.NOTYPE, 10),
    ]
    assert joined.sections[0].relocations == (
        Relocation(4, R.ABS32, 0, 3),
        Relocation(0, R.ABS32, 1, 5),
        Relocation(12, R.ABS32, 0, 11),
        Relocation(8, R.ABS32, 2, 5),
    )


def test_global_symbols_become_one_each() -> None:
    one = Object(
        "1.o",
        (section(".a", bytes(4)),),
        (
            shared("wanted", UNDEFINED),
            shared("both", UNDEFINED, binding=Binding.WEAK),
            shared("weakly", 0, 1, Binding.WEAK),
            shared("n", ABSOLUTE, 7),
        ),
    )
    two = Object(
        "2.o",
        (section(".a", bytes(4)),),
        (
            Symbol("wanted", 0, 2, binding=Binding.GLOBAL, hidden=True),
            shared("both", UNDEFINED),
            shared("weakly", 0, 3),
        ),
    )
    joined = {s.name: s for s in merge_objects([one, two], "j").symbols}
    assert len(joined) == 4
    assert (joined["wanted"].value, joined["wanted"].hidden) == (6, True)
    assert joined["both"].binding is Binding.GLOBAL
    assert (joined["weakly"].value, joined["weakly"].binding) == (7, Binding.GLOBAL)
    assert joined["n"].value == 7


def test_two_definitions_are_refused() -> None:
    items = [Object(f"{n}.o", (section(".a", b"x"),), (shared("s", 0),)) for n in (1, 2)]
    with pytest.raises(LinkError, match="s is defined twice") as caught:
        merge_objects(items, "j")
    assert (caught.value.where, caught.value.hint) == ("2.o", "also defined in 1.o")


def test_broken_numbers_are_refused() -> None:
    with pytest.raises(LinkError, match="section number 3"):
        merge_objects([Object("o", (), (Symbol("s", 3, 0),))], "j")
    broken = section(".a", bytes(4), 1, Relocation(0, R.ABS32, 1, 0))
    with pytest.raises(LinkError, match="names symbol 1"):
        merge_objects([Object("o", (broken,), ())], "j")


def test_line_maps_are_shifted() -> None:
    def lined(name: str) -> Section:
        lines = SourceLines([(0, SourceLine(name, 1, "x")), (4, SourceLine(name, 2, "y"))])
        return Section(".a", SectionType.PROGBITS, A, 16, bytes(8), 8, (), lines)

    items = [
        Object("1.o", (lined("a.S"),), ()),
        Object("2.o", (section(".a", b"zz"),), ()),
        Object("3.o", (lined("b.S"),), ()),
    ]
    lines = merge_objects(items, "j").sections[0].lines
    assert [(offset, str(line)) for offset, line in lines] == [
        (0, "a.S:1"),
        (4, "a.S:2"),
        (8, "2.o:0"),
        (16, "b.S:1"),
        (20, "b.S:2"),
    ]


@st.composite
def linkable(draw: st.DrawFn) -> list[Object]:
    """Objects whose globals g0.. are each defined once and referred to from anywhere."""
    count = draw(st.integers(1, 4))
    items = []
    for n in range(count):
        symbols = [shared(f"g{m}", 0 if m == n else UNDEFINED) for m in range(count)]
        symbols += [
            Symbol("l", 0, draw(st.integers(0, 8))),
            Symbol("", 0, 0, type=SymbolType.SECTION),
        ]
        relocations = [
            Relocation(8 * at, R.ABS64, draw(st.integers(0, count + 1)), draw(st.integers(0, 99)))
            for at in range(draw(st.integers(0, 3)))
        ]
        size = draw(st.integers(24, 40))
        align = draw(st.sampled_from([1, 8, 64]))
        items.append(
            Object(f"{n}.o", (section(".a", bytes(size), align, *relocations),), tuple(symbols))
        )
    return items


@settings(max_examples=60)
@given(linkable())
def test_joining_first_links_to_the_same(items: list[Object]) -> None:
    script = Unit.from_text("s", "SECTIONS { . = 0x1000; .a : { *(.a) } }")
    apart = link(items, script, name="t")
    joined = link([merge_objects(items, "j")], script, name="t")
    assert joined.sections == apart.sections
    assert {(s.name, s.value) for s in joined.symbols} == {(s.name, s.value) for s in apart.symbols}
