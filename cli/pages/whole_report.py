"""Two whole kernels as a page: every function that differs, to search, and what differs in some."""

from __future__ import annotations

from collections.abc import Mapping

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


MAX_BEHIND = 40_000
"""Lines of all differences that are on a page: some megabytes."""


def whole_report(
    diff: WholeDiff, shown: tuple[ReportedFunction, ...], code: Mapping[str, str], command: str
) -> Report:
    """The page of ``diff``: all that is ``shown``, and by name a unified diff of some."""
    kinds = tuple(
        (NOUNS[kind][1], *(f"{number:,}" for number in (*count, functions)))
        for kind, (count, functions) in diff.kind_counts().items()
    )
    numbers = diff.functions_by_status()
    ids = {name: f"behind-{number}" for number, name in enumerate(code, start=1)}
    behind: list[Part] = []
    room = MAX_BEHIND
    for name, text in code.items():
        lines = text.splitlines()
        if len(lines) > room:
            lines = [f"{len(lines):,} lines are left out of this page", _command(diff, name)]
        room -= len(lines)
        behind.append(ReportText(name, tuple(lines), folded=True, id=ids[name]))
    rows = tuple(map(function_row, shown))
    links = tuple(ids.get(row[0], "") for row in rows)
    sections = [
        ReportSection(
            "functions",
            "Functions",
            "The most changed first. The filter takes a part of a name, a status, or a kind "
            "(barrier, cache, tlb, system, memory, control, arithmetic, hint, data).",
            (ReportTable("Functions that differ", COLUMNS, rows, links=links),),
        ),
        ReportSection(
            "behind",
            "Differences",
            f"Behind the names of the {len(behind):,} functions of both sides that changed most; "
            f"--top N takes more. One of the others: {_command(diff, 'FUNCTION')}"
            if behind
            else "No function of both sides differs.",
            tuple(behind),
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
    counts = ", ".join(f"{number:,} {status}" for status, number in numbers.items())
    return Report(
        title=f"relokit diff --all: {diff.left} to {diff.right}",
        verdict=_verdict(diff),
        kind="good" if diff.same else "open",
        summary=f"{sum(numbers.values()):,} functions: {counts}.",
        facts=(("left", diff.left), ("right", diff.right), ("command", command), *limits),
        sections=tuple(sections),
    )


def _command(diff: WholeDiff, name: str) -> str:
    """What shows all that differs in a function."""
    left, arrow, right = name.partition(" → ")
    if arrow:
        return f"relokit diff {diff.left}:{left} {diff.right}:{right}"
    return f"relokit diff {diff.left} {diff.right}:{name}"


def _verdict(diff: WholeDiff) -> str:
    if not diff.same:
        return f"{diff.changed:,} FUNCTIONS DIFFER"
    if diff.verdict is DiffVerdict.APART:
        return str(diff.verdict).upper()
    return "THE SAME" + (", AS FAR AS COMPARED" if any(not_compared(diff)) else "")
