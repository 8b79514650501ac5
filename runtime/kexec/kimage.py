"""struct kimage and its list, as kexec_load leaves them in memory; and a walk of such a list.

The list is 64-bit words: a page-aligned PA and one flag. A destination word is followed by the
sources that go there page after page; an indirection word leads to the next page of words.
:func:`walk_list` shares nothing with the builder: it is what a run is compared with.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from relokit.codegen.base.bits import MASK64
from relokit.codegen.base.budget import spend
from relokit.codegen.base.errors import MachineError
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.facts import POISON
from relokit.codegen.kimage_layouts import KimageLayout
from relokit.runtime.guest.ledger import PageAllocator, Region
from relokit.runtime.guest.memory import GuestMemory, Words
from relokit.runtime.guest.owner import Owner, OwnerKind

# Source: the words shipped kernels test and write (include/linux/kexec.h names them).
IND_DESTINATION, IND_INDIRECTION, IND_DONE, IND_SOURCE = 1, 2, 4, 8

SEGMENT_MAX = 16  # KEXEC_SEGMENT_MAX
SEGMENT_SIZE = 0x20  # struct kexec_segment: buf, bufsz, mem, memsz
BUFSZ, MEM, MEMSZ = 0x08, 0x10, 0x18
WORD = 8
PAGE_BYTES = 32
"""What a page of a list takes: its address, and what is made of a list of them."""
SLAB = 4096
"""Bytes of memory that small objects are cut from."""


@dataclass(frozen=True, slots=True)
class KexecSegment:
    """``bufsz`` bytes of content for ``memsz`` bytes at PA ``mem``; the rest is zero."""

    name: str
    mem: int
    memsz: int
    bufsz: int

    def pages(self, page_size: int) -> int:
        """Pages the segment takes."""
        return -(-self.memsz // page_size)


@dataclass(frozen=True, slots=True)
class Kimage:
    """A struct kimage in guest memory. ``pa`` is where, ``va`` its linear-map address.

    ``head`` is the first list word; ``entries`` counts destination and source words (0 in
    place). ``list_pages`` are the pages of the list in its order, one region where they follow each
    other; there are none in place. ``control_page`` is the PA of the control code page.
    ``listed`` are the list's pages as they were written.
    """

    layout: KimageLayout
    pa: int
    va: int
    head: int
    entries: int
    list_pages: tuple[Region, ...]
    control_page: int
    segments: tuple[KexecSegment, ...]
    page_size: int
    listed: bytes

    @property
    def list_words(self) -> int:
        """Words of the list, with those that lead from page to page and IND_DONE; 0 in place."""
        return self.entries + self.list_size // self.page_size

    @property
    def list_size(self) -> int:
        """Bytes of the list's pages."""
        return sum(region.size for region in self.list_pages)

    @property
    def list_extents(self) -> tuple[tuple[int, int], ...]:
        """Where the words of the list are: PAs from one to the other, in its order."""
        found, left = [], self.list_words * WORD
        for region in self.list_pages:
            size = min(region.size, left)
            found.append((region.base, region.base + size))
            left -= size
        return tuple(found)

    @property
    def in_place(self) -> bool:
        """Whether there is nothing to copy: the segments are where they belong."""
        return bool(self.head & IND_DONE)


def total_pages(segments: Sequence[KexecSegment], page_size: int) -> int:
    """Source pages the segments need."""
    return sum(segment.pages(page_size) for segment in segments)


def destination_pages(segments: Sequence[KexecSegment], page_size: int) -> Words:
    """PA of every destination page, in list order."""
    spend(PAGE_BYTES * total_pages(segments, page_size), "lists of guest pages")
    parts = [
        np.uint64(segment.mem)
        + np.arange(segment.pages(page_size), dtype=np.uint64) * np.uint64(page_size)
        for segment in segments
    ]
    return np.concatenate([np.empty(0, dtype=np.uint64), *parts])


