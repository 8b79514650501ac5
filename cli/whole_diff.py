"""``relokit diff --all``, and what all of ``relokit diff`` does with what was found."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from relokit.cli.result_options import RESULT_FORMATS, judging_given
from relokit.cli.terminal.output import emit, json_text, plain

if TYPE_CHECKING:
    from relokit.cli.results.result_cases import ResultSet
    from relokit.diffing.instructions.ignorable import Ignorable
    from relokit.diffing.kernels.whole import WholeDiff
    from relokit.diffing.routines.classify import ChangeKind

DETAILED, LISTED = 20, 100
"""Functions that are compared in detail in a page, and those in a Markdown table."""


def judged(
    wanted: bool, changed: int, make: Callable[[str], ResultSet]
) -> tuple[str | None, ResultSet | None]:
    """What the project accepts of what was found, and the results that ``make`` makes of it.

    There are none where they are not ``wanted`` and there is no project; ``changed`` is how much
    differs.
    """
    judging = judging_given({})
    if judging is None and not wanted:
        return None, None
    results, accepted = make(click.get_current_context().command_path), ""
    if judging is not None:
        results, accepted = judging.results(results, "changed", changed)
        judging.finish()
    return accepted or None, results


def results_fail(results: ResultSet | None, *, fails: bool) -> bool:
    """Whether the command fails: by its results, or if there are none, as it ``fails``."""
    if results is None:
        return fails
    from relokit.cli.results.result_cases import CaseEnd

    return any(case.end is CaseEnd.FAILED for case in results.cases)


def compare_whole(
    left: str,
    right: str,
    kinds: Sequence[ChangeKind],
    ignore: Collection[Ignorable],
    shape: str,
    output: Path | None,
    top: int | None,
) -> int:
    """Compare two whole kernels, and tell of it as ``shape``; the result is the exit code."""
    from relokit.cli.results.whole_results import whole_results
    from relokit.cli.terminal.view import Bars
    from relokit.diffing.kernels.whole import match_kernels

    with Bars() as bars:
        found, matched = match_kernels(
            left, right, kinds=kinds, ignore=ignore, progress=bars.progress
        )
        behind = []
        if shape == "html":
            from relokit.cli.pages.whole_behind import behind_functions

            behind = behind_functions(found, matched, top or DETAILED, bars.progress)
    # It is large.
    del matched
    accepted, results = judged(
        shape in RESULT_FORMATS, found.changed, partial(whole_results, found=found)
    )
    found = replace(found, accepted=accepted)
    if shape == "json":
        # Tens of megabytes, if they were indented.
        put(json_text(found, indent=None), output)
    elif results is not None and shape in RESULT_FORMATS:
        from relokit.cli.results.written import text_of_results

        put(text_of_results(results, shape, timings=False), output)
    elif shape == "html":
        from relokit.cli.pages.report_page import report_page
        from relokit.cli.pages.whole_report import whole_report
        from relokit.cli.report_story import words

        put(report_page(whole_report(found, behind, words())), output)
    elif shape in ("csv", "markdown"):
        put(_listed(found, shape, top), output)
    else:
        from relokit.cli.terminal.diff_overview import overview
        from relokit.cli.terminal.view import fitted_text

        put(overview(found) if output else fitted_text(overview(found)), output)
    return int(results_fail(results, fails=not found.same))


def _listed(found: WholeDiff, shape: str, top: int | None) -> str:
    """All functions that differ, or the ``top`` ones, as a list."""
    from relokit.cli.pages.whole_report import COLUMNS, function_row
    from relokit.cli.terminal import whole_lists
    from relokit.diffing.kernels.whole_limits import not_compared

    limits = [*not_compared(found)]
    if shape == "csv":
        # A list of rows has no place for it.
        for line in limits:
            click.echo(plain(line), err=True)
        rows = map(function_row, found.reported[:top])
        return whole_lists.csv_text(COLUMNS, rows)
    rows = map(function_row, found.reported[: top or LISTED])
    return whole_lists.markdown_text(COLUMNS, rows, limits)


def put(text: str, output: Path | None) -> None:
    """Print ``text`` or write it to a file, whole or not at all."""
    text = text.rstrip("\n")
    if output is None:
        if text:
            emit(text)
        return
    from relokit.codegen.base.atomic import write_atomic

    write_atomic(output, [f"{text}\n".encode() if text else b""])
