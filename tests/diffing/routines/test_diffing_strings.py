"""A pointer to text is shown, and compared, as the text."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relokit.building import encoder
from relokit.codegen.gas.assembler import assemble
from relokit.codegen.source import Unit
from relokit.diffing.instructions.decode import decode
from relokit.diffing.read.object_side import object_side
from relokit.diffing.read.routine import Names, Routine, Side
from relokit.diffing.routines.compare import compare
from relokit.diffing.routines.report import unified

BASE, DATA = 0x10000, 0x12000
RET = 0xD65F03C0
ADRP_2_PAGES = 0xD0000000  # adrp x0, .+0x2000
ADD_X0 = 0x91000000  # add x0, x0, #0
LDR_X0 = 0xF9400000  # ldr x0, [x0]


def names(content: bytes, *named: tuple[int, str]) -> Names:
    def at(address: int, size: int) -> bytes:
        start = address - DATA
        return content[start : start + size] if start >= 0 else b""

    return Names([(BASE, "f"), *named], at)


def side(known: Names, *words: int) -> Side:
    code = struct.pack(f"<{len(words)}I", *words)
    return Side("a side", {"f": Routine("f", BASE, code)}, known)


def texts(known: Names, *words: int) -> list[str]:
    found = side(known, *words)
    return [one.text for one in decode(found.routines["f"], known)]


def test_a_pointer_to_text_is_the_text() -> None:
    known = names(b"\x016kexec: Bye!\n\0")
    assert texts(known, ADRP_2_PAGES, ADD_X0) == [
        r'adrp x0, "\u00016kexec: Bye!\n"',
        r'add x0, x0, #:lo12:"\u00016kexec: Bye!\n"',
    ]


def test_what_is_loaded_from_there_is_not() -> None:
    known = names(b"not a pointer\0")
    assert texts(known, ADRP_2_PAGES, LDR_X0) == [
        "adrp x0, f+0x2000",
        "ldr x0, [x0, #:lo12:f+0x2000]",
    ]


def test_a_symbol_of_its_own_goes_first_and_a_place_in_one_last() -> None:
    assert texts(names(b"banner\0", (DATA, "linux_banner")), ADRP_2_PAGES, ADD_X0)[1].endswith(
        "linux_banner"
    )
    assert texts(names(b"no\0"), ADRP_2_PAGES, ADD_X0)[1].endswith("f+0x2000")


@pytest.mark.parametrize(
    "content", [b"", b"abc\0", b"no end", b"caf\xc3\xa9 noir\0", b"bell\x07\0", b"x" * 2000 + b"\0"]
)
def test_what_is_no_text(content: bytes) -> None:
    assert names(content).pointed(DATA) == "f+0x2000"


def test_long_texts_are_told_apart_by_what_is_not_shown() -> None:
    one, other = (names(b"a" * 100 + end + b"\0") for end in (b"b", b"c"))
    shown = one.pointed(DATA)
    assert shown is not None
    assert len(shown) < 80
    assert shown != other.pointed(DATA)
    found = compare(side(one, ADRP_2_PAGES, ADD_X0, RET), side(other, ADRP_2_PAGES, ADD_X0, RET))
    assert found.changed == 2


def test_a_text_that_moved_is_no_difference() -> None:
    left = side(names(b"message\0"), ADRP_2_PAGES, ADD_X0, RET)
    right = side(names(b"another one\0message\0"), ADRP_2_PAGES, ADD_X0 | 12 << 10, RET)
    assert compare(left, right).same
    changed = compare(left, side(names(b"massage\0"), ADRP_2_PAGES, ADD_X0, RET))
    assert '-adrp x0, "message"\n+adrp x0, "massage"' in unified(changed)


def test_texts_of_an_object_are_found_by_its_relocations() -> None:
    unit = """
	.text
	.type	f, %function
f:	adrp	x0, .Lbye
	add	x0, x0, :lo12:.Lbye
	ret
	.size	f, . - f
	.section .rodata.str1.1, "aMS", %progbits, 1
	.asciz	"hello there"
.Lbye:	.asciz	"good bye"
"""
    found = object_side(assemble(Unit.from_text("t.S", unit), encoder().encode), "t.S")
    code = decode(found.routines["f"], found.names)
    assert [one.text for one in code[:2]] == [
        'adrp x0, "good bye"',
        'add x0, x0, #:lo12:"good bye"',
    ]


@given(st.binary(max_size=80))
def test_what_is_shown_is_printable(content: bytes) -> None:
    shown = names(content).pointed(DATA)
    assert shown is not None
    assert shown.isascii()
    assert shown.isprintable()
