"""docs/time.md and its pictures: ``python -m relokit.timing.time_page docs`` writes them anew."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from relokit.codegen.series import COMPLETE
from relokit.codegen.target import MIB, Target
from relokit.runtime.judge.model.caches.memory_type import MemoryType
from relokit.runtime.kexec.job import Job
from relokit.runtime.timing.counts import Phase, Quantity
from relokit.runtime.timing.model.time_table import RowStatus, TimeTable
from relokit.timing.time_words import error, figure, interval, reported, spent
from relokit.timing.timer import MachineTimes, Timer, TimeReport

COMMAND = "make docs/time.md"
PLOT = "time.svg"
STATES = (0, 4, 11, 12, 15)
SIZE = 84 * MIB
PAGES = (4096, 16384, 65536)

_TOP = f"""\
# How long the move takes

`relokit time` counts what the relocation does, phase by phase, and says how long that takes on a
machine. This page is made by `{COMMAND}`; a test holds it to what the code gives.

    relokit time                                      # 84 MiB, on every machine that relokit knows
    relokit time --series 0-15 --machine thunderx2    # what each patch buys
    relokit time --size 16G --page-size 64k --linear-map pages --path purgatory
    relokit time --counts                             # no times, and relokit[time] is not needed
    relokit time --code-from vmlinuz                  # a shipped kernel's own code
    relokit time --trace FILE                         # what `run --trace` has written
    relokit time --fit mine.toml                      # a machine that you have measured
    relokit time --table                              # the figures that the series reports
    relokit time --plot time.svg                      # or time.png; needs relokit[time]

## Counted

Everything that is executed is counted, exactly, from the record of a run: instructions by class,
loads and stores by bytes and memory type, cache lines, maintenance, barriers, pages translated
and the entries of the tables that takes.

- A phase is that of an instruction, by what the code does: the loop over the list, in it the loop
  that stores (*copy*) and the one that maintains lines, with the barriers behind it
  (*maintenance*), what is left of it (*list walk*, with what reads struct kimage before). TTBR,
  TCR and TLBI before that loop are the *table switch*, what comes behind it is the *exit*. Code
  of shipped kernels is split alike.
- What kernel C does to caches at the jump is not executed; its DC instructions stand beside
  (*kernel C at the jump*) and are no part of the move. From patch 4 on that is done at load.
- A move of more than 8 MiB is not run: three small ones are, and its counts are sums over pages
  and list pages. A test shows that this is exact but for what depends on where pages lie (lines
  of the list, entries of the tables).
- Bytes by what was executed and by what was recorded have to be the same, or nothing is said.

## The model

    time = accesses to Device memory * access_ns                       all loads and stores, MMU off
         + 64 bytes in or out of caches * line_ns                      MMU on
         + DC, IC * maintenance_ns          = clean_lines * line_ns * (1 - barrier_share)
         + DSB * barrier_ns                 = clean_lines * line_ns * barrier_share * 64
         + translations * walk_ns
         + instructions * instruction_ns * (1 - overlap)

What stands on the right holds where a machine has no `maintenance_ns` or `barrier_ns` of its own:
no source has one, for any machine here. So `clean_lines` is what a line of a page costs to be
cleaned, with its part of the page's DSB, in times of moving it in or out. It is the same for every
machine: that is an assumption, and the residuals below say how good it is. `barrier_share` was
measured once, on a phone; it decides nothing with 4 KiB pages, and all of what larger ones gain.

Whether each entry of the tables is walked for once, or each page, depends on `tlb_entries`. A
line of 128 bytes takes twice as long as one of 64: only bytes count. TLBI, ISB and calls take
nothing: there are a few in a move.

Parameters are logarithms with a covariance. What a source gives as a range is 95 %. What has no
source is fitted by least squares, together with all others. A reported time is taken to be right
to 11 % (two experiments that are told alike differ by 15 to 17 %).
"""
_TABLE = """\

## What the series reports

{fitted} numbers are fitted, by {free} parameters that have no source. A row is *derived* if it is
made of fitted rows only; all others are *predicted*, and only those have an error. *Expected* is
where the reported figure is to be with 95 %; where the machine is not named, it is the range over
the machines that were fitted.

| row | reported | model | expected | | error |
|---|---|---|---|---|---|
"""
_WARNING = """\

How to read the errors:

- Stingray with the MMU off has no fitted number in it. Its `access_ns` is the middle of a range
  of a factor of four, so that 380 MB and 37 MB come out this close is luck in part: the interval
  is what is known.
- ThunderX2's `access_ns` is fitted to its one row with the MMU off, and explained by nothing:
  that row is no evidence.
- MMU on, 380 MB and the second 25 MB experiment are predicted from the first, on the same
  machine.
- Nothing is fitted to a row that contradicts others.
"""
_CONTRADICT = """\

### Figures that contradict each other

A time that grows with the size has one rate. These pairs, on one machine in one state, differ by
more than their errors; no size, and no fixed cost in addition, mends that (37 MB are reported to
take less than 25 MB). So the ratios of 25 MB (19.9, 20) and of 380 MB (11.8) cannot both be right
either, nor the part of the reboot, which is that of 25 MB.

| row | ns a byte | row | ns a byte |
|---|---|---|---|
"""
_FIT = """\

