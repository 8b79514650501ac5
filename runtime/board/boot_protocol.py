"""Where the next kernel, its initrd and its device tree go in RAM.

The rules are those of Documentation/arch/arm64/booting.rst and of kexec's segment check; what
nobody chose by hand is placed as the kernel's own kexec_file loader places it: the kernel in the
lowest hole, the initrd in the lowest one after it, the device tree in the highest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from enum import Enum

from relokit.codegen.base.bits import round_up
from relokit.codegen.base.errors import MachineError
from relokit.codegen.base.nouns import dataclass
from relokit.linker.kernel.kernel_file import BASE_ALIGN, ImageHeader
from relokit.runtime.board.fdt import MAX_DTB, Range
from relokit.runtime.guest.address_spans import Span, outer, spans_of, without
from relokit.runtime.guest.payload import PayloadKind

GIB = 1 << 30
INITRD_WINDOW = 32 * GIB
DTB_ALIGN = 8
PA_LIMIT = 1 << 48

CORE_ALIGN = 64 << 10
"""Where an ELF core header begins: so kexec has it on arm64."""

KERNEL, INITRD, DTB = PayloadKind.KERNEL, PayloadKind.INITRD, PayloadKind.DEVICE_TREE
CORE = PayloadKind.CORE_HEADER


class PlacementRule(Enum):
    """What a placement must obey; the value is the rule in words, with its source."""

    KERNEL_BASE = "the kernel is text_offset bytes past a multiple of 2 MiB (booting.rst)"
    KERNEL_48_BIT = "the kernel is within 48 bits of physical address (booting.rst)"
    INITRD_WINDOW = (
        "initrd and kernel are within one 1 GiB-aligned window of 32 GiB at most (booting.rst)"
    )
    ABOVE_BASE = (
        "what a kernel without bit 3 of its flags is given lies above its 2 MiB base (booting.rst)"
    )
    DTB_ALIGN = "the device tree is on an 8-byte boundary (booting.rst)"
    DTB_SIZE = "the device tree has 2 MiB at most (booting.rst)"
    DTB_MAPPED = (
        "the device tree is in no block of 2 MiB with memory that may not be mapped (booting.rst)"
    )
    DTB_BLOCK = "the device tree does not cross a multiple of 2 MiB (booting.rst)"
    PAGE_ALIGN = "segments start at a page (kexec_load)"
    IN_RAM = "segments are in RAM (kexec_load)"
    NOT_RESERVED = "segments keep off reserved memory (booting.rst)"
    NO_OVERLAP = "segments do not overlap (kexec_load)"
    FITS = "there is a hole that is large enough"


@dataclass(frozen=True, slots=True)
class PlacedSegment:
    """``size`` bytes of content at PA ``at``; ``memsz`` bytes, whole pages, are claimed there."""

    kind: PayloadKind
    at: int
    size: int
    memsz: int

    @property
    def name(self) -> str:
        """What it is, in words."""
        return self.kind.value

    @property
    def end(self) -> int:
        """First PA after the claimed memory."""
        return self.at + self.memsz


@dataclass(frozen=True, slots=True)
class Placement:
    """Where everything goes; ``kernel.at`` is also where the kernel is entered."""

    kernel: PlacedSegment
    core: PlacedSegment | None
    initrd: PlacedSegment | None
    dtb: PlacedSegment

    @property
    def segments(self) -> tuple[PlacedSegment, ...]:
        """All of them, in the order kexec_file adds them."""
        parts = (self.kernel, self.core, self.initrd, self.dtb)
        return tuple(part for part in parts if part is not None)


def place(
    header: ImageHeader,
    kernel_size: int,
    initrd_size: int,
    dtb_size: int,
    ram: Iterable[Range],
    reserved: Iterable[Range],
    page_size: int,
    *,
    unmapped: Iterable[Range] = (),
    owner_of: Callable[[int], str | None] = lambda _: None,
    core_size: int = 0,
    kernel_at: int | None = None,
    initrd_at: int | None = None,
    dtb_at: int | None = None,
) -> Placement:
    """Place a kernel of ``kernel_size`` bytes, an initrd (0 for none) and a device tree; and, for a
    crash kernel, the ELF core header of ``core_size`` bytes (0 for none).

    ``ram``, ``reserved`` and, of that, ``unmapped`` (``no-map``) are (first PA, bytes),
    and ``owner_of`` says who has a reserved PA; ``*_at`` are PAs chosen by hand, checked but never
    moved. Raises MachineError with the name of the Rule
    that cannot be kept.
    """
    if not 0 < dtb_size <= MAX_DTB:
        raise _broken(PlacementRule.DTB_SIZE, f"the device tree has {dtb_size} bytes")
    ram = list(ram)
    first = min((low for low, _ in ram), default=0)
    if first >= PA_LIMIT:
        raise _broken(
            PlacementRule.KERNEL_48_BIT,
            f"RAM starts at PA {first:#x}",
            hint="give memory below it; what is not the kernel may lie above",
        )
    holes = _Holes(ram, reserved, owner_of)
    # A kernel maps the device tree by whole blocks.
    blocks = outer(spans_of(unmapped), BASE_ALIGN)

    def put(kind: PayloadKind, at: int, size: int, memsz: int) -> PlacedSegment:
        segment = PlacedSegment(kind, at, size, memsz)
        _check(segment, header, page_size)
        holes.take(segment)
        return segment

    kernel_memsz = round_up(max(header.image_size, kernel_size), page_size)
    initrd_memsz = round_up(initrd_size, page_size)
    dtb_memsz = round_up(dtb_size, page_size)
    kernel = core = initrd = dtb = None
    # What was chosen by hand comes first, so that the rest keeps off it.
    if kernel_at is not None:
        kernel = put(KERNEL, kernel_at, kernel_size, kernel_memsz)
    if initrd_at is not None and initrd_size:
        initrd = put(INITRD, initrd_at, initrd_size, initrd_memsz)
    if dtb_at is not None:
        dtb = put(DTB, dtb_at, dtb_size, dtb_memsz)
        for low, high in blocks:
            if dtb.at < high and low < dtb.end:
                raise _broken(PlacementRule.DTB_MAPPED, f"{_span(dtb)} meets {low:#x}..{high:#x}")

    if kernel is None:
        # The memory from the 2 MiB base to the Image has to be free too, as kexec_file has it.
        room = header.text_offset + kernel_memsz
        base = holes.lowest(KERNEL, room, BASE_ALIGN, 0, PA_LIMIT)
        kernel = put(KERNEL, base + header.text_offset, kernel_size, kernel_memsz)
    if core_size:
        room = round_up(core_size, page_size)
        core = put(CORE, holes.highest(CORE, room, CORE_ALIGN), core_size, room)
    if initrd is None and initrd_size:
        window_end = kernel.at // GIB * GIB + INITRD_WINDOW
        at = holes.lowest(INITRD, initrd_memsz, page_size, kernel.end, window_end)
        initrd = put(INITRD, at, initrd_size, initrd_memsz)
    # Memory below is in no linear map of such a kernel.
    lowest = 0 if header.placed_anywhere else kernel.at - header.text_offset
    if dtb is None:
        at = holes.highest(DTB, dtb_memsz, BASE_ALIGN, lowest, blocks)
        dtb = put(DTB, at, dtb_size, dtb_memsz)
    for given in (initrd, dtb):
        if given is not None and given.at < lowest:
            raise _broken(PlacementRule.ABOVE_BASE, f"{_span(given)}, {_span(kernel)}")

    if initrd is not None:
        window = min(kernel.at, initrd.at) // GIB * GIB
        if max(kernel.end, initrd.end) > window + INITRD_WINDOW:
            raise _broken(PlacementRule.INITRD_WINDOW, f"{_span(initrd)}, {_span(kernel)}")
    return Placement(kernel, core, initrd, dtb)


def _check(segment: PlacedSegment, header: ImageHeader, page_size: int) -> None:
    """The rules that concern one segment alone."""
    at, last = segment.at, segment.at + segment.size - 1
    if segment.kind is KERNEL:
        if (at - header.text_offset) % BASE_ALIGN:
            shown = f"{_span(segment)}, with text_offset {header.text_offset:#x}"
            raise _broken(PlacementRule.KERNEL_BASE, shown)
        if segment.end > PA_LIMIT:
            raise _broken(PlacementRule.KERNEL_48_BIT, _span(segment))
    if segment.kind is DTB:
        if at % DTB_ALIGN:
            raise _broken(PlacementRule.DTB_ALIGN, _span(segment))
        if at // BASE_ALIGN != last // BASE_ALIGN:
            raise _broken(PlacementRule.DTB_BLOCK, _span(segment))
    if at % page_size:
        raise _broken(PlacementRule.PAGE_ALIGN, f"{_span(segment)}, with {page_size:#x}-byte pages")


class _Holes:
    """RAM, and what of it is still free: ascending (first PA, first PA after)."""

    def __init__(
        self,
        ram: Iterable[Range],
        reserved: Iterable[Range],
        owner_of: Callable[[int], str | None],
    ) -> None:
        self._owner_of = owner_of
        self._ram = spans_of(ram)
        self._reserved = spans_of(reserved)
        self._free = without(self._ram, self._reserved)
        self._taken: list[PlacedSegment] = []

    def take(self, segment: PlacedSegment) -> None:
        start, end = segment.at, segment.end
        if not any(low <= start and end <= high for low, high in self._ram):
            ram = ", ".join(f"{low:#x}..{high:#x}" for low, high in self._ram[:8])
            raise _broken(PlacementRule.IN_RAM, f"{_span(segment)}; RAM is {ram or 'empty'}")
        for low, high in self._reserved:
            if start < high and low < end:
                owner = self._owner_of(max(start, low))
                shown = f"{_span(segment)} meets the reserved {low:#x}..{high:#x}"
                shown += f" of {owner}" if owner else ""
                raise _broken(PlacementRule.NOT_RESERVED, shown)
        for other in self._taken:
            if start < other.end and other.at < end:
                raise _broken(PlacementRule.NO_OVERLAP, f"{_span(segment)} meets {_span(other)}")
        self._taken.append(segment)
        self._free = without(self._free, [(start, end)])

    def lowest(self, kind: PayloadKind, room: int, align: int, first: int, last: int) -> int:
        """Lowest ``align``-ed PA of ``room`` free bytes within first..last."""
        for low, high in self._free:
            at = round_up(max(low, first), align)
            if at + room <= min(high, last):
                return at
        raise self._no_hole(kind, room, first, last)

    def highest(
        self,
        kind: PayloadKind,
        room: int,
        align: int,
        first: int = 0,
        avoided: Sequence[Span] = (),
    ) -> int:
        """Highest ``align``-ed PA of ``room`` free bytes, from ``first`` on, off ``avoided``."""
        for low, high in reversed(without(self._free, list(avoided))):
            at = (high - room) // align * align
            if at >= max(low, first):
                return at
        raise self._no_hole(kind, room, first, 1 << 64)

    def _no_hole(self, kind: PayloadKind, room: int, first: int, last: int) -> MachineError:
        sizes = (min(high, last) - max(low, first) for low, high in self._free)
        largest = max((size for size in sizes if size > 0), default=0)
        return _broken(
            PlacementRule.FITS,
            f"the {kind.value} needs {room:#x} bytes, the largest hole where it may be has "
            f"{largest:#x}",
            hint="give the guest more memory",
        )


def _span(segment: PlacedSegment) -> str:
    return f"{segment.name} at {segment.at:#x}..{segment.end:#x}"


_ELSEWHERE = "give another --kernel-at, --initrd-at or --dtb-at, or more memory; or leave them out"


def _broken(rule: PlacementRule, detail: str, hint: str = _ELSEWHERE) -> MachineError:
    return MachineError(f"{rule.name}: {rule.value}: {detail}", hint=hint)
