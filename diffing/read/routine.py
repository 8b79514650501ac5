"""What is compared: routines as bytes at an address, and what is known of the addresses around."""

from __future__ import annotations

import json
import re
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field
from typing import Protocol

from relokit.codegen.base.errors import RelokitError
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.kimage_layouts import KimageLayout
from relokit.codegen.object import NO_LINES, SourceLine, SourceLines
from relokit.codegen.target import Target
from relokit.diffing.read.data import NO_DATA, SideData
from relokit.linker.kernel.opened import OpenedKernel

MAX_ROUTINE = 1 << 18
"""Bytes of one routine that are compared; the largest function of a shipped kernel has 60 KiB."""
MAX_ROUTINES = 4096
MAX_STRING, LEAST_STRING, SHOWN_STRING = 1024, 4, 56
"""Bytes of a string that is recognised as one, and characters of it that are shown."""
# Printable ASCII, tab, newline, and the SOH before a kernel message's level.
STRING_TEXT = bytes([1, 9, 10, *range(0x20, 0x7F)])


class DiffError(RelokitError):
    """An operand of a diff that cannot be compared."""


def _nothing(address: int, size: int) -> bytes:
    return b""


class NamedPlaces(Protocol):
    """A table of names that finds one without all of them being read."""

    def below(self, address: int) -> tuple[int, Sequence[str]] | None:
        """The nearest VA at or below ``address`` that has names, and these."""


