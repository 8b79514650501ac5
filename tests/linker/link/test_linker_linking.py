"""Linking: symbols across objects, relocated bytes, source lines, segments, errors by name."""

from __future__ import annotations

import pytest

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
from relokit.linker.image import Image, SegmentFlag
from relokit.linker.link.linking import link
from support.whole import whole

AX = SectionFlag.ALLOC | SectionFlag.EXEC
AW = SectionFlag.ALLOC | SectionFlag.WRITE
BL = 0x94000000
SCRIPT = (
    "SECTIONS { . = 0x1000; .text : { *(.text) } . = 0x2000; .data : { *(.data) } "
    "/DISCARD/ : { *(.gone) } }"
)


def text(*words: int, relocations: tuple[Relocation, ...] = (), **more: object) -> Section:
    data = b"".join(word.to_bytes(4, "little") for word in words)
    return Section(
        ".text",
        SectionType.PROGBITS,
        AX,
        4,
        data,
        len(data),
        relocations,
        **more,  # type: ignore[arg-type]
    )


def data(size: int = 8, relocations: tuple[Relocation, ...] = ()) -> Section:
    return Section(".data", SectionType.PROGBITS, AW, 8, bytes(size), size, relocations)


def shared(name: str, section: int, value: int = 0, **more: object) -> Symbol:
    return Symbol(name, section, value, binding=Binding.GLOBAL, **more)  # type: ignore[arg-type]


def weak(name: str, section: int, value: int = 0) -> Symbol:
    return Symbol(name, section, value, binding=Binding.WEAK)


def linked(*objects: Object, script: str = SCRIPT) -> Image:
    return link(objects, Unit.from_text("t.ld", script), name="t")


def refused(*objects: Object, script: str = SCRIPT) -> LinkError:
    with pytest.raises(LinkError) as caught:
        linked(*objects, script=script)
    return caught.value


CALLER = Object(
    "caller.o",
    (text(BL, BL, relocations=(Relocation(0, R.CALL26, 0, 0), Relocation(4, R.CALL26, 1, 0))),),
    (shared("callee", UNDEFINED), Symbol("local", 0, 0), shared("_start", 0)),
)
CALLEE = Object("callee.o", (text(0, 0),), (shared("callee", 0, 4, size=4, type=SymbolType.FUNC),))


def word(image: Image, address: int) -> int:
    return int.from_bytes(image.read(address, 4), "little")


def test_references_reach_other_objects_and_locals() -> None:
    image = linked(CALLER, CALLEE)
    assert image.symbol("callee") == 0x100C
    assert word(image, 0x1000) == BL | 3
    assert word(image, 0x1004) == BL | 0x3FFFFFF


def test_a_strong_definition_beats_weak_ones_whatever_the_order() -> None:
    fallback = Object("weak.o", (text(0),), (weak("callee", 0),))
    for objects in ((CALLER, fallback, CALLEE), (fallback, CALLEE, CALLER)):
        image = linked(*objects)
        callee = next(symbol for symbol in image.symbols if symbol.name == "callee")
        assert (callee.binding, callee.size) == (Binding.GLOBAL, 4)
    first = Object("w1.o", (text(0),), (weak("w", 0),))
    second = Object("w2.o", (text(0),), (weak("w", 0),))
    assert linked(first, second).symbol("w") == 0x1000


def test_a_weak_reference_may_stay_undefined() -> None:
    item = Object(
        "a.o",
        (text(BL, relocations=(Relocation(0, R.CALL26, 0, 0),)),
         data(relocations=(Relocation(0, R.ABS64, 0, 8),))),
        (weak("nobody", UNDEFINED),),
    )  # fmt: skip
    image = linked(item)
    assert word(image, 0x1000) == 0xD503201F
    assert image.read(0x2000, 8) == (8).to_bytes(8, "little")


def test_two_strong_definitions_name_both_places() -> None:
    error = refused(CALLEE, Object("other.o", (text(0, 0),), CALLEE.symbols))
    assert error.message == "symbol callee is defined twice"
    assert error.where == "other.o:(.text+0x4)"
    assert error.hint == "also defined at callee.o:(.text+0x4)"


def test_undefined_symbols_are_listed_with_their_places() -> None:
    lines = SourceLines(
        [(0, SourceLine("a.S.j2", 7, "bl one")), (4, SourceLine("a.S.j2", 9, "bl two"))]
    )
    relocations = (Relocation(0, R.CALL26, 0, 0), Relocation(4, R.CALL26, 1, 0))
    item = Object(
        "a.o",
        (text(BL, BL, relocations=relocations, lines=lines),),
        (shared("one", UNDEFINED), shared("two", UNDEFINED)),
    )
    error = refused(item)
    assert (error.message, error.where) == ("undefined symbol one", "a.S.j2:7")
    assert "two (a.S.j2:9)" in (error.hint or "")