## Your own measurement

    # mine.toml
    name = "my board"
    like = "cortex-a72"            # what is not measured is as there
    free = ["access_ns"]           # put its source aside: only measurements count

    [parameters.line_ns]           # known better than that
    value = 11.5
    low = 11
    high = 12
    source = "tinymembench"

    [[measurement]]
    series = 0
    size = "120M"
    seconds = 1.9
    relative = 0.03                # what it is right to; 0.11 if left out
    # page_size = 65536

`relokit time --fit mine.toml` fits that together with the numbers above, says for each parameter
by what it is known, and which ones nothing determines: one time, for example, does not tell
`access_ns` and `clean_lines` apart. What needs such a one has no time. Each measurement is shown
beside what the fit has in its place; one that is off by more than twice its error is named.
"""


def page(found: TimeTable, states: TimeReport, by_page_size: TimeReport) -> str:
    """The page: the table, times in ``states`` of the series and by page size."""
    return "\n".join(_lines(found, states, by_page_size)) + "\n"


def _lines(found: TimeTable, states: TimeReport, pages: TimeReport) -> Iterator[str]:
    yield _TOP + _TABLE.format(fitted=found.fitted, free=found.free).rstrip()
    for row in found.rows:
        value = "" if row.value is None else figure(row.value, row.unit)
        expected = f"{figure(row.low, row.unit)} to {figure(row.high, row.unit)}"
        said = error(row)
        if row.status is RowStatus.PREDICTED and not row.inside and row.error is not None:
            said += ", outside"
        cells = row.what, reported(row), value, expected, row.status.value, said
        yield f"| {' | '.join(cells)} |"
    yield ""
    for row in found.rows:
        if row.note:
            yield f"- {row.what}: {row.note} ({row.source})."
    yield (_WARNING + _CONTRADICT).rstrip()
    names = {row.id: row.what for row in found.rows}
    for one in found.contradictions:
        first, second = names[one.one], names[one.other]
        yield f"| {first} | {one.one_ns:.1f} | {second} | {one.other_ns:.1f} |"
    yield from _parameters(found)
    yield "\nKnown together, rather than by themselves (correlation of their logarithms):\n"
    for pair in found.correlations:
        yield f"- {pair.one}, {pair.other}: {pair.correlation:+.2f}"
    yield from _times(states, pages)
    yield _FIT.rstrip()


def _parameters(found: TimeTable) -> Iterator[str]:
    yield "\n## Parameters\n\nThose of all machines first. Nanoseconds, but for `clean_lines`.\n"
    yield "| machine | parameter | value | 95 % | known | source |\n|---|---|---|---|---|---|"
    for one in sorted(found.parameters, key=lambda row: (row.machine, row.name)):
        value = "" if one.value is None else f"{one.value:.3g}"
        span = "" if one.low is None else f"{one.low:.3g} to {one.high:.3g}"
        machine = one.machine or "all"
        yield f"| {machine} | `{one.name}` | {value} | {span} | {one.learnt} | {one.source} |"


def _times(states: TimeReport, pages: TimeReport) -> Iterator[str]:
    machines = states.states[0].machines
    yield "\n## 84 MiB\n\nMMU on (state 15), by phase:\n"
    phases = [one.phase for one in states.states[-1].machines[0].phases]
    yield "| machine |" + "".join(f" {phase.value} |" for phase in phases) + " the move | 95 % |"
    yield "|---" * (len(phases) + 3) + "|"
    for one in states.states[-1].machines:
        yield _machine_row(one)
    yield "\nWhat patches buy:\n"
    heads = "".join(f" {one.machine} |" for one in machines)
    yield f"| state | instructions | Device | DC at the jump |{heads}"
    yield "|---" * (len(machines) + 4) + "|"
    for state in states.states:
        counts = state.counts
        device = counts.total(Quantity.LOADS, Quantity.STORES, memory=MemoryType.DEVICE)
        by_c = counts.total(Quantity.OPERATIONS, phases=(Phase.KERNEL_C,))
        moves = "".join(f" {spent(one.move)} |" for one in state.machines)
        number = counts.total(Quantity.INSTRUCTIONS)
        yield f"| {state.series} | {number:,} | {device:,} | {by_c:,} |{moves}"
    yield "\nWhat pages do (state 15; a DSB for each):\n"
    yield f"| pages | DSB |{heads}"
    yield "|---" * (len(machines) + 2) + "|"
    for state in pages.states:
        barriers = state.counts.total(Quantity.OPERATIONS, of="dsb sy")
        moves = "".join(f" {spent(one.move)} |" for one in state.machines)
        yield f"| {state.counts.page_size // 1024}k | {barriers:,} |{moves}"
    yield f"\n![Times by size, a reboot, counts by phase]({PLOT})"


def _machine_row(one: MachineTimes) -> str:
    phases = "".join(f" {spent(phase.time)} |" for phase in one.phases)
    return f"| {one.machine} |{phases} {spent(one.move)} | {interval(one.move)} |"


def made(timer: Timer) -> str:
    """The page as the code gives it now."""
    job = Job(size=SIZE)
    states = timer.moves([Target(series=state) for state in STATES], job)
    by_page = timer.moves([Target(series=COMPLETE, page_size=size) for size in PAGES], job)
    return page(timer.table(), timer.times(states), timer.times(by_page))


def main() -> None:
    """Write both to the directory that is named."""
    from relokit.timing.time_pictures import pictures
    from relokit.timing.time_plots import draw

    directory, timer = Path(sys.argv[1]), Timer()
    (directory / "time.md").write_text(made(timer))
    draw(pictures(timer, Target(series=COMPLETE), Job()), directory / PLOT)


if __name__ == "__main__":
    main()
