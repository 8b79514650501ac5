"""Code, vectors, a time line and steps as text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from relokit.cli.terminal.output import WIDTH
from relokit.runtime.show.shown.code_shown import (
    CodeShown,
    CodeWord,
    VectorsShown,
    VectorTable,
)
from relokit.runtime.show.shown.question import Moment
from relokit.runtime.show.shown.steps_shown import Step, StepsShown
from relokit.runtime.show.shown.timeline_shown import CpuThen, TimelineEntry, TimelineShown

_SOURCE_AT = 56
"""Column from which on source lines stand, if the instruction leaves it free."""


def code_lines(found: CodeShown) -> Iterator[str]:
    """Each piece with its instructions."""
    yield f"{found.of}: code {Moment(found.moment).told}"
    for piece in found.pieces:
        yield ""
        yield f"{piece.name}, from {piece.address:#x}"
        yield from _code(piece.lines)


def _code(lines: Iterable[CodeWord], indent: str = "") -> Iterator[str]:
    for one in lines:
        if one.symbol:
            yield f"{indent}{one.symbol}:"
        times = "" if one.times is None else f"{one.times:>12,}  "
        text = f"{indent}  {times}{one.address:#x}: {one.word:08x}  {one.text}"
        yield f"{text:<{_SOURCE_AT}}  // {one.source}" if one.source else text


def vectors_lines(found: VectorsShown) -> Iterator[str]:
    """Each level's vectors, and how each slot begins."""
    yield f"{found.of}: vectors {Moment(found.moment).told}, at EL{found.el}"
    for table in found.tables:
        yield ""
        yield from _vectors(table)


def _vectors(table: VectorTable) -> Iterator[str]:
    where = "" if table.pa is None else f", PA {table.pa:#x}"
    owner = f": {table.owner}" if table.owner else ""
    yield f"{table.register} = {table.va:#x}{where}{owner}"
    if table.problem:
        yield f"  {table.problem}"
    for slot in table.slots:
        same = "" if slot.same is None else f": as slot {slot.same:#05x}"
        yield f"  {slot.offset:#05x} {slot.name}{same}"
        yield from _code(slot.lines, "  ")


def timeline_lines(found: TimelineShown) -> Iterator[str]:
    """A line for each change; where it is by, below it if there is no room beside."""
    yield f"{found.of}: {found.instructions:,} instructions"
    width = len(f"{found.instructions:,}")
    for one in found.entries:
        if one.station is not None:
            yield ""
            level, registers = _then(one.then)
            yield f"{one.at:>{width},}  {one.what}, {one.pc:#x}: {level}"
            if registers:
                yield f"    {registers}"
            continue
        yield from _entry(one, width)
    yield ""
    if found.left_out:
        yield f"and {found.left_out:,} more"
    yield f"{found.instructions:>{width},}  {found.ended}"


def _entry(one: TimelineEntry, width: int) -> Iterator[str]:
    text = f"{one.at:>{width},}  EL{one.then.el}  {one.what}"
    place = one.place or f"{one.pc:#x}"
    if len(text) + len(place) + 2 <= WIDTH:
        yield f"{text}  {place}"
    else:
        yield text
        yield f"{'':>{width}}       {place}"


def _then(cpu: CpuThen) -> tuple[str, str]:
    """Level and MMU; and the registers that are known."""
    mmu = "unknown" if cpu.mmu is None else "on" if cpu.mmu else "off"
    registers = (("TTBR0", cpu.ttbr0), ("TTBR1", cpu.ttbr1), ("VBAR", cpu.vbar))
    held = ", ".join(f"{name} {value:#x}" for name, value in registers if value is not None)
    return f"EL{cpu.el}, MMU {mmu}", held


def steps_lines(found: StepsShown) -> Iterator[str]:
    """A line for each step; what changed, below it."""
    yield f"{found.of}: steps from {found.first:,} on"
    yield ""
    place: str | None = None
    for one in found.steps:
        symbol = (one.place or "").partition("+")[0]
        if symbol and symbol != place:
            yield f"{symbol}:"
        place = symbol
        yield from _step(one)
    yield ""
    yield found.ended


def _step(one: Step) -> Iterator[str]:
    text = f"{one.number:>10,}  EL{one.el}  {one.pc:#x}: {one.text}"
    changed = ", ".join(f"{name} = {value:#x}" for name, value in one.changed.items())
    after = "; ".join(part for part in (changed, one.did) if part)
    if after and len(text) + len(after) + 4 <= WIDTH:
        yield f"{text}    {after}"
        return
    yield text
    if after:
        yield f"{'':>18}{after}"
