"""What kexec_load has left in RAM: struct kimage, its list, and what its segments are."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from relokit.codegen.base.errors import MachineError
from relokit.codegen.base.nouns import dataclass
from relokit.linker.kernel.kernel_file import IMAGE_MAGIC
from relokit.runtime.board.fdt import MAGIC as TREE_MAGIC
from relokit.runtime.found.living_state import LivingKernel, State, page_of
from relokit.runtime.guest.ledger import Region
from relokit.runtime.guest.memory import GuestMemory, Words
from relokit.runtime.guest.owner import Owner, OwnerKind
from relokit.runtime.guest.payload import ARCHIVES, PayloadKind
from relokit.runtime.kexec.kimage import (
    BUFSZ,
    IND_DONE,
    IND_INDIRECTION,
    MEM,
    MEMSZ,
    SEGMENT_MAX,
    SEGMENT_SIZE,
    WORD,
    KexecSegment,
    Kimage,
    walk_list,
)

WORDS = ("head", "start", "dtb_mem", "kern_reloc", "el2_vectors", "ttbr0", "ttbr1", "zero_page",
         "phys_offset", "t0sz")  # fmt: skip
"""Words of struct kimage that code reads after the load, by KimageLayout's names."""
OF_ARCH = frozenset(WORDS[2:])
ON_CRASH = 1
"""Bit of kimage.type, which is KEXEC_TYPE_CRASH then."""
_HEAD = 64
_ELF = b"\x7fELF"


@dataclass(frozen=True)
class LoadedImage:
    """``kimage`` and the ``words`` of it that count, as they were when this was read.

    ``sources`` and ``targets`` are the PAs of pages by the list; both are empty in place.
    """

    kimage: Kimage
    words: Mapping[str, int]
    targets: Words
    sources: Words

    @property
    def crash(self) -> bool:
        """Whether a crash enters it."""
        return bool(self.kimage.head & IND_DONE)

    def content(self, memory: GuestMemory, segment: KexecSegment) -> bytes:
        """What is to arrive in ``segment``, by its source pages."""
        size = min(segment.bufsz, segment.memsz)
        if self.kimage.in_place:
            return memory.read(segment.mem, size)
        page = self.kimage.page_size
        end = segment.mem + segment.pages(page) * page
        own = (self.targets >= segment.mem) & (self.targets < end)
        rows = self.sources[own][np.argsort(self.targets[own], kind="stable")]
        return b"".join(memory.read(int(pa), page) for pa in rows.tolist())[:size]


def read_kimage(state: State, kernel: LivingKernel, va: int) -> LoadedImage:
    """The struct kimage at ``va``; raises MachineError naming what of it cannot be."""
    memory, layout, page = state.memory, kernel.layout, kernel.page_size
    pa = state.pa(va)
    if not memory.contains(pa, layout.size):
        raise MachineError(f"struct kimage at PA {pa:#x} is not all RAM")
    words = {
        name: memory.read_u64(pa + getattr(layout, name))
        for name in WORDS
        if name not in OF_ARCH or layout.arch is not None
    }
    count = memory.read_u64(pa + layout.nr_segments)
    if not 1 <= count <= SEGMENT_MAX:
        raise MachineError(f"struct kimage at PA {pa:#x} has {count} segments")
    segments = tuple(
        _segment(memory, pa + layout.segment + number * SEGMENT_SIZE) for number in range(count)
    )
    head = words["head"]
    targets, sources = walk_list(memory, head, page)
    pages = tuple(_list_pages(memory, head, page))
    return LoadedImage(
        Kimage(
            layout=layout,
            pa=pa,
            va=va,
            head=head,
            entries=_entries(memory, pages),
            list_pages=pages,
            control_page=_control_page(state, kernel, pa, words),
            segments=_named(memory, segments, targets, sources),
            page_size=page,
            listed=b"".join(memory.read(one.base, one.size) for one in pages),
        ),
        words,
        targets,
        sources,
    )


def kind_of(head: bytes) -> PayloadKind:
    """What a segment that begins with ``head`` is."""
    if head[56:60] == IMAGE_MAGIC:
        return PayloadKind.KERNEL
    if head[:4] == TREE_MAGIC.to_bytes(4, "big"):
        return PayloadKind.DEVICE_TREE
    if head[:4] == _ELF:
        return PayloadKind.CORE_HEADER
    if head.startswith(ARCHIVES):
        return PayloadKind.INITRD
    return PayloadKind.PATTERN


def _segment(memory: GuestMemory, at: int) -> KexecSegment:
    mem, memsz = memory.read_u64(at + MEM), memory.read_u64(at + MEMSZ)
    if not memory.contains(mem, memsz):
        raise MachineError(f"a segment of {memsz:#x} bytes at PA {mem:#x} is not all RAM")
    return KexecSegment("", mem, memsz, memory.read_u64(at + BUFSZ))


def _named(
    memory: GuestMemory, segments: tuple[KexecSegment, ...], targets: Words, sources: Words
) -> tuple[KexecSegment, ...]:
    places = dict(zip(targets.tolist(), sources.tolist(), strict=True))
    return tuple(
        KexecSegment(
            kind_of(memory.read(places.get(one.mem, one.mem), _HEAD)).value,
            one.mem,
            one.memsz,
            one.bufsz,
        )
        for one in segments
    )


def _list_pages(memory: GuestMemory, head: int, page: int) -> list[Region]:
    """The pages of a list that can be walked, in its order."""
    found, word = [], head
    # An entry may have both flags: the routine and walk_list end there.
    while word & IND_INDIRECTION and not word & IND_DONE:
        at = word & -page
        found.append(Region(Owner(OwnerKind.LIST), at, page))
        words = memory.u64(at, page // WORD)
        ends = words & np.uint64(IND_INDIRECTION | IND_DONE) != 0
        word = int(words[int(ends.argmax())])
    return found


def _entries(memory: GuestMemory, pages: tuple[Region, ...]) -> int:
    """Destination and source words: all up to the end of each page."""
    count = 0
    for one in pages:
        words = memory.u64(one.base, one.size // WORD)
        count += int((words & np.uint64(IND_INDIRECTION | IND_DONE) != 0).argmax())
    return count


def _control_page(state: State, kernel: LivingKernel, pa: int, words: Mapping[str, int]) -> int:
    """PA of the control page: kimage says it, or has its struct page."""
    reloc = words.get("kern_reloc", 0)
    if reloc:
        return reloc & -kernel.page_size
    return page_of(state, kernel, state.memory.read_u64(pa + kernel.layout.control_code_page))
