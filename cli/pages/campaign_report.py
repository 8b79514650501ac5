"""A matrix of cells, and a campaign of mutants, as reports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from relokit.matrix import CellResult, CellStatus, Tally
from relokit.mutation.mutation_report import Left, MutantRow, MutationReport
from relokit.reporting.report_parts import Part, Report, ReportFinding, ReportSection, ReportTable
from relokit.reporting.run_report import HowMade, finding_part, made_section
from relokit.runtime.judge.outcome import Finding

MAX_FINDINGS = 200
"""Findings that are told in full; cells have the same ones again and again."""
MAX_NAMED = 10
"""Cells of a finding that are named."""
_KINDS = {"pass": "good", "fail": "bad"}
_TOLD = (CellStatus.FAIL, CellStatus.KNOWN, CellStatus.NO_ANSWER)
_COLUMNS = (
    "of", "all", "killed", "at the right place", "survived", "no mistake", "warned", "no answer",
)  # fmt: skip


def matrix_report(
    results: Sequence[CellResult], tally: Tally, how: HowMade, ended_by: str | None = None
) -> Report:
    """The report of a matrix, as far as it got; ``ended_by`` says what has ended it."""
    sections = [
        _cell_findings(results),
        _by_dimension(results),
        _cells(results),
        _cells_not_judged(tally.not_judged),
        made_section(how),
    ]
    counts = ", ".join(f"{count:,} {name}" for name, count in tally.counts.items() if count)
    verdict = "interrupted" if ended_by else str(tally.status)
    done = f"{sum(tally.counts.values()):,} of {tally.cells:,} cells: {counts or 'none'}."
    return Report(
        title="relokit matrix",
        verdict=", ".join(filter(None, (verdict.upper(), tally.accepted))),
        kind="open" if tally.accepted and verdict == "pass" else _KINDS.get(verdict, "open"),
        summary=done + (f" Ended: {ended_by}." if ended_by else ""),
        facts=(("command", how.words),),
        sections=tuple(sections),
    )


def _cell_findings(results: Iterable[CellResult]) -> ReportSection:
    """Each finding once, with the cells that have it: one mistake is found in many."""
    cells: dict[tuple[str, str | None], list[str]] = {}
    first: dict[tuple[str, str | None], Finding] = {}
    without: list[tuple[str, str, str]] = []
    for result in results:
        if result.status not in _TOLD:
            continue
        if not result.findings:
            without.append((result.cell.id, str(result.status), result.reason or ""))
        for finding in result.findings:
            key = finding.rule, finding.place
            first.setdefault(key, finding)
            named = cells.setdefault(key, [])
            if not named or named[-1] != result.cell.id:
                named.append(result.cell.id)
    ranked = sorted(first, key=lambda key: -len(cells[key]))
    parts: list[Part] = [_in_cells(first[key], cells[key]) for key in ranked[:MAX_FINDINGS]]
    if without:
        columns = ("cell", "status", "why")
        parts.append(ReportTable("Without a finding", columns, tuple(without)))
    left = len(ranked) - MAX_FINDINGS
    lead = f"{left:,} more findings are left out." if left > 0 else ""
    return ReportSection("findings", "Findings", lead if parts else "No cell failed.", tuple(parts))


def _in_cells(finding: Finding, cells: Sequence[str]) -> ReportFinding:
    part = finding_part(finding)
    more = f" and {len(cells) - MAX_NAMED:,} more" if len(cells) > MAX_NAMED else ""
    named = f"{len(cells):,}: {', '.join(cells[:MAX_NAMED])}{more}"
    return ReportFinding(
        part.rule, part.severity, part.message, (("cells", named), *part.facts), part.listing
    )


def _by_dimension(results: Iterable[CellResult]) -> ReportSection:
    """How cells ended, by each part of what they are."""
    counts: dict[tuple[str, str], Counter[CellStatus]] = {}
    for result in results:
        cell = result.cell
        for name, value in (
            ("series", cell.series),
            ("page size", cell.page_size),
            ("VA bits", cell.va_bits),
            ("regime", cell.regime),
            ("path", cell.path),
            ("payload", cell.payload),
        ):
            if value is not None:
                counts.setdefault((name, str(value)), Counter())[result.status] += 1
    names = ("series", "page size", "VA bits", "regime", "path", "payload")
    rows = tuple(
        (f"{name} {value}", *(f"{found[status]:,}" for status in CellStatus))
        for wanted in names
        for (name, value), found in counts.items()
        if name == wanted
    )
    table = ReportTable("How cells ended", ("of", *map(str, CellStatus)), rows)
    return ReportSection("glance", "At a glance", "", (table,))


def _cells(results: Iterable[CellResult]) -> ReportSection:
    rows = tuple(
        (one.cell.id, str(one.status), f"{one.instructions:,}", one.reason or "") for one in results
    )
    columns = ("cell", "status", "instructions", "why")
    return ReportSection(
        "cells", "Cells", "", (ReportTable("All cells", columns, rows, folded=True),)
    )


def _cells_not_judged(reasons: Mapping[str, str]) -> ReportSection:
    rows = tuple(reasons.items())
    parts = (ReportTable("Not judged in some cell, and why", ("rule", "why"), rows),)
    lead = "" if rows else "Every rule that applies was judged in every cell that ran."
    return ReportSection("judged", "What was not judged", lead, parts if rows else ())


def mutants_report(report: MutationReport, how: HowMade) -> Report:
    """The report of a campaign of mutants."""
    row = report.all
    share = f"{row.told / row.tellable:.1%}" if row.tellable else "none"
    missed = tuple(one for one in report.survivors if not one.equivalent)
    alike = tuple(one for one in report.survivors if one.equivalent)
    sections = [
        ReportSection(
            "survivors",
            "Who was not found",
            "" if missed or report.unanswered else "Every mutant that is a mistake was found.",
            (*_lefts("Survivors", missed), *_lefts("Without an answer", report.unanswered)),
        ),
        ReportSection("counts", "Counts", "", tuple(_mutant_counts(report))),
        ReportSection("alike", "No mistakes", "", _lefts("Equivalent ones", alike)),
        _mutated(report),
        made_section(how),
    ]
    return Report(
        title="relokit mutate",
        verdict=", ".join(filter(None, (report.status.upper(), report.accepted))),
        kind="open"
        if report.accepted and report.status == "pass"
        else _KINDS.get(report.status, "open"),
        summary=f"{row.all:,} mutant{'s' * (row.all != 1)}, {row.killed:,} killed; "
        f"of those that can be told, {share}.",
        facts=(("command", how.words),),
        sections=tuple(sections),
    )


def _lefts(caption: str, left: Sequence[Left]) -> tuple[Part, ...]:
    rows = tuple(
        (
            one.id, one.target, one.operator, one.place, one.text,
            one.why or one.equivalent or str(one.likeness or ""), ", ".join(one.warnings),
        )
        for one in left
    )  # fmt: skip
    columns = ("mutant", "target", "operator", "where", "what", "why", "warnings")
    return (ReportTable(caption, columns, rows),) if rows else ()


def _mutant_counts(report: MutationReport) -> Iterable[Part]:
    rows = [_mutant_row("all", report.all)]
    rows += [_mutant_row(str(name), row) for name, row in report.routines.items()]
    rows += [_mutant_row(str(name), row) for name, row in report.operators.items()]
    yield ReportTable("By routine and operator", _COLUMNS, tuple(rows))
    rules = tuple((name, f"{count:,}") for name, count in report.rules.items())
    yield ReportTable("Which rule was the first to kill", ("rule", "mutants"), rules)
    places = tuple((str(place), f"{count:,}") for place, count in report.places.items())
    yield ReportTable("Where the findings were", ("place", "mutants"), places)


def _mutant_row(name: str, row: MutantRow) -> tuple[str, ...]:
    numbers = (
        row.all, row.killed, row.right, row.survived, row.equivalent, row.warned, row.no_answer,
    )  # fmt: skip
    return name, *(f"{number:,}" for number in numbers)


def _mutated(report: MutationReport) -> ReportSection:
    rows = tuple(
        (one.target, str(len(one.layouts)), str(len(one.routines)), one.why_not or "")
        for one in report.targets
    )
    columns = ("target", "moves", "routines", "why there is none")
    return ReportSection("targets", "Targets", "", (ReportTable("Tried", columns, rows),))
