"""How a noun is shown to whoever types its name: addresses in hexadecimal, sizes with their unit,
what is as it is by default left out, and never more than fits a screen.

What a number is of goes by the name of its field, as all nouns use these names; where one means
another thing in one noun, that stands beside it. Nothing is decided by what stands here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from pathlib import PurePath
from typing import Any

MOST = 600
"""Characters of a noun that is shown."""
MAX_TEXT = 60
MAX_ITEMS = 4
"""Of a collection, how many are shown one by one."""
LARGE = 1 << 32
"""A number from here on is in hexadecimal whatever it is of."""


class NumberUnit(Enum):
    """What a number is of; an address may be a register or a word of memory as well."""

    ADDRESS = "address"
    BYTES = "bytes"
    PAGES = "pages"
    PLAIN = "plain"


_NAMES = {
    NumberUnit.ADDRESS: """
        address at banks base basers cbaser changed clean code_pa control_page crash_at
        creadr ctlr cwriter daif descriptor dtb_at end entry esr extents far fields filled
        flags hcr head held high identity initrd_at kernel_at kho_scratch kho_tree kimage
        linked_word listed low mair mair_byte memory_map missing needed offset pa pas pc
        pendbaser place propbaser provided pstate raiser readable registers release reserved
        return_address root same scratch sctlr sp spsr start swapper sysregs system table
        tcr text_offset to tree ttbr0 ttbr1 unfetchable unmapped until usable va value vbar
        vectors word x x0 x1 x2 x3 zero_page
        """,
    NumberUnit.BYTES: """
        align bufsz bytes cache_line code_bytes crash_size entsize filesz image_size
        left_bytes length memory memsz page_size page_sizes ram right_bytes size
        verified_bytes
        """,
    NumberUnit.PAGES: "at_home bad_pages list_pages pages",
}
UNITS: Mapping[str, NumberUnit] = {
    **{name: unit for unit, names in _NAMES.items() for name in names.split()},
    "Counts.loaded": NumberUnit.BYTES,
    "Counts.stored": NumberUnit.BYTES,
    "EffectFacts.line": NumberUnit.BYTES,
    "Given.crash": NumberUnit.ADDRESS,
    "KimageLayout": NumberUnit.ADDRESS,
    "KimageLayout.size": NumberUnit.BYTES,
    "KimageWord.wanted": NumberUnit.ADDRESS,
    "LoadSeen.stored": NumberUnit.ADDRESS,
    "MoveCounts.line": NumberUnit.BYTES,
    "Moved.right": NumberUnit.PAGES,
    "Ownership.kept": NumberUnit.ADDRESS,
    "Ownership.made": NumberUnit.ADDRESS,
    "TimelineEntry.at": NumberUnit.PLAIN,
    "TreeGiven.core_header": NumberUnit.ADDRESS,
    "TreeGiven.initrd": NumberUnit.ADDRESS,
    "WordDifference.wanted": NumberUnit.ADDRESS,
}
"""By noun and field, else by the name of a field, else by the noun."""


def unit_of(noun: type, field: str) -> NumberUnit:
    """What the numbers in ``field`` of ``noun`` are of."""
    names = f"{noun.__name__}.{field}", field, noun.__name__
    return next((UNITS[name] for name in names if name in UNITS), NumberUnit.PLAIN)


def noun_repr(noun: Any) -> str:
    """``noun`` in a line or a few, with those of its fields that are not as by default."""
    text = f"{type(noun).__qualname__}({', '.join(_fields(noun, 1))})"
    return text if len(text) <= MOST else f"{text[: MOST - 5]} ...)"


def size_told(count: int) -> str:
    """``count`` bytes in the largest unit of the powers of 1024 that leaves a whole number."""
    for unit, scale in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= scale and count % scale == 0:
            return f"{count // scale:,} {unit}"
    return f"{count:,} byte{'s' * (count != 1)}"


def number_told(value: int, unit: NumberUnit) -> str:
    """``value`` with its unit."""
    if unit is NumberUnit.BYTES:
        return size_told(value)
    if unit is NumberUnit.PAGES:
        return f"{value:,} page{'s' * (value != 1)}"
    return f"{value:#x}" if unit is NumberUnit.ADDRESS or abs(value) >= LARGE else f"{value:,}"


def _fields(noun: Any, depth: int) -> Iterator[str]:
    for one in dataclasses.fields(noun):
        # A noun may not be whole yet: one that is refused while it is made.
        value = getattr(noun, one.name, dataclasses.MISSING)
        if one.repr and value is not dataclasses.MISSING and not _is_default(value, one):
            yield f"{one.name}={_told(value, unit_of(type(noun), one.name), depth)}"


def _is_default(value: object, one: dataclasses.Field[Any]) -> bool:
    default = one.default
    if one.default_factory is not dataclasses.MISSING:
        default = one.default_factory()
    return type(value) is type(default) and bool(value == default)


def _told(value: Any, unit: NumberUnit, depth: int) -> str:
    match value:
        case Enum():
            return value.value if isinstance(value.value, str) else value.name
        case bool() | None | float():
            return repr(value)
        case int():
            return number_told(value, unit)
        case str() | PurePath():
            text = str(value)
            return repr(text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]} ...")
        case bytes() | bytearray() | memoryview():
            return f"<{size_told(len(value))}>"
        case Mapping():
            plain = NumberUnit.PLAIN
            pairs = (f"{_told(key, plain, 0)}: {_told(one, unit, 0)}" for key, one in value.items())
            return _several(value, pairs, "{}")
        case tuple() | list() | frozenset() | set():
            return _several(value, (_told(one, unit, 0) for one in value), "()")
    if dataclasses.is_dataclass(value):
        inner = ", ".join(_fields(value, 0)) if depth else "..."
        return f"{type(value).__qualname__}({inner})"
    return f"<{type(value).__name__}>"


def _several(value: Any, told: Iterable[str], around: str) -> str:
    """A few one by one; of more, and of nouns, how many there are."""
    first = next(iter(value), None)
    if len(value) > MAX_ITEMS or dataclasses.is_dataclass(first):
        of = f" {type(first).__name__}" if dataclasses.is_dataclass(first) else ""
        return f"<{len(value):,}{of}>"
    return f"{around[0]}{', '.join(told)}{around[1]}"
