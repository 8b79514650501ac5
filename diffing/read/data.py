"""What a side has besides routines: bytes that code takes the address of, and where each ends."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from functools import cached_property
from typing import Protocol

from relokit.codegen.base.nouns import dataclass

MAX_DATUM = 1 << 16
"""Bytes of one piece of data that are compared."""
CONSTANT_WHEN_RUN = (".data.rel.ro", ".data..ro_after_init")
"""Sections that are written before the program starts, and never by it."""


@dataclass(frozen=True, slots=True)
class Pointer:
    """What a relocation puts into ``size`` bytes: the distance to ``address`` if ``relative``.

    Of another ``kind`` (its number) than those, ``size`` is 0.
    """

    address: int
    size: int
    relative: bool = False
    kind: int = 0


class Bytes(Protocol):
    """What gives some of its bytes: that they are there need not mean that they were read."""

    def __getitem__(self, part: slice, /) -> bytes | memoryview: ...


@dataclass(frozen=True, slots=True)
class Area:
    """Bytes at VA ``address``; ``pointers`` by offset. ``writable`` says that code may change them.

    ``code`` says that routines lie here, too. What is behind ``content`` is zero at first.
    """

    name: str
    address: int
    size: int
    content: Bytes = field(repr=False)
    writable: bool = False
    code: bool = False
    pointers: Mapping[int, Pointer] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Datum:
    """One piece of data: from VA ``address`` up to what comes next.

    ``exact`` says that it certainly ends there: what comes next is not only the next thing that
    is known to be referred to. ``name`` is a symbol's, or empty; ``sized`` says that the symbol
    says how long it is.
    """

    area: Area
    address: int
    size: int
    exact: bool
    name: str = ""
    sized: bool = False

    @property
    def content(self) -> bytes:
        """Its bytes, the first MAX_DATUM of them."""
        start, size = self.address - self.area.address, min(self.size, MAX_DATUM)
        return bytes(self.area.content[start : start + size]).ljust(size, b"\0")

    @property
    def pointers(self) -> dict[int, Pointer]:
        """Those within, by offset from the start."""
        start = self.address - self.area.address
        return {
            at - start: to
            for at, to in self.area.pointers.items()
            if start <= at < start + self.size
        }


class DataSymbols(Protocol):
    """What is named in the data of a side."""

    def holding(self, address: int) -> tuple[int, int, str] | None:
        """VA, bytes or 0, and name of the symbol that begins at VA ``address``, or has a size and
        holds it.
        """

    def edges(self) -> Iterable[int]:
        """VAs at which a symbol begins, or one that has a size ends."""


class ListedSymbols:
    """Symbols of data, each as VA, bytes or 0, and name; of two at one VA the last one counts."""

    def __init__(self, symbols: Iterable[tuple[int, int, str]]) -> None:
        self._symbols = {address: (size, name) for address, size, name in symbols}

    def holding(self, address: int) -> tuple[int, int, str] | None:
        """As DataSymbols."""
        at = bisect_right(self._starts, address) - 1
        if at < 0:
            return None
        start = self._starts[at]
        size, name = self._symbols[start]
        return (start, size, name) if address == start or address < start + size else None

    def edges(self) -> Iterator[int]:
        """As DataSymbols."""
        for start, (size, _) in self._symbols.items():
            yield start
            yield start + size

    @cached_property
    def _starts(self) -> list[int]:
        return sorted(self._symbols)


def _none() -> Iterable[int]:
    return ()


class SideData:
    """The data of a side.

    ``symbols`` are (VA, bytes or 0, name) of what is named in it, or ``table`` has them, all within
    the areas. ``code`` are (VA, VA of the end) of all routines, ``references`` all other places
    that something refers to, asked for at most once. ``whole`` says that these are all that there
    are, ``named`` that whatever can be written to has a name, or is in something that has.
    """

    def __init__(
        self,
        areas: Iterable[Area] = (),
        symbols: Iterable[tuple[int, int, str]] = (),
        code: Iterable[tuple[int, int]] = (),
        references: Callable[[], Iterable[int]] = _none,
        *,
        table: DataSymbols | None = None,
        whole: bool = False,
        named: bool = True,
    ) -> None:
        self._all_named = named
        self._areas = sorted((one for one in areas if one.size), key=lambda one: one.address)
        self._starts = [one.address for one in self._areas]
        self._symbols = table or ListedSymbols(one for one in symbols if self.area(one[0]))
        self._code = sorted(code)
        self._references = references
        self._whole = whole

    def area(self, address: int) -> Area | None:
        """The area that VA ``address`` is in."""
        at = bisect_right(self._starts, address) - 1
        if at < 0:
            return None
        area = self._areas[at]
        return area if address < area.address + area.size else None

    def at(self, address: int) -> Datum | None:
        """The piece of data that VA ``address`` is in: all of a symbol that has a size, or from
        there on. None for code, and for what this side has not.
        """
        area = self.area(address)
        if area is None or (area.code and self._in_code(address)):
            return None
        start, size, name = self._symbols.holding(address) or (address, 0, "")
        if size:
            end = min(start + size, area.address + area.size)
            return Datum(area, start, end - start, True, name, sized=True)
        end = area.address + area.size
        for bounds in (self._bounds, self._code_starts if area.code else ()):
            following = bisect_right(bounds, address)
            if following < len(bounds):
                end = min(end, bounds[following])
        return Datum(area, address, end - address, self._whole, name)

    def is_constant(self, address: int) -> bool:
        """Whether VA ``address`` is in data that nothing writes to, no matter where it is."""
        area = self.area(address)
        if area is None or area.writable:
            return False
        return not (area.code and self._in_code(address))

    def is_unknown(self, address: int) -> bool:
        """Whether VA ``address`` is in data that changes, of which not all has names."""
        area = self.area(address)
        return area is not None and area.writable and not self._all_named

    def named_at(self, address: int) -> bool:
        """Whether a symbol begins at VA ``address``, or one that has a size holds it."""
        return self._symbols.holding(address) is not None

    def sized(self, start: int, end: int) -> dict[str, int]:
        """By name, the VAs of what begins from VA ``start`` to ``end`` and has a size."""
        found = {}
        for address in sorted(set(self._symbols.edges())):
            held = self._symbols.holding(address) if start <= address < end else None
            if held is not None and held[0] == address and held[1]:
                found[held[2]] = address
        return found

    def _in_code(self, address: int) -> bool:
        at = bisect_right(self._code_starts, address) - 1
        return at >= 0 and address < self._code_reach[at]

    @cached_property
    def _code_starts(self) -> list[int]:
        return [start for start, _ in self._code]

    @cached_property
    def _code_reach(self) -> list[int]:
        """How far what begins up to there reaches: routines may lie within one another."""
        reach: list[int] = []
        for _, end in self._code:
            reach.append(max(end, reach[-1] if reach else end))
        return reach

    @cached_property
    def _bounds(self) -> Sequence[int]:
        return sorted({*self._references(), *self._symbols.edges()})


NO_DATA = SideData()
