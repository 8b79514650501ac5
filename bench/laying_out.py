"""struct kimage's list and the page tables of 16 GiB, against a copy of as many bytes."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

import numpy as np
from measurement import MIB, PAGE, Row, Table, progress

from relokit.codegen.kimage_layouts import LAYOUTS
from relokit.codegen.target import Target
from relokit.runtime.arch.geometry import granule_of
from relokit.runtime.guest.ledger import PageAllocator
from relokit.runtime.guest.memory import GuestMemory
from relokit.runtime.guest.owner import Owner, OwnerKind, destination
from relokit.runtime.kexec.kimage import KexecSegment, build_kimage
from relokit.runtime.kexec.pagetables import PageTables, map_linear
from relokit.runtime.kexec.trans_pgd import create_copy

GIB = 1 << 30
BASE = 1 * GIB
OURS, COPY = "relokit", "memcpy of as many bytes"


def laying_out(rounds: int, size: int = 16 * GIB) -> list[Table]:
    """The list of ``size`` bytes, and tables of the memory they are in, page by page.

    They are where they belong, each page at the place of another. They are never touched, but the
    host has to have as much: guest memory of more is refused.
    """
    rows = {
        "list": Row("kimage list", "ms"),
        "map": Row("linear map, by pages", "ms"),
        "copy": Row("its copy (trans_pgd)", "ms"),
    }
    for _ in range(rounds):
        _one_round(rows, size)
        for row in rows.values():
            progress(row.told())
    return [Table("Lists and tables", list(rows.values()), f"{size // GIB} GiB to move")]


def _one_round(rows: dict[str, Row], size: int) -> None:
    target = Target()
    memory = GuestMemory(BASE, size + size // 64)
    allocator = PageAllocator(memory, PAGE)
    allocator.reserve(destination(0, "payload"), BASE, size)
    pages = np.random.default_rng(0).permutation(size // PAGE).astype(np.uint64)
    sources = np.uint64(BASE) + pages * np.uint64(PAGE)
    segment = KexecSegment("payload", BASE, size, size)

    def write_list() -> None:
        build_kimage(
            memory, allocator, LAYOUTS["6.1"], [segment], sources, PAGE,
            start=BASE, linear_offset=target.page_offset - BASE,
        )  # fmt: skip

    _timed(rows["list"], allocator, write_list)
    tables: list[PageTables] = []

    def map_all() -> None:
        owner = Owner(OwnerKind.LINEAR_MAP)
        granule = granule_of(PAGE)
        tables.append(
            PageTables(memory, allocator, granule, target.table_va_bits, upper=True, owner=owner)
        )
        map_linear(tables[0], target.page_offset, target.page_end, BASE, blocks=False)

    _timed(rows["map"], allocator, map_all)
    start, end = target.page_offset, target.page_end
    _timed(
        rows["copy"],
        allocator,
        lambda: create_copy(memory, allocator, tables[0].root, target, start, end),
    )
    memory.close()


def _timed(row: Row, allocator: PageAllocator, made: Callable[[], object]) -> None:
    """``made`` takes memory from ``allocator``: as much is copied then, warm."""
    free = allocator.free_bytes
    start = perf_counter()
    made()
    row.add(OURS, (perf_counter() - start) * 1000)
    source = np.ones(free - allocator.free_bytes, np.uint8)
    copied = np.zeros_like(source)
    copied.fill(2)
    start = perf_counter()
    np.copyto(copied, source)
    row.add(COPY, (perf_counter() - start) * 1000)
    row.name = f"{row.name.partition(':')[0]}: {len(source) / MIB:.0f} MiB"
