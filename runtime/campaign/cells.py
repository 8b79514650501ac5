"""The matrix as data: which cells there are, what each asks for, and why one cannot run.

A cell is a Target, a way out of the old kernel (path) and what its list of pages looks like
(payload). Everything here is a table or a product of tables: nothing runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import ClassVar

from relokit.codegen.base.coercion import coerce_fields
from relokit.codegen.base.documents import ABSENT, Table, shown
from relokit.codegen.base.errors import TargetError
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.kimage_layouts import LAYOUTS, KimageLayout, layout_named
from relokit.codegen.series import BEFORE, COMPLETE, parse_state
from relokit.codegen.target import (
    MIB,
    NARROW,
    PAGE_SIZES,
    VA_BITS,
    WIDE,
    Regime,
    Target,
    parse_page_size,
)
from relokit.runtime.guest.order import Order
from relokit.runtime.kexec.job import Job, KexecPath, Shape

LARGE = 64 * MIB
"""Bytes of Payload.LARGE."""

MAX_JOBS = 256
"""Cells at a time, at most."""


class Payload(StrEnum):
    """What is moved, and in what kind of list.

    IN_ORDER, REVERSED and SHUFFLED are how the source pages lie; the others are shuffled.
    ONE_PAGE, GAPS, BOUNDARY, OWN_PLACE and OLD_KERNEL are the Shapes of a Job. LARGE is
    synthetic, LARGE bytes. NO_LIST is the only one for the ways out that move nothing.
    """

    IN_ORDER = "in-order"
    REVERSED = "reversed"
    SHUFFLED = "shuffled"
    ONE_PAGE = "one-page"
    GAPS = "gaps"
    BOUNDARY = "boundary"
    OWN_PLACE = "own-place"
    OLD_KERNEL = "old-kernel"
    LARGE = "large"
    NO_LIST = "no-list"


_ORDERS = {
    Payload.IN_ORDER: Order.IN_ORDER,
    Payload.REVERSED: Order.REVERSED,
}
_SHAPES = {
    Payload.ONE_PAGE: Shape.ONE_PAGE,
    Payload.GAPS: Shape.GAPS,
    Payload.BOUNDARY: Shape.BOUNDARY,
    Payload.OWN_PLACE: Shape.OWN_PLACE,
    Payload.OLD_KERNEL: Shape.OLD_KERNEL,
}
_KEXEC_LIST = tuple(payload for payload in Payload if payload is not Payload.NO_LIST)

PAYLOADS: Mapping[KexecPath, tuple[Payload, ...]] = MappingProxyType(
    {
        KexecPath.NORMAL: _KEXEC_LIST,
        KexecPath.PURGATORY: _KEXEC_LIST,
        KexecPath.IN_PLACE: (Payload.NO_LIST,),
        KexecPath.CRASH: (Payload.NO_LIST,),
        KexecPath.HIBERNATE: (
            Payload.IN_ORDER,
            Payload.REVERSED,
            Payload.SHUFFLED,
            Payload.ONE_PAGE,
            Payload.LARGE,
        ),
    }
)
"""Which payloads each way out can have."""

_WHY_NOT = {
    KexecPath.NORMAL: "there is always a list of pages",
    KexecPath.PURGATORY: "there is always a list of pages",
    KexecPath.IN_PLACE: "every segment is loaded where it belongs: there is no list of pages",
    KexecPath.CRASH: "a crash kernel is loaded where it belongs: there is no list of pages",
    KexecPath.HIBERNATE: "hibernation's list has one entry a page, no segments and no list pages",
}


_SPELLINGS = {"series": parse_state, "page_sizes": parse_page_size, "layout": layout_named}


@dataclass(frozen=True, slots=True)
class Selection:
    """Which part of the product is wanted; the default is the whole matrix on the demo kernel.

    ``va_bits`` None means what each page size offers; ``cpu_bits`` None a CPU whose addresses are
    as wide as the kernel's. ``payloads`` None
    means those that the path has, without the costly ones (see :func:`is_costly`) unless
    ``full``. What is named here and cannot be had becomes an unsupported cell; what is no name
    of anything raises TargetError.
    """

    series: tuple[int, ...] = tuple(range(BEFORE, COMPLETE + 1))
    page_sizes: tuple[int, ...] = tuple(PAGE_SIZES.values())
    va_bits: tuple[int, ...] | None = None
    regimes: tuple[Regime, ...] = tuple(Regime)
    paths: tuple[KexecPath, ...] = tuple(KexecPath)
    payloads: tuple[Payload, ...] | None = None
    full: bool = False
    layout: KimageLayout = LAYOUTS["6.1"]
    cpu_bits: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        coerce_fields(self, TargetError, _SPELLINGS)


@dataclass(frozen=True, slots=True)
class Cell:
    """One combination. ``target`` is None, and ``reason`` says why, if it cannot be built.

    ``path`` and ``payload`` are None in the one cell that stands for all of such a target.
    """

    DOCUMENT: ClassVar[Table] = shown(
        "id", "series", "page_size", "va_bits", "cpu_bits", "regime", "path", "payload", "reason"
    )

    series: int
    page_size: int
    va_bits: int
    regime: Regime
    path: KexecPath | None
    payload: Payload | None
    target: Target | None
    reason: str | None = field(default=None, metadata=ABSENT)
    cpu_bits: int = NARROW

    @property
    def has_other_cpu(self) -> bool:
        """Whether the CPU's addresses are not as wide as the kernel's."""
        return self.cpu_bits != _cpu_of(self.va_bits)

    @property
    def id(self) -> str:
        """Its stable name: ``series15/4k/va48/nvhe/normal/shuffled``.

        A CPU with other addresses than the kernel's is in it: ``series15/4k/va52-cpu48/...``.
        """
        cpu = f"-cpu{self.cpu_bits}" if self.has_other_cpu else ""
        parts = [
            f"series{self.series}",
            f"{self.page_size // 1024}k",
            f"va{self.va_bits}{cpu}",
            str(self.regime),
        ]
        return "/".join(parts + [str(part) for part in (self.path, self.payload) if part])

    def job(self, base: Job) -> Job:
        """What to run: ``base`` (its files, seed and limits) in this cell's way."""
        assert self.path is not None
        assert self.payload is not None
        shape, kernel, size = _SHAPES.get(self.payload, Shape.PLAIN), base.kernel, base.size
        if self.payload is Payload.LARGE:
            shape, kernel, size = Shape.PLAIN, None, LARGE
        elif self.payload is Payload.ONE_PAGE and self.path is KexecPath.HIBERNATE:
            shape, kernel, size = Shape.PLAIN, None, self.page_size
        elif self.payload is Payload.ONE_PAGE or self.path is KexecPath.HIBERNATE:
            # Neither moves a kernel, whatever the other cells do.
            kernel = None
        order = _ORDERS.get(self.payload, Order.SHUFFLED)
        # Where nothing is drawn a seed would be refused.
        job = replace(
            base,
            path=self.path,
            order=order,
            shape=shape,
            kernel=kernel,
            size=size,
            seed=0,
            given=(),
        )
        return replace(job, seed=base.seed) if job.draws else job


