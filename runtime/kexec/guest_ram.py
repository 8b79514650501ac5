"""Job and device tree to GuestRam: which memory there is, and what of it is set aside.

Sources: how Linux finds memory (drivers/of/fdt.c: every bank in whole pages; what the linear map
cannot reach is left out, arch/arm64/mm/init.c) and sets a crash kernel's aside
(Documentation/admin-guide/kdump/kdump.rst: 2 MiB aligned, below 4 GiB if that is possible).
"""

from __future__ import annotations

from relokit.codegen.base.bits import round_up
from relokit.codegen.base.errors import MachineError
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.target import MIB, Target
from relokit.runtime.board import devicetree
from relokit.runtime.board.fdt import Range
from relokit.runtime.guest.address_spans import (
    Span,
    extents_of,
    inner,
    merged,
    outer,
    spans_of,
    without,
)
from relokit.runtime.guest.ledger import Region
from relokit.runtime.guest.memory import MAX_PA
from relokit.runtime.guest.owner import Owner, OwnerKind
from relokit.runtime.kexec.address_space import cpu_pa_bits
from relokit.runtime.kexec.job import CRASH_ALIGN, MAX_BANKS, RAM_BASE, Job, KexecPath, Shape

DEFAULT_RAM = 2048 * MIB
EDGES_RAM = 8192 * MIB
"""Has VAs that are multiples of 4 GiB at its begin, in the middle and at its end, PAs between."""
OLD_KERNEL_ALIGN = 2 * MIB
CRASH_LIMIT = 1 << 32
"""A crash kernel's memory ends below this PA, if there is a hole: 32-bit DMA needs such memory."""
MEMSTART_ALIGN = 1 << 30
"""Where the linear map starts is rounded to this, so that it can use blocks."""
MAX_REACH = 1 << 46
"""Bytes from the first bank up to where another may end: host addresses are set aside for all."""
# Tables, list pages, control page, vectors and the harness, with room to spare: the list needs
# 8 bytes and page tables at most 8 bytes for each 4 KiB page.
OVERHEAD = 64 * MIB


@dataclass(frozen=True, slots=True)
class GuestRam:
    """The banks of RAM that are there (PA, bytes), and what is set aside in them.

    ``reserved`` is what nothing may be put on, ``unmapped`` that of it which the old kernel does
    not map either; both in whole pages. ``crash`` is a crash kernel's memory. Segments go into
    ``destinations``. ``unreached`` is memory that the old kernel leaves out.
    """

    banks: tuple[Range, ...]
    reserved: tuple[Range, ...] = ()
    unmapped: tuple[Range, ...] = ()
    crash: Range | None = None
    unreached: tuple[Range, ...] = ()

    @property
    def left_out(self) -> str | None:
        """What is said of ``unreached``, if there is some."""
        if not self.unreached:
            return None
        size = sum(size for _, size in self.unreached)
        return (
            f"{size / MIB:,.0f} MiB from PA {self.unreached[0][0]:#x} on left out, as the kernel "
            "does: its linear map does not reach that"
        )

    @property
    def base(self) -> int:
        """First PA."""
        return self.banks[0][0]

    @property
    def size(self) -> int:
        """Bytes of RAM in all banks."""
        return sum(size for _, size in self.banks)

    @property
    def memstart(self) -> int:
        """PA that PAGE_OFFSET maps."""
        return self.base // MEMSTART_ALIGN * MEMSTART_ALIGN

    @property
    def destinations(self) -> tuple[Range, ...]:
        """Where segments may lie: a crash kernel's only in what was set aside at boot."""
        return self.banks if self.crash is None else (self.crash,)

    @property
    def closed(self) -> tuple[Range, ...]:
        """What the old kernel allocates nothing from."""
        return self.reserved if self.crash is None else (*self.reserved, self.crash)

    def old_kernel(self, size: int) -> Region:
        """Where a kernel of ``size`` bytes runs: in the lowest place, 2 MiB into its bank."""
        room = round_up(size, OLD_KERNEL_ALIGN)
        taken = spans_of(self.closed)
        for low, high in without(spans_of(self.banks), taken):
            at = round_up(low, OLD_KERNEL_ALIGN)
            if any(low == bank for bank, _ in self.banks):
                at += OLD_KERNEL_ALIGN
            if at + room <= high:
                return Region(Owner(OwnerKind.OLD_KERNEL), at, room)
        raise MachineError(
            f"the old kernel needs {room:#x} bytes, and no hole that is left has them",
            hint="give the guest more memory",
        )


def board_memory(job: Job, dtb: bytes | None) -> tuple[Range, ...] | None:
    """Memory that ``job`` names where the tree ``dtb`` has none, or in its place; else None.

    A tree without memory is one of firmware that would fill it in: then ``--memory`` is how much
    there is, from where the tree's own empty node has it, or else where QEMU's board does.
    """
    if job.memory_map is not None:
        return job.memory_map
    if dtb is None or devicetree.memory_of(dtb):
        return None
    if job.memory is None:
        raise MachineError(
            "the tree has no memory node with a size: firmware fills it in, or says it by EFI",
            where=str(job.dtb),
            hint="say how much with --memory SIZE, or where with --memory-map SIZE@ADDRESS",
        )
    return ((devicetree.empty_memory(dtb) or RAM_BASE, job.memory),)


