"""An Image as bytes: equal when it comes back, and no bytes make anything but an Image."""

from __future__ import annotations

import json
import struct
from enum import IntEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relokit.building import build_programs
from relokit.codegen.object import (
    Binding,
    SectionFlag,
    SectionType,
    SourceLine,
    SourceLines,
    SymbolType,
)
from relokit.codegen.target import Target
from relokit.linker.image import Image, ImageSymbol, PlacedSection, Segment, SegmentFlag
from relokit.linker.stored_image import StoredImageError, check_image, decode_image, encode_image
from support.whole import whole

U32, U64 = st.integers(0, (1 << 32) - 1), st.integers(0, (1 << 64) - 1)
TEXT = st.text(max_size=6)
CODE = SectionFlag.ALLOC | SectionFlag.EXEC
LINES = SourceLines([(0, SourceLine("a.S.j2", 1, "\tnop")), (4, SourceLine("a.S.j2", 3, "\tret"))])
SMALL = Image(
    "small",
    (
        PlacedSection(
            ".text", 0x1000, 0x2000, 8, 4, SectionType.PROGBITS, CODE, b"\0\1\2\3\4\5\6\7",
            LINES,
        ),
        PlacedSection(
            ".bss", 0x1008, 0x2008, 32, 8, SectionType.NOBITS, SectionFlag.ALLOC,
            b"",
        ),
    ),
    (Segment("code", 1, SegmentFlag.R | SegmentFlag.X, (0, 1), 4096),),
    (
        ImageSymbol("start", 0x1000, 8, Binding.GLOBAL, SymbolType.FUNC, 0),
        ImageSymbol("size", 40, 0, Binding.LOCAL, SymbolType.NOTYPE, -2),
        ImageSymbol("wanted", 0, 0, Binding.WEAK, SymbolType.NOTYPE, -1),
    ),
    0x1000,
)  # fmt: skip


@st.composite
def images(draw: st.DrawFn) -> Image:
    sections = []
    for _ in range(draw(st.integers(0, 3))):
        kind = draw(st.sampled_from(SectionType))
        data = b"" if kind is SectionType.NOBITS else draw(st.binary(max_size=40))
        size = draw(U64) if kind is SectionType.NOBITS else len(data)
        offsets = sorted(draw(st.lists(U64, max_size=4)))
        lines = SourceLines((at, SourceLine(draw(TEXT), draw(U32), draw(TEXT))) for at in offsets)
        flags = SectionFlag(draw(st.integers(0, 63)))
        sections.append(
            PlacedSection(
                draw(TEXT), draw(U64), draw(U64), size, draw(U64), kind, flags, data, lines
            )
        )
    count = len(sections)
    segments = [
        Segment(
            draw(TEXT),
            draw(U64),
            SegmentFlag(draw(st.integers(0, 7))),
            tuple(number for number in range(count) if draw(st.booleans())),
            draw(U64),
        )
        for _ in range(draw(st.integers(0, 2)))
    ]
    symbols = [
        ImageSymbol(
            draw(TEXT),
            draw(U64),
            draw(U64),
            draw(st.sampled_from(Binding)),
            draw(st.sampled_from(SymbolType)),
            draw(st.integers(-2, count - 1)),
        )
        for _ in range(draw(st.integers(0, 3)))
    ]
    return Image(draw(TEXT), tuple(sections), tuple(segments), tuple(symbols), draw(U64))


def same(one: Image, two: Image) -> bool:
    """Equal, and of the same types all the way down: 1 equals True, and an enum its number."""
    return (
        one == two
        and whole(one) == whole(two)
        and all(
            type(a.data) is type(b.data) for a, b in zip(one.sections, two.sections, strict=True)
        )
    )


@given(images())
def test_an_image_comes_back_as_it_was(image: Image) -> None:
    assert same(decode_image(encode_image(image)), image)


def test_what_is_built_comes_back_as_it_was() -> None:
    programs = build_programs(Target())
    for image in (programs.kernel, programs.demo, programs.purgatory):
        assert image is not None
        assert same(decode_image(encode_image(image)), image)