def is_costly(page_size: int, payload: Payload) -> bool:
    """Whether a cell takes seconds: 64 MiB to move, or a list page filled with 64 KiB pages.

    8191 sources of 64 KiB are 512 MiB; 2047 of 16 KiB are 32 MiB.
    """
    return payload is Payload.LARGE or (payload is Payload.BOUNDARY and page_size == 65536)


def cells(selection: Selection) -> Iterator[Cell]:
    """The cells of ``selection``, target by target, always in the same order."""
    for series in selection.series:
        for page_size in selection.page_sizes:
            for va_bits in selection.va_bits or VA_BITS[page_size]:
                for cpu_bits in selection.cpu_bits or (_cpu_of(va_bits),):
                    for regime in selection.regimes:
                        yield from _cells_of(
                            selection, series, page_size, va_bits, cpu_bits, regime
                        )


def _cpu_of(va_bits: int) -> int:
    """Bits of a CPU whose addresses are as wide as the kernel's."""
    return WIDE if va_bits == WIDE else NARROW


def _cells_of(
    selection: Selection, series: int, page_size: int, va_bits: int, cpu_bits: int, regime: Regime
) -> Iterator[Cell]:
    try:
        target = Target(
            series=series,
            page_size=page_size,
            va_bits=va_bits,
            cpu_bits=cpu_bits,
            regime=regime,
            layout=selection.layout,
        )
    except TargetError as error:
        yield Cell(
            series, page_size, va_bits, regime, None, None, None, error.message, cpu_bits=cpu_bits
        )
        return
    for path in selection.paths:
        for payload in selection.payloads or PAYLOADS[path]:
            if payload not in PAYLOADS[path]:
                made, reason = None, _WHY_NOT[path]
            elif selection.payloads or selection.full or not is_costly(page_size, payload):
                made, reason = target, None
            else:
                continue
            yield Cell(
                series, page_size, va_bits, regime, path, payload, made, reason, cpu_bits=cpu_bits
            )