def test_a_reference_into_a_discarded_section() -> None:
    gone = Section(".gone", SectionType.PROGBITS, AX, 4, bytes(4), 4)
    item = Object(
        "a.o",
        (text(BL, relocations=(Relocation(0, R.CALL26, 0, 0),)), gone),
        (shared("lost", 1),),
    )
    error = refused(item)
    assert "reference to lost in section .gone" in error.message
    assert error.where == "a.o:(.text+0x0)"
    assert not linked(Object("b.o", (text(0), gone), (shared("lost", 1),))).has_symbol("lost")


def test_a_relocation_that_does_not_fit_names_source_line_and_symbol() -> None:
    lines = SourceLines([(0, SourceLine("jump.S", 3, "tbz x0, #1, far"))])
    relocation = Relocation(0, R.TSTBR14, 0, 0)
    item = Object(
        "a.o",
        (text(0x36080000, relocations=(relocation,), lines=lines),),
        (shared("far", UNDEFINED),),
    )
    error = refused(item, script="far = 0x100000;" + SCRIPT)
    assert "R_AARCH64_TSTBR14 out of range" in error.message
    assert "(symbol far)" in error.message
    assert (error.where, error.text) == ("jump.S:3", "tbz x0, #1, far")


def test_the_script_beats_an_objects_definition_and_no_other_object_does() -> None:
    assert linked(CALLEE, script=SCRIPT + "callee = 0x10;").symbol("callee") == 0x10
    outside = Object("outside.o", (), (shared("callee", ABSOLUTE, 0x1100),))
    assert "callee is defined twice" in refused(CALLEE, outside).message
    image = linked(CALLER, outside)
    assert word(image, 0x1000) == BL | 0x40


def test_hidden_assignments_are_local_and_aliases_keep_the_type() -> None:
    image = linked(CALLEE, script=SCRIPT + "HIDDEN(inner = 1); again = callee;")
    symbols = {symbol.name: symbol for symbol in image.symbols}
    assert symbols["inner"].binding is Binding.LOCAL
    assert symbols["again"].type is SymbolType.FUNC
    names = [symbol.binding for symbol in image.symbols]
    assert names == sorted(names, key=lambda binding: binding is not Binding.LOCAL)


def test_source_lines_move_with_their_bytes() -> None:
    both = SourceLines([(0, SourceLine("a.S", 1, "one")), (4, SourceLine("a.S", 2, "two"))])
    first = text(1, 2, lines=both)
    second = text(3, lines=SourceLines([(0, SourceLine("b.S", 5, "three"))]))
    image = linked(
        Object("a.o", (first,), ()), Object("plain.o", (text(9),), ()), Object("b.o", (second,), ())
    )
    lines = [str(image.line_at(0x1000 + 4 * at)) for at in range(4)]
    assert lines == ["a.S:1", "a.S:2", "plain.o:0", "b.S:5"]


def test_default_segments_part_by_access_and_never_mix_write_and_execute() -> None:
    image = linked(Object("a.o", (text(1), data()), ()))
    assert [(s.type, s.flags, s.sections) for s in image.segments] == [
        (1, SegmentFlag.R | SegmentFlag.X, (0,)),
        (1, SegmentFlag.R | SegmentFlag.W, (1,)),
    ]
    error = refused(
        Object("a.o", (text(1), data()), ()), script="SECTIONS { .all : { *(.text .data) } }"
    )
    assert "writable and executable (.all)" in error.message


def test_segments_by_phdrs() -> None:
    phdrs = (
        "PHDRS { code PT_LOAD FLAGS(5); idle PT_LOAD; data PT_LOAD; note PT_NOTE; } SECTIONS { "
        ". = 0x1000; .text : { *(.text) } :code .more : { LONG(1) } . = 0x3000; "
        ".data : AT(0x9000) { *(.data) } :data .apart 0x8000 : { LONG(2) } :NONE "
        ".said 0xa000 : { *(.said) } :note }"
    )
    said = Section(".said", SectionType.NOTE, SectionFlag.ALLOC, 4, b"note", 4)
    image = linked(Object("a.o", (text(1), data(), said), ()), script=phdrs)
    assert [(s.name, s.flags, s.sections) for s in image.segments] == [
        ("code", SegmentFlag(5), (0, 1)),
        ("data", SegmentFlag(6), (2,)),
        ("note", SegmentFlag(4), (4,)),
    ]


