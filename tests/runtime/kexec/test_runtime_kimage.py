"""The list that is written is the list that is walked, and both are what the segments ask for."""

from __future__ import annotations

import re
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relokit.codegen.base.errors import MachineError, TargetError
from relokit.codegen.facts import POISON
from relokit.codegen.kimage_layouts import LAYOUTS
from relokit.runtime.guest.ledger import PageAllocator
from relokit.runtime.guest.memory import GuestMemory, Words
from relokit.runtime.guest.order import Order
from relokit.runtime.guest.owner import Owner, OwnerKind, destination
from relokit.runtime.kexec.kimage import (
    KexecSegment,
    Kimage,
    build_kimage,
    check_segments,
    destination_pages,
    read_field,
    total_pages,
    walk_list,
    write_field,
)

BASE = 0x4000_0000
MIB = 1 << 20
OFFSET = 0xFFFF_0000_0000_0000 - BASE
DST, IND, DONE, SRC = 1, 2, 4, 8


def _machine(page: int = 4096, ram: int = 64 * MIB) -> tuple[GuestMemory, PageAllocator]:
    memory = GuestMemory(BASE, ram)
    return memory, PageAllocator(memory, page)


def _build(
    memory: GuestMemory,
    allocator: PageAllocator,
    segments: list[KexecSegment],
    *,
    page: int = 4096,
    layout: str = "6.1",
    in_place: bool = False,
    seed: int = 0,
) -> tuple[Kimage, Words]:
    for segment in segments:
        if segment.memsz:
            size = segment.pages(page) * page
            allocator.reserve(destination(0, segment.name), segment.mem, size)
    count = 0 if in_place else total_pages(segments, page)
    sources = allocator.scatter(destination(0, "source pages"), count, page, seed)
    kimage = build_kimage(
        memory,
        allocator,
        LAYOUTS[layout],
        segments,
        sources,
        page,
        start=segments[0].mem if segments else 0,
        linear_offset=OFFSET,
        dtb_mem=0 if layout == "5.10" else 0x4A00_0000,
        in_place=in_place,
    )
    return kimage, sources


def _interpret(memory: GuestMemory, head: int, page: int) -> list[tuple[int, int]]:
    """The list as the relocation code reads it: word by word (contract: source first)."""
    pairs = []
    entry, cursor, destination = head, 0, 0
    while not entry & DONE:
        address = entry & -page
        if entry & SRC:
            pairs.append((destination, address))
            destination += page
        elif entry & IND:
            cursor = address
        elif entry & DST:
            destination = address
        (entry,) = struct.unpack("<Q", memory.read(cursor, 8))
        cursor += 8
    return pairs


Sizes = st.lists(
    st.tuples(st.integers(0, 700_000), st.integers(0, 1), st.integers(0, 5)),
    min_size=1,
    max_size=16,
)


