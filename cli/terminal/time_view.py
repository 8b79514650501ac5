"""What a person sees of times: a line for each phase and machine, and the table of the series."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from relokit.cli.terminal.output import plain_lines
from relokit.runtime.timing.counts import Count, MoveCounts, Phase, Quantity
from relokit.runtime.timing.model.time_table import (
    LearntParameter,
    TimeTable,
)
from relokit.timing.time_words import error, figure, interval, reported, seconds, spent
from relokit.timing.timer import FittedTime, MachineTimes, MoveTimes, TimeReport

MIB = 1 << 20
SDS = 2.0
UNEXPLAINED = ": the model does not explain it"
_ACCESSES = (Quantity.LOADS, Quantity.STORES)
_LINES = (Quantity.LINES_LOADED, Quantity.LINES_STORED)


def report_text(report: TimeReport) -> str:
    """The whole report."""
    return plain_lines(_report(report))


def table_text(table: TimeTable) -> str:
    """The table of the series."""
    return plain_lines(_table(table))


def _report(report: TimeReport) -> Iterator[str]:
    one = len(report.states) == 1
    for state in report.states:
        yield from _state(state) if one else ()
    if not one:
        yield from _states(report.states)
    if report.parameters is not None:
        yield ""
        yield from _parameters(report.parameters)
        yield from map(_fitted, report.measured or ())
        for pair in report.correlations or ():
            yield f"known together: {pair.one}, {pair.other} (correlation {pair.correlation:+.2f})"


def _fitted(time: FittedTime) -> str:
    return (
        f"measurement {time.number}: {seconds(time.measured)}, fitted {seconds(time.fitted)} "
        f"({time.residual:+.1%})" + (UNEXPLAINED if abs(time.sds) > SDS else "")
    )


def _state(state: MoveTimes) -> Iterator[str]:
    counts = state.counts
    yield f"{counts.target}: {_moved(counts, scaled=state.scaled)}"
    yield ""
    yield from _columns(_counted(counts))
    yield ""
    match state.machines:
        case ():
            yield from _columns(_each_counted(counts))
        case (one,):
            yield from _columns(_timed_alone(one))
        case several:
            yield from _columns(_timed(several))


def _moved(counts: MoveCounts, *, scaled: bool) -> str:
    size = counts.pages * counts.page_size
    text = f"{counts.pages:,} pages, {size / MIB:,.1f} MiB"
    return f"{text} (counted in small moves, by the page)" if scaled else text


def _counted(counts: MoveCounts) -> Iterator[Sequence[str]]:
    yield (
        "phase", "instructions", "loads", "stores", "Device", "lines in", "lines out", "DC, IC",
        "DSB", "translations", "pages",
    )  # fmt: skip
    for phase in Phase:
        rows = [row for row in counts.rows if row.phase is phase]
        if not rows:
            continue

        def total(*quantities: Quantity, only: Phase = phase) -> int:
            return counts.total(*quantities, phases=(only,))

        operations = [row for row in rows if row.quantity is Quantity.OPERATIONS]
        numbers = (
            total(Quantity.INSTRUCTIONS),
            total(Quantity.LOADS),
            total(Quantity.STORES),
            _device(counts, phase),
            total(Quantity.LINES_LOADED),
            total(Quantity.LINES_STORED),
            sum(row.number for row in operations if row.of.startswith(("dc ", "ic "))),
            sum(row.number for row in operations if row.of.startswith("dsb")),
            total(Quantity.TRANSLATIONS),
            total(Quantity.PAGES),
        )
        yield (phase.value, *(f"{number:,}" if number else "-" for number in numbers))


def _device(counts: MoveCounts, phase: Phase) -> int:
    return sum(
        row.number
        for row in counts.rows
        if row.phase is phase
        and row.quantity in _ACCESSES
        and row.memory is not None
        and not row.memory.cacheable
    )


def _each_counted(counts: MoveCounts) -> Iterator[Sequence[str]]:
    """All that is counted, by phase: classes, bytes, memory types, levels."""
    phases = [phase for phase in Phase if any(row.phase is phase for row in counts.rows)]
    yield ("counted", *(phase.value for phase in phases))
    numbers: dict[str, dict[Phase, int]] = {}
    order = list(Quantity)
    for row in sorted(counts.rows, key=lambda one: (order.index(one.quantity), _what(one))):
        numbers.setdefault(_what(row), {})[row.phase] = row.number
    for what, by_phase in numbers.items():
        yield (what, *(f"{by_phase[one]:,}" if one in by_phase else "-" for one in phases))


def _what(row: Count) -> str:
    words = [row.quantity.value]
    words += [f"of {row.size} bytes"] if row.size else []
    words += [row.memory.value] if row.memory else []
    return ": ".join([" ".join(words), *([row.of] if row.of else [])])


def _timed_alone(machine: MachineTimes) -> Iterator[Sequence[str]]:
    yield (machine.machine, "time", "95 %")
    for one in machine.phases:
        yield (one.phase.value, spent(one.time), interval(one.time))
    yield ("the move", spent(machine.move), interval(machine.move))


def _timed(machines: Sequence[MachineTimes]) -> Iterator[Sequence[str]]:
    phases = [phase for phase in Phase if any(_of(one, phase) != "-" for one in machines)]
    yield ("machine", *(phase.value for phase in phases), "the move", "95 %")
    for one in machines:
        yield (
            one.machine,
            *(_of(one, phase) for phase in phases),
            spent(one.move),
            interval(one.move),
        )


def _states(states: Sequence[MoveTimes]) -> Iterator[str]:
    yield _moved(states[-1].counts, scaled=states[-1].scaled)
    yield ""
    machines = [one.machine for one in states[0].machines]
    rows: list[Sequence[str]] = [
        ("series", "instructions", "Device", "lines", "DC, IC", "at the jump", *machines)
    ]
    for state in states:
        counts = state.counts
        dc = sum(
            counts.total(Quantity.OPERATIONS, of=name)
            for name in {row.of for row in counts.rows if row.of.startswith(("dc ", "ic "))}
        )
        by_c = counts.total(Quantity.OPERATIONS, phases=(Phase.KERNEL_C,))
        device = sum(_device(counts, phase) for phase in Phase)
        rows.append(
            (
                str(state.series),
                f"{counts.total(Quantity.INSTRUCTIONS):,}",
                f"{device:,}",
                f"{counts.total(*_LINES):,}",
                f"{dc:,}",
                f"{by_c:,}",
                *(spent(one.move) for one in state.machines),
            )
        )
    yield from _columns(rows)


def _of(machine: MachineTimes, phase: Phase) -> str:
    found = [spent(one.time) for one in machine.phases if one.phase is phase]
    return found[0] if found else "-"


def _parameters(rows: Iterable[LearntParameter]) -> Iterator[str]:
    shown: list[Sequence[str]] = [("parameter", "value", "95 %", "known")]
    for row in rows:
        value = "-" if row.value is None else f"{row.value:.3g}"
        interval = "-" if row.low is None else f"{row.low:.3g} to {row.high:.3g}"
        shown.append((row.name, value, interval, row.learnt))
    yield from _columns(shown)


def _table(table: TimeTable) -> Iterator[str]:
    yield (
        f"{table.fitted} numbers are fitted, by {table.free} parameters; all else is sourced or "
        "predicted"
    )
    yield ""
    rows: list[Sequence[str]] = [("row", "reported", "model", "expected", "", "error")]
    rows += [
        (
            row.what,
            reported(row),
            "-" if row.value is None else figure(row.value, row.unit),
            f"{figure(row.low, row.unit)} to {figure(row.high, row.unit)}",
            row.status.value,
            error(row),
        )
        for row in table.rows
    ]
    yield from _columns(rows)
    if table.contradictions:
        yield ""
        yield "contradict each other, in a time that grows with the size:"
        names = {row.id: row.what for row in table.rows}
        for one in table.contradictions:
            yield (
                f"  {names[one.one]} ({one.one_ns:.1f} ns a byte) and "
                f"{names[one.other]} ({one.other_ns:.1f})"
            )


def _columns(rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """The first column to the left, the others to the right."""
    listed = list(rows)
    widths = [max(len(row[at]) for row in listed) for at in range(len(listed[0]))]
    for row in listed:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        yield "  ".join(cells).rstrip()