@pytest.mark.parametrize(
    ("tail", "words"),
    [
        (":nowhere", "no program header nowhere"),
        ("", "section .text has no program header"),
        (":both", "writable and executable"),
        (":code .far : AT(0x100) { LONG(1) }", "another distance"),
        (":code .low 0x10 : { LONG(1) }", "before its segment's end"),
        (":code .far 0x10000000 : { LONG(1) }", "gap of"),
    ],
)
def test_segments_that_cannot_be(tail: str, words: str) -> None:
    script = (
        "PHDRS { code PT_LOAD FLAGS(5); both PT_LOAD FLAGS(7); } SECTIONS { . = 0x1000; "
        f".text : {{ *(.text) }} {tail} }}"
    )
    error = refused(Object("a.o", (text(1),), ()), script=script)
    assert words in error.message


def test_the_entry() -> None:
    item = Object("a.o", (text(1, 2), data()), (shared("go", 0, 4), shared("start", 0, 4)))
    assert linked(item, script="ENTRY(go)" + SCRIPT).entry == 0x1004
    assert linked(item).entry == 0x1004
    assert linked(CALLEE).entry == 0x1000
    # As an object of GNU as, which has a .text with nothing in it.
    assert linked(Object("d.o", (data(),), ())).entry == 0x1000
    nowhere = "SECTIONS { .data 0x1000 : { *(.data .bss) } /DISCARD/ : { *(.text) } }"
    assert linked(Object("d.o", (data(),), ()), script=nowhere).entry == 0
    assert "entry symbol nope" in refused(item, script="ENTRY(nope)" + SCRIPT).message


def test_a_note_has_a_segment_of_its_own_without_phdrs() -> None:
    said = Section(".said", SectionType.NOTE, SectionFlag.ALLOC, 4, b"note", 4)
    script = "SECTIONS { .all : { *(.text) } .said : { *(.said) } }"
    image = linked(Object("a.o", (text(1), said), ()), script=script)
    loaded, noted = image.segments[-2:]
    assert (loaded.type, noted.type) == (1, 4)
    assert loaded.sections == noted.sections == (1,)


def section_of(align: int = 1, size: int = 4, given: bytes = bytes(4)) -> Section:
    return Section(".text", SectionType.PROGBITS, AX, align, given, size)


@pytest.mark.parametrize(
    "item",
    [
        Object("bad.o", (section_of(align=3),), ()),
        Object("bad.o", (section_of(align=0),), ()),
        Object("bad.o", (section_of(align=1 << 40),), ()),
        Object("bad.o", (section_of(size=5),), ()),
        Object("bad.o", (section_of(size=-4, given=b""),), ()),
        Object("bad.o", (section_of(),), (shared("x", 7),)),
        Object("bad.o", (text(0, relocations=(Relocation(0, R.ABS32, 9, 0),)),), ()),
        Object("bad.o", (text(0, relocations=(Relocation(2, R.ABS32, 0, 0),)),),
               (Symbol("x", ABSOLUTE, 1),)),
        Object("bad.o", (text(0, relocations=(Relocation(0, 999, 0, 0),)),),
               (Symbol("x", ABSOLUTE, 1),)),
    ],
)  # fmt: skip
def test_broken_objects_are_named(item: Object) -> None:
    error = refused(item)
    assert "bad.o" in str(error)


def test_the_inputs_are_not_changed_and_the_result_is_the_same_again() -> None:
    before = whole((CALLER, CALLEE))
    assert linked(CALLER, CALLEE) == linked(CALLER, CALLEE)
    assert whole((CALLER, CALLEE)) == before


def test_sections_that_are_kept_apart_do_not_refer_to_one_another() -> None:
    reader = Object(
        "reader.o",
        (text(0x58000000, relocations=(Relocation(0, R.LD_PREL_LO19, 0, 0),)), data()),
        (shared("value", 1),),
    )
    apart = "NOCROSSREFS(.text .data) " + SCRIPT
    error = refused(reader, script=apart)
    assert "value in .data" in error.message
    assert error.where == "reader.o:(.text+0x0)"
    others = "NOCROSSREFS(.text .init) NOCROSSREFS(.data .init) " + SCRIPT
    assert linked(reader, script=others).sections[0].size == 4
    # What one section has of its own is no crossing.
    assert linked(CALLER, CALLEE, script=apart).sections[0].size == 16
