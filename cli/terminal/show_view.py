"""What there is to see in a machine, as text: 80 columns, or what an address takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import singledispatch

from relokit.cli.terminal.output import plain
from relokit.runtime.show.memory_shown import FREE, MemoryShown, Moved, RamPiece
from relokit.runtime.show.question import Moment

_UNITS = ("", "K", "M", "G", "T", "P")
_STEP = 1024
_APART = "destination"


def text_of(found: object) -> str:
    """All of an answer of ``relokit.show``."""
    return plain("\n".join(_lines(found)))


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


@singledispatch
def _lines(found: object) -> Iterator[str]:
    raise TypeError(type(found).__name__)


@_lines.register
def _(found: MemoryShown) -> Iterator[str]:
    yield f"{found.of}: memory {Moment(found.moment).told}"
    yield ""
    yield from columns(map(_pieces, _alike(found.pieces)), right=(1,))
    if found.moves:
        yield ""
        yield from columns([("moved", "to", "pages", "from"), *map(_moved, found.moves)], (2,))
    if found.problem:
        yield ""
        yield f"the list cannot be followed: {found.problem}"


def _alike(pieces: Iterable[RamPiece]) -> Iterator[list[RamPiece]]:
    """Neighbours of one kind together: tables of several levels; but each destination alone."""
    group: list[RamPiece] = []
    for one in pieces:
        last = group[-1] if group else None
        alike = last and (last.end, last.kind, last.changed) == (one.base, one.kind, one.changed)
        if group and (not alike or one.kind == _APART):
            yield group
            group = []
        group.append(one)
    if group:
        yield group


def _pieces(group: list[RamPiece]) -> Sequence[str]:
    first, end = group[0], group[-1].end
    owner = "(free)" if first.kind == FREE else first.owner
    if len(group) > 1:
        owner += f" and {len(group) - 1} more below"
    changed = "  changed" if first.changed else ""
    return f"{first.base:#x}..{end:#x}", size(end - first.base), owner + changed


def _moved(move: Moved) -> Sequence[str]:
    to = f"{move.base:#x}, {size(move.bytes)}"
    if move.low is None or move.high is None:
        return move.name, to, f"{move.pages:,}", "where it is"
    pieces = "1 run" if move.runs == 1 else f"{move.runs:,} runs"
    home = f", {move.at_home:,} at home" if move.at_home else ""
    return move.name, to, f"{move.pages:,}", f"{move.low:#x}..{move.high:#x}, {pieces}{home}"