@given(
    page=st.sampled_from([4096, 16384, 65536]),
    sizes=Sizes,
    order=st.permutations(range(16)),
    seed=st.integers(0, 1000),
)
def test_any_legal_segments_give_exactly_their_pairs(
    page: int, sizes: list[tuple[int, int, int]], order: list[int], seed: int
) -> None:
    memory, allocator = _machine(page)
    segments = []
    at = BASE
    for index, (memsz, half, gap) in enumerate(sizes):
        segments.append(KexecSegment(f"s{index}", at, memsz, memsz >> half))
        at += -(-memsz // page) * page + gap * page
    segments = [segments[index] for index in order if index < len(segments)]
    kimage, sources = _build(memory, allocator, segments, page=page, seed=seed)
    expected = []
    taken = iter(sources.tolist())
    for segment in segments:
        for offset in range(0, segment.memsz, page):
            expected.append((segment.mem + offset, next(taken)))
    destinations, found = walk_list(memory, kimage.head, page)
    assert list(zip(destinations.tolist(), found.tolist(), strict=True)) == expected
    assert _interpret(memory, kimage.head, page) == expected
    assert destinations.tolist() == destination_pages(segments, page).tolist()
    assert kimage.entries == len(segments) + len(expected)
    assert not kimage.in_place


@pytest.mark.parametrize("entries", [2, 510, 511, 512, 1021, 1022, 1023, 1533])
def test_pages_of_the_list_are_filled_and_chained_as_the_kernel_does(entries: int) -> None:
    memory, allocator = _machine()
    pages = entries - 1  # and one destination
    kimage, sources = _build(
        memory, allocator, [KexecSegment("kernel", BASE, pages * 4096, pages * 4096)]
    )
    # The kernel's own way: a word at a time, the last slot of a page left for the chain.
    slots: dict[int, int] = {}
    [region] = kimage.list_pages
    page = region.base
    at = page
    for word in [BASE | DST, *(pa | SRC for pa in sources.tolist())]:
        if at == page + 4088:
            slots[at] = page + 4096 | IND
            page += 4096
            at = page
        slots[at] = word
        at += 8
    slots[at] = DONE
    assert kimage.head == region.base | IND
    assert region.end == page + 4096
    for pa in range(region.base, region.end, 8):
        if pa in slots:
            assert memory.read_u64(pa) == slots[pa]
        else:
            # Behind the end nothing was cleared, and reading on copies some page.
            assert pa > at
            assert memory.read_u64(pa) & 0xFFF == SRC
            assert memory.contains(memory.read_u64(pa) & ~0xFFF)
    assert read_field(memory, kimage, "entry") == at + OFFSET
    assert read_field(memory, kimage, "last_entry") == page + 4088 + OFFSET


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_struct_kimage_holds_what_the_code_loads_at_its_offsets(layout: str) -> None:
    memory, allocator = _machine()
    segments = [
        KexecSegment("kernel", BASE, 8000, 5000),
        KexecSegment("initrd", BASE + MIB, 4096, 4096),
    ]
    kimage, _ = _build(memory, allocator, segments, layout=layout)
    at = LAYOUTS[layout]

    def word(offset: int) -> int:
        return memory.read_u64(kimage.pa + offset)

    assert word(0x00) == kimage.head
    assert word(0x18) == BASE
    assert word(0x20) == kimage.control_page + OFFSET
    assert word(0x38) == 2
    assert [word(0x40 + offset) for offset in (0, 8, 16, 24)] == [POISON, 5000, BASE, 8000]
    assert [word(0x60 + offset) for offset in (0, 8, 16, 24)] == [POISON, 4096, BASE + MIB, 4096]
    assert word(at.flags) == 0
    assert word(at.size + 8 & ~7) == POISON  # what else is in its page
    assert kimage.va == kimage.pa + OFFSET
    if at.arch is not None:
        assert word(at.arch + 0x08) == 0x4A00_0000
        assert [word(at.arch + offset) for offset in range(0x10, 0x48, 8)] == [0] * 7
        write_field(memory, kimage, "phys_offset", -OFFSET)
        assert word(at.arch + 0x38) == (1 << 64) - OFFSET
    else:
        with pytest.raises(TargetError, match="no struct kimage_arch"):
            write_field(memory, kimage, "ttbr1", 0)
    with pytest.raises(MachineError, match="no word 'segment'"):
        read_field(memory, kimage, "segment")


def test_what_is_built_has_owners() -> None:
    memory, allocator = _machine()
    kimage, sources = _build(memory, allocator, [KexecSegment("kernel", BASE, MIB, MIB)])
    assert kimage.list_pages
    for pa, wanted in (
        (kimage.pa, Owner(OwnerKind.KIMAGE)),
        (kimage.control_page, Owner(OwnerKind.CONTROL_PAGE)),
        (kimage.list_pages[0].base, Owner(OwnerKind.LIST)),
        (int(sources[0]), destination(0, "source pages")),
        (BASE, destination(0, "kernel")),
    ):
        owner = allocator.owner(pa)
        assert owner
        assert owner.owner == wanted


def test_in_place_there_is_no_list_and_the_head_says_done() -> None:
    memory, allocator = _machine()
    kimage, _ = _build(memory, allocator, [KexecSegment("crash", BASE, MIB, MIB)], in_place=True)
    assert (kimage.head, kimage.entries, kimage.list_pages) == (DONE, 0, ())
    assert kimage.in_place
    assert read_field(memory, kimage, "head") == DONE
    destinations, sources = walk_list(memory, kimage.head, 4096)
    assert len(destinations) == len(sources) == 0


def test_a_source_that_lies_at_its_own_destination_is_legal() -> None:
    memory, allocator = _machine()
    segment = KexecSegment("kernel", BASE, 8 * 4096, 8 * 4096)
    allocator.reserve(destination(0, "destination"), segment.mem, segment.memsz)
    own = destination_pages([segment], 4096)
    kimage = build_kimage(
        memory,
        allocator,
        LAYOUTS["6.1"],
        [segment],
        own,
        4096,
        start=BASE,
        linear_offset=OFFSET,
    )
    destinations, sources = walk_list(memory, kimage.head, 4096)
    assert destinations.tolist() == sources.tolist() == own.tolist()


@pytest.mark.parametrize(
    ("segments", "message"),
    [
        ([], "0 segments"),
        ([KexecSegment(f"s{i}", BASE + i * 4096, 4096, 0) for i in range(17)], "17 segments"),
        ([KexecSegment("a", BASE + 8, 4096, 0)], "segment a: PA 0x40000008 is not aligned"),
        ([KexecSegment("a", BASE, 4096, 4097)], "segment a: 0x1001 bytes of content"),
        ([KexecSegment("a", BASE, 4096, -1)], "segment a"),
        ([KexecSegment("a", BASE, -4096, -4096)], "segment a"),
        ([KexecSegment("a", BASE - 4096, 4096, 0)], "segment a: .* not all RAM"),
        ([KexecSegment("a", BASE + 64 * MIB - 4096, 4097, 0)], "segment a: .* not all RAM"),
        (
            [KexecSegment("b", BASE + 4096, 4096, 0), KexecSegment("a", BASE, 4097, 0)],
            "segment a .* overlaps segment b",
        ),
        (
            [KexecSegment("a", BASE, 4096, 0), KexecSegment("b", BASE, 4096, 0)],
            "segment a .* overlaps segment b",
        ),
    ],
)
def test_what_kexec_refuses_is_refused_by_name(segments: list[KexecSegment], message: str) -> None:
    memory, allocator = _machine()
    with pytest.raises(MachineError, match=message):
        check_segments(memory, segments, 4096)
    with pytest.raises(MachineError, match=message):
        build_kimage(
            memory,
            allocator,
            LAYOUTS["6.1"],
            segments,
            np.empty(0, dtype=np.uint64),
            4096,
            start=0,
            linear_offset=0,
        )


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ([BASE], "1 source pages for 2"),
        ([BASE, BASE + 8], "PA 0x40000008 is not a page of RAM"),
        ([BASE, BASE - 4096], "PA 0x3ffff000 is not a page of RAM"),
        ([BASE + 64 * MIB, BASE], "PA 0x44000000 is not a page of RAM"),
    ],
)
def test_wrong_sources_are_refused(sources: list[int], message: str) -> None:
    memory, allocator = _machine()
    with pytest.raises(MachineError, match=message):
        build_kimage(
            memory,
            allocator,
            LAYOUTS["6.1"],
            [KexecSegment("kernel", BASE, 8192, 0)],
            np.array(sources, dtype=np.uint64),
            4096,
            start=0,
            linear_offset=0,
        )


