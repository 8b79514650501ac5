"""Layout by the script: addresses, alignment, the location counter, regions, load addresses."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relokit.codegen.base.budget import budgeted, set_limits
from relokit.codegen.base.errors import BudgetError, LinkError
from relokit.codegen.object import (
    ABSOLUTE,
    Binding,
    Object,
    Section,
    SectionFlag,
    SectionType,
    Symbol,
)
from relokit.codegen.source import Unit
from relokit.linker.image import Image, PlacedSection
from relokit.linker.link.linking import link

A = SectionFlag.ALLOC
AX = SectionFlag.ALLOC | SectionFlag.EXEC
AW = SectionFlag.ALLOC | SectionFlag.WRITE


def section(name: str, data: bytes, align: int = 1, flags: SectionFlag = A) -> Section:
    return Section(name, SectionType.PROGBITS, flags, align, data, len(data))


def bss(name: str, size: int, align: int = 1) -> Section:
    return Section(name, SectionType.NOBITS, AW, align, b"", size)


def unit(*sections: Section, name: str = "u.o", symbols: tuple[Symbol, ...] = ()) -> Object:
    return Object(name, sections, symbols)


def laid(script: str, *objects: Object) -> Image:
    return link(objects, Unit.from_text("t.ld", script), name="t")


def placed(image: Image, name: str) -> PlacedSection:
    (found,) = [section for section in image.sections if section.name == name]
    return found


def refused(script: str, *objects: Object) -> LinkError:
    with pytest.raises(LinkError) as caught:
        laid(script, *objects)
    return caught.value


ONE = unit(section(".a", b"\x01\x02\x03"), section(".b", b"\x04\x05", 8), bss(".z", 16, 16))
REST = "/DISCARD/ : { *(*) }"


def test_input_sections_are_aligned_in_their_output_section() -> None:
    image = laid("SECTIONS { . = 0x1001; .o : { *(.a) *(.b) } " + REST + "}", ONE)
    output = placed(image, ".o")
    assert output.va == 0x1008
    assert output.align == 8
    assert output.data == b"\x01\x02\x03" + bytes(5) + b"\x04\x05"


def test_the_location_counter_counts_from_the_section_inside_it() -> None:
    script = "SECTIONS { . = 0x1000; .o : { . = 4; four = .; *(.a) . += 1; end = .; } after = .; }"
    image = laid(script, unit(section(".a", b"abc")))
    assert placed(image, ".o").data == b"\0\0\0\0abc\0"
    assert [image.symbol(name) for name in ("four", "end", "after")] == [0x1004, 0x1008, 0x1008]


def test_an_explicit_address_is_taken_as_it_is_and_align_still_counts() -> None:
    image = laid("SECTIONS { .o 0x1003 : { *(.b) } .p 0x2001 : ALIGN(32) { *(.a) } }", ONE_NO_BSS)
    assert placed(image, ".o").va == 0x1003
    assert image.read(0x1008, 2) == b"\x04\x05"
    assert placed(image, ".p").va == 0x2020


ONE_NO_BSS = unit(*ONE.sections[:2])


def test_fill_restarts_in_every_gap_and_may_change() -> None:
    script = (
        "SECTIONS { .o : { BYTE(9) . = 4; BYTE(9) . = 7; FILL(0xee) BYTE(9) . = 10; BYTE(9) } "
        "=0x010203 }"
    )
    data = placed(laid(script), ".o").data
    assert data.hex(" ") == "09 01 02 03 09 01 02 09 ee ee 09"


def test_load_addresses_follow_the_section_before() -> None:
    script = (
        "SECTIONS { .a 0x1000 : AT(0x9000) { *(.a) } .b : { *(.b) } .z : { *(.z) } "
        "load = LOADADDR(.b); }"
    )
    image = laid(script, ONE)
    assert placed(image, ".b").va == 0x1008
    assert placed(image, ".b").pa == image.symbol("load") == 0x9008
    assert placed(image, ".z").pa == 0x9010


def test_regions_count_their_own_addresses() -> None:
    script = (
        "MEMORY { rom : ORIGIN = 0x100, LENGTH = 0x40  ram : ORIGIN = 0x8000, LENGTH = 1K } "
        "SECTIONS { .a : { *(.a) } >rom .b : { *(.b) } >ram AT>rom .z : { *(.z) } >ram "
        "end = ORIGIN(rom) + LENGTH(rom); }"
    )
    image = laid(script, ONE)
    assert (placed(image, ".a").va, placed(image, ".b").va) == (0x100, 0x8000)
    assert placed(image, ".b").pa == 0x103
    assert placed(image, ".z").va == 0x8010
    assert image.symbol("end") == 0x140


def test_what_comes_later_may_be_read() -> None:
    script = (
        "start = ADDR(.b) + SIZEOF(.b) + last; SECTIONS { . = 0x100; .a : { QUAD(last) *(.a) } "
        f".b : {{ *(.b) }} last = .; {REST} }}"
    )
    image = laid(script, ONE)
    assert image.symbol("last") == 0x112
    assert placed(image, ".a").data[:8] == (0x112).to_bytes(8, "little")
    assert image.symbol("start") == 0x110 + 2 + 0x112


def test_a_layout_that_never_settles_is_refused() -> None:
    error = refused("SECTIONS { . = x; .a : { *(.a) } x = . + 1; " + REST + "}", ONE)
    assert "not settled" in error.message


def test_patterns_take_the_first_that_matches_file_by_file() -> None:
    first = unit(section(".t.b", b"1"), section(".t.a", b"2"), name="one.o")
    second = unit(section(".t.b", b"3"), section(".t.a", b"4"), name="two.o")
    cases = {
        "*(.t.*)": b"1234",
        "*(.t.a .t.b)": b"1234",
        "*(.t.a) *(.t.b)": b"2413",
        "two.o(.t.*) *(.t.*)": b"3412",
        "*(SORT(.t.*))": b"2413",
        "*(EXCLUDE_FILE(one*) .t.a) *(.t.*)": b"4123",
        "*o.o(.t.[!b]) *(.t.?)": b"4123",
    }
    for patterns, expected in cases.items():
        image = laid(f"SECTIONS {{ .o : {{ {patterns} }} }}", first, second)
        assert placed(image, ".o").data == expected, patterns


def test_sections_without_a_place() -> None:
    memory = "MEMORY { ram : ORIGIN = 0x1000, LENGTH = 64K } "
    error = refused(memory + "SECTIONS { .o : { *(.a) } >ram }", ONE)
    assert error.message == "section .b is not placed by the script"
    assert error.where == "u.o"
    assert "/DISCARD/" in (error.hint or "")
    assert [s.name for s in laid("SECTIONS { .o : { *(.a) } }", ONE).sections] == [".o", ".b", ".z"]
    many = unit(*(section(f".x{n}", b"a") for n in range(4097)))
    assert "4096 others" in refused("SECTIONS { }", many).message
    silent = unit(
        section(".a", b"a"), section(".empty", b""), section(".comment", b"x", 1, SectionFlag(0))
    )
    assert [s.name for s in laid("SECTIONS { .o : { *(.a) } }", silent).sections] == [".o"]


def test_unallocated_sections_have_no_address_and_move_nothing() -> None:
    comment = unit(section(".a", b"a"), section(".comment", b"text", 1, SectionFlag(0)))
    image = laid("SECTIONS { . = 16; .c : { *(.comment) } .o : { *(.a) } }", comment)
    assert (placed(image, ".c").va, placed(image, ".c").data) == (0, b"text")
    assert placed(image, ".o").va == 16
    assert [segment.sections for segment in image.segments] == [(1,)]


def test_kinds_of_sections() -> None:
    note = Section(".n", SectionType.NOTE, A, 4, b"note", 4)
    script = (
        "SECTIONS { .n : { *(.n) } .a : { *(.a) *(.z) } .b (NOLOAD) : { *(.b) } .d : { LONG(1) } "
        ".s : { . += 8; } }"
    )
    image = laid(script, ONE, unit(note))
    kinds = {s.name: (s.type.name, s.flags) for s in image.sections}
    assert kinds == {
        ".n": ("NOTE", A),
        ".a": ("PROGBITS", AW),
        ".b": ("PROGBITS", A),  # zeros: .d is stored behind it in the same segment
        ".d": ("PROGBITS", A),
        ".s": ("NOBITS", AW),
    }
    assert placed(image, ".b").data == bytes(2)


def test_symbols_know_their_section() -> None:
    script = (
        "SECTIONS { . = 64; before = .; .a : { in = .; *(.a) number = 1; } end = .; far = 0x999; "
        "fixed = ABSOLUTE(end); }"
    )
    image = laid(script, unit(section(".a", b"abc")))
    sections = {symbol.name: symbol.section for symbol in image.symbols}
    assert sections == {
        "before": 0,
        "in": 0,
        "number": 0,
        "end": 0,
        "far": ABSOLUTE,
        "fixed": ABSOLUTE,
    }
    assert image.symbol("number") == 65


def test_provide_only_where_it_is_wanted() -> None:
    wants = unit(
        section(".a", b"a"),
        symbols=(
            Symbol("wanted", -1, 0, binding=Binding.GLOBAL),
            Symbol("own", 0, 0, binding=Binding.GLOBAL),
        ),
    )
    script = (
        "PROVIDE(wanted = 1); PROVIDE(idle = 2); PROVIDE(own = 3); PROVIDE(read = 4); x = read; "
        "SECTIONS { . = 0x50; .o : { *(.a) } }"
    )
    image = laid(script, wants)
    values = {symbol.name: symbol.value for symbol in image.symbols}
    assert values == {"wanted": 1, "own": 0x50, "read": 4, "x": 4}


def test_assertions_stop_with_their_message_and_line() -> None:
    script = 'SECTIONS { .o : { *(.a) } }\nASSERT(SIZEOF(.o) > 4K,\n"too small, by design")'
    error = refused(script, unit(section(".a", b"a")))
    assert (error.message, error.where) == ("too small, by design", "t.ld:2")
    inside = 'SECTIONS { .o : { *(.a) ASSERT(. - ADDR(.o) == 1, "no"); x = ASSERT(5, "no"); } }'
    assert laid(inside, unit(section(".a", b"a"))).symbol("x") == 5


def test_an_assertion_counts_only_once_the_layout_has_settled() -> None:
    script = 'ASSERT(end > 0x100, "end") SECTIONS { . = 0x100; .o : { *(.a) } end = .; }'
    assert laid(script, unit(section(".a", b"a"))).symbol("end") == 0x101


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (". = 0x100; . = 0x80;", "backwards"),
        (". = 0x40000001;", "out of bounds"),
        (". = 16; . += -8;", "backwards"),
        (". = ALIGN(0x8000000000000000);", "out of bounds"),
        ("x = 1 / 0;", "division by zero"),
        ("x = 1 % (3 - 3);", "division by zero"),
        ("x = nowhere;", "nowhere is not defined"),
        ("x = ADDR(.nowhere);", "no such output section"),
        ("x = ORIGIN(ram);", "no such memory region"),
    ],
)
def test_what_a_section_cannot_do(body: str, words: str) -> None:
    error = refused(f"SECTIONS {{ .o : {{\n{body} }} }}")
    assert words in error.message
    assert error.where in ("t.ld:2", "t.ld:1")


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("SECTIONS { .o : ALIGN(3) { *(.a .b .z) } }", "power of two"),
        ("SECTIONS { .o : { *(.a) } .o : { *(.b) } }", "described twice"),
        ("SECTIONS { .o : { *(.a .b) } >ram .z : { *(.z) } }", "no memory region ram"),
        ("MEMORY { r : ORIGIN = 0, LENGTH = 9 } SECTIONS { .o : { *(.a .b .z) } }",
         "no memory region for section .o"),
        ("MEMORY { r : ORIGIN = 0, LENGTH = 9 } SECTIONS { .o : { *(.a .b .z) } >r }",
         "overflows region r by 23 bytes"),
        ("MEMORY { r : ORIGIN = 4, LENGTH = 99 } SECTIONS { .o 0 : { *(.a .b .z) } >r }",
         "before region r"),
        ("SECTIONS { .o 0 : { *(.a) } .p 2 : { *(.b .z) } }", ".o and .p overlap in address"),
        ("SECTIONS { .o 0 : { *(.a) } .p 8 : AT(1) { *(.b .z) } }", "overlap in load address"),
        ("SECTIONS { .o 0xfffffffffffffffe : { *(.a .b .z) } }", "past the end"),
        ("PHDRS { d PT_LOAD; } SECTIONS { .o : { . += 900M; } :d .p : { BYTE(1) } "
         "/DISCARD/ : { *(*) } }", "too many"),
    ],
)  # fmt: skip
def test_what_a_script_cannot_do(script: str, words: str) -> None:
    assert words in refused(script, ONE).message


def test_zeros_to_store_are_bounded() -> None:
    huge = unit(bss(".z", 65 << 20), section(".a", b"a"))
    set_limits({"memory": 64 << 20})
    try:
        with budgeted(anew=True), pytest.raises(BudgetError, match="MiB of fill in linked sec"):
            laid("SECTIONS { .o : { *(.z) *(.a) } }", huge)
    finally:
        set_limits({})
    assert placed(laid("SECTIONS { .a : { *(.a) } .z : { *(.z) } }", huge), ".z").data == b""


OPERATORS = ["+", "-", "*", "/", "%", "<<", ">>", "&", "|", "==", "<", ">=", "&&", "||"]


def reference(left: int, operator: str, right: int) -> int:
    def signed(value: int) -> int:
        return value - (1 << 64) if value >> 63 else value

    if operator in "/%":
        quotient = int(abs(signed(left)) // abs(signed(right)))
        if (signed(left) < 0) != (signed(right) < 0):
            quotient = -quotient
        return quotient if operator == "/" else signed(left) - quotient * signed(right)
    python = {"&&": "and", "||": "or"}.get(operator, operator)
    if operator in ("&&", "||"):
        left, right = bool(left), bool(right)
    return int(eval(f"{left} {python} {right}"))


@settings(max_examples=200)
@given(
    st.integers(0, 2**64 - 1) | st.integers(0, 70),
    st.sampled_from(OPERATORS),
    st.integers(1, 2**64 - 1) | st.integers(1, 70),
)
def test_arithmetic_is_that_of_64_bits(left: int, operator: str, right: int) -> None:
    script = f"x = {left} {operator} {right};"
    if operator in ("<<", ">>") and right > 63:
        with pytest.raises(LinkError, match="a value has 64"):
            laid(script)
        return
    image = laid(script)
    assert image.symbol("x") == reference(left, operator, right) % 2**64


@settings(max_examples=100)
@given(
    st.lists(
        st.tuples(st.binary(max_size=20), st.sampled_from([1, 2, 8, 64])), min_size=1, max_size=8
    ),
    st.integers(0, 4096),
)
def test_every_byte_arrives_where_its_alignment_asks(
    parts: list[tuple[bytes, int]], start: int
) -> None:
    objects = [unit(section(".a", data, align)) for data, align in parts]
    image = laid(f"SECTIONS {{ . = {start}; .o : {{ BYTE(0xff) *(.a) }} }}", *objects)
    at = placed(image, ".o").va + 1
    for data, align in parts:
        at += -at % align
        if data:
            assert image.read(at, len(data)) == data
        at += len(data)
    assert at == placed(image, ".o").va + placed(image, ".o").size
