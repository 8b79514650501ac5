"""Mergeable sections: of equal constants one is kept, of strings that end alike the longest.

Source: gABI, sh_flags (SHF_MERGE, SHF_STRINGS); which copy stays, and where, is as GNU ld has it:
what goes into one output section with one entry size and alignment is merged, in the order of the
objects and their sections, and each constant stays in the section that had it first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from relokit.codegen.base.bits import round_up
from relokit.codegen.base.errors import LinkError
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.object import NO_LINES, Section, SectionFlag, SectionType
from relokit.linker.link.sections import MergedSection, Piece

MAX_CONSTANTS = 1 << 22
"""Constants of one link."""


@dataclass(slots=True, eq=False)
class _KeptConstant:
    """A constant that is kept: in ``piece``, at ``at`` of what is left of it; or as the end of
    ``longer``.
    """

    data: bytes
    align: int
    piece: Piece
    at: int = 0
    longer: _KeptConstant | None = None

    @property
    def place(self) -> tuple[Piece, int]:
        if self.longer is None:
            return self.piece, self.at
        piece, at = self.longer.place
        return piece, at + len(self.longer.data) - len(self.data)


def merge_constants(pieces: Sequence[Sequence[Piece]]) -> None:
    """Merge the sections of all objects, in place: contents, sizes and ``moved`` of ``pieces``.

    Raises LinkError for more than MAX_CONSTANTS, and for strings aligned in
    several ways, of which GNU ld keeps now one and now the other.
    """
    groups: dict[tuple[int, bool, int, int], list[Piece]] = {}
    for unit in pieces:
        for piece in unit:
            section = piece.section
            if piece.output >= 0 and _is_merged(section):
                strings = bool(section.flags & SectionFlag.STRINGS)
                key = piece.output, strings, section.entsize, section.align
                groups.setdefault(key, []).append(piece)
    count = 0
    for (_, strings, width, align), group in groups.items():
        table = _ConstantTable(width, align, strings)
        for piece in group:
            count += table.add(piece)
            if count > MAX_CONSTANTS:
                raise LinkError(
                    f"more than {MAX_CONSTANTS:,} mergeable constants",
                    hint="take the M out of the flags of their sections",
                )
        table.settle(group)


def _is_merged(section: Section) -> bool:
    """Whether GNU ld merges it: whole entries that its alignment allows, and no relocations."""
    width, align = section.entsize, section.align
    if not section.flags & SectionFlag.MERGE or not width or not section.data:
        return False
    if section.type is SectionType.NOBITS or section.relocations or section.size % width:
        return False
    if align > width:
        return bool(section.flags & SectionFlag.STRINGS) and not width & (width - 1)
    return not width & (align - 1)


class _ConstantTable:
    """The constants of sections that are merged, ``width`` bytes an entry."""

    def __init__(self, width: int, align: int, strings: bool) -> None:
        self.width, self.align, self.strings = width, align, strings
        self._known: dict[bytes, _KeptConstant] = {}
        self._kept: dict[_KeptConstant, None] = {}
        self._again = False
        self._found: list[tuple[Piece, list[tuple[int, bytes | None]]]] = []

    def add(self, piece: Piece) -> int:
        """Take up the constants of ``piece``; how many there are."""
        found: list[tuple[int, bytes | None]] = []
        for offset, data, align in self._entries(bytes(piece.section.data)):
            found.append((offset, data))
            if data is None:
                continue
            known = self._known.get(data)
            self._again |= known is not None
            if known is None or known.align < align:
                if known is not None:
                    # A copy that is not aligned enough for all gives way.
                    del self._kept[known]
                self._known[data] = constant = _KeptConstant(data, align, piece)
                self._kept[constant] = None
        self._found.append((piece, found))
        return len(found)

    def settle(self, group: Sequence[Piece]) -> None:
        """Give what is kept its places, and every piece what it has left."""
        if self.strings:
            mixed = any(one.align != self.align for one in self._kept)
            self._shorten()
            shorter = next((one for one in self._kept if one.longer), None)
            # Seen of GNU ld 2.40: what it makes of these has no rule that we know of.
            odd = mixed or self.width > 1 or bytes(self.width) in self._known
            unknown = self.align > self.width and odd
            if unknown and (shorter or self._again):
                raise LinkError(
                    f"strings of {group[0].section.name} that are equal, or end alike, and are "
                    "aligned differently, wide, or empty",
                    hint="align all of them alike, or take the M out of the section's flags",
                )
        left: dict[Piece, bytearray] = {piece: bytearray() for piece in group}
        for constant in self._kept:
            if constant.longer is None:
                data = left[constant.piece]
                data += bytes(-len(data) % constant.align)
                constant.at = len(data)
                data += constant.data
        empty = self._known.get(bytes(self.width))
        for piece, found in self._found:
            moved = MergedSection(piece, piece.section.size)
            for offset, content in found:
                kept = empty if content is None else self._known[content]
                moved.starts.append(offset)
                moved.places.append(None if kept is None else kept.place)
            data = left[piece]
            piece.moved = moved
            piece.section = replace(piece.section, data=bytes(data), size=len(data), lines=NO_LINES)

    def _entries(self, data: bytes) -> Iterator[tuple[int, bytes | None, int]]:
        """Offset, constant with its terminator, and how it is aligned; None for zeros between."""
        width = self.width
        if not self.strings:
            yield from ((at, data[at : at + width], 1) for at in range(0, len(data), width))
            return
        zero, at, has_empty = bytes(width), 0, False
        while at < len(data):
            end = self._end(data, at)
            yield at, data[at:end] + zero, min(at & -at or self.align, self.align)
            at = end + width
            while data[at : at + width] == zero:
                if not has_empty and not at & (self.align - 1):
                    has_empty = True
                    yield at, zero, self.align
                else:
                    yield at, None, 1
                at += width

    def _end(self, data: bytes, at: int) -> int:
        """Where the string at ``at`` ends: at its terminator, or with the section."""
        zero = bytes(self.width)
        end = data.find(zero, at)
        while end >= 0 and (end - at) % self.width:
            end = data.find(zero, end + 1)
        return end if end >= 0 else round_up(len(data), self.width)

    def _shorten(self) -> None:
        """Have strings that end another one be its end."""
        width = self.width

        def key(constant: _KeptConstant) -> tuple[int, bytes]:
            text = constant.data[:-width]
            rest = len(text) & (constant.align - 1) if self.align > width else 0
            return rest, text[::-1]

        longest: _KeptConstant | None = None
        for constant in sorted(self._kept, key=key, reverse=True):
            if longest is not None and longest.data.endswith(constant.data):
                ahead = len(longest.data) - len(constant.data)
                if not ahead & (constant.align - 1):
                    constant.longer = longest
                    continue
            longest = constant