def check_segments(memory: GuestMemory, segments: Sequence[KexecSegment], page_size: int) -> None:
    """Refuse, by name, what kexec_load refuses: too many, unaligned, overlapping, not RAM."""
    if not 1 <= len(segments) <= SEGMENT_MAX:
        raise MachineError(
            f"{len(segments)} segments", hint=f"kexec takes 1 to {SEGMENT_MAX} of them"
        )
    for segment in segments:
        if segment.mem % page_size:
            raise MachineError(
                f"segment {segment.name}: PA {segment.mem:#x} is not aligned to "
                f"{page_size:#x}-byte pages"
            )
        if not 0 <= segment.bufsz <= segment.memsz:
            raise MachineError(
                f"segment {segment.name}: {segment.bufsz:#x} bytes of content in "
                f"{segment.memsz:#x} bytes of memory"
            )
        if not memory.contains(segment.mem, segment.pages(page_size) * page_size):
            raise MachineError(
                f"segment {segment.name}: PA {segment.mem:#x}, {segment.memsz:#x} bytes, is not "
                f"all RAM ({memory.extent})",
                hint="give the guest more RAM, or load it elsewhere",
            )
    full = sorted((s for s in segments if s.memsz), key=lambda segment: segment.mem)
    for low, high in pairwise(full):
        if low.mem + low.memsz > high.mem:  # both begin at a page, so no rounding
            raise MachineError(
                f"segment {low.name} ({low.mem:#x}, {low.memsz:#x} bytes) overlaps segment "
                f"{high.name} ({high.mem:#x})"
            )


