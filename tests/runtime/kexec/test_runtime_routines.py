"""The code that is copied to safe pages, found in an Image by its symbols."""

from __future__ import annotations

from dataclasses import replace

import pytest

from relokit.building import build
from relokit.codegen.base.errors import LinkError
from relokit.codegen.object import Binding, SectionFlag, SectionType, SymbolType
from relokit.codegen.target import Target
from relokit.linker.image import Image, ImageSymbol, PlacedSection
from relokit.runtime.kexec.routines import MAX_RELOCATION, routines_of

BASE = 0xFFFF_8000_0800_0000
START, END, ENTRY, SIZE_WORD, VECTORS = (
    "__relocate_new_kernel_start",
    "__relocate_new_kernel_end",
    "arm64_relocate_new_kernel",
    "arm64_relocate_new_kernel_size",
    "trans_pgd_stub_vectors",
)


def image(symbols: dict[str, int], data: bytes = bytes(0x3000)) -> Image:
    text = PlacedSection(
        ".text", BASE, 0, len(data), 4, SectionType.PROGBITS, SectionFlag.ALLOC, data
    )
    table = tuple(
        ImageSymbol(name, BASE + value, 0, Binding.GLOBAL, SymbolType.NOTYPE, 0)
        for name, value in symbols.items()
    )
    return Image("some kernel", (text,), (), table, BASE)


@pytest.mark.parametrize("state", range(16))
def test_ours_in_every_state(state: int) -> None:
    built = build(Target(series=state)).image
    routines = routines_of(built)
    code = routines.relocation
    assert 0 < len(code) <= 4096
    assert len(code) % 4 == 0
    assert routines.va + routines.entry == built.symbol(ENTRY)
    assert code == built.read(routines.va, len(code))
    # It ends with the branch to the new kernel: br x25 or br x28.
    assert code[-4:] in (bytes.fromhex("20031fd6"), bytes.fromhex("80031fd6"))
    assert (routines.vectors is None) == (state < 2)
    if routines.vectors is not None:
        assert len(routines.vectors) == 0x800
        assert routines.vectors == built.read(built.symbol(VECTORS), 0x800)


def test_between_start_and_end_wherever_the_entry_is() -> None:
    data = bytes(range(256)) * 48
    found = routines_of(image({START: 0x100, END: 0x180, ENTRY: 0x110}, data))
    assert (found.relocation, found.entry, found.va) == (data[0x100:0x180], 0x10, BASE + 0x100)


def test_by_the_size_word_where_there_are_no_bounds() -> None:
    data = bytearray(0x2000)
    data[0x1000:0x1008] = (216).to_bytes(8, "little")
    found = routines_of(image({ENTRY: 0x4C0, SIZE_WORD: 0x1000}, bytes(data)))
    assert (len(found.relocation), found.entry, found.vectors) == (216, 0, None)


@pytest.mark.parametrize(
    ("symbols", "message"),
    [
        ({}, f"no symbol {ENTRY}"),
        ({ENTRY: 0}, f"no symbol {SIZE_WORD}"),
        ({ENTRY: 0, START: 0}, f"no symbol {END}"),
        ({ENTRY: 0, START: 0, END: 0}, "is 0x0 bytes"),
        ({ENTRY: 8, START: 16, END: 8}, "is -0x8 bytes"),
        ({ENTRY: 0x200, START: 0, END: 0x100}, "entered at"),
        ({ENTRY: 0, START: 0, END: MAX_RELOCATION + 4}, "the relocation code is 0x10004 bytes"),
        ({ENTRY: 0, START: 0, END: 0x4000}, "no 16384 bytes at"),
        ({ENTRY: 0, SIZE_WORD: 0x2FFC}, "no 8 bytes at"),
        ({ENTRY: 0, START: 0, END: 64, VECTORS: 0x2900}, "no 2048 bytes at"),
    ],
)
def test_what_is_missing_is_named(symbols: dict[str, int], message: str) -> None:
    with pytest.raises(LinkError, match=message):
        routines_of(image(symbols))


def test_a_size_word_of_a_hostile_kernel_allocates_nothing() -> None:
    data = b"\xff" * 0x2000
    with pytest.raises(LinkError, match="the relocation code is 0xffffffffffffffff bytes"):
        routines_of(image({ENTRY: 0, SIZE_WORD: 0x1000}, data))


def test_vectors_without_contents_are_zeros() -> None:
    """NOBITS is memory like any other."""
    base = image({ENTRY: 0, START: 0, END: 64, VECTORS: 0x800})
    empty = replace(base.sections[0], type=SectionType.NOBITS, data=b"")
    assert routines_of(replace(base, sections=(empty,))).vectors == bytes(0x800)
