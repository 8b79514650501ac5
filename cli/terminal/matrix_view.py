"""What one sees of a matrix: a live table, one line a cell, or a JSON document."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping
from dataclasses import field
from pathlib import Path
from signal import SIGPIPE, Signals
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Protocol

from relokit.cell_causes import CellCause, cause_key, cell_causes, worst_of
from relokit.cli.terminal.ended import told_end
from relokit.cli.terminal.findings_view import not_judged
from relokit.cli.terminal.output import emit, emit_json, plain, plain_lines
from relokit.cli.terminal.view import Bars, code_lines, fitted_text
from relokit.codegen.base.documents import ABSENT, ALL, Table
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.kexec_routines import CodeUsed
from relokit.codegen.kimage_layouts import LAYOUTS, KimageLayout
from relokit.matrix import ERROR, CellResult, CellStatus, Tally
from relokit.runtime.campaign.cells import Cell
from relokit.runtime.guest.order import Order
from relokit.runtime.judge.outcome import accepted_text
from relokit.runtime.kexec.job import Job, KexecPath, Shape

if TYPE_CHECKING:
    from rich.console import Group
    from rich.live import Live

REFRESHES = 4
"""Redrawings of the live table a second."""
STAGE = "matrix"
REPRODUCED = (CellStatus.FAIL, CellStatus.NO_ANSWER)
"""Cells whose command is told."""


@dataclass(frozen=True, slots=True)
class ReportedCell:
    """A cell with its result, and the command that runs just this one if it failed."""

    DOCUMENT: ClassVar[Table] = {ALL: "result", "reproduce": "reproduce"}

    result: CellResult
    reproduce: str | None = field(default=None, metadata=ABSENT)


@dataclass(frozen=True, slots=True)
class MatrixDocument:
    """What ``--json`` prints of a matrix; ``status`` is ``pass``, ``fail``, ``no answer``,
    ``nothing`` or ``interrupted``. ``causes`` are what cells failed of. ``code`` is what ran in
    place of ours. ``accepted`` says how many findings the project accepts, and why.
    """

    SCHEMA: ClassVar[str] = "relokit.matrix/1"

    status: str
    counts: Mapping[CellStatus, int]
    seconds: float
    cells_per_second: float
    jobs: int
    cells: tuple[ReportedCell, ...]
    not_judged: Mapping[str, str] = field(default_factory=dict)
    causes: tuple[CellCause, ...] = ()
    code: CodeUsed | None = field(default=None, metadata=ABSENT)
    accepted: str | None = field(default=None, metadata=ABSENT)


class View(Protocol):
    """Takes results one by one, in the cells' order, then the final count."""

    def __enter__(self) -> object: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def show(self, result: CellResult, tally: Tally) -> bool:
        """Take one more result; False if nobody reads any more."""

    def finish(self, tally: Tally, ended_by: Signals | None) -> None:
        """The end: of the matrix, or of our patience."""


@dataclass(frozen=True, slots=True)
class Shared:
    """What all cells share: ``job``, and the file that their layout is from, if there is one."""

    job: Job
    layout_from: Path | None = None


def view_for_people(cells: list[Cell], given: Shared) -> View:
    """A table if standard output is a terminal, else one line a cell."""
    if sys.stdout is not None and sys.stdout.isatty():
        return TableView(cells, given)
    return LineView(given)


def reproduce(cell: Cell, given: Shared) -> str:
    """The command line that runs just this cell."""
    job = cell.job(given.job)
    assert cell.target is not None
    words: list[object] = ["relokit", "run", "--series", cell.series]
    words += ["--page-size", cell.target.page_name, "--va-bits", cell.va_bits]
    words += ["--cpu-bits", cell.cpu_bits] if cell.has_other_cpu else []
    words += ["--el", cell.regime, "--path", job.path]
    words += [] if job.path is KexecPath.HIBERNATE else _layout(cell.target.layout, given)
    words += ["--order", job.order] if job.order is not Order.SHUFFLED else []
    words += ["--shape", job.shape] if job.shape is not Shape.PLAIN else []
    for flag, value in (
        ("--size", job.size),
        ("--kernel", job.kernel),
        ("--seed", job.seed or None),
        ("--templates", job.templates),
        *(("--code-from", one) for one in job.code_files),
        ("--include-dir", job.include_dir),
    ):
        words += [flag, value] if value is not None else []
    words += ["--plain"] if job.plain else []
    words += ["--strict"] if job.strict else []
    return shlex.join([str(word) for word in words])


