"""Which maintenance and accesses are in no certain order with a store, for want of a barrier.

Source: ARM DDI 0487, D7.5.9.15 (DC), B2.16 (mismatched memory attributes).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from relokit.runtime.judge.model.caches.lines import Lines, Piece
from relokit.runtime.judge.model.caches.memory_type import MemoryType

_AROUND = {kind: number for number, kind in enumerate(MemoryType, 1) if not kind.cacheable}


class Ordering:
    """When the last store through the caches was, the last one around them, and the last barrier
    for loads and stores: as numbers of records from 1 on, ``now`` as well.
    """

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self._through = self._around = self._barrier = 0
        self._types: set[MemoryType] = set()

    def barrier(self, now: int) -> None:
        """A DSB or DMB for loads and stores."""
        self._barrier = now

    def store(self, piece: Piece, kind: MemoryType, now: int) -> None:
        """The lines of ``piece`` are stored to."""
        chunk, index = piece
        chunk.stored[index] = now
        if not kind.cacheable:
            self._around = now
            self._types.add(kind)
            chunk.around[index] = _AROUND[kind]
        else:
            self._through = now
            if self._around:
                chunk.around[index] = 0

    @property
    def is_known(self) -> bool:
        """Whether a barrier is behind all that was stored through the caches."""
        return self._through <= self._barrier

    def passed(self, piece: Piece, kind: MemoryType) -> None:
        """How the last stores to the lines of ``piece`` went, whenever that was."""
        chunk, index = piece
        if not kind.cacheable:
            chunk.around[index] = _AROUND[kind]
        elif self._around:
            chunk.around[index] = 0

    def settled(
        self, stores: npt.NDArray[np.int64], barriers: npt.NDArray[np.int64], kind: MemoryType
    ) -> None:
        """The records of many such stores, and of the barriers beside each."""
        last = int(stores.max()) + 1
        if kind.cacheable:
            self._through = last
        else:
            self._around = last
            self._types.add(kind)
        self._barrier = int(barriers.max()) + 1

    def certain(self, pieces: list[Piece], kind: MemoryType) -> list[Piece]:
        """``pieces`` without lines whose last store maintenance of ``kind`` may come before.

        They are in program order if both are cacheable or neither is, else behind a barrier only.
        """
        other = self._around if kind.cacheable else self._through
        if other <= self._barrier:
            return pieces
        found = []
        for chunk, index in pieces:
            early = chunk.stored[index] > self._barrier
            early &= (chunk.around[index] != 0) == kind.cacheable
            if early.all():
                continue
            if early.any():
                index = np.arange(len(chunk.around), dtype=np.int64)[index][~early]
            found.append((chunk, index))
        return found

    def mixed(
        self, pa: int, length: int, kind: MemoryType
    ) -> Iterator[tuple[Piece, npt.NDArray[np.bool_]]]:
        """Lines that a Device access may find before a Non-cacheable store to them, or v.v."""
        if self._around <= self._barrier or self._types <= {kind}:
            return
        for chunk, index in self._lines.pieces(pa, length):
            around = chunk.around[index]
            mixed = (around != 0) & (around != _AROUND[kind])
            mixed &= chunk.stored[index] > self._barrier
            if mixed.any():
                yield (chunk, index), mixed
