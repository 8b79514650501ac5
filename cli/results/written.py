"""A set of results in the format that was asked for, and where it goes."""

from __future__ import annotations

from pathlib import Path

from relokit.cli.results.result_cases import CaseEnd, ResultCase, ResultSet
from relokit.cli.terminal.output import emit
from relokit.codegen.base.errors import RelokitError
from relokit.runtime.judge.outcome import Finding


def text_of_results(results: ResultSet, form: str, *, timings: bool) -> str:
    """``results`` in ``form``; only with ``timings`` does it say what depends on the host."""
    if form == "junit":
        from relokit.cli.results.junit import junit

        return junit(results, timings=timings)
    if form == "sarif":
        from relokit.cli.results.sarif import sarif

        return sarif(results)
    if form == "github":
        from relokit.cli.results.annotations import github

        return github(results)
    from relokit.cli.results.ktap import ktap

    return ktap(results, timings=timings)


def write_results(text: str, output: Path | None) -> None:
    """Put ``text`` and a line's end on standard output, or in a file: whole or not at all."""
    if output is None:
        emit(text)
        return
    from relokit.codegen.base.atomic import write_atomic

    write_atomic(output, [f"{text}\n".encode()])


def results_of_error(command: str, error: RelokitError, sources: tuple[Path, ...]) -> ResultSet:
    """``command`` came to no results: what was in the way is the only case."""
    notes = tuple(note for note in (error.text, error.hint) if note)
    finding = Finding("relokit.error", error.message, place=error.where, notes=notes)
    case = ResultCase(command, "error", CaseEnd.ERROR, error.message, (finding,))
    return ResultSet(command, (case,), sources=sources)
