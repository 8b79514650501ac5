"""Transitional page tables: what lives between two kernels.

A copy of the linear map for TTBR1, an identity map of the control page for TTBR0, an empty table
for the moment between, and a copy of the EL2 vectors. The rules were read out of shipped
kernels: 6.1 has them as the series left them, later ones differ as :data:`COPY_RULES` says.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from relokit.codegen.base.errors import MachineError
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.facts import VECTOR_TABLE_SIZE
from relokit.codegen.target import Target
from relokit.runtime.arch import descriptors as d
from relokit.runtime.arch.geometry import ENTRY_SIZE, LEAF_LEVEL, granule_of, txsz
from relokit.runtime.arch.translation import to_ttbr
from relokit.runtime.guest.ledger import PageAllocator
from relokit.runtime.guest.memory import GuestMemory, Words
from relokit.runtime.guest.owner import Owner, OwnerKind
from relokit.runtime.kexec.address_space import idmap_va_bits, output_format
from relokit.runtime.kexec.pagetables import AT_ONCE, SPACE, PageTables


@dataclass(frozen=True, slots=True)
class CopyRule:
    """How one kernel version copies the linear map.

    ``revalidate``: non-zero invalid page entries come back valid. ``blocks_as_pages``: blocks
    follow the rule of pages, and nG is taken from the kernel's own mappings, which here never
    have it. ``table_bits``: bits in every new table descriptor.
    """

    revalidate: bool
    blocks_as_pages: bool
    table_bits: int


COPY_RULES: dict[str, CopyRule] = {
    "6.1": CopyRule(revalidate=False, blocks_as_pages=False, table_bits=0),
    "6.12": CopyRule(revalidate=True, blocks_as_pages=False, table_bits=0),
    "7.2": CopyRule(revalidate=True, blocks_as_pages=True, table_bits=d.TABLE_AF),
}


def copy_rule(version: str) -> CopyRule:
    """The rule of the kernel ``version`` (``6.12``): that of the newest one known up to it.

    A version that says nothing (``unknown``), or is older than all, has that of 6.1.
    """
    known = {tuple(map(int, name.split("."))): rule for name, rule in COPY_RULES.items()}
    numbers = version.split(".")
    if not all(number.isascii() and number.isdigit() and len(number) < 9 for number in numbers):
        return known[min(known)]
    given = tuple(map(int, numbers))
    return known[max((one for one in known if one <= given), default=min(known))]


def create_copy(
    memory: GuestMemory,
    allocator: PageAllocator,
    source_pgd: int,
    target: Target,
    start: int,
    end: int,
    *,
    rule: CopyRule = COPY_RULES["6.1"],
) -> int:
    """Copy what the tables at PA ``source_pgd`` map in VA ``[start, end)``; returns the new PA.

    Every table is new; pages and blocks lead to the same PAs, and are writable where ``rule``
    lets them be. Raises MachineError for an address outside the upper range, a source table
    outside RAM, or lack of memory.
    """
    granule = granule_of(target.page_size)
    if not target.linear_start <= start < end <= SPACE:
        raise MachineError(
            f"linear map copy: VA {start:#x}..{end:#x} is outside the {target.va_bits_at_run}-bit "
            f"upper range, which starts at {target.linear_start:#x}",
            hint="start from the run-time VA size (TCR_EL1.T1SZ), not the compile-time one",
        )
    output = output_format(target)
    low = SPACE - (1 << target.table_va_bits)
    first, last = np.uint64(start - low), np.uint64(end - 1 - low)
    source = np.array([source_pgd], dtype=np.uint64)
    owner = Owner(OwnerKind.LINEAR_MAP)
    copy = _new_tables(allocator, 1, target.page_size, owner)
    pgd = int(copy[0])
    base = np.zeros(1, dtype=np.uint64)  # offset of each table's first VA from ``low``
    for level in range(granule.start_level(target.table_va_bits), LEAF_LEVEL):
        rows, vas = _rows(memory, source, base, level, target, (first, last))
        new = _leaves(rows, level, rule)
        tables = rows & np.uint64(d.TYPE) == d.TABLE
        source, base = output.decode(rows[tables]), vas[tables]
        below = _new_tables(allocator, len(source), target.page_size, owner.at_level(level + 1))
        limit = d.TABLE_UXN if level == LEAF_LEVEL - 1 else d.TABLE_PXN
        new[tables] = output.encode(below) | np.uint64(d.TABLE | limit | rule.table_bits)
        memory.words[_row_slots(memory, copy, target.page_size)] = new
        copy = below
    step = AT_ONCE // granule.entries
    for at in range(0, len(source), step):
        part = slice(at, at + step)
        rows, _ = _rows(memory, source[part], base[part], LEAF_LEVEL, target, (first, last))
        slots = _row_slots(memory, copy[part], target.page_size)
        memory.words[slots] = _leaves(rows, LEAF_LEVEL, rule)
    return pgd


def _rows(
    memory: GuestMemory,
    tables: Words,
    base: Words,
    level: int,
    target: Target,
    ends: tuple[np.uint64, np.uint64],
) -> tuple[Words, Words]:
    """The entries of tables of ``level``, and the VA of each, counted from where ``base`` is; zero
    outside of the VAs ``ends``.
    """
    granule = granule_of(target.page_size)
    span = np.uint64(granule.span(level))
    vas = base[:, None] + np.arange(granule.entries, dtype=np.uint64) * span
    inside = (vas <= ends[1]) & (vas + (span - np.uint64(1)) >= ends[0])
    return np.where(inside, _table_rows(memory, tables, target.page_size), np.uint64(0)), vas


def _leaves(rows: Words, level: int, rule: CopyRule) -> Words:
    """The new pages or blocks of whole tables; zero where an entry is not copied as a leaf."""
    as_page = level == LEAF_LEVEL or rule.blocks_as_pages
    if level == LEAF_LEVEL:
        leaf = rows & np.uint64(d.TYPE) == d.PAGE
        dormant = rows & np.uint64(d.VALID) == 0
    else:
        leaf = rows & np.uint64(d.TYPE) == d.BLOCK
        dormant = rows & np.uint64(d.TYPE) == 0
    if rule.revalidate and as_page:
        leaf |= dormant & (rows != 0)
    writable = rows & ~np.uint64(d.AP_READ_ONLY)
    if as_page:
        dirty = rows & np.uint64(d.SOFTWARE_DIRTY) != 0
        writable = np.where(dirty, writable, rows) | np.uint64(d.WRITE | d.VALID)
    if rule.blocks_as_pages:
        writable &= ~np.uint64(d.NG)
    leaves: Words = np.where(leaf, writable, np.uint64(0))
    return leaves


def _new_tables(allocator: PageAllocator, count: int, page_size: int, owner: Owner) -> Words:
    if count == 0:
        return np.empty(0, dtype=np.uint64)
    base = allocator.alloc(owner, count * page_size).base
    return np.uint64(base) + np.arange(count, dtype=np.uint64) * np.uint64(page_size)


def _row_slots(memory: GuestMemory, tables: Words, page_size: int) -> NDArray[np.intp]:
    """Word indices of whole tables, shape (tables, entries)."""
    memory.slots(tables + np.uint64(page_size - ENTRY_SIZE))  # the last word must be RAM too
    return memory.slots(tables)[:, None] + np.arange(page_size // ENTRY_SIZE)


def _table_rows(memory: GuestMemory, tables: Words, page_size: int) -> Words:
    return memory.words[_row_slots(memory, tables, page_size)]


def idmap_page(
    memory: GuestMemory,
    allocator: PageAllocator,
    target: Target,
    page_pa: int,
    kind: OwnerKind = OwnerKind.CONTROL_IDMAP,
) -> tuple[int, int]:
    """Tables that map the page at PA ``page_pa`` to itself, and nothing else; ``kind`` owns them.

    Returns the TTBR0 value and T0SZ. The page is executable at EL1 and read-only. The range is as
    wide as the page's PA needs, whatever the kernel's own VA size is: RAM may lie above the latter.
    """
    va_bits = idmap_va_bits(page_pa)
    tables = PageTables(
        memory,
        allocator,
        granule_of(target.page_size),
        va_bits,
        upper=False,
        owner=Owner(kind),
        output=output_format(target),
    )
    tables.idmap(page_pa, target.page_size)
    return to_ttbr(tables.root, target.pa_bits), txsz(va_bits)


def copy_el2_vectors(memory: GuestMemory, allocator: PageAllocator, vectors: bytes) -> int:
    """Put the 0x800 bytes of ``vectors`` at the start of a fresh page; returns its PA."""
    if len(vectors) != VECTOR_TABLE_SIZE:
        raise MachineError(
            f"EL2 vectors of {len(vectors):#x} bytes; a vector table has {VECTOR_TABLE_SIZE:#x}"
        )
    page = allocator.alloc(Owner(OwnerKind.EL2_VECTORS), allocator.page_size)
    memory.write(page.base, vectors)
    return page.base


def zero_page(allocator: PageAllocator) -> int:
    """A page of zeros: as a table, one that maps nothing. Returns its PA."""
    return allocator.alloc(Owner(OwnerKind.ZERO_PAGE), allocator.page_size).base