PAGE_A, PAGE_B = BASE + 0x1000, BASE + 0x2000
TARGET, SOURCE = BASE + 0x10000, BASE + 0x20000


@pytest.mark.parametrize(
    ("head", "words", "message"),
    [
        (0, {}, "head 0x0 is not an indirection"),
        (TARGET | DST, {}, "is not an indirection"),
        (SOURCE | SRC, {}, "is not an indirection"),
        (PAGE_A | IND | DST, {}, "is not an indirection"),
        (PAGE_A | IND | 0x10, {}, "is not an indirection"),
        (BASE - 4096 | IND, {}, "the head leads to PA 0x3ffff000, which is not RAM"),
        (PAGE_A | IND, {}, "runs off its page: .* 0x40001000..0x40002000"),
        (
            PAGE_A | IND,
            {PAGE_A: TARGET | DST, PAGE_A + 8: PAGE_A | IND},
            "loops: the entry at PA 0x40001008 leads back to PA 0x40001000",
        ),
        (
            PAGE_A | IND,
            {PAGE_A: PAGE_B | IND, PAGE_B: PAGE_A | IND},
            "loops: the entry at PA 0x40002000 leads back to PA 0x40001000",
        ),
        (
            PAGE_A | IND,
            {PAGE_A: BASE + 64 * MIB | IND},
            "the entry at PA 0x40001000 leads to PA 0x44000000, which is not RAM",
        ),
        (PAGE_A | IND, {PAGE_A: SOURCE | SRC, PAGE_A + 8: DONE}, "PA 0x40001000 .* source before"),
        (
            PAGE_A | IND,
            {PAGE_A: TARGET | DST, PAGE_A + 8: SOURCE | SRC | DST, PAGE_A + 16: DONE},
            "PA 0x40001008 .* no or several flags",
        ),
        (PAGE_A | IND, {PAGE_A: TARGET | DST, PAGE_A + 16: DONE}, "PA 0x40001008 .* no or several"),
        (
            PAGE_A | IND,
            {PAGE_A: TARGET | DST, PAGE_A + 8: SOURCE | 0x100 | SRC, PAGE_A + 16: DONE},
            "PA 0x40001008 .* unaligned",
        ),
        (PAGE_A | IND, {PAGE_A: PAGE_B | IND | SRC}, "PA 0x40001000 .* no legal indirection"),
        (
            PAGE_A | IND,
            {PAGE_A: TARGET | DST, PAGE_A + 8: BASE - 4096 | SRC, PAGE_A + 16: DONE},
            "PA 0x40001008 .* source that is not RAM",
        ),
        (
            PAGE_A | IND,
            {
                PAGE_A: BASE + 64 * MIB - 4096 | DST,
                PAGE_A + 8: SOURCE | SRC,
                PAGE_A + 16: SOURCE | SRC,
                PAGE_A + 24: DONE,
            },
            "PA 0x40001010 .* copied to what is not RAM",
        ),
        (
            PAGE_A | IND,
            {PAGE_A: (1 << 64) - 4096 | DST, PAGE_A + 8: SOURCE | SRC, PAGE_A + 16: DONE},
            "PA 0x40001008 .* copied to what is not RAM",
        ),
    ],
)
def test_a_broken_list_is_refused_at_the_entry(
    head: int, words: dict[int, int], message: str
) -> None:
    memory, _ = _machine()
    for pa, word in words.items():
        memory.write_u64(pa, word)
    with pytest.raises(MachineError) as caught:
        walk_list(memory, head, 4096)
    assert re.search(message, str(caught.value))