class Names:
    """Names for addresses: the nearest at or below, within ``reach`` bytes; or a string there.

    They are those that are ``named``, and what ``table`` has. ``content`` gives up to so many bytes
    at an address, as far as there are any. ``data`` is what there is besides code. Where ``gap`` is
    not 0, whatever is named lies around a multiple of it, and a name reaches half the way to the
    next, in both directions; ``sections`` then name a multiple at which there is no symbol.
    """

    reach = 1 << 20

    def __init__(
        self,
        named: Iterable[tuple[int, str]],
        content: Callable[[int, int], bytes | memoryview] = _nothing,
        data: SideData = NO_DATA,
        *,
        table: NamedPlaces | None = None,
        gap: int = 0,
        sections: Mapping[int, str] | None = None,
    ) -> None:
        self._content = content
        self._table = table
        self.data = data
        self._gap = gap
        self._sections = sections or {}
        best: dict[int, str] = {}
        for address, name in named:
            if address not in best or preference(name) < preference(best[address]):
                best[address] = name
        self._addresses = sorted(best)
        self._names = best

    def name(self, address: int) -> str | None:
        """``symbol`` or ``symbol+0x10``; None where no symbol is near."""
        at = bisect_right(self._addresses, address)
        if self._gap:
            return self._around(address, at)
        found = self._below(address, at)
        if found is None:
            return None
        start, name = found
        distance = address - start
        if distance > self.reach:
            return None
        return name + (f"+{distance:#x}" if distance else "")

    def _below(self, address: int, at: int) -> tuple[int, str] | None:
        """The nearest at or below, which is number ``at`` - 1 of those that are listed."""
        start = self._addresses[at - 1] if at else None
        known = [] if start is None else [self._names[start]]
        found = None if self._table is None else self._table.below(address)
        if found is not None and (start is None or start <= found[0]):
            known = [*found[1], *(known if start == found[0] else ())]
            start = found[0]
        return None if start is None else (start, min(known, key=preference))

    def _around(self, address: int, at: int) -> str | None:
        """As ``name``, by what is nearest around the same multiple of the gap."""
        around = self._multiple(address)
        for start in self._addresses[max(at - 1, 0) : at + 1]:
            if self._multiple(start) == around:
                distance = address - start
                return self._names[start] + (f"{distance:+#x}" if distance else "")
        section = self._sections.get(around)
        return None if section is None else f"{section}{address - around:+#x}"

    def _multiple(self, address: int) -> int:
        return (address + self._gap // 2) // self._gap * self._gap

    def pointed(self, address: int) -> str | None:
        """What a pointer to ``address`` is to: a symbol itself, a string, a place in a symbol."""
        name = self.name(address)
        if name is None or "+" in name or "-" in name:
            return self._string(address) or name
        return name

    def _string(self, address: int) -> str | None:
        """The text at ``address`` in quotes, if it is one; of a long one, the start and a sum."""
        return string_shown(bytes(self._content(address, MAX_STRING)))


def string_shown(data: bytes) -> str | None:
    """The text that ``data`` begins with, in quotes, if it is one; of a long one, the start and a
    sum.
    """
    text, end, _ = data.partition(b"\0")
    if not end or len(text) < LEAST_STRING or text.translate(None, STRING_TEXT):
        return None
    shown = json.dumps(text.decode("ascii"))
    if len(shown) <= SHOWN_STRING:
        return shown
    return f'{shown[:SHOWN_STRING]}..." ({zlib.crc32(text):08x})'


_NUMBERED = re.compile(
    r"(?<=[\w$])(?:(?:\.(?:constprop|isra))?\.\d+)+$|(?<=^__UNIQUE_ID_)(\w*?)\d+(?:\.\d+)*$"
)


def generic(name: str) -> str:
    """``name`` without the numbers that a compiler gives: those of another build are others.

    ``CSWTCH.224`` is ``CSWTCH.#``, as static data of a function is, and what GCC made copies of
    (``f.isra.0``); ``__UNIQUE_ID_`` names have a number of __COUNTER__.
    """
    return _NUMBERED.sub(lambda match: f"{match[1] or ''}.#", name)


def preference(name: str) -> tuple[int, int, str]:
    """Of several names for one address: the least decorated, so that two kernels agree."""
    return len(name) - len(name.lstrip("_")), len(name), name


@dataclass(frozen=True, slots=True)
class Replaced:
    """Words of a routine that boot may replace: ``size`` bytes at byte ``offset``.

    ``words`` are what comes there, none where a function makes them; ``kept_at`` is the byte offset
    in the routine where they are kept, if they are kept in it. ``reason`` names the CPU's property
    that decides, or the function. Where words are kept for another routine, ``offset`` is outside
    of this one, and ``place`` says where that is.
    """

    offset: int
    size: int
    words: tuple[int, ...]
    kept_at: int | None
    reason: str
    place: str = ""


@dataclass(frozen=True, slots=True)
class Routine:
    """``code`` is what stands at VA ``address``, whole instruction words, in ``section``.

    ``fixups`` are what a relocation says an instruction at a byte offset refers to, as an address,
    ``pointers`` what it says of data: the address, and the bytes it takes (4 or 8),
    ``relocated`` any other: its number and the address it takes something of;
    ``kimage_argument`` says that x0 is a struct kimage on entry. ``lines`` say from which byte
    offset on which source line it is, ascending. ``data`` says that it is none of it code.
    ``replaced`` are its boot-time alternatives, where they are known.
    """

    name: str
    address: int
    code: bytes = field(repr=False)
    fixups: Mapping[int, int] = field(default_factory=dict, repr=False)
    pointers: Mapping[int, tuple[int, int]] = field(default_factory=dict, repr=False)
    relocated: Mapping[int, tuple[int, int]] = field(default_factory=dict, repr=False)
    kimage_argument: bool = False
    section: str = ""
    lines: SourceLines = field(default=NO_LINES, repr=False)
    data: bool = False
    replaced: tuple[Replaced, ...] = ()

    def __post_init__(self) -> None:
        size = len(self.code)
        if not size or size % 4 or size > MAX_ROUTINE:
            raise DiffError(
                f"routine {self.name} has {size} bytes",
                hint=f"whole instructions are compared, 4 to {MAX_ROUTINE} bytes of them",
            )

    def line(self, offset: int) -> SourceLine | None:
        """The source line of the instruction at byte ``offset``, where it is known."""
        return self.lines.at(offset)


@dataclass(frozen=True, slots=True)
class Extent:
    """A section: VA and size in bytes."""

    name: str
    address: int
    size: int


@dataclass(frozen=True, slots=True)
class Side:
    """One operand of a diff; ``layout`` is its struct kimage, where that is known.

    ``part`` says that it is a unit of a program: it is not expected to have all that a whole one
    has. ``sections`` are those that hold code. ``target`` is what it was built for, ``kernel`` the
    opened file that it was cut out of, where it is one of these. ``hashes`` are the VAs of the
    words of type hashes in front of routines, by the routine's name. ``tables`` are the sections of
    an ELF file that are loaded and hold data, which is for others to find (``__ex_table``);
    ``unread`` those of a linked one whose bytes were not read, for code changes them. ``included``
    are the files that an assembly included.
    """

    name: str
    routines: Mapping[str, Routine]
    names: Names = field(repr=False)
    layout: KimageLayout | None = None
    part: bool = False
    sections: tuple[Extent, ...] = ()
    target: Target | None = None
    kernel: OpenedKernel | None = field(default=None, repr=False)
    hashes: Mapping[str, int] = field(default_factory=dict, repr=False)
    tables: tuple[Extent, ...] = ()
    unread: tuple[Extent, ...] = ()
    included: tuple[str, ...] = ()