def _refused(stored: bytes) -> bool:
    """Whether no Image is made; any other error than the one is a failure, and so is a check that
    lets pass what then cannot be made.
    """
    try:
        check_image(stored)
    except StoredImageError:
        with pytest.raises(StoredImageError):
            decode_image(stored)
        return True
    decode_image(stored)
    return False


@pytest.mark.parametrize(
    ("place", "kinds"), [((2, 0, 5), SectionType), ((4, 0, 3), Binding), ((4, 0, 4), SymbolType)]
)
def test_the_numbers_of_an_enum_are_its_members(
    place: tuple[int, int, int], kinds: type[IntEnum]
) -> None:
    for number in range(300):
        document = _document()
        document[place[0]][place[1]][place[2]] = number
        if place[0] == 2 and number == SectionType.NOBITS:
            continue  # has no bytes: another test's
        assert _refused(_stored(document)) is (number not in {*kinds})


@given(st.binary(max_size=60))
def test_any_bytes_are_refused(stored: bytes) -> None:
    assert _refused(stored)


@given(st.integers(0, 2000), st.integers(0, 30), st.binary(max_size=30))
def test_altered_bytes_are_refused_or_make_a_whole_image(at: int, size: int, new: bytes) -> None:
    """Altered names and numbers cannot be told here: that is the digest's part."""
    stored = encode_image(SMALL)
    at %= len(stored) + 1
    altered = stored[:at] + new + stored[at + size :]
    if not _refused(altered):
        image = decode_image(altered)
        assert decode_image(encode_image(image)) == image


def _document() -> Any:
    stored = encode_image(SMALL)
    (size,) = struct.unpack_from("<Q", stored)
    return json.loads(stored[8 : 8 + size])


def _stored(document: Any) -> bytes:
    head = json.dumps(document).encode()
    return struct.pack("<Q", len(head)) + head + SMALL.sections[0].data


def _places(value: Any, path: tuple[int, ...] = ()) -> list[tuple[int, ...]]:
    if not isinstance(value, list):
        return [path]
    return [path, *(p for n, part in enumerate(value) for p in _places(part, (*path, n)))]


@pytest.mark.parametrize("value", [None, True, 1.0, -3, 1 << 64, "x", {}, [], [[]]], ids=repr)
@pytest.mark.parametrize("path", _places(_document())[1:], ids=str)
def test_a_value_of_the_wrong_kind_is_refused_wherever_it_stands(
    path: tuple[int, ...], value: object
) -> None:
    document = _document()
    parent = document
    for step in path[:-1]:
        parent = parent[step]
    old = parent[path[-1]]
    if value == [] and old == []:
        return
    if isinstance(old, str) and isinstance(value, str):
        return
    parent[path[-1]] = value
    # Fewer segments or symbols are an Image as well.
    assert _refused(_stored(document)) or (value == [] and path[0] in (3, 4))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ((0,), 99),  # a text that is not there
        ((2, 0, 5), 2),  # SHT_SYMTAB: no section of an Image
        ((2, 0, 7), 7),  # fewer bytes than the section's size
        ((2, 1, 7), 1),  # bytes of a NOBITS section
        ((2, 0, 8), [4, 0]),  # lines that do not ascend
        ((2, 0, 8), [0]),  # fewer offsets than lines
        ((3, 0, 3), [1, 0]),
        ((3, 0, 3), [0, 2]),  # a section that is not there
        ((4, 0, 3), 9),  # no binding
        ((4, 0, 4), 9),  # no symbol type
        ((4, 0, 5), 2),
        ((4, 0, 5), -3),
    ],
)
def test_numbers_that_fit_nothing_are_refused(path: tuple[int, ...], value: object) -> None:
    document = _document()
    parent = document
    for step in path[:-1]:
        parent = parent[step]
    parent[path[-1]] = value
    assert not _refused(_stored(_document()))
    assert _refused(_stored(document))


@pytest.mark.parametrize("text", ["[" * 100_000, "1" * 5000, "NaN", '"\\ud800"', "{}"])
def test_hostile_json_is_refused(text: str) -> None:
    assert _refused(struct.pack("<Q", len(text)) + text.encode())


def test_a_length_beyond_the_end_is_refused() -> None:
    assert _refused(struct.pack("<Q", (1 << 64) - 1) + b"[]")