def test_a_destination_goes_on_across_an_indirection() -> None:
    memory, _ = _machine()
    for pa, word in {
        PAGE_A: TARGET | DST,
        PAGE_A + 8: SOURCE | SRC,
        PAGE_A + 16: PAGE_B | IND,
        PAGE_B: SOURCE + 4096 | SRC,
        PAGE_B + 8: BASE | DST,
        PAGE_B + 16: SOURCE | SRC,
        PAGE_B + 24: 0xFFF_F000 | DONE | SRC,  # what else the last word says does not count
    }.items():
        memory.write_u64(pa, word)
    destinations, sources = walk_list(memory, PAGE_A | IND, 4096)
    assert destinations.tolist() == [TARGET, TARGET + 4096, BASE]
    assert sources.tolist() == [SOURCE, SOURCE + 4096, SOURCE]


def test_a_list_of_many_pages_is_read_in_order() -> None:
    memory, allocator = _machine()
    size = 40 * MIB
    allocator.reserve(destination(0, "destination"), BASE, 20 * MIB)
    sources = allocator.scatter(destination(0, "sources"), size // 8192, 4096, 0, Order.REVERSED)
    kimage = build_kimage(
        memory,
        allocator,
        LAYOUTS["7.2"],
        [KexecSegment("kernel", BASE, size // 2, 0)],
        sources,
        4096,
        start=BASE,
        linear_offset=OFFSET,
        flags=0b100,
    )
    destinations, found = walk_list(memory, kimage.head, 4096)
    assert (found == sources).all()
    assert (destinations == BASE + np.arange(0, size // 2, 4096)).all()
    assert read_field(memory, kimage, "flags") == 0b100
