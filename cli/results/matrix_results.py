"""The cases of a matrix: one for each cell."""

from __future__ import annotations

from pathlib import Path
from signal import Signals
from types import TracebackType

from relokit.cli.results.ktap import diagnostic, ktap_case, ktap_head
from relokit.cli.results.result_cases import CaseEnd, ResultCase, ResultSet, rest_case
from relokit.cli.results.wanted import WantedResults
from relokit.cli.terminal.matrix_view import (
    REPRODUCED,
    ProgressView,
    Shared,
    View,
    reproduce,
    summary_lines,
    told_rest,
)
from relokit.cli.terminal.output import emit
from relokit.matrix import CellResult, CellStatus, Tally
from relokit.runtime.judge.outcome import accepted_text

_ENDS = {
    CellStatus.PASS: CaseEnd.PASSED,
    CellStatus.FAIL: CaseEnd.FAILED,
    CellStatus.UNSUPPORTED: CaseEnd.SKIPPED,
    CellStatus.KNOWN: CaseEnd.KNOWN,
    CellStatus.NO_ANSWER: CaseEnd.NO_ANSWER,
}


def cell_case(result: CellResult, given: Shared) -> ResultCase:
    """The case of a cell; the group is its target."""
    cell = result.cell
    again = reproduce(cell, given) if result.status in REPRODUCED else None
    unsupported = result.status is CellStatus.UNSUPPORTED
    accepted = result.status is CellStatus.PASS and accepted_text(result.findings)
    return ResultCase(
        cell.id.rsplit("/", 2)[0] if cell.payload else cell.id,
        cell.id,
        CaseEnd.KNOWN if accepted else _ENDS[result.status],
        result.reason,
        result.findings,
        again,
        None if unsupported else result.seconds,
    )


class ResultsView(ProgressView):
    """Results for CI: KTAP on standard output as they come, all else at the end.

    ``people``, if there are some, see the same cells.
    """

    def __init__(
        self,
        given: Shared,
        wanted: WantedResults,
        sources: tuple[Path, ...],
        people: View | None,
    ) -> None:
        super().__init__()
        self._given, self._wanted, self._sources, self._people = given, wanted, sources, people
        self._streams = wanted.form == "ktap" and not wanted.leaves_terminal
        self._cases: list[ResultCase] = []

    def __enter__(self) -> ResultsView:
        super().__enter__() if self._people is None else self._people.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        ends = super().__exit__ if self._people is None else self._people.__exit__
        ends(kind, error, trace)

    def show(self, result: CellResult, tally: Tally) -> bool:
        """See View."""
        case = cell_case(result, self._given)
        if self._streams:
            self.advance(tally)
            head = f"{ktap_head(tally.cells)}\n" if tally.done == 1 else ""
            return emit(head + ktap_case(tally.done, case, timings=self._wanted.timings))
        self._cases.append(case)
        if self._people is not None:
            return self._people.show(result, tally)
        self.advance(tally)
        return True

    def finish(self, tally: Tally, ended_by: Signals | None) -> None:
        """See View."""
        notes = tuple(summary_lines(tally, ended_by, timings=self._wanted.timings))
        if self._streams:
            emit("\n".join(map(diagnostic, notes)))
            return
        command, cases = self._wanted.command, list(self._cases)
        if ended_by is not None:
            cases.append(rest_case(command, told_rest(tally, ended_by)))
        self._wanted.put(ResultSet(command, tuple(cases), notes, self._sources))
        if self._people is not None:
            self._people.finish(tally, ended_by)
