"""An Image as plain bytes and back: a JSON document, and behind it the sections' bytes.

What is read is checked to the last number before an Image is made of it: types, ranges, indices,
and that nothing is missing or left over. Decoding what was encoded gives an equal Image.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from relokit.codegen.object import SourceLines
    from relokit.linker.image import Image

_SIZE = struct.Struct("<Q")
_LIMIT = 1 << 64
_SECTIONS = 2
"""Where the document has the sections."""
_COUNT = 7
"""Where a section's fields have the number of its bytes."""
# What the enums of codegen/object.py and linker/image.py can be (the tests compare): importing them
# would take longer than all the checks.
_SECTION_TYPES, _NOBITS = frozenset({1, 7, 8}), 8
_BINDINGS, _SYMBOL_TYPES = 3, 5
_ABSOLUTE = -2
_FLAGS = _LINES = 1 << 32


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
            *_columns(section.lines, number),
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


def _columns(lines: SourceLines, number: Callable[[str], int]) -> list[list[int]]:
    """Of all rows their offset, file, line and text, by number."""
    rows = [(at, number(one.file), one.line, number(one.text)) for at, one in lines]
    return [*map(list, zip(*rows, strict=True))] or [[], [], [], []]


def check_image(stored: bytes) -> None:
    """Raise StoredImageError unless :func:`decode_image` makes an Image of ``stored``.

    For whoever only hands it on: what an Image consists of is not imported.
    """
    _parts(stored)


def decode_image(stored: bytes, *, checked: bool = False) -> Image:
    """The Image that ``stored`` is of; raises StoredImageError if it is of none.

    What was ``checked`` by this program already, or made by it, is not checked again: that takes as
    long as the rest.
    """
    from relokit.codegen.object import Binding, SectionFlag, SectionType, SourceLines, SymbolType
    from relokit.linker.image import Image, ImageSymbol, PlacedSection, Segment, SegmentFlag

    (name, entry, sections, segments, symbols, texts), datas = _parts(stored, checked=checked)
    return Image(
        texts[name],
        tuple(
            PlacedSection(
                texts[section], va, pa, size, align, SectionType(kind), SectionFlag(flags), data,
                SourceLines.of_columns(
                    offsets, map(texts.__getitem__, files), lines, map(texts.__getitem__, words)
                ),
            )
            for (
                section, va, pa, size, align, kind, flags, _, offsets, files, lines, words
            ), data in zip(
                sections, datas, strict=True
            )
        ),
        tuple(
            Segment(texts[segment], kind, SegmentFlag(flags), tuple(members), align)
            for segment, kind, flags, members, align in segments
        ),
        tuple(
            ImageSymbol(
                texts[symbol], value, size, Binding(binding), SymbolType(kind), section
            )
            for symbol, value, size, binding, kind, section in symbols
        ),
        entry,
    )  # fmt: skip


def _parts(stored: bytes, *, checked: bool = False) -> tuple[list[Any], list[bytes]]:
    """The document, and the bytes of each section."""
    try:
        (size,) = _SIZE.unpack_from(stored)
        at = _SIZE.size + size
        document = json.loads(stored[_SIZE.size : at].decode())
        sections = document[_SECTIONS] if checked else _check_document(document)
    except (ValueError, TypeError, struct.error, RecursionError) as error:
        raise StoredImageError(str(error)) from None
    datas = []
    for section in sections:
        datas.append(stored[at : at + section[_COUNT]])
        at += section[_COUNT]
    if at != len(stored):
        _refuse("bytes left over, or missing")
    return document, datas


def _check_document(document: Any) -> list[Any]:
    """Returns the sections."""
    name, entry, sections, segments, symbols, texts = _fields(document, 6)
    count = len(_list(texts))
    for text in texts:
        if type(text) is not str:
            _refuse("not a text")
    _number(name, count)
    _number(entry)
    for section in _list(sections):
        _check_section(section, count)
    for segment in _list(segments):
        named, kind, flags, members, align = _fields(segment, 5)
        _number(named, count)
        _number(kind)
        _number(flags, _FLAGS)
        _ascending(members, len(sections))
        _number(align)
    for symbol in _list(symbols):
        named, value, size, binding, kind, section = _fields(symbol, 6)
        _number(named, count)
        _number(value)
        _number(size)
        _number(binding, _BINDINGS)
        _number(kind, _SYMBOL_TYPES)
        _number(section, len(sections), least=_ABSOLUTE)
    return _list(sections)


def _check_section(fields: Any, texts: int) -> None:
    name, va, pa, size, align, kind, flags, count, *lines = _fields(fields, 12)
    _number(name, texts)
    for value in (va, pa, size, align, count):
        _number(value)
    if _number(kind) not in _SECTION_TYPES:
        _refuse("no type of a section")
    _number(flags, _FLAGS)
    if count != (0 if kind == _NOBITS else size):
        _refuse("a section of another size than its bytes")
    offsets, files, numbers, words = (_list(column) for column in lines)
    if not len(offsets) == len(files) == len(numbers) == len(words):
        _refuse("a line with a part missing")
    _ascending(offsets)
    for number in numbers:
        _number(number, _LINES)
    for text in (*files, *words):
        _number(text, texts)


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


def _ascending(values: Any, limit: int = _LIMIT) -> None:
    numbers = [_number(value, limit) for value in _list(values)]
    if numbers != sorted(numbers):
        _refuse("not ascending")


def _refuse(what: str) -> NoReturn:
    raise StoredImageError(what)
