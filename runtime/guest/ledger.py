"""Who owns which physical pages: a ledger of owned regions, and pages off what is left.

The ledger is what ownership checks and diagnoses read: every page the old kernel set aside, and
every destination of the new one, has an owner in it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from relokit.codegen.base.bits import round_up
from relokit.codegen.base.budget import spend
from relokit.codegen.base.errors import MachineError
from relokit.codegen.base.nouns import dataclass
from relokit.runtime.guest.address_spans import cut, spans_of, without
from relokit.runtime.guest.content import hashed
from relokit.runtime.guest.memory import Extent, GuestMemory
from relokit.runtime.guest.order import Order
from relokit.runtime.guest.owner import Owner


@dataclass(frozen=True, slots=True)
class Region:
    """``size`` bytes from PA ``base``, owned by ``owner``."""

    owner: Owner
    base: int
    size: int

    @property
    def end(self) -> int:
        """First PA after the region."""
        return self.base + self.size

    def __contains__(self, pa: int) -> bool:
        return self.base <= pa < self.end

    def __str__(self) -> str:
        return f"{self.owner} ({self.base:#x}..{self.end:#x})"


PAGE_BYTES = 32
"""A page's address, where it comes in the order, and by what that was found."""


class PageAllocator:
    """Hands out RAM that no region owns, lowest address first, and remembers the owner.

    Nothing is handed out of ``closed`` (PA, bytes): what is set aside for others.

    Reserve what has a fixed place (the old kernel, destinations, the device tree) before
    allocating. Nothing is ever freed: a machine lives for one run.
    """

    def __init__(self, memory: GuestMemory, page_size: int, closed: Iterable[Extent] = ()) -> None:
        self.memory = memory
        self.page_size = page_size
        self._free = spans_of(memory.banks)
        self._open = without(self._free, spans_of(closed))
        """What of it may be handed out."""
        self._regions: list[Region] = []
        self._bases: list[int] = []
        self._window: tuple[int, int] | None = None

    @property
    def regions(self) -> tuple[Region, ...]:
        """The ledger, ascending by address."""
        return tuple(self._regions)

    @property
    def free_bytes(self) -> int:
        """Bytes of RAM that can be handed out."""
        return sum(end - base for base, end in self._open)

    def owner(self, pa: int) -> Region | None:
        """The region that owns PA ``pa``, if any."""
        at = bisect_right(self._bases, pa) - 1
        return self._regions[at] if at >= 0 and pa in self._regions[at] else None

    def overlapping(self, base: int, size: int) -> tuple[Region, ...]:
        """Every region that shares a byte with ``[base, base + size)``."""
        first = max(0, bisect_right(self._bases, base) - 1)
        last = bisect_left(self._bases, base + size)
        return tuple(r for r in self._regions[first:last] if r.end > base and r.base < base + size)

    def reserve(self, owner: Owner, base: int, size: int) -> Region:
        """Enter ``[base, base + size)`` into the ledger.

        Raises MachineError if it is empty, not RAM, or overlaps a region (which is named).
        """
        if size <= 0:
            raise MachineError(f"{owner}: a region of {size} bytes at PA {base:#x}")
        if not self.memory.contains(base, size):
            raise MachineError(
                f"{owner}: PA {base:#x}..{base + size:#x} is not all RAM ({self.memory.extent})",
                hint="give the guest more RAM, or place it elsewhere",
            )
        taken = self.overlapping(base, size)
        if taken:
            raise MachineError(
                f"{owner}: PA {base:#x}..{base + size:#x} overlaps {taken[0]}",
                hint="place one of the two elsewhere",
            )
        return self._enter(Region(owner, base, size))

    def place(self, owner: Owner, size: int, first: int) -> Region:
        """Enter the lowest free ``size`` bytes, whole pages, from PA ``first`` on; else below it.

        Unlike :meth:`alloc` it leaves what they hold. Raises MachineError when no gap is large
        enough.
        """
        gaps = [(max(round_up(base, self.page_size), first), end) for base, end in self._open]
        gaps += [(round_up(base, self.page_size), end) for base, end in self._open]
        for base, end in gaps:
            if base + size <= end:
                return self.reserve(owner, base, size)
        raise self._out_of_memory(owner, size)

    @contextmanager
    def confined(self, base: int, end: int) -> Iterator[None]:
        """While entered, what is allocated comes from ``[base, end)``."""
        self._window = base, end
        try:
            yield
        finally:
            self._window = None

    def alloc(self, owner: Owner, size: int, *, align: int | None = None) -> Region:
        """The lowest free ``size`` bytes, whole pages, at a multiple of ``align`` bytes.

        ``align`` is a page by default. The bytes are those of new RAM, zero, if only owners write
        to it: to clear them once more takes a thirtieth of a small run. Raises MachineError when
        no gap is large enough.
        """
        if size <= 0:
            raise MachineError(f"{owner}: an allocation of {size} bytes")
        step = self.page_size if align is None else align
        rounded = round_up(size, self.page_size)
        for base, end in self._open:
            if self._window is not None:
                base, end = max(base, self._window[0]), min(end, self._window[1])
            start = round_up(base, step)
            if start + rounded <= end:
                self.memory.fill(start, rounded)
                return self._enter(Region(owner, start, rounded))
        raise self._out_of_memory(owner, rounded)

    def scatter(
        self,
        owner: Owner,
        count: int,
        page_size: int,
        seed: int,
        order: Order = Order.SHUFFLED,
        *,
        zero: bool = True,
    ) -> NDArray[np.uint64]:
        """PAs of ``count`` free pages of ``page_size`` bytes, as kexec would find them.

        They come from one contiguous arena if any gap holds it, else from several gaps, and in
        ``order``; ``seed`` (0 to 2^32 - 1) decides the shuffling and nothing else does.
        Without ``zero`` what they hold is unspecified (see GuestMemory.fill). Raises MachineError
        when RAM has too few pages.
        """
        if count < 0:
            raise MachineError(f"{owner}: {count} pages")
        spend(PAGE_BYTES * count, "lists of guest pages")
        runs = self._runs(owner, count, page_size)
        for base, pages in runs:
            self._enter(Region(owner, base, pages * page_size))
            self.memory.fill(base, pages * page_size, zero=zero)
        parts = [
            np.uint64(base) + np.arange(pages, dtype=np.uint64) * np.uint64(page_size)
            for base, pages in runs
        ]
        pas = np.concatenate([np.empty(0, dtype=np.uint64), *parts])
        if order is Order.REVERSED:
            return pas[::-1].copy()
        if order is Order.SHUFFLED:
            # By a hash of their numbers: to import numpy.random takes a tenth of a small run.
            numbers = np.arange(1, count + 1, dtype=np.uint64)
            return pas[np.argsort(hashed(numbers + (np.uint64(seed) << np.uint64(32))))]
        return pas

    def _runs(self, owner: Owner, count: int, page_size: int) -> list[tuple[int, int]]:
        """(base, pages) of free runs that add up to ``count`` pages."""
        free = [
            (start, (end - start) // page_size)
            for start, end in ((round_up(base, page_size), end) for base, end in self._open)
            if end - start >= page_size
        ]
        whole = [(base, count) for base, pages in free if pages >= count]
        if count == 0 or whole:
            return whole[: min(count, 1)]
        runs: list[tuple[int, int]] = []
        missing = count
        for base, pages in free:
            runs.append((base, min(pages, missing)))
            missing -= runs[-1][1]
            if missing == 0:
                return runs
        raise self._out_of_memory(owner, count * page_size)

    def gaps(self) -> Iterator[tuple[int, int]]:
        """Free ``(base, end)`` ranges, ascending."""
        return iter(self._free)

    def _enter(self, region: Region) -> Region:
        at = bisect_left(self._bases, region.base)
        self._regions.insert(at, region)
        self._bases.insert(at, region.base)
        cut(self._free, region.base, region.end)
        cut(self._open, region.base, region.end)
        return region

    def _out_of_memory(self, owner: Owner, size: int) -> MachineError:
        return MachineError(
            f"{owner}: no room for {size:#x} bytes; {self.free_bytes:#x} of "
            f"{self.memory.available:#x} bytes of RAM are free",
            hint="give the guest more RAM",
        )