def _layout(layout: KimageLayout, given: Shared) -> list[object]:
    if given.layout_from is not None:
        return ["--layout-from", given.layout_from]
    return ["--layout", layout.name] if LAYOUTS.get(layout.name) == layout else []


def summary(tally: Tally, ended_by: Signals | None) -> str:
    """The last lines: counts and speed, and that it is not all if it is not."""
    return plain_lines(summary_lines(tally, ended_by, timings=True))


def summary_lines(tally: Tally, ended_by: Signals | None, *, timings: bool) -> Iterator[str]:
    """The same; without ``timings`` it says nothing that depends on this host."""
    always = (CellStatus.PASS, CellStatus.FAIL, CellStatus.UNSUPPORTED)
    counts = ", ".join(f"{tally.counts[status]} {status}" for status in always)
    if tally.counts[CellStatus.KNOWN]:
        counts += f", {tally.counts[CellStatus.KNOWN]} known defects of the series"
    if tally.counts[CellStatus.NO_ANSWER]:
        counts += f", {tally.counts[CellStatus.NO_ANSWER]} without an answer"
    if tally.accepted:
        counts += f", {tally.accepted}"
    speed = f"; {tally.seconds:.1f} s, {tally.rate:.1f} cells/s, {tally.jobs} at a time"
    yield counts + (speed if timings else "")
    if tally.not_judged:
        yield f"not judged: {not_judged(tally.not_judged)}"
    if tally.code is not None:
        yield from code_lines(tally.code)
    if ended_by is None and tally.done < tally.cells:
        yield f"ended at the first failure: {tally.done} of {tally.cells} cells"
    if ended_by is not None:
        yield told_rest(tally, ended_by)


def told_rest(tally: Tally, ended_by: Signals) -> str:
    """What has ended it, and how far it came."""
    return f"{told_end(ended_by)}: {tally.done} of {tally.cells} cells"


class ProgressView(Bars):
    """A bar on standard error, for whatever goes to standard output."""

    def advance(self, tally: Tally) -> None:
        """Show how far it is."""
        self.progress(STAGE, tally.done, tally.cells)


class _Causes:
    """What cells failed of, as they come."""

    def __init__(self) -> None:
        self._results: list[CellResult] = []
        self._known: set[tuple[str, str]] = set()

    def is_new(self, result: CellResult) -> bool:
        """Keep it; whether nothing before has failed of the same."""
        self._results.append(result)
        if result.status not in REPRODUCED:
            return True
        key = cause_key(worst_of(result.findings))
        new = key not in self._known
        self._known.add(key)
        return new

    def lines(self) -> Iterator[str]:
        """A line each, the one of most cells first; nothing where nothing failed."""
        causes = cell_causes(self._results)
        if causes:
            yield "failed:"
            yield from (f"  {plain(one.text)}" for one in causes)


def _was_set_up(result: CellResult) -> bool:
    """Whether it failed by what it did, and not because it could not be built."""
    return all(finding.rule != ERROR for finding in result.findings)


class LineView(ProgressView):
    """One line a cell; a failed one has its reason and its command below it.

    An error that many cells have, a template's, is told with the first of them. Causes come last.
    """

    def __init__(self, given: Shared) -> None:
        super().__init__()
        self._given = given

        self._causes = _Causes()

    def show(self, result: CellResult, tally: Tally) -> bool:
        """See View."""
        self.advance(tally)
        new = self._causes.is_new(result)
        return emit(_line(result, self._given)) if new or _was_set_up(result) else True

    def finish(self, tally: Tally, ended_by: Signals | None) -> None:
        """See View."""
        emit("\n".join([*self._causes.lines(), summary(tally, ended_by)]))


