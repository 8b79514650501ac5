"""Two whole kernels as a page: every function that differs, to search, and what differs in some."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from relokit.cli.pages.whole_behind import (
    BY_WORDS,
    IN_DETAIL,
    MAX_FUNCTIONS,
    FunctionText,
    shown_by,
)
from relokit.diffing.kernels.whole import ReportedFunction, WholeDiff
from relokit.diffing.kernels.whole_limits import ignored, not_compared
from relokit.diffing.routines.classify import NOUNS
from relokit.diffing.routines.model import DiffVerdict
from relokit.reporting.report_parts import Part, Report, ReportSection, ReportTable, ReportText

COLUMNS = ("function", "status", "bytes", "inserted", "deleted", "operands", "about")


def function_row(one: ReportedFunction) -> tuple[str, ...]:
    """A function's cells, of COLUMNS."""
    function, count = one.function, one.count
    about = "" if function.aligned else "~"
    return (
        function.name,
        str(function.status),
        f"{function.right_bytes - function.left_bytes:+d}",
        f"{about}{count.inserted}",
        f"{about}{count.deleted}",
        f"{about}{count.operands}",
        " ".join(str(kind) for kind in one.kinds),
    )


def whole_report(diff: WholeDiff, behind: Sequence[FunctionText], command: str) -> Report:
    """The page of ``diff``: the functions that differ, and what is ``behind`` the first of them."""
    kinds = tuple(
        (NOUNS[kind][1], *(f"{number:,}" for number in (*count, functions)))
        for kind, (count, functions) in diff.kind_counts().items()
    )
    numbers = diff.functions_by_status()
    rows = tuple(map(function_row, diff.reported))
    links = tuple(f"behind-{number + 1}" for number in range(len(behind)))
    texts: tuple[Part, ...] = tuple(
        ReportText(f"{one.name}, {one.how}", one.lines, folded=True, id=link)
        for one, link in zip(behind, links, strict=True)
    )
    links += ("",) * (len(rows) - len(behind))
    sections = [
        ReportSection(
            "functions",
            "Functions",
            "The most changed first. The filter takes a part of a name, a status, or a kind "
            "(barrier, cache, tlb, system, memory, control, arithmetic, hint, data).",
            (ReportTable("Functions that differ", COLUMNS, rows, links=links, most=MAX_FUNCTIONS),),
        ),
        ReportSection(
            "behind",
            "Differences",
            _lead(behind),
            texts,
        ),
        ReportSection(
            "kinds",
            "What it is about",
            "",
            (
                ReportTable(
                    "Differences by kind",
                    ("about", "inserted", "deleted", "operands", "functions"),
                    kinds,
                ),
            ),
        ),
    ]
    apart = tuple(ignored(diff))
    limits = tuple(
        ("ignored" if line in apart else "not compared", line) for line in not_compared(diff)
    )
    limits += tuple(("left out", line) for line in _left_out(diff, behind))
    counts = ", ".join(f"{number:,} {status}" for status, number in numbers.items())
    return Report(
        title=f"relokit diff --all: {diff.left} to {diff.right}",
        verdict=_verdict(diff),
        kind="good" if diff.same else "open",
        summary=f"{sum(numbers.values()):,} functions: {counts}.",
        facts=(("left", diff.left), ("right", diff.right), ("command", command), *limits),
        sections=tuple(sections),
    )


def _lead(behind: Sequence[FunctionText]) -> str:
    if not behind:
        return "No function differs."
    counts = Counter(one.how for one in behind)
    return (
        f"Behind the names of {len(behind):,} functions. {counts[IN_DETAIL]:,} {IN_DETAIL}: "
        "registers renamed, moves found, with data and what boot replaces; --top N takes more. "
        f"{counts[BY_WORDS]:,} {BY_WORDS}, as these were matched: another register, or a move, is "
        "one instruction deleted and one inserted."
    )


def _left_out(diff: WholeDiff, behind: Sequence[FunctionText]) -> Iterator[str]:
    """What is not on the page, and how to have it."""
    lines = sum(one.left_out for one in behind)
    if lines:
        yield f"{lines:,} lines of differences; each text ends with the command for its own"
    functions = diff.changed - len(behind)
    if functions:
        yield (
            f"{functions:,} functions, those that changed least: --format csv lists all; one of "
            f"them: {shown_by(diff, 'FUNCTION')}"
        )


def _verdict(diff: WholeDiff) -> str:
    if not diff.same:
        return f"{diff.changed:,} FUNCTIONS DIFFER"
    if diff.verdict is DiffVerdict.APART:
        return str(diff.verdict).upper()
    return "THE SAME" + (", AS FAR AS COMPARED" if any(not_compared(diff)) else "")
