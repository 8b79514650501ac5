"""Whose pages are whose in RAM that others have filled: by struct kimage, and by tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from relokit.codegen.base.errors import MachineError
from relokit.codegen.target import Target
from relokit.runtime.arch.table_tree import TooManyTablesError, table_tree
from relokit.runtime.arch.translation import WalkRegisters, table_range
from relokit.runtime.arch.walker import walk
from relokit.runtime.found.living_state import LivingKernel, State
from relokit.runtime.found.loaded_image import LoadedImage
from relokit.runtime.guest.address_spans import Span, merged, without
from relokit.runtime.guest.ledger import PageAllocator
from relokit.runtime.guest.memory import WORD, GuestMemory, Words
from relokit.runtime.guest.owner import Owner, OwnerKind, destination
from relokit.runtime.kexec.address_space import kernel_ttbr1, with_t0sz
from relokit.runtime.kexec.guest_ram import GuestRam

Claim = tuple[Owner, Iterable[Span]]

IDMAP_TEXT = "__idmap_text_start"
IDMAP_T0SZ = 64 - 48
"""Of the identity map where the kernel's own addresses have fewer bits: 16 KiB pages and 47."""
NEAR = 8
"""Pages before swapper_pg_dir in which the image has its other first tables."""


def ledger(
    state: State, kernel: LivingKernel, loaded: LoadedImage, target: Target, ram: GuestRam
) -> PageAllocator:
    """Who owns which pages. What the move needs comes first, then what it fills, then the rest.

    Raises MachineError for tables that cannot be followed.
    """
    allocator = PageAllocator(state.memory, target.page_size, ram.closed)
    taken: list[Span] = []
    for owner, spans in _claims(state, kernel, loaded, target):
        wanted = [span for span in merged(spans) if state.memory.contains(*_extent(span))]
        for low, high in without(wanted, taken):
            allocator.reserve(owner, low, high - low)
        taken = merged([*taken, *wanted])
    return allocator


def _extent(span: Span) -> tuple[int, int]:
    return span[0], span[1] - span[0]


def _claims(
    state: State, kernel: LivingKernel, loaded: LoadedImage, target: Target
) -> Iterator[Claim]:
    kimage, words, page = loaded.kimage, loaded.words, target.page_size
    own = state.translation
    yield Owner(OwnerKind.KIMAGE), [_pages(kimage.pa, kimage.layout.size, page)]
    yield Owner(OwnerKind.CONTROL_PAGE), [_pages(kimage.control_page, 1, page)]
    yield Owner(OwnerKind.LIST), [(one.base, one.end) for one in kimage.list_pages]
    if words.get("el2_vectors"):
        yield Owner(OwnerKind.EL2_VECTORS), [_pages(words["el2_vectors"], 1, page)]
    if words.get("ttbr1"):
        copy = replace(own, ttbr1=kernel_ttbr1(target, words["ttbr1"]))
        yield Owner(OwnerKind.LINEAR_MAP), tables_of(state.memory, copy, state.el, upper=True)
    if words.get("ttbr0"):
        tcr = with_t0sz(own.tcr, words["t0sz"])
        idmap = replace(own, ttbr0=words["ttbr0"], tcr=tcr)
        yield Owner(OwnerKind.CONTROL_IDMAP), tables_of(state.memory, idmap, state.el, upper=False)
    if words.get("zero_page"):
        yield Owner(OwnerKind.ZERO_PAGE), [_pages(words["zero_page"], 1, page)]
    for number, one in enumerate(kimage.segments):
        size = one.pages(page) * page
        yield destination(number, one.name), [(one.mem, one.mem + size)]
    yield Owner(OwnerKind.SWAPPER), tables_of(state.memory, own, state.el, upper=True)
    for below in _identity_maps(state, kernel, page):
        yield Owner(OwnerKind.RESTART_IDMAP), tables_of(state.memory, below, state.el, upper=False)
    # Its neighbour is reserved_pg_dir, which maps nothing; many kernels do not tell its name.
    before = table_range(own, state.el, upper=True).root_table - page
    if state.memory.contains(before, page) and not state.memory.view(before, page).any():
        yield Owner(OwnerKind.ZERO_PAGE), [(before, before + page)]
    sources = np.unique(loaded.sources)
    yield Owner(OwnerKind.SOURCES), [(pa, pa + page) for pa in sources.tolist()]
    size = kernel.file.header.image_size
    yield Owner(OwnerKind.OLD_KERNEL), [(kernel.pa, kernel.pa + -(-size // page) * page)]


def _identity_maps(state: State, kernel: LivingKernel, page: int) -> Iterator[WalkRegisters]:
    """What maps the kernel's idmap text to itself, by a root near swapper_pg_dir in its image.

    Many kernels do not tell the name of idmap_pg_dir. It may have more bits than their own VAs.
    """
    own = state.translation
    text = kernel.place(IDMAP_TEXT) if IDMAP_TEXT in kernel.symbols else None
    swapper = table_range(own, state.el, upper=True).root_table
    sizes = dict.fromkeys((own.tcr, with_t0sz(own.tcr, IDMAP_T0SZ)))
    for root in range(swapper - NEAR * page, swapper, page):
        if text is None or not state.memory.contains(root, page):
            continue
        for tcr in sizes:
            registers = replace(own, ttbr0=root, tcr=tcr)
            if walk(state.memory, registers, text, el=state.el).pa == text:
                yield registers
                break


def tables_of(memory: GuestMemory, registers: WalkRegisters, el: int, *, upper: bool) -> list[Span]:
    """The tables that a walk by ``registers`` can read, in whole pages of 4 KiB.

    Raises MachineError if there are more than anybody looks at.
    """
    extent = table_range(registers, el, upper)

    def read(tables: Words, count: int) -> tuple[Words, NDArray[np.bool_]]:
        there = ~memory.absent(tables, count * WORD)
        slots = ((tables[there] - np.uint64(memory.base)) // np.uint64(WORD)).astype(np.intp)
        return memory.words[slots[:, None] + np.arange(count)], there

    try:
        tree = table_tree(read, extent, extent.root_table)
    except TooManyTablesError:
        raise MachineError("the kernel has more tables than are looked at") from None
    return [_pages(pa, size, 4096) for tables, size in tree.tables for pa in tables.tolist()]


def _pages(pa: int, size: int, page: int) -> Span:
    return pa & -page, -(-(pa + size) // page) * page
