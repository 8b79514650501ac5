"""Words that a kernel replaces in its own text at boot, by what the CPU can do: its alternatives.

A table of entries of 12 bytes says where, and by what (read off the Images of 5.10 to 7.2):

| bytes | what                                                         |
|-------|--------------------------------------------------------------|
| 4     | the words replaced, from this field on                       |
| 4     | the words that replace them, or a function, from this field  |
| 2     | CPU capability; the top bit from 6.1 on: it is a function    |
| 1     | bytes replaced                                               |
| 1     | bytes that replace them: as many, or 0: it is a function     |

Where kallsyms does not name the table, as in 5.10 and 6.1, it is the longest run of such entries:
other data makes runs of a hundred or a thousand, an Image has 14,000 alternatives and more.
"""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING

from relokit.codegen.base.errors import FormatError
from relokit.codegen.base.nouns import dataclass
from relokit.linker.kernel.kallsyms import Kallsyms

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Numbers = npt.NDArray[np.int64]

ENTRY = 12
TABLE_START = "__alt_instructions"
TABLE_END = "__alt_instructions_end"
TEXT_END = "_einittext"
"""The table comes after the text, init text included."""
CALLBACK_BIT = 1 << 15
MAX_ENTRIES = 1 << 18
"""Shipped kernels have up to 28,000."""
MIN_RUN = 256
"""Entries; a shorter run is something else."""


@dataclass(frozen=True, slots=True)
class Alternative:
    """``size`` bytes at ``place`` that boot may replace; all are bytes and offsets in the Image.

    By the ``replacement_size`` bytes at ``replacement``, or, ``callback`` being true, by what the
    function at ``replacement`` makes of them.
    ``capability`` is the kernel's own number, another one in each version; a callback of 5.10 has
    none, but the number of capabilities there are.
    """

    place: int
    size: int
    replacement: int
    replacement_size: int
    capability: int
    callback: bool


@dataclass(frozen=True, eq=False)
class Alternatives:
    """All alternatives of a kernel, in the order of the table, which is that of applying them.

    A few have no bytes and concern nothing.

    ``start`` and ``end`` are where the table is in the Image.
    """

    start: int
    end: int
    _places: Numbers = field(repr=False)
    _replacements: Numbers = field(repr=False)
    _codes: Numbers = field(repr=False)
    """The third words of the entries."""

    def __len__(self) -> int:
        return len(self._places)

    def within(self, start: int, end: int) -> tuple[Alternative, ...]:
        """Those that replace some of the bytes from ``start`` up to ``end``."""
        return self._chosen(self._places, self._codes >> 16 & 0xFF, start, end)

    def replacing_from(self, start: int, end: int) -> tuple[Alternative, ...]:
        """Those that bring some of the bytes from ``start`` up to ``end`` elsewhere."""
        return self._chosen(self._replacements, self._codes >> 24, start, end)

    def _chosen(
        self, places: Numbers, sizes: Numbers, start: int, end: int
    ) -> tuple[Alternative, ...]:
        import numpy as np

        chosen = np.flatnonzero((sizes > 0) & (places < end) & (places + sizes > start))
        return tuple(
            _alternative(place, replacement, code)
            for place, replacement, code in zip(
                self._places[chosen].tolist(),
                self._replacements[chosen].tolist(),
                self._codes[chosen].tolist(),
                strict=True,
            )
        )


def _alternative(place: int, replacement: int, code: int) -> Alternative:
    size, replacement_size = code >> 16 & 0xFF, code >> 24
    return Alternative(
        place=place,
        size=size,
        replacement=replacement,
        replacement_size=replacement_size,
        capability=code & CALLBACK_BIT - 1,
        callback=size > replacement_size,
    )


