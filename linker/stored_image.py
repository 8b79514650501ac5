"""An Image as plain bytes and back: a JSON document, and behind it the sections' bytes.

What is read is checked to the last number before an Image is made of it: types, ranges, indices,
and that nothing is missing or left over. Decoding what was encoded gives an equal Image.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from typing import Any, NoReturn

from relokit.codegen.object import (
    ABSOLUTE,
    Binding,
    SectionFlag,
    SectionType,
    SourceLine,
    SymbolType,
)
from relokit.linker.image import Image, ImageSymbol, PlacedSection, Segment, SegmentFlag

_SIZE = struct.Struct("<Q")
_LIMIT = 1 << 64
_FLAGS_LIMIT = 1 << 32


class StoredImageError(ValueError):
    """The bytes are no Image."""


def encode_image(image: Image) -> bytes:
    """``image`` as bytes."""
    texts: dict[str, int] = {}

    def number(text: str) -> int:
        return texts.setdefault(text, len(texts))

    sections = [
        [
            number(section.name), section.va, section.pa, section.size, section.align,
            int(section.type), int(section.flags), len(section.data),
            [offset for offset, _ in section.lines],
            [number(line.file) for _, line in section.lines],
            [line.line for _, line in section.lines],
            [number(line.text) for _, line in section.lines],
        ]
        for section in image.sections
    ]  # fmt: skip
    segments = [
        [number(one.name), one.type, int(one.flags), list(one.sections), one.align]
        for one in image.segments
    ]
    symbols = [
        [number(one.name), one.value, one.size, int(one.binding), int(one.type), one.section]
        for one in image.symbols
    ]
    document = [number(image.name), image.entry, sections, segments, symbols, list(texts)]
    head = json.dumps(document, separators=(",", ":")).encode()
    return b"".join([_SIZE.pack(len(head)), head, *(section.data for section in image.sections)])


def decode_image(stored: bytes) -> Image:
    """The Image that ``stored`` is of; raises StoredImageError if it is of none."""
    try:
        return _image(stored)
    except (ValueError, TypeError, IndexError, struct.error, RecursionError) as error:
        raise StoredImageError(str(error)) from None


def _image(stored: bytes) -> Image:
    (size,) = _SIZE.unpack_from(stored)
    at = _SIZE.size + size
    document = json.loads(stored[_SIZE.size : at].decode())
    name, entry, sections, segments, symbols, texts = _fields(document, 6)
    texts = _Texts(texts)
    placed = []
    for fields in _list(sections):
        count = _number(_fields(fields, 12)[7], len(stored) + 1)
        placed.append(_section(fields, stored[at : at + count], count, texts))
        at += count
    if at != len(stored):
        _refuse("bytes left over, or missing")
    return Image(
        texts[name],
        tuple(placed),
        tuple(_segment(fields, texts, len(placed)) for fields in _list(segments)),
        tuple(_symbol(fields, texts, len(placed)) for fields in _list(symbols)),
        _number(entry),
    )


class _Texts:
    """Every text of an Image once, by number."""

    def __init__(self, texts: Any) -> None:
        self._texts = _list(texts)
        for text in self._texts:
            if type(text) is not str:
                _refuse("not a text")

    def __getitem__(self, number: Any) -> str:
        text: str = self._texts[_number(number)]
        return text


def _section(fields: list[Any], data: bytes, count: int, texts: _Texts) -> PlacedSection:
    name, va, pa, size, align, kind, flags, _, offsets, files, numbers, words = fields
    type_ = SectionType(_number(kind))
    if len(data) != count or count != (0 if type_ is SectionType.NOBITS else _number(size)):
        _refuse("a section of another size than its bytes")
    lines = zip(_ascending(offsets), _list(files), _list(numbers), _list(words), strict=True)
    return PlacedSection(
        texts[name],
        _number(va),
        _number(pa),
        _number(size),
        _number(align),
        type_,
        SectionFlag(_number(flags, _FLAGS_LIMIT)),
        data,
        tuple(
            (offset, SourceLine(texts[file], _number(line), texts[text]))
            for offset, file, line, text in lines
        ),
    )


def _segment(fields: Any, texts: _Texts, sections: int) -> Segment:
    name, kind, flags, members, align = _fields(fields, 5)
    return Segment(
        texts[name],
        _number(kind),
        SegmentFlag(_number(flags, _FLAGS_LIMIT)),
        tuple(_ascending(members, sections)),
        _number(align),
    )


def _symbol(fields: Any, texts: _Texts, sections: int) -> ImageSymbol:
    name, value, size, binding, kind, section = _fields(fields, 6)
    return ImageSymbol(
        texts[name],
        _number(value),
        _number(size),
        Binding(_number(binding)),
        SymbolType(_number(kind)),
        _number(section, sections, least=ABSOLUTE),
    )


def _number(value: Any, limit: int = _LIMIT, *, least: int = 0) -> int:
    # Not isinstance: a bool is an int there.
    if type(value) is not int or not least <= value < limit:
        _refuse("not a number in its range")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        _refuse("not a list")
    return value


def _fields(value: Any, count: int) -> list[Any]:
    fields = _list(value)
    if len(fields) != count:
        _refuse("more or fewer fields")
    return fields


def _ascending(values: Any, limit: int = _LIMIT) -> Iterable[int]:
    numbers = [_number(value, limit) for value in _list(values)]
    if numbers != sorted(numbers):
        _refuse("not ascending")
    return numbers


def _refuse(what: str) -> NoReturn:
    raise StoredImageError(what)
