"""Text in columns, and numbers that are short."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

_UNITS = ("", "K", "M", "G", "T", "P")
_STEP = 1024


def size(count: int) -> str:
    """``count`` bytes, short: ``4K``, ``3.5G``."""
    number, unit = float(count), 0
    while number >= _STEP and unit + 1 < len(_UNITS):
        number, unit = number / _STEP, unit + 1
    digits = f"{number:.1f}".removesuffix(".0") if unit else str(count)
    return f"{digits}{_UNITS[unit]}"


def columns(rows: Iterable[Sequence[str]], right: Iterable[int] = ()) -> Iterator[str]:
    """``rows`` side by side; those columns are flush ``right``."""
    held = [list(row) for row in rows]
    flush = frozenset(right)
    widths = [max(map(len, column)) for column in zip(*held, strict=True)]
    for row in held:
        cells = (
            f"{cell:>{width}}" if number in flush else f"{cell:<{width}}"
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(cells).rstrip()