def guest_ram(target: Target, job: Job, dtb: bytes | None, moved: int) -> GuestRam:
    """RAM for source and destination of ``moved`` bytes: the tree's, or QEMU virt's, lowest first.

    Raises MachineError where that is not enough, or beyond the target's addresses.
    """
    where = str(job.dtb) if job.dtb else None
    needed = 2 * moved + moved // 128 + OVERHEAD
    usual = EDGES_RAM if job.shape is Shape.EDGES else DEFAULT_RAM
    wanted = job.memory or max(usual, -(-needed // (256 * MIB)) * 256 * MIB)
    banks = job.memory_map or ((RAM_BASE, wanted),)
    if dtb is not None:
        banks = devicetree.memory_of(dtb)
        available = sum(high - low for low, high in spans_of(banks))
        if job.memory is not None and job.memory > available:
            raise MachineError(
                f"{job.memory / MIB:.0f} MiB of guest memory, but the device tree has "
                f"{available / MIB:.0f} MiB",
                where=where,
                hint="leave --memory out, or give another tree",
            )
    spans = inner(spans_of(banks), target.page_size)
    # The rest of a large machine's memory is never touched and need not be there.
    every = spans
    there = _lowest(spans, wanted // target.page_size * target.page_size)
    if job.memory is None:
        there = merged([*there, *_named(job, spans, needed)])
    spans = there
    unreached: list[Span] = []
    if dtb is not None or job.memory_map is not None:
        spans = _reached(target, spans, where)
        unreached = without(every, [(0, _end_of_map(target, every))])
    if not spans:
        raise MachineError("no bank of memory has a whole page", where=where)
    cpu_pa_bits(target, spans[-1][1], where=where)
    size = sum(high - low for low, high in spans)
    if needed > size + OVERHEAD // 2:
        raise MachineError(
            f"{moved / MIB:.1f} MiB to move need {needed / MIB:.0f} MiB of guest memory for source "
            f"and destination, and there are {size / MIB:.0f} MiB",
            where=where,
            hint="give more with --memory, or a smaller payload",
        )
    reserved: tuple[Range, ...] = ()
    unmapped: tuple[Range, ...] = ()
    if dtb is not None:
        reserved = _within(devicetree.reserved_of(dtb), spans, target.page_size)
        unmapped = _within(devicetree.unmapped_of(dtb), spans, target.page_size)
    crash = None
    if job.path is KexecPath.CRASH:
        crash = _crash_memory(job, spans, without(spans, spans_of(reserved)))
    return GuestRam(extents_of(spans), reserved, unmapped, crash, extents_of(unreached))


def _named(job: Job, spans: list[Span], needed: int) -> list[Span]:
    """Memory of ``spans`` from where something is to be put on."""
    places = (job.kernel_at, job.initrd_at, job.dtb_at, job.crash_at)
    room = max(needed, job.crash_size or 0)
    windows = [
        (at // OLD_KERNEL_ALIGN * OLD_KERNEL_ALIGN, round_up(at + room, OLD_KERNEL_ALIGN))
        for at in places
        if at is not None
    ]
    return without(spans, without([(0, 1 << 64)], merged(windows)))


def _reached(target: Target, spans: list[Span], where: str | None) -> list[Span]:
    """What the linear map reaches from where it starts, as the kernel leaves the rest out.

    MachineError for what it reaches and this program cannot have.
    """
    start = _memstart(spans)
    found = without(spans, [(_end_of_map(target, spans), 1 << 64)])
    if len(found) > MAX_BANKS:
        raise MachineError(
            f"{len(found)} banks of memory",
            where=where,
            hint=f"give less --memory, or a --memory-map of {MAX_BANKS} at most",
        )
    if found and found[-1][1] > start + MAX_REACH:
        raise MachineError(
            f"memory at PA {found[-1][0]:#x} ends more than {MAX_REACH >> 40} TiB after the first "
            "one begins: this program has no addresses for that",
            where=where,
            hint="give less --memory, or a --memory-map without it",
        )
    return found


def _memstart(spans: list[Span]) -> int:
    return spans[0][0] // MEMSTART_ALIGN * MEMSTART_ALIGN if spans else 0


def _end_of_map(target: Target, spans: list[Span]) -> int:
    """PA behind what the linear map reaches if memory is ``spans``."""
    return _memstart(spans) + target.page_end - target.linear_start


def _lowest(spans: list[Span], size: int) -> list[Span]:
    """The lowest ``size`` bytes of ``spans``."""
    found: list[Span] = []
    for low, high in spans:
        taken = min(size, high - low)
        if taken > 0:
            found.append((low, low + taken))
        size -= taken
    return found


def _within(extents: tuple[Range, ...], spans: list[Span], page_size: int) -> tuple[Range, ...]:
    """What of ``extents``, in whole pages, is in ``spans``."""
    outside = without([(0, 1 << 64)], spans)
    return extents_of(without(outer(spans_of(extents), page_size), outside))


def _crash_memory(job: Job, spans: list[Span], free: list[Span]) -> Range:
    """What was set aside for a crash kernel at boot: as asked, or half of the largest hole."""
    if job.crash_size is None:
        low, high = max(free or spans, key=lambda span: span[1] - span[0])
        half = round_up(low + (high - low) // 2 // CRASH_ALIGN * CRASH_ALIGN, CRASH_ALIGN)
        return half, high - half
    size, at = job.crash_size, job.crash_at
    if at is not None:
        if not any(low <= at and at + size <= high for low, high in free):
            raise MachineError(
                f"--crashkernel: PA {at:#x}..{at + size:#x} is not all free RAM",
                hint="choose another address, or leave it to the program",
            )
        return at, size
    spots = [(min(high, limit) - size, low) for limit in (CRASH_LIMIT, MAX_PA)
             for low, high in reversed(free)]  # fmt: skip
    for last, low in spots:
        spot = last // CRASH_ALIGN * CRASH_ALIGN
        if spot >= low:
            return spot, size
    raise MachineError(
        f"--crashkernel: no hole of {size:#x} bytes is left", hint="give the guest more memory"
    )
