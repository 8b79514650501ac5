"""Where orphans go beside sections that are empty, where a program begins, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from relokit.codegen.base.errors import LinkError
from relokit.codegen.gas.assembler import assemble as assembled
from relokit.codegen.gas.instructions.encoder import Encoder
from relokit.codegen.source import Unit
from relokit.linker.link.linking import link
from support.gnu_ld import assemble, compare, contents, gnu_ld, ours, symbols
from support.suites.ld import COMMON_SOURCE

pytestmark = pytest.mark.oracle

PLACES = {
    "an .interp with nothing in it": "SECTIONS { .data : { *(.data) } .interp : { *(.interp) } "
    ".last : { *(.last) } }",
    "a .tdata that is not stored": "SECTIONS { .tdata : { *(.tdata) } .data : { *(.data) } }",
    "a .text and a .bss to come": "SECTIONS { .one : { *(.other) } .text : { *(.none) } "
    ".bss : { *(.none) } .two : { *(.rodata) } }",
    "a .rodata with a symbol": "SECTIONS { .rodata : { here = .; } .data : { *(.data) } }",
    "data of the script, by a name that says its type": "SECTIONS { .rodata : { BYTE(0) } }",
    "data of the script, by another name": "SECTIONS { .foo : { *(.none) } .bar : { BYTE(1) } }",
    "writable data in .text": "SECTIONS { .data : { *(.text) } .text : { *(.data) } }",
    "where nothing is loaded": "SECTIONS { . = 4096; .a : AT(8192) { *(.a) } .b : { *(.b) } "
    ".text : { *(.text) } a = LOADADDR(.a); b = LOADADDR(.b); t = LOADADDR(.text); }",
    "behind an address of nothing": "SECTIONS { . = 4096; .text : { *(.text) } "
    ".n 0x5000 : { *(.none) } end = .; .data : { *(.data) } last = .; }",
    "right behind it": "SECTIONS { .text : { *(.text) } .n 0x5000 : { } .data : { *(.data) } }",
    "the counter moved behind it": "SECTIONS { .text : { *(.text) } .n 0x5000 : { *(.none) } "
    ". = . + 4; a = .; .data : { *(.data) } }",
    "addresses of nothing, one behind another": "SECTIONS { .text : { *(.text) } .n 0x5001 : { } "
    "PROVIDE(unused = 1); .m ALIGN(256) : ALIGN(16) { *(.none) } .data ALIGN(64) : { *(.data) } }",
    "an empty section that is assigned nothing": "SECTIONS { . = 0x1001; .n : ALIGN(16) { . = 0; } "
    "x = .; .data : { *(.data) } }",
    "the same with an address": "SECTIONS { .text : { *(.text) } .n 0x5000 : { . = ALIGN(. != 0 ? "
    "32 : 1); } x = .; . = .; .data : { *(.data) } }",
    "assigned what may be something": "SECTIONS { . = 0x1001; .n : ALIGN(16) { . = ALIGN(1); } "
    "x = .; .data : { *(.data) } }",
    "provided for what is provided": "PROVIDE(third = 3); PROVIDE(second = third + 1); "
    "SECTIONS { .t : { *(.text) QUAD(second) } .data : { *(.data) } }",
    "provided for nobody": "SECTIONS { PROVIDE(one = 3); PROVIDE(two = one + 1); "
    ".t : { *(.text) } .data : { *(.data) } three = 1; PROVIDE(four = three); }",
    "provided and hidden": "SECTIONS { PROVIDE_HIDDEN(data_symbol = 5); .data : { *(.data) } "
    "PROVIDE_HIDDEN(new = 7); .t : { *(.text) QUAD(new) } }",
}


@pytest.mark.parametrize("name", PLACES)
def test_places_are_those_of_gnu_ld(name: str, tmp_path: Path, encoder: Encoder) -> None:
    item = assemble(tmp_path, "a.s", COMMON_SOURCE)
    compare(tmp_path, PLACES[name], [item])
    # Our own object has no empty sections, and says the same.
    theirs, _ = gnu_ld(tmp_path, PLACES[name], [item])
    own = assembled(Unit.from_text("a.s", COMMON_SOURCE), encoder.encode)
    image = link([own], Unit.from_text("script.ld", PLACES[name]), name="x")
    assert theirs is not None
    assert (contents(image), symbols(image)) == (contents(theirs), symbols(theirs))


LOADED = {
    "kept input that is empty": "SECTIONS { . = 0x1001; .n : ALIGN(16) { KEEP(*(.empty)) } "
    "x = .; .one : { *(.one) } y = .; }",
    "nothing to keep": "SECTIONS { . = 0x1001; .n : ALIGN(16) { KEEP(*(.none)) } x = .; "
    ".one : { *(.one) } y = .; }",
    "a load address that goes on is aligned as the address": "SECTIONS { . = 0x1000; "
    ".one : AT(0x9001) { *(.one) } .two : { *(.two) } .three : ALIGN(256) { *(.three) } "
    "a = LOADADDR(.one); b = LOADADDR(.two); c = LOADADDR(.three); }",
    "where the address is given, by ALIGN alone": "SECTIONS { . = 0x1000; "
    ".one : AT(0x9001) { *(.one) } .two 0x2001 : { *(.two) } .three 0x3002 : ALIGN(16) "
    "{ *(.three) } a = LOADADDR(.one); b = LOADADDR(.two); c = LOADADDR(.three); }",
    "moved on by what the address was": "MEMORY { ram : ORIGIN = 0x1001, LENGTH = 1M "
    "rom : ORIGIN = 0x900003, LENGTH = 1M } SECTIONS { .one : { *(.one) } >ram AT>rom "
    ".two : ALIGN_WITH_INPUT { *(.two) } >ram AT>rom .three : ALIGN_WITH_INPUT { *(.three) } >ram "
    "AT>rom a = LOADADDR(.one); b = LOADADDR(.two); c = LOADADDR(.three); }",
    "one region for both": "MEMORY { ram : ORIGIN = 0x1000, LENGTH = 1M } SECTIONS { .one 0x1041 : "
    "{ *(.one) } >ram AT>ram .two 0x1103 : ALIGN(8) { *(.two) . = ALIGN(64); } >ram AT>ram "
    ".three : { *(.three) } >ram a = LOADADDR(.one); b = LOADADDR(.two); c = LOADADDR(.three); }",
}


@pytest.mark.parametrize("name", LOADED)
def test_load_addresses_and_what_is_kept_are_those_of_gnu_ld(name: str, tmp_path: Path) -> None:
    text = "".join(
        f'.section .{name}, "a"\n.balign {align}\n{data}\n'
        for name, align, data in [
            ("one", 1, ".byte 1"),
            ("two", 64, ".byte 2"),
            ("three", 16, ".byte 3"),
            ("empty", 1, ""),
        ]
    )
    objects = [assemble(tmp_path, "a.s", text)]
    theirs, said = gnu_ld(tmp_path, LOADED[name], objects)
    assert theirs is not None, said
    image = ours(LOADED[name], objects)
    assert (contents(image), symbols(image)) == (contents(theirs), symbols(theirs))


ENTRIES = [
    "SECTIONS { . = 0x1000; .foo : { *(.foo) } }",
    "SECTIONS { . = 0x1000; .foo : { *(.foo) } .text : { *(.none) } }",
    "SECTIONS { . = 0x1000; .foo : { *(.foo) } .text : { x = .; } /DISCARD/ : { *(.text) } }",
    "SECTIONS { . = 0x1000; .foo : { *(.foo) } /DISCARD/ : { *(.text) } }",
    "SECTIONS { _start = 5; . = 0x1000; .foo : { *(.foo) } .text 0x3000 : { *(.text) } }",
]


@pytest.mark.parametrize("script", ENTRIES)
def test_without_entry_a_program_begins_with_its_text(
    script: str, tmp_path: Path, encoder: Encoder
) -> None:
    text = '.section .foo, "ax"; nop\n'
    theirs, said = gnu_ld(tmp_path, script, [assemble(tmp_path, "a.s", text)])
    assert theirs is not None, said
    own = assembled(Unit.from_text("a.s", text), encoder.encode)
    assert link([own], Unit.from_text("s.ld", script), name="x").entry == theirs.entry


REFUSED = [
    # Names run on over what follows them at once.
    "SECTIONS { .data : { *(.data) } x=1; }",
    "SECTIONS { .data : { *(.data) } x= 1; }",
    "SECTIONS { .data : { *(.data) x =1; } }",
    "SECTIONS { .data : { *(.data) } PROVIDE(x=1); }",
    "SECTIONS { .data: { *(.data) } }",
    "SECTIONS { .data : { *(.data) } x/* two */ = 1; }",
    "MEMORY { m: ORIGIN = 0, LENGTH = 1M } SECTIONS { .data : { *(.data) } >m }",
    "MEMORY { m : ORIGIN=0, LENGTH = 1M } SECTIONS { .data : { *(.data) } >m }",
    # A comma or semicolon too many, one too few, parts in another order.
    "SECTIONS { .data : { *(.data) } ; }",
    'SECTIONS { .data : { *(.data) } ASSERT(1, "x"); }',
    "SECTIONS { .data : { *(.data) } PROVIDE(x = 1) y = 2; }",
    "SECTIONS { .data : SUBALIGN(8) ALIGN(16) { *(.data) } }",
    # Words and numbers of the language.
    "SECTIONS { ALIGN : { *(.data) } }",
    "SECTIONS { .data : { *(.data) } len = 1; }",
    "SECTIONS { .data : { *(.data) SORT = 1; } }",
    "SECTIONS { .data : { *(.data) } x = OVERLAY; }",
    "SECTIONS { .data : { *(.data) . = 8; } =0x12 add : { *(.text) } }",
    "SECTIONS { .data : ALIGN(8) ALIGN_WITH_INPUT { *(.data) } }",
    "SECTIONS { .data : { *(SORT_BY_NAME(SORT_NONE(.data))) } }",
    "SECTIONS { .data : { *(SORT_BY_INIT_PRIORITY(SORT_BY_NAME(.data))) } }",
    "SECTIONS { x = 5; .data : { *(.data) } = x }",
    "SECTIONS { .data : { nothing.o(.data) } }",
    "SECTIONS { .data : AT(ADDR(.text) + 4096) { *(.data) } .text : { *(.text) } }",
]


@pytest.mark.parametrize("script", REFUSED)
def test_what_gnu_ld_refuses_we_refuse(script: str, tmp_path: Path, encoder: Encoder) -> None:
    text = "nop; .data; .word 1\n"
    theirs, _ = gnu_ld(tmp_path, script, [assemble(tmp_path, "a.s", text)])
    assert theirs is None
    own = assembled(Unit.from_text("a.s", text), encoder.encode)
    with pytest.raises(LinkError) as caught:
        link([own], Unit.from_text("s.ld", script), name="x")
    assert str(caught.value.where).startswith("s.ld:1")


@pytest.mark.parametrize(
    "script",
    [
        # Each of these is something else to GNU ld.
        "SECTIONS { .one : { *(.text,.data) } }",
        "SECTIONS { .one : { *(.text, .data) } }",
        "SECTIONS { .one : { *(.text ,.data) } }",
        "SECTIONS { .one : { *(.data) x/**/=1; } }",
        "MEMORY { m : ORIGIN = 0, LENGTH = 1M } SECTIONS { .one : { *(.data) } >m=0x90 }",
        "SECTIONS { .one : { *(.data) } bad = 5; x = bad; }",
        "SECTIONS { .one : { *(.data) } x = 1 << 64; }",
    ],
)
def test_what_gnu_ld_reads_otherwise_is_refused(script: str, encoder: Encoder) -> None:
    own = assembled(Unit.from_text("a.s", "nop; .data; .word 1\n"), encoder.encode)
    with pytest.raises(LinkError) as caught:
        link([own], Unit.from_text("s.ld", script), name="x")
    assert str(caught.value.where).startswith("s.ld:1")


@pytest.mark.parametrize(
    "body",
    [
        "*(.n) . += 16;",
        ". += 16; *(.n)",
        "*(.n) BYTE(1)",
        "QUAD(1) *(.n)",
        "*(.n) . = ALIGN(64);",
        "*(.n) . = ALIGN(4);",
        "x = .; *(.n)",
        "*(.n) FILL(1) . += 4;",
        "*(.n) . = . + 0;",
    ],
)
@pytest.mark.parametrize("address", ["", "0", "0x2000"])
def test_room_in_a_section_makes_it_allocated(tmp_path: Path, body: str, address: str) -> None:
    text = 'nop\n.section .n, ""\n.word 7\n.data\n.word 1\n'
    script = (
        f"SECTIONS {{ . = 0x1000; .text : {{ *(.text) }} .n {address} : {{ {body} }} "
        ".data : { *(.data) } }"
    )
    compare(tmp_path, script, [assemble(tmp_path, "a.s", text)])


def test_a_got_of_its_own_may_be_gnu_lds(encoder: Encoder) -> None:
    own = assembled(Unit.from_text("a.s", "nop\n"), encoder.encode)
    script = Unit.from_text("s.ld", "SECTIONS { .text : { *(.text) } .x : { LONG(0) *(.got) } }")
    with pytest.raises(LinkError) as caught:
        link([own], script, name="x")
    assert "something of its own in .x" in caught.value.message


def test_where_an_orphan_goes_may_depend_on_what_gnu_ld_makes(encoder: Encoder) -> None:
    script = "SECTIONS { .text : { *(.text) } . = 4096; .rela.plt : { *(.rela.iplt) } }"
    own = assembled(Unit.from_text("a.s", 'nop; .section .x, "a"; .word 1\n'), encoder.encode)
    with pytest.raises(LinkError) as caught:
        link([own], Unit.from_text("s.ld", script), name="x")
    assert "something of its own in .rela.plt" in caught.value.message