def read_alternatives(
    image: memoryview, symbols: Kallsyms, *, where: str = "Image"
) -> Alternatives:
    """Read the table out of a whole Image; raises FormatError if it has none that holds."""
    if TABLE_START in symbols and TABLE_END in symbols:
        start, end = symbols.offset(TABLE_START), symbols.offset(TABLE_END)
        if not 0 <= start <= end <= len(image) or start % 4 or (end - start) % ENTRY:
            raise FormatError(
                f"{TABLE_START} to {TABLE_END}, {start:#x} to {end:#x}, is no table in this Image",
                where=where,
            )
    else:
        found = _longest_run(image, symbols.offset(TEXT_END) if TEXT_END in symbols else 0)
        if found is None:
            raise FormatError(
                "no table of boot-time alternatives in this Image",
                where=where,
                hint="it is laid out unlike that of any known kernel",
            )
        start, end = found
    if end - start > ENTRY * MAX_ENTRIES:
        raise FormatError(
            f"{(end - start) // ENTRY} boot-time alternatives, more than {MAX_ENTRIES}", where=where
        )
    table = _read(image, start, end)
    valid = _valid(table, len(image))
    if not valid.all():
        at = start + ENTRY * int(valid.argmin())
        raise FormatError(
            f"the alternative at {at:#x} names no words of this Image, or not as many for as many",
            where=where,
            hint="the Image is cut off or damaged",
        )
    return table


def _read(image: memoryview, start: int, end: int) -> Alternatives:
    import numpy as np

    words = np.frombuffer(image[start:end], "<i4").reshape(-1, 3).astype(np.int64)
    places = np.arange(start, end, ENTRY)
    return Alternatives(
        start=start,
        end=end,
        _places=words[:, 0] + places,
        _replacements=words[:, 1] + places + 4,
        _codes=words[:, 2] & 0xFFFFFFFF,
    )


def _valid(table: Alternatives, length: int) -> npt.NDArray[np.bool_]:
    """Which entries name whole words within an Image of ``length`` bytes."""
    size, replacement_size = table._codes >> 16 & 0xFF, table._codes >> 24
    valid = _sizes_fit(table._codes)
    for places, sizes in ((table._places, size), (table._replacements, replacement_size)):
        valid &= (places >= 0) & (places % 4 == 0) & (places + sizes <= length)
    return valid


def _sizes_fit(codes: Numbers) -> npt.NDArray[np.bool_]:
    """Which third words have as many bytes for as many, or a function."""
    size, replacement_size = codes >> 16 & 0xFF, codes >> 24 & 0xFF
    called = (replacement_size == 0) & (size != 0)
    fit: npt.NDArray[np.bool_] = (size % 4 == 0) & ((size == replacement_size) | called)
    return fit


def _longest_run(image: memoryview, first: int) -> tuple[int, int] | None:
    """Start and end of the longest run of entries from offset ``first`` on, if long enough."""
    import numpy as np

    first = min(max(first, 0), len(image)) & ~3
    words = np.frombuffer(image[first : len(image) & ~3], "<i4")
    if len(words) < 3 * MIN_RUN:
        return None
    # The sizes first, over everything: few words are left then.
    at = np.flatnonzero((words[2:] & 0x03030000 == 0) & _sizes_fit(words[2:]))
    places = first + 4 * at
    good = np.ones(len(at), np.bool_)
    for offsets, fields in ((words[at], places), (words[at + 1], places + 4)):
        # All that is named comes before the table.
        named = fields + offsets
        good &= (offsets < 0) & (named >= 0) & (named % 4 == 0)
    at = at[good]
    best: tuple[int, int] | None = None
    most = MIN_RUN - 1
    for phase in range(3):
        numbers = at[at % 3 == phase] // 3
        breaks = np.flatnonzero(np.diff(numbers) != 1) + 1
        bounds = np.concatenate(([0], breaks, [len(numbers)]))
        lengths = np.diff(bounds)
        longest = int(lengths.argmax())
        if lengths[longest] > most:
            most = int(lengths[longest])
            start = first + 4 * (3 * int(numbers[bounds[longest]]) + phase)
            best = start, start + ENTRY * most
    return best
