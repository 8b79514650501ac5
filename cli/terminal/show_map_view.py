"""Memory, the list and tables as text: 80 columns, or what an address takes."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from relokit.cli.terminal.columns import columns, size
from relokit.cli.terminal.output import WIDTH
from relokit.runtime.show.shown.list_shown import ListEntry, ListShown
from relokit.runtime.show.shown.memory_shown import FREE, MemoryShown, Moved, RamPiece
from relokit.runtime.show.shown.question import Moment
from relokit.runtime.show.shown.tables_shown import (
    MappedRange,
    TablesOfRange,
    TablesShown,
)
from relokit.runtime.show.walk_text import rights, walk_lines

_APART = "destination"


def memory_lines(found: MemoryShown) -> Iterator[str]:
    """A line for each piece, and for each segment."""
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
    if move.right is not None:
        return move.name, to, f"{move.pages:,}", f"{move.right:,} hold what they should"
    if move.low is None or move.high is None:
        return move.name, to, f"{move.pages:,}", "" if move.pages else "where it is"
    pieces = "1 run" if move.runs == 1 else f"{move.runs:,} runs"
    home = f", {move.at_home:,} at home" if move.at_home else ""
    return move.name, to, f"{move.pages:,}", f"{move.low:#x}..{move.high:#x}, {pieces}{home}"


def list_lines(found: ListShown) -> Iterator[str]:
    """struct kimage, and a line for each entry."""
    yield f"{found.of}: the list {Moment(found.moment).told}"
    yield ""
    of_kexec = found.kimage is not None
    if of_kexec:
        yield f"struct kimage at {found.kimage:#x}"
        yield from columns((f"  {name}", f"{value:#x}") for name, value in found.fields.items())
        yield ""
    pages = f"{found.list_pages:,} page{'s' * (found.list_pages != 1)}"
    yield f"{found.entries:,} entries{', head included' * of_kexec}; the list is in {pages}"
    yield from columns(map(_entry, found.rows), right=(0,)) if found.rows else ()
    left = found.entries - found.first - len(found.rows)
    if found.rows and left > 0:
        yield f"and {left:,} more: --from {found.first + len(found.rows)}"
    if found.problem:
        yield f"it cannot be followed any further: {found.problem}"


def _entry(one: ListEntry) -> Sequence[str]:
    leads = "" if one.kind in ("done", "bad") else f"{one.address:#x}"
    if one.to is not None:
        leads += f" to {one.to:#x}"
    owner = one.owner or ""
    return f"{one.number:,}", f"{one.pa:#x}", f"{one.word:#x}", one.kind, f"{leads}  {owner}"


def tables_lines(found: TablesShown) -> Iterator[str]:
    """Registers, then the tree of each TTBR, or the walk in each regime."""
    yield f"{found.of}: translation {Moment(found.moment).told}, at EL{found.el}"
    yield ""
    yield from columns((f"  {name}", f"{value:#x}") for name, value in found.registers.items())
    for tables in found.ranges or ():
        yield ""
        yield from _range(tables)
    for walk in found.walks or ():
        yield ""
        yield from walk_lines(walk, WIDTH)


def _range(one: TablesOfRange) -> Iterator[str]:
    yield f"{one.register} = {one.value:#x} ({one.regime})"
    if not one.walked:
        yield "  not walked: the MMU is off there, or TCR forbids it"
        return
    yield (
        f"  {one.va_bits}-bit VA, {one.pa_bits}-bit PA, {size(one.page_size)} pages, {one.format} "
        "descriptors"
    )
    if one.levels:
        counts = ", ".join(f"{each.count:,} of level {each.level}" for each in one.levels)
        yield f"  root {one.root:#x}; tables: {counts}"
    if one.missing is not None:
        yield f"  a table is led to that is not in RAM: PA {one.missing:#x}"
    if one.problem:
        yield f"  {one.problem}"
    elif not one.maps:
        yield "  nothing is mapped"
    for attributes, group in groupby(one.maps, lambda each: each.attributes):
        yield from textwrap.wrap(
            ", ".join(attributes), WIDTH, initial_indent="  ", subsequent_indent="  "
        )
        yield from columns(map(_mapped, group), right=(2,))


def _mapped(one: MappedRange) -> Sequence[str]:
    may = rights(writable=one.writable, executable=one.executable)
    owner = one.owner or ""
    return f"    {one.va:#x}", f"to {one.pa:#x}", size(one.bytes), f"L{one.level}  {may}  {owner}"