def build_kimage(
    memory: GuestMemory,
    allocator: PageAllocator,
    layout: KimageLayout,
    segments: Sequence[KexecSegment],
    sources: Words,
    page_size: int,
    *,
    start: int,
    linear_offset: int,
    dtb_mem: int = 0,
    flags: int = 0,
    in_place: bool = False,
    page: Region | None = None,
) -> Kimage:
    """Write struct kimage, its list and a control page; returns where they are.

    struct kimage goes into ``page``, or into a page of its own.

    ``sources`` are the PAs of the source pages, segment after segment; there are none
    ``in_place``. ``start`` is the PA to jump to, ``dtb_mem`` that of the device tree,
    ``linear_offset`` is VA minus PA of the linear map, ``flags`` has bit 0 for a crash image,
    1 for preserve_context, 2 for kexec_file_load. What machine_kexec_post_load adds is
    left zero, see :func:`write_field`. Raises MachineError for what kexec_load would refuse.
    """
    check_segments(memory, segments, page_size)
    _check_sources(memory, sources, 0 if in_place else total_pages(segments, page_size), page_size)
    page = page or allocator.alloc(Owner(OwnerKind.KIMAGE), layout.size)
    struct = page.base + _slot(layout.size)
    # Pointers that nobody here follows, and what else a kernel keeps beside a struct.
    memory.u64(struct, (page.end - struct) // WORD).fill(POISON)
    control = allocator.alloc(Owner(OwnerKind.CONTROL_PAGE), page_size).base
    words = np.empty(0, dtype=np.uint64) if in_place else _words(segments, sources, page_size)
    list_pages: tuple[Region, ...] = ()
    head, last, page_last = IND_DONE, struct + layout.head, struct + layout.head
    if not in_place:
        region, last, page_last = _write_list(memory, allocator, words, page_size)
        list_pages, head = (region,), region.base | IND_INDIRECTION
    kimage = Kimage(
        layout=layout,
        pa=struct,
        va=(struct + linear_offset) & MASK64,
        head=head,
        entries=len(words),
        list_pages=list_pages,
        control_page=control,
        segments=tuple(segments),
        page_size=page_size,
        listed=b"".join(memory.read(one.base, one.size) for one in list_pages),
    )
    # entry, last_entry and control_code_page are pointers in the kernel: linear-map VAs. (The
    # last one is a struct page there; no code of the relocation follows it.)
    fields = dict.fromkeys(
        (one for one in WORD_FIELDS if layout.arch is not None or one not in ARCH_FIELDS), 0
    )
    fields |= {
        "head": head,
        "entry": last + linear_offset,
        "last_entry": page_last + linear_offset,
        "start": start,
        "control_code_page": control + linear_offset,
        "nr_segments": len(segments),
        "flags": flags,
    }
    if layout.arch is not None:
        fields["dtb_mem"] = dtb_mem
    for field, value in fields.items():
        write_field(memory, kimage, field, value)
    for index, segment in enumerate(segments):
        at = struct + layout.segment + index * SEGMENT_SIZE
        memory.write_u64(at + BUFSZ, segment.bufsz)
        memory.write_u64(at + MEM, segment.mem)
        memory.write_u64(at + MEMSZ, segment.memsz)
    return kimage


def _slot(size: int) -> int:
    """Offset in a page of the last object of ``size`` bytes: the kernel allocates powers of two.

    With such an address no page's can be confused.
    """
    rounded = 1 << (size - 1).bit_length()
    return max(0, SLAB - rounded)


# struct kimage fields that hold one 64-bit word, as KimageLayout names them.
WORD_FIELDS = (
    "head",
    "entry",
    "last_entry",
    "start",
    "control_code_page",
    "nr_segments",
    "flags",
    "dtb_mem",
    "kern_reloc",
    "el2_vectors",
    "ttbr0",
    "ttbr1",
    "zero_page",
    "phys_offset",
    "t0sz",
)


ARCH_FIELDS = frozenset(WORD_FIELDS[WORD_FIELDS.index("dtb_mem") :])
"""Those that only a layout with a struct kimage_arch has."""


def _field_pa(kimage: Kimage, field: str) -> int:
    if field not in WORD_FIELDS:
        raise MachineError(f"struct kimage has no word {field!r}", hint=", ".join(WORD_FIELDS))
    offset: int = getattr(kimage.layout, field)
    return kimage.pa + offset


def write_field(memory: GuestMemory, kimage: Kimage, field: str, value: int) -> None:
    """Store a word of struct kimage, by the name KimageLayout gives it, modulo 2^64."""
    memory.write_u64(_field_pa(kimage, field), value)


def read_field(memory: GuestMemory, kimage: Kimage, field: str) -> int:
    """Load a word of struct kimage, by the name KimageLayout gives it."""
    return memory.read_u64(_field_pa(kimage, field))


def _check_sources(memory: GuestMemory, sources: Words, expected: int, page_size: int) -> None:
    if len(sources) != expected:
        raise MachineError(f"{len(sources)} source pages for {expected} destination pages")
    bad = (sources % page_size != 0) | memory.absent(sources, page_size)
    if bad.any():
        pa = int(sources[int(bad.argmax())])
        raise MachineError(f"source page at PA {pa:#x} is not a page of RAM")


def _words(segments: Sequence[KexecSegment], sources: Words, page_size: int) -> Words:
    """Destination and source words in list order, without indirections."""
    parts = []
    taken = 0
    for segment in segments:
        pages = segment.pages(page_size)
        parts.append(np.array([segment.mem | IND_DESTINATION], dtype=np.uint64))
        parts.append(sources[taken : taken + pages] | np.uint64(IND_SOURCE))
        taken += pages
    return np.concatenate(parts)


def _write_list(
    memory: GuestMemory, allocator: PageAllocator, words: Words, page_size: int
) -> tuple[Region, int, int]:
    """Lay ``words`` out over fresh pages; returns them and the PAs of IND_DONE and the last slot.

    The last slot of a page is kept for the way to the next page. Only IND_DONE, which the
    kernel writes without asking for room, may take it.
    """
    per_page = page_size // WORD - 1
    pages = -(-len(words) // per_page)
    region = allocator.alloc(Owner(OwnerKind.LIST), pages * page_size)
    table = memory.u64(region.base, pages * (per_page + 1)).reshape(pages, per_page + 1)
    full = len(words) // per_page
    table[:full, :per_page] = words[: full * per_page].reshape(full, per_page)
    rest = len(words) - full * per_page
    if rest:
        table[full, :rest] = words[full * per_page :]
    onward = np.arange(1, pages, dtype=np.uint64) * np.uint64(page_size)
    table[:-1, per_page] = onward + np.uint64(region.base | IND_INDIRECTION)
    done = rest if rest else per_page
    table[-1, done] = IND_DONE
    # List pages are not cleared: whoever reads on copies what no list asks for.
    table[-1, done + 1 :] = region.base | IND_SOURCE
    last_page = region.end - page_size
    return region, last_page + done * WORD, last_page + per_page * WORD


def walk_list(memory: GuestMemory, head: int, page_size: int) -> tuple[Words, Words]:
    """What a list asks for: (destination, source) PAs, one pair a page, in order.

    ``head`` is the first word. Raises MachineError, naming the PA of the entry, for a loop, a
    word with no or several flags, an address that is not a page of RAM, a source before any
    destination, and a list that runs off its page.
    """
    if head == IND_DONE:
        return np.empty(0, dtype=np.uint64), np.empty(0, dtype=np.uint64)
    if head & (page_size - 1) != IND_INDIRECTION:
        raise MachineError(
            f"the list's head {head:#x} is not an indirection",
            hint="the relocation code starts with no destination: the head must lead to a page",
        )
    destinations: list[Words] = []
    sources: list[Words] = []
    seen: set[int] = set()
    came_from = "the head"
    page: int | None = head & -page_size
    current: int | None = None
    while page is not None:
        if page in seen:
            raise MachineError(f"the list loops: {came_from} leads back to PA {page:#x}")
        if not memory.contains(page, page_size):
            raise MachineError(f"{came_from} leads to PA {page:#x}, which is not RAM")
        seen.add(page)
        words = memory.u64(page, page_size // WORD)
        used, onward = _ending(words, page, page_size)
        pairs, current = _page_pairs(memory, words[:used], page, page_size, current)
        destinations.append(pairs[0])
        sources.append(pairs[1])
        came_from = f"the entry at PA {page + used * WORD:#x}"
        page = onward
    return np.concatenate(destinations), np.concatenate(sources)


def _ending(words: Words, page: int, page_size: int) -> tuple[int, int | None]:
    """Index of a list page's last entry, and the PA of the next page unless that is IND_DONE."""
    ends = words & np.uint64(IND_INDIRECTION | IND_DONE) != 0
    if not ends.any():
        raise MachineError(
            f"the list runs off its page: no IND_INDIRECTION or IND_DONE in PA {page:#x}.."
            f"{page + page_size:#x}"
        )
    at = int(ends.argmax())
    word = int(words[at])
    if word & IND_DONE:
        return at, None
    if word & (page_size - 1) != IND_INDIRECTION:
        raise _bad_entry(page, at, word, "is no legal indirection")
    return at, word & -page_size


def _page_pairs(
    memory: GuestMemory, words: Words, page: int, page_size: int, current: int | None
) -> tuple[tuple[Words, Words], int | None]:
    """The pairs of one list page, and the destination that the next page goes on from.

    ``current`` is the destination of the first source, None if there has been none yet.
    """
    flags = words & np.uint64(page_size - 1)
    is_source = flags == IND_SOURCE
    is_destination = flags == IND_DESTINATION
    _refuse(~(is_source | is_destination), words, page, "has no or several flags, or is unaligned")
    address = words & np.uint64(MASK64 - (page_size - 1))
    outside = memory.absent(address, page_size)
    _refuse(outside & is_source, words, page, "has a source that is not RAM")
    starts = np.flatnonzero(is_destination)
    if current is None:
        orphans = is_source.copy()
        orphans[starts[0] if len(starts) else len(words) :] = False
        _refuse(orphans, words, page, "is a source before any destination")
    # Sources before each entry of the page, and the same at the destination it belongs to.
    before = np.cumsum(is_source) - is_source
    run = np.cumsum(is_destination)
    bases = np.concatenate([np.array([current or 0], dtype=np.uint64), address[starts]])
    counts = np.concatenate([np.zeros(1, dtype=np.intp), before[starts]])
    steps = (before - counts[run]).astype(np.uint64) * np.uint64(page_size)
    destination = bases[run] + steps
    outside = memory.absent(destination, page_size)
    _refuse(outside & is_source, words, page, "is copied to what is not RAM")
    after: int | None = current
    if len(starts) or current is not None:
        after = int(bases[-1]) + (int(is_source.sum()) - int(counts[-1])) * page_size
    return (destination[is_source], address[is_source]), after


def _refuse(bad: NDArray[np.bool_], words: Words, page: int, why: str) -> None:
    if bad.any():
        at = int(bad.argmax())
        raise _bad_entry(page, at, int(words[at]), why)


def _bad_entry(page: int, index: int, word: int, why: str) -> MachineError:
    return MachineError(f"the list entry at PA {page + index * WORD:#x} ({word:#x}) {why}")