class JsonView(ProgressView):
    """One document, at the end."""

    def __init__(self, given: Shared) -> None:
        super().__init__()
        self._given = given
        self._cells: list[ReportedCell] = []

    def show(self, result: CellResult, tally: Tally) -> bool:
        """See View."""
        self.advance(tally)
        again = result.status in (*REPRODUCED, CellStatus.KNOWN)
        command = reproduce(result.cell, self._given) if again else None
        self._cells.append(ReportedCell(result, command))
        return True

    def finish(self, tally: Tally, ended_by: Signals | None) -> None:
        """See View."""
        emit_json(
            MatrixDocument(
                "interrupted" if ended_by else tally.status,
                tally.counts,
                round(tally.seconds, 3),
                round(tally.rate, 1),
                tally.jobs,
                tuple(self._cells),
                tally.not_judged,
                cell_causes(one.result for one in self._cells),
                tally.code,
                tally.accepted or None,
            )
        )


class TableView:
    """States by page size and regime, counting; the first failure of a cause scrolls by above."""

    def __init__(self, cells: list[Cell], given: Shared) -> None:
        self._given = given
        self._expected: dict[tuple[int, str], int] = {}
        self._done: dict[tuple[int, str], int] = {}
        self._failed: dict[tuple[int, str], int] = {}
        for cell in cells:
            self._count(self._expected, cell)
        self._tally = Tally(len(cells), 1)
        self._causes = _Causes()
        self._live: Live | None = None

    def __enter__(self) -> TableView:
        from rich.live import Live

        self._live = Live(get_renderable=self._render, refresh_per_second=REFRESHES)
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, result: CellResult, tally: Tally) -> bool:
        """See View."""
        self._tally = tally
        self._count(self._done, result.cell)
        new = self._causes.is_new(result)
        if result.status in REPRODUCED:
            self._count(self._failed, result.cell)
        if result.status in REPRODUCED and new:
            assert self._live is not None
            text = _line(result, self._given)
            self._live.console.print(text, style="red", markup=False, highlight=False)
        return True

    def finish(self, tally: Tally, ended_by: Signals | None) -> None:
        """See View."""
        if ended_by is not SIGPIPE:
            told = "\n".join([*self._causes.lines(), summary(tally, ended_by)])
            emit(fitted_text(told))

    def _count(self, counts: dict[tuple[int, str], int], cell: Cell) -> None:
        if cell.target is not None:
            key = (cell.series, f"{cell.target.page_name} {cell.regime}")
            counts[key] = counts.get(key, 0) + 1

    def _render(self) -> Group:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, padding=(0, 1), header_style="bold")
        columns = list(dict.fromkeys(column for _, column in self._expected))
        table.add_column("state", justify="right")
        for column in columns:
            table.add_column(column, justify="right")
        for series in dict.fromkeys(series for series, _ in self._expected):
            table.add_row(str(series), *(Text(*self._spot((series, name))) for name in columns))
        tally = self._tally
        below = Table.grid()
        below.add_row(ProgressBar(total=max(tally.cells, 1), completed=tally.done))
        below.add_row(f"{tally.done}/{tally.cells} cells: {summary(tally, None).splitlines()[0]}")
        return Group(table, below)

    def _spot(self, key: tuple[int, str]) -> tuple[str, str]:
        """Text and style of one spot in the table."""
        done, expected, failed = (
            counts.get(key, 0) for counts in (self._done, self._expected, self._failed)
        )
        if failed:
            return f"{failed} fail", "bold red"
        if done == expected:
            return str(done), "green"
        return (f"{done}/{expected}", "yellow") if done else (str(expected), "dim")


def _line(result: CellResult, given: Shared) -> str:
    if result.status is CellStatus.UNSUPPORTED:
        return plain(f"unsupported  {result.cell.id}  {result.reason}")
    text = f"{result.status:<11}  {result.cell.id}  {result.seconds:.3f} s"
    if result.status is CellStatus.PASS:
        told = ", ".join(dict.fromkeys(finding.rule for finding in result.findings))
        told = f"; told: {told}" if told else ""
        accepted = accepted_text(result.findings)
        told += f"; {accepted}" if accepted else ""
        return f"{text}  {result.instructions:,} instructions{plain(told)}"
    return plain_lines((f"{text}  {result.reason}", f"{' ' * 13}{reproduce(result.cell, given)}"))
