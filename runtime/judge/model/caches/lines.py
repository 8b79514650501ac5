"""Cache lines of physical memory, and what may be so of each: arrays, made where they are needed.

A range of lines is a piece: a chunk of memory and an index into its arrays. Nothing here loops
over lines.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from relokit.runtime.record.prehistory import Prehistory, Range

CHUNK = 1 << 18
"""Bytes of memory whose lines share arrays: pages, whatever the granule. With a quarter of it, a
move of 84 MiB takes half as long again to judge; with four times of it, it takes no less.
"""
CLEAN, OLD, NEEDED = 0, 1, 2
"""Values of ``writer``: not dirty, dirty with what nobody needs, with what the move needs."""
COPIED, COPIED_DIRTY = 1, 2
"""Values of ``copied``: code that was cleaned and not invalidated, or neither."""
FIRST_WRITER = 3
"""The least value of ``writer`` that stands for an instruction."""
MAX_OFFSETS = 8
"""VAs of a line, as distances from its PA, that invalidations by address are remembered for."""

Index = slice | npt.NDArray[np.int64]


class Chunk:
    """The lines of CHUNK bytes from PA ``base`` on; each array has one element a line.

    ``writer`` is who may have left it dirty. ``pending`` is the maintenance that no DSB has
    completed, ``stale`` what left a line that may hide a store around it, ``maintained`` the last
    maintenance by address since it was stored to; 0 is nobody.
    ``cached`` tells whether a cache may hold it at all. ``stored``, ``cleaned`` and ``invalidated``
    are when code was last changed, last cleaned (at least to the PoU) and last invalidated by
    address (by how far the VA was above the PA), as 1 and more; 0 is never. ``around`` is how the
    last store around the caches went, ``copied`` code that was changed before the trace (None
    where there is none).
    """

    __slots__ = (
        "around",
        "base",
        "cached",
        "cleaned",
        "copied",
        "invalidated",
        "maintained",
        "pending",
        "stale",
        "stored",
        "writer",
    )  # fmt: skip

    def __init__(self, base: int, count: int) -> None:
        self.base = base
        self.writer = np.full(count, OLD, np.uint16)
        self.pending = np.zeros(count, np.uint16)
        self.stale = np.zeros(count, np.uint16)
        self.maintained = np.zeros(count, np.uint16)
        self.copied: npt.NDArray[np.uint8] | None = None
        self.around = np.zeros(count, np.uint8)
        self.cached = np.ones(count, np.bool_)
        self.stored = np.zeros(count, np.uint32)
        self.cleaned = np.zeros(count, np.uint32)
        self.invalidated: dict[int, npt.NDArray[np.uint32]] = {}

    def invalidate(self, offset: int, index: Index, now: int) -> None:
        """By address, ``offset`` above their PA, as far as there is room for one more of these."""
        plane = self.invalidated.get(offset)
        if plane is None and len(self.invalidated) < MAX_OFFSETS:
            plane = self.invalidated[offset] = np.zeros(len(self.cleaned), np.uint32)
        if plane is not None:
            plane[index] = now

    def told(self, index: Index, lines: npt.NDArray[np.bool_]) -> None:
        """Code in ``lines`` of ``index`` was found to be old: once is enough."""
        self.writer[index] = np.where(lines, CLEAN, self.writer[index])
        self.stored[index] = np.where(lines, 0, self.stored[index])
        if self.copied is not None:
            self.copied[index] = np.where(lines, 0, self.copied[index])


Piece = tuple[Chunk, Index]


class Lines:
    """All lines of ``line`` bytes, as they are after ``prehistory``."""

    def __init__(self, line: int, prehistory: Prehistory) -> None:
        self.line = line
        self._count = CHUNK // line
        self._chunks: dict[int, Chunk] = {}
        self._ranges = (
            (NEEDED, prehistory.needed, [start for start, _ in prehistory.needed]),
            (CLEAN, prehistory.clean, [start for start, _ in prehistory.clean]),
        )
        unfetchable = prehistory.unfetchable
        self._unfetchable = unfetchable and (unfetchable, [start for start, _ in unfetchable])

    def chunks(self) -> Iterator[Chunk]:
        """Those in which anything was done."""
        return iter(self._chunks.values())

    def pieces(self, pa: int, length: int) -> Iterator[tuple[Chunk, slice]]:
        """The lines that ``length`` bytes at ``pa`` touch."""
        line, count = self.line, self._count
        first, end = pa // line, -(-(pa + length) // line)
        while first < end:
            number, at = divmod(first, count)
            stop = min(count, at + end - first)
            yield self._chunk(number), slice(at, stop)
            first += stop - at

    def strided(self, pa: int, stride: int, operands: int) -> Iterator[Piece]:
        """The lines that hold ``operands`` addresses from ``pa`` on, ``stride`` bytes apart."""
        if stride <= self.line:
            first = pa & -self.line
            yield from self.pieces(first, pa + (operands - 1) * stride - first + 1)
            return
        numbers = (pa + np.arange(operands, dtype=np.int64) * stride) // self.line
        chunks = numbers // self._count
        for number in np.unique(chunks):
            yield self._chunk(int(number)), numbers[chunks == number] % self._count

    def addresses(self, piece: Piece, chosen: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
        """PAs of the lines of ``piece`` that are ``chosen``, ascending."""
        chunk, index = piece
        numbers = np.arange(self._count, dtype=np.int64)[index][chosen]
        return np.asarray(chunk.base + numbers * self.line)

    def gathered(self, plane: str, pa: int, length: int) -> npt.NDArray[Any]:
        """One array of the lines that ``length`` bytes at ``pa`` touch."""
        parts = [getattr(chunk, plane)[index] for chunk, index in self.pieces(pa, length)]
        return np.concatenate(parts) if parts else np.zeros(0, np.uint16)

    def _chunk(self, number: int) -> Chunk:
        chunk = self._chunks.get(number)
        if chunk is None:
            chunk = self._chunks[number] = Chunk(number * CHUNK, self._count)
            for value, ranges, starts in self._ranges:
                self._fill(chunk.writer, chunk.base, value, ranges, starts)
            if self._unfetchable:
                chunk.copied = np.zeros(self._count, np.uint8)
                self._fill(chunk.copied, chunk.base, COPIED, *self._unfetchable)
                chunk.copied[(chunk.copied != 0) & (chunk.writer != CLEAN)] = COPIED_DIRTY
        return chunk

    def _fill(
        self,
        plane: npt.NDArray[Any],
        base: int,
        value: int,
        ranges: Sequence[Range],
        starts: Sequence[int],
    ) -> None:
        end = base + CHUNK
        at = max(0, bisect_right(starts, base) - 1)
        while at < len(ranges) and ranges[at][0] < end:
            # A line of which a byte was maintained was maintained whole.
            first = max(0, (ranges[at][0] - base) // self.line)
            last = min(self._count, -(-(ranges[at][1] - base) // self.line))
            if last > first:
                plane[first:last] = value
            at += 1
