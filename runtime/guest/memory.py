"""Guest RAM: banks of physical addresses over one piece of anonymous host memory.

Pages cost nothing until they are touched. Everything hands out numpy views of the same bytes
the CPU runs on: nothing is copied on the way in or out. What lies between two banks has host
addresses, and is no RAM: nothing is kept there.
"""

from __future__ import annotations

import re
import resource
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from relokit.codegen.base.bits import MASK64
from relokit.codegen.base.errors import MachineError
from relokit.runtime.guest.host_pages import HOST_PAGE, HUGE_PAGE, HostArea, fill, populate

Extent = tuple[int, int]
"""First PA, and bytes."""
Bytes = NDArray[np.uint8]
Words = NDArray[np.uint64]

MIN_PAGE = 4096  # page of the engine: RAM is mapped in multiples of it
MAX_PA = 1 << 52  # the widest output address there is (ARM DDI 0487, D8.1)
WORD = 8
GIB = 1 << 30


class GuestMemory:
    """``size`` bytes from PA ``base``; both are multiples of 4 KiB.

    All of it is RAM, or, if ``banks`` are given, they are: of whole 4 KiB pages, ascending, apart
    from each other, the first from ``base``, the last up to ``end``. Raises MachineError for sizes
    that cannot be had. A view stays valid until the last reference to it goes, also after
    :meth:`close`.
    """

    def __init__(self, base: int, size: int, banks: Sequence[Extent] | None = None) -> None:
        self.base = base
        self.size = size
        self.end = base + size
        """First PA after RAM."""
        self.banks = ((base, size),) if banks is None else tuple(banks)
        _check_size(self)
        self.hole_table = np.array(self.holes, dtype=np.uint64).reshape(-1, 2)
        self._is_whole = len(self.banks) == 1
        area = _host_memory(size)
        self._area: HostArea | None = area
        self._ram: Bytes | None = np.frombuffer(area, np.uint8, size, area.offset)
        # The same bytes: a view of NumPy's for the few of them takes longer than they do.
        self._bytes: memoryview | None = self._ram.data

    @classmethod
    def of(cls, banks: Sequence[Extent]) -> GuestMemory:
        """RAM of these banks; as for the constructor."""
        base, (last, size) = banks[0][0], banks[-1]
        return cls(base, last + size - base, banks)

    @property
    def available(self) -> int:
        """Bytes of RAM; ``size`` has the gaps between banks, too."""
        return sum(size for _, size in self.banks)

    @property
    def holes(self) -> tuple[Extent, ...]:
        """What lies between two banks."""
        pairs = pairwise(self.banks)
        return tuple((low + size, high - low - size) for (low, size), (high, _) in pairs)

    @property
    def ram(self) -> Bytes:
        """All of RAM as bytes; element 0 is PA ``base``."""
        if self._ram is None:
            raise _closed()
        return self._ram

    @property
    def words(self) -> Words:
        """All of RAM as little-endian 64-bit words; see :meth:`slots` for the index of a PA."""
        return self.ram.view(np.uint64)

    @property
    def address(self) -> int:
        """Host address of PA ``base``: what Unicorn's ``mem_map_ptr`` takes."""
        return int(self.ram.ctypes.data)

    def pages(self, page_size: int) -> Bytes:
        """RAM as an array of shape (pages, page_size), whole pages only."""
        count = self.size // page_size
        return self.ram[: count * page_size].reshape(count, page_size)

    def contains(self, pa: int, size: int = 1) -> bool:
        """Whether all of ``[pa, pa + size)`` is RAM."""
        if self._is_whole:
            return size >= 0 and self.base <= pa and pa + size <= self.end
        return size >= 0 and any(low <= pa and pa + size <= low + n for low, n in self.banks)

    def absent(self, pas: Words, size: int = 1) -> NDArray[np.bool_]:
        """Where ``[pa, pa + size)`` is not all RAM, for an array of PAs."""
        last = pas + np.uint64(size - 1)
        absent = (pas < self.base) | (last >= self.end) | (last < pas)
        for low, hole in self.holes:
            absent |= (last >= low) & (pas < low + hole)
        return absent

    def view(self, pa: int, size: int) -> Bytes:
        """``size`` bytes of RAM from PA ``pa``, as a writable view."""
        self._check(pa, size)
        return self.ram[pa - self.base : pa - self.base + size]

    def u64(self, pa: int, count: int) -> Words:
        """``count`` 64-bit words from PA ``pa`` (8-byte aligned), as a writable view."""
        if pa % WORD:
            raise MachineError(f"PA {pa:#x} is not 8-byte aligned")
        self._check(pa, count * WORD)
        at = (pa - self.base) // WORD
        return self.words[at : at + count]

    def slots(self, pas: Words) -> NDArray[np.intp]:
        """Indices into :attr:`words` of an array of PAs.

        Raises MachineError naming the first PA that is unaligned or not in RAM.
        """
        bad = self.absent(pas) | (pas % WORD != 0)
        if bad.any():
            pa = int(pas[int(bad.argmax())])
            raise MachineError(f"no 64-bit word of RAM at PA {pa:#x} (RAM is {self.extent})")
        return ((pas - np.uint64(self.base)) // WORD).astype(np.intp)

    def read(self, pa: int, size: int) -> bytes:
        """A copy of ``size`` bytes from PA ``pa``."""
        self._check(pa, size)
        at = pa - self.base
        return bytes(self._open[at : at + size])

    def write(self, pa: int, data: bytes | bytearray | memoryview) -> None:
        """Store ``data`` from PA ``pa`` on."""
        self._check(pa, len(data))
        at = pa - self.base
        self._open[at : at + len(data)] = data

    def read_u64(self, pa: int) -> int:
        """The 64-bit word at PA ``pa``, which need not be aligned."""
        self._check(pa, WORD)
        at = pa - self.base
        return int.from_bytes(self._open[at : at + WORD], "little")

    def write_u64(self, pa: int, value: int) -> None:
        """Store a 64-bit word, taken modulo 2^64, at PA ``pa``, which need not be aligned."""
        self.write(pa, (value & MASK64).to_bytes(WORD, "little"))

    def find(self, pattern: bytes, start: int | None = None, end: int | None = None) -> int | None:
        """PA of the first occurrence of ``pattern`` in ``[start, end)``, by default all RAM.

        Reads, and so touches, everything up to the hit.
        """
        low = self.base if start is None else start
        high = self.end if end is None else end
        if not pattern:
            raise MachineError("nothing to look for: the pattern is empty")
        window = 1 << 20
        for at in range(low, high, window):
            size = min(window + len(pattern) - 1, high - at)
            hit = self.read(at, size).find(pattern)
            if hit >= 0:
                return at + hit
        return None

    def populate(self, pa: int, size: int) -> None:
        """Have the host back ``size`` bytes from PA ``pa`` now, contents unchanged, if that is
        2 MiB or more.

        The first touch of a page costs more than copying it; a measurement wants it done before,
        and done for many pages at once it takes two thirds, in pages of 2 MiB a quarter.
        """
        if size >= HUGE_PAGE:
            view = self.view(pa, size)
            if not populate(view.ctypes.data, size):
                view[::HOST_PAGE] |= 0

    def fill(self, pa: int, size: int, *, zero: bool = True) -> None:
        """As :meth:`populate`, for bytes that nobody has written to: they are zero, as in new RAM.

        Who writes all of them before anybody reads asks for no ``zero``: what they are then is
        unspecified, and costs nothing.
        """
        if size >= HUGE_PAGE and self._area is not None:
            view = self.view(pa, size)
            if not fill(self._area, view.ctypes.data, size, zero=zero):
                view[::HOST_PAGE] |= 0

    def close(self) -> None:
        """Give the memory back to the host as soon as no view is left."""
        self._ram = self._bytes = self._area = None

    def __enter__(self) -> GuestMemory:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def extent(self) -> str:
        """Where it is, for messages."""
        return ", ".join(f"{low:#x}..{low + size:#x}" for low, size in self.banks)

    @property
    def _open(self) -> memoryview:
        """All of RAM."""
        if self._bytes is None:
            raise _closed()
        return self._bytes

    def _check(self, pa: int, size: int) -> None:
        if not self.contains(pa, size):
            raise MachineError(f"PA {pa:#x}, {size:#x} bytes, is not RAM (RAM is {self.extent})")


def _closed() -> MachineError:
    return MachineError("the guest's memory is closed", hint="build the machine again")


def _check_size(memory: GuestMemory) -> None:
    base, size = memory.base, memory.size
    if size <= 0:
        raise MachineError(f"a guest with {size} bytes of RAM", hint="give a size in MiB or GiB")
    if size % MIN_PAGE or base % MIN_PAGE:
        raise MachineError(
            f"RAM of {size:#x} bytes at PA {base:#x} is not made of whole 4 KiB pages",
            hint="round size and base to 4 KiB",
        )
    if base < 0 or base + size > MAX_PA:
        raise MachineError(
            f"RAM of {size:#x} bytes at PA {base:#x} is not within 52-bit physical addresses"
        )
    if any(low % MIN_PAGE or length % MIN_PAGE or length <= 0 for low, length in memory.banks):
        raise MachineError("a bank of RAM is not made of whole 4 KiB pages")
    if any(length <= 0 for _, length in memory.holes):
        raise MachineError("banks of RAM that are not apart from each other, and ascending")
    check_host(memory.available)


def check_host(size: int) -> None:
    """Refuse ``size`` bytes of guest RAM that the host cannot give: MachineError."""
    limit, source = host_limit()
    if size > limit:
        raise MachineError(
            f"{size / GIB:.2f} GiB of guest RAM, and the host has {limit / GIB:.2f} GiB ({source})",
            hint="ask for less RAM, or a smaller payload",
        )


def host_limit() -> tuple[int, str]:
    """Bytes the host can give now, and what says so: /proc/meminfo or a resource limit."""
    candidates = [(MAX_PA, "52-bit addresses")]
    available = _kilobytes("/proc/meminfo", "MemAvailable")
    if available is not None:
        # Swap is left out on purpose: a guest in swap would look like a hang.
        candidates.append((available, "/proc/meminfo, MemAvailable"))
    for limit, name, field in (
        (resource.RLIMIT_AS, "RLIMIT_AS", "VmSize"),
        (resource.RLIMIT_DATA, "RLIMIT_DATA", "VmData"),
    ):
        soft, _ = resource.getrlimit(limit)
        if soft != resource.RLIM_INFINITY:
            used = _kilobytes("/proc/self/status", field) or 0
            candidates.append((max(0, soft - used), name))
    return min(candidates)


def _kilobytes(path: str, name: str) -> int | None:
    """The line ``name:  123 kB`` of a /proc file, in bytes; None where there is none."""
    try:
        with open(path, "rb", buffering=0) as file:
            text = file.readall()
    except OSError:
        return None
    found = re.search(rb"^%s:[ \t]*([0-9]+) kB$" % name.encode(), text, re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def _host_memory(size: int) -> HostArea:
    try:
        # Pages of 2 MiB are for what is filled whole (fill): a small run touches few bytes
        # far apart, and each would cost the clearing of one.
        return HostArea(size)
    except (OSError, ValueError, OverflowError) as error:
        raise MachineError(
            f"the host refuses {size / GIB:.2f} GiB of memory: {error}",
            hint="ask for less RAM, or raise the limit (ulimit -v)",
        ) from None
