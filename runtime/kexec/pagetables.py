"""Stage 1 translation tables, built in guest memory as a kernel at work would have them.

Filling is by numpy, a level at a time: a mapping of a million pages costs a handful of array
operations, not a million.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from relokit.codegen.base.errors import MachineError
from relokit.linker.elf_format import PT_LOAD
from relokit.linker.image import Image, SegmentFlag
from relokit.runtime.arch import descriptors as d
from relokit.runtime.arch.geometry import ENTRY_SIZE, LEAF_LEVEL, Granule, txsz
from relokit.runtime.guest.address_spans import spans_of, without
from relokit.runtime.guest.ledger import PageAllocator
from relokit.runtime.guest.memory import GuestMemory, Words
from relokit.runtime.guest.owner import Owner

SPACE = 1 << 64
AT_ONCE = 1 << 18
"""Entries that are written at once: each costs some 50 bytes meanwhile."""


class PageTables:
    """Tables for one range: VA 0 upwards (TTBR0), or, if ``upper``, up to 2^64 (TTBR1).

    ``root`` is the PA of the first table; ``output`` is how descriptors hold PAs. Tables come
    from ``allocator``, and belong to ``owner``, those below the root by their level.
    """

    def __init__(
        self,
        memory: GuestMemory,
        allocator: PageAllocator,
        granule: Granule,
        va_bits: int,
        *,
        upper: bool,
        owner: Owner,
        output: d.AddressFormat = d.PLAIN,
    ) -> None:
        txsz(va_bits)
        self.memory = memory
        self.allocator = allocator
        self.granule = granule
        self.va_bits = va_bits
        self.owner = owner
        self.output = output
        self.low = SPACE - (1 << va_bits) if upper else 0
        self.root = allocator.alloc(owner, granule.page_size).base

    @property
    def high(self) -> int:
        """First VA after the range."""
        return self.low + (1 << self.va_bits)

    def map(self, va: int, pa: int, size: int, attributes: int, *, blocks: bool = True) -> None:
        """Map ``size`` bytes at VA ``va`` to PA ``pa``; all three are multiples of a page.

        ``attributes`` are descriptor bits without type and address. With ``blocks``, the largest
        blocks that alignment allows are used, pages elsewhere. Raises MachineError for what does
        not fit the range, is not aligned, or is mapped already.
        """
        page = self.granule.page_size
        if va % page or pa % page or size % page or size < 0:
            raise MachineError(
                f"{self.owner}: VA {va:#x} to PA {pa:#x}, {size:#x} bytes, is not whole pages of "
                f"{page} bytes"
            )
        if va < self.low or va + size > self.high:
            raise MachineError(
                f"{self.owner}: VA {va:#x}..{va + size:#x} is outside its range "
                f"({self.low:#x}..{self.high:#x})",
                hint="more VA bits, or less RAM",
            )
        if pa < 0 or pa + size > 1 << self.output.bits:
            raise MachineError(
                f"{self.owner}: PA {pa:#x}..{pa + size:#x} is past {self.output.bits} bits"
            )
        levels = (*self.granule.block_levels, LEAF_LEVEL) if blocks else (LEAF_LEVEL,)
        start = self.granule.start_level(self.va_bits)
        usable = tuple(level for level in levels if level >= start)
        for offset, length, level in _chunks(self.granule, va, pa, size, usable):
            self._fill(va + offset, pa + offset, length, level, attributes)

    def idmap(self, pa: int, size: int, attributes: int = d.KERNEL_RX) -> None:
        """Map PA ``pa`` to itself, by pages, executable and read-only unless told otherwise."""
        self.map(pa, pa, size, attributes, blocks=False)

    def _fill(self, va: int, pa: int, size: int, level: int, attributes: int) -> None:
        """Write the leaves of ``level`` for a range that is aligned to them."""
        span = self.granule.span(level)
        table, reached = self._one_table(va - self.low, size, level)
        if reached == level:
            index = (va - self.low) // span & self.granule.entries - 1
            if size == span:
                self._write_one(table + index * ENTRY_SIZE, va, pa, level, attributes)
                return
            words = self.memory.u64(table + index * ENTRY_SIZE, size // span)
            self._write(words, slice(None), va, pa, level, attributes)
            return
        for at, slots in self._slots(table, reached, va, size, level):
            self._write(self.memory.words, slots, va + at, pa + at, level, attributes)

    def _write_one(self, entry: int, va: int, pa: int, level: int, attributes: int) -> None:
        """As :meth:`_write`, for the only entry, at PA ``entry``: a tenth of what numpy takes."""
        if self.memory.read_u64(entry) & d.VALID:
            raise self._is_mapped(va)
        self.memory.write_u64(entry, self.output.encode(pa) | self._bits(level, attributes))

    def _bits(self, level: int, attributes: int) -> int:
        """A leaf without its address."""
        kind = d.PAGE if level == LEAF_LEVEL else d.BLOCK
        return self.output.attributes(attributes) | kind

    def _is_mapped(self, va: int) -> MachineError:
        return MachineError(f"{self.owner}: VA {va:#x} is mapped already")

    def _write(
        self,
        words: Words,
        at: slice | NDArray[np.intp],
        va: int,
        pa: int,
        level: int,
        attributes: int,
    ) -> None:
        """Write leaves for what follows one another from ``va`` on, into words that are free."""
        span = self.granule.span(level)
        taken = words[at] & np.uint64(d.VALID) != 0
        if taken.any():
            raise self._is_mapped(va + int(taken.argmax()) * span)
        pas = np.uint64(pa) + np.arange(len(taken), dtype=np.uint64) * np.uint64(span)
        words[at] = self.output.encode(pas) | np.uint64(self._bits(level, attributes))

    def _one_table(self, offset: int, size: int, level: int) -> tuple[int, int]:
        """The lowest table over all of a range, no lower than ``level``: its PA, and its level.

        Missing ones are made. numpy costs ten times as much for the one entry of a level.
        """
        granule, table = self.granule, self.root
        at = granule.start_level(self.va_bits)
        while at < level:
            shift = granule.shift(at)
            if offset >> shift != (offset + size - 1) >> shift:
                break
            entry = table + (offset >> shift & granule.entries - 1) * ENTRY_SIZE
            word = self.memory.read_u64(entry)
            kind = word & d.TYPE
            if kind == d.BLOCK:
                break
            at += 1
            if kind == d.TABLE:
                table = self.output.decode(word)
            else:
                table = self.allocator.alloc(self.owner.at_level(at), granule.page_size).base
                self.memory.write_u64(entry, self.output.encode(table) | d.TABLE)
        return table, at

    def _slots(
        self, table: int, start: int, va: int, size: int, level: int
    ) -> Iterator[tuple[int, NDArray[np.intp]]]:
        """Word indices of the entries of ``level`` for a range below ``table``, which is of the
        level ``start``, AT_ONCE of them at a time behind the offset of the first in the range;
        missing tables are made.
        """
        offset = va - self.low
        tables = np.array([table], dtype=np.uint64)
        for at in range(start, level):
            first, last = self._entries(offset, size, at)
            slots = self._entry_slots(tables, first, first, last)
            tables = self._tables_below(slots, va, at)
        first, last = self._entries(offset, size, level)
        for low in range(first, last + 1, AT_ONCE):
            high = min(low + AT_ONCE - 1, last)
            reached = (low - first) * self.granule.span(level)
            yield reached, self._entry_slots(tables, first, low, high)

    def _entries(self, offset: int, size: int, level: int) -> tuple[int, int]:
        """Numbers of the first and the last entry of ``level`` for a range, from VA ``low`` on."""
        shift = self.granule.shift(level)
        return offset >> shift, (offset + size - 1) >> shift

    def _entry_slots(self, tables: Words, first: int, low: int, high: int) -> NDArray[np.intp]:
        """Word indices of entries ``low`` to ``high``; ``first`` is in the first of ``tables``."""
        bits = self.granule.index_bits
        entries = np.arange(low, high + 1, dtype=np.uint64)
        below = (entries >> bits) - np.uint64(first >> bits)
        index = entries & np.uint64(self.granule.entries - 1)
        return self.memory.slots(tables[below] + index * np.uint64(ENTRY_SIZE))

    def _tables_below(self, slots: NDArray[np.intp], va: int, level: int) -> Words:
        """PAs of the tables that entries of ``level`` point to; absent ones are allocated."""
        words = self.memory.words
        kinds = words[slots] & np.uint64(d.TYPE)
        blocked = kinds == d.BLOCK
        if blocked.any():
            shift = self.granule.shift(level)
            at = ((va >> shift) + int(blocked.argmax())) << shift
            raise MachineError(f"{self.owner}: VA {max(va, at):#x} is mapped already, by a block")
        missing = slots[kinds != d.TABLE]
        if len(missing):
            page = self.granule.page_size
            owner = self.owner.at_level(level + 1)
            new = self.allocator.alloc(owner, len(missing) * page).base
            pas = np.uint64(new) + np.arange(len(missing), dtype=np.uint64) * np.uint64(page)
            words[missing] = self.output.encode(pas) | np.uint64(d.TABLE)
        return self.output.decode(words[slots])


def _chunks(
    granule: Granule, va: int, pa: int, size: int, levels: Sequence[int]
) -> Iterator[tuple[int, int, int]]:
    """Cut a range into ``(offset, size, level)`` runs, largest leaves first, in VA order."""
    if size == 0:
        return
    level, *rest = levels
    span = granule.span(level)
    head = -va % span
    body = (size - head) // span * span
    if not rest:
        yield 0, size, level
    elif (va - pa) % span or body <= 0:
        yield from _chunks(granule, va, pa, size, rest)
    else:
        yield from _chunks(granule, va, pa, head, rest)
        yield head, body, level
        tail = head + body
        for offset, length, at in _chunks(granule, va + tail, pa + tail, size - tail, rest):
            yield tail + offset, length, at


def map_linear(
    tables: PageTables,
    page_offset: int,
    page_end: int,
    memstart: int,
    *,
    read_only: Sequence[tuple[int, int]] = (),
    unmapped: Sequence[tuple[int, int]] = (),
    blocks: bool = True,
) -> None:
    """The linear map: all of RAM at ``page_offset + (PA - memstart)``, writable, never executable.

    It ends below the VA ``page_end``. Memory between two banks is not mapped, nor are the
    ``unmapped`` (PA, bytes).

    ``read_only`` are ``(pa, size)`` ranges, apart from each other and in RAM: the alias of
    the kernel's text and read-only data, mapped by pages so that it can be made writable again.
    ``blocks=False`` maps everything by pages, as a kernel with rodata=full or KFENCE does.
    """
    memory = tables.memory
    shift = page_offset - memstart
    room = page_end - page_offset
    if memstart > memory.base or memory.end - memstart > room:
        raise MachineError(
            f"RAM {memory.base:#x}..{memory.end:#x} does not fit a linear map of {room:#x} bytes "
            f"from PA {memstart:#x}",
            hint="more VA bits, or RAM at a lower address",
        )
    at = memory.base
    for pa, size in sorted(read_only):
        if pa < at or not memory.contains(pa, size):
            raise MachineError(
                f"{tables.owner}: the read-only range {pa:#x}..{pa + size:#x} overlaps another or "
                "is not RAM"
            )
        at = pa + size
    text = spans_of(read_only)
    parts = [(low, high, d.KERNEL_RO) for low, high in text]
    writable = without(without(spans_of(memory.banks), spans_of(unmapped)), text)
    parts += [(low, high, d.KERNEL_RW) for low, high in writable]
    for low, high, attributes in sorted(parts):
        read_only_part = attributes == d.KERNEL_RO
        tables.map(low + shift, low, high - low, attributes, blocks=blocks and not read_only_part)


def map_image(tables: PageTables, image: Image, load_pa: int) -> None:
    """The kernel's own mapping: text RX, read-only data RO, everything else RW.

    The image's lowest loaded VA lies at PA ``load_pa``; every PT_LOAD segment is mapped where it
    is linked, in whole pages. Raises MachineError if two segments share a page.
    """
    page = tables.granule.page_size
    loads = []
    for segment in image.segments:
        placed = [image.sections[index] for index in segment.sections]
        if segment.type == PT_LOAD and placed:
            low = min(section.va for section in placed) // page * page
            high = max(section.va + section.size for section in placed)
            loads.append((low, -(-high // page) * page, segment.flags))
    base = min((low for low, _, _ in loads), default=0)
    for low, high, flags in loads:
        tables.map(low, load_pa + (low - base), high - low, _attributes(flags), blocks=False)


def _attributes(flags: SegmentFlag) -> int:
    if flags & SegmentFlag.W:
        return d.KERNEL_RW
    return d.KERNEL_RX if flags & SegmentFlag.X else d.KERNEL_RO
