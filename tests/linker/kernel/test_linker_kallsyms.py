"""Symbol tables laid out here as each generation of kernels lays them out, then read back."""

from __future__ import annotations

import contextlib
import struct
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relokit.codegen.base.budget import budgeted, set_limits
from relokit.codegen.base.errors import BudgetError, FormatError
from relokit.linker.kernel import kallsyms
from relokit.linker.kernel.kallsyms import read_kallsyms
from support.symbol_tables import BASE, GENERATIONS, IMAGE_SIZE, TABLE_AT, Synthetic, up


@pytest.mark.parametrize("kernel", GENERATIONS, ids=lambda kernel: kernel.generation)
def test_every_generation_is_read_back(kernel: Synthetic) -> None:
    extra = [("t" + "long_name_" * 20, 0x1_8008), ("Ttwice", 0x1_8108), ("ttwice", 0x1_8208)]
    kernel = replace(kernel, extra=extra)
    found = read_kallsyms(memoryview(bytes(kernel.image())))
    assert found.link_base == BASE
    assert list(zip(found.types, found.names, found.offsets, strict=True)) == [
        (name[0], name[1:], offset) for name, offset in kernel.symbols()
    ]
    assert found.address("function_7") == BASE + kernel.first + 0x70
    assert found.offsets_of("twice") == (0x1_8108, 0x1_8208)
    assert found.offset("twice") == 0x1_8108
    assert "twice" in found
    assert "function_99999" not in found
    assert found.end(0x1_8008) == 0x1_8108
    assert found.end(IMAGE_SIZE) == found.offsets[-1]
    assert found.names_at(0x1_8108) == ("twice",)
    assert found.names_at(0x1_8109) == ()
    assert [entry[0] for entry in found.within(0x1_8101, 0x1_8110)] == ["twice"]
    symbol = next(iter(found))
    assert (symbol.type, symbol.address) == ("T", BASE + kernel.first)
    assert len(found) == len(kernel.symbols())


@pytest.mark.parametrize("count", [767, 1023, 1024, 1025, 1280])
def test_last_block_of_names_full_or_not(count: int) -> None:
    kernel = Synthetic("6.12", count=count)
    assert len(read_kallsyms(memoryview(bytes(kernel.image())))) == len(kernel.symbols())


def test_decoys_are_passed_over() -> None:
    """The digits in a row, and rising words, also where no symbol table is."""
    image = Synthetic("6.12").image()
    image[0x10_0000:0x10_0014] = b"".join(b"%d\0" % n for n in range(10))
    struct.pack_into("<8I", image, TABLE_AT - 0x1000, 0, *(3000 * n for n in range(1, 8)))
    struct.pack_into("<300I", image, TABLE_AT - 0x8000, 0, *(600 * n for n in range(1, 300)))
    assert len(read_kallsyms(memoryview(bytes(image)))) == 2002


def test_names_are_counted_before_they_are_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some hundred kilobytes, compressed, were gigabytes."""
    image = memoryview(bytes(Synthetic().image()))

    def none(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(kallsyms, "expanded", none)
    set_limits({"memory": 4096})
    try:
        with budgeted(anew=True), pytest.raises(BudgetError, match="names of kernels"):
            read_kallsyms(image)
    finally:
        set_limits({})
    monkeypatch.setattr(kallsyms, "MAX_TEXT", 2000)
    with pytest.raises(FormatError, match="pass 2000 characters"):
        read_kallsyms(image)


def test_image_without_symbols() -> None:
    image = bytearray(Synthetic().image()[:64]) + bytes(0x10000)
    with pytest.raises(FormatError, match="no kallsyms") as caught:
        read_kallsyms(memoryview(bytes(image)), where="vmlinuz")
    assert str(caught.value).startswith("vmlinuz: ")


def part_at(kernel: Synthetic, name: str) -> int:
    align = 4 if kernel.generation == "7.2" else 8
    parts = kernel.parts()
    at = TABLE_AT
    for part in kernel.order():
        if part == name:
            return at
        at += len(up(parts[part], align))
    raise KeyError(name)


@pytest.mark.parametrize(
    ("part", "offset", "value"),
    [
        ("index", 2 * 0x31, b"\xff\xff"),
        ("index", 0, b"\1\0"),
        ("markers", 8, b"\0\0\0\0"),
        ("markers", 8, b"\1"),
        ("names", 0, b"\0"),
        ("names", 0, b"\x7f"),
        ("count", 0, b"\0\0\0\0"),
        ("offsets", 4000, b"\0\0\0\0"),
        ("offsets", 4 * 2001, b"\xff\xff\xff\x7f"),
    ],
)
def test_damaged_table_is_refused(part: str, offset: int, value: bytes) -> None:
    kernel = Synthetic("6.12")
    image = kernel.image()
    at = part_at(kernel, part) + offset
    image[at : at + len(value)] = value
    with pytest.raises(FormatError, match="no kallsyms"):
        read_kallsyms(memoryview(bytes(image)))


def test_no_symbol_whose_place_is_known() -> None:
    kernel = Synthetic("6.1", first=0x1_0000)
    image = kernel.image()
    image[4:8] = bytes(4)
    with pytest.raises(FormatError, match="neither the start"):
        read_kallsyms(memoryview(bytes(image)))


@pytest.mark.parametrize("first", [0x1_0000, 0x4000, 0x1F_0000])
def test_functions_alone_are_found_by_what_is_called(first: int) -> None:
    """A kernel without KALLSYMS_ALL, whose entry point is in no section that is named."""
    kernel = Synthetic("6.1", first=first)
    image = kernel.image()
    image[4:8] = bytes(4)
    # Calls from everywhere, one in ten to where no function begins, backwards as well.
    for n in range(1, 600):
        at = 0x3A_0000 + 4 * n
        target = first + 16 * n * 3 + 4 * (n % 10 == 0)
        struct.pack_into("<I", image, at, 0x94000000 | (target - at) // 4 & 0x3FFFFFF)
    found = read_kallsyms(memoryview(bytes(image)))
    assert found.offset("_stext") == first
    assert found.address("function_7") == BASE + first + 7 * 16
    # If too little of what is called has a name, nothing is taken for granted.
    for n in range(1, 400):
        struct.pack_into("<I", image, 0x3A_0000 + 4 * n, 0x94000000 | n * n % 9973)
    with pytest.raises(FormatError, match="what is called"):
        read_kallsyms(memoryview(bytes(image)))


def test_no_link_address_anywhere() -> None:
    kernel = Synthetic("7.2")
    image = kernel.image()
    image[0x30_0000:] = bytes(len(image) - 0x30_0000)
    with pytest.raises(FormatError, match="linked at"):
        read_kallsyms(memoryview(bytes(image)))


SOUND = {kernel.generation: bytes(kernel.image()) for kernel in GENERATIONS}


@settings(max_examples=60)
@given(
    st.sampled_from(sorted(SOUND)),
    st.lists(st.tuples(st.integers(0, 0xF000), st.binary(min_size=1, max_size=8)), max_size=6),
    st.integers(64, IMAGE_SIZE),
)
def test_damage_never_gives_anything_but_symbols_or_a_refusal(
    generation: str, damage: list[tuple[int, bytes]], size: int
) -> None:
    image = bytearray(SOUND[generation])
    for at, value in damage:
        image[TABLE_AT + at : TABLE_AT + at + len(value)] = value
    with contextlib.suppress(FormatError):
        found = read_kallsyms(memoryview(bytes(image[:size])))
        assert len(found.offsets) == len(found.names) == len(found.types)
