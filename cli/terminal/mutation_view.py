"""What a person sees of a campaign of mutants: one screen, and a line or two for each survivor."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from relokit.cli.terminal.output import plain_lines
from relokit.cli.terminal.view import code_lines
from relokit.mutation.mutation_report import Left, MutantRow, MutationReport, TargetTried
from relokit.runtime.mutation.mutant import FindingPlace

WORDS = {
    "pass": "PASS",
    "fail": "FAIL",
    "no answer": "NO ANSWER",
    "nothing": "NOTHING",
    "interrupted": "INTERRUPTED",
}
_PLACES = {
    FindingPlace.AT: "at the mutated instruction",
    FindingPlace.NAMED: "elsewhere, and names it",
    FindingPlace.SHOWN: "near it: it is in the listing",
    FindingPlace.MISSED: "who set last what it would have set, close by",
    FindingPlace.BESIDE: "next to the one that is missing",
    FindingPlace.ELSEWHERE: "elsewhere",
}
_HEADINGS = (
    ("mutants", "killed", "right", "surviv-", "equiva-", "harm-", "warned", "no"),
    ("", "", "place", "ed", "lent", "less", "", "answer"),
)
_NAME, _CELL = 15, 8
"""Columns of a table of 79."""


def text_of(report: MutationReport) -> str:
    """The whole report."""
    return plain_lines(_lines(report))


def _lines(report: MutationReport) -> Iterator[str]:
    if report.code is not None:
        yield from code_lines(report.code)
    for target in report.targets:
        yield from _target(target)
    yield from _table("routine", report.routines)
    yield from _table("operator", report.operators)
    yield ""
    yield "killed first by"
    for rule, count in report.rules.items():
        yield f"  {count:>6}  {rule}"
    yield ""
    yield "the first finding is"
    for place, count in report.places.items():
        yield f"  {count:>6}  {_PLACES[place]}"
    missed = [one for one in report.survivors if not one.equivalent]
    for heading, ones in (("survived", missed), ("no answer", report.unanswered)):
        if ones:
            yield ""
            yield heading
            for one in ones:
                yield from _left(one)
    yield ""
    verdict = ", ".join(filter(None, (WORDS[report.status], report.accepted)))
    yield f"{verdict}  {_summary(report.all)}"


def _target(target: TargetTried) -> Iterator[str]:
    yield target.target
    if target.why_not:
        first, *rest = target.why_not.splitlines()
        yield f"  not tried: {first}"
        yield from (f"  {line}" for line in rest)
    for routine in target.routines:
        text = f"  {routine.name}: {routine.instructions} instructions"
        if routine.not_executed:
            text += f", {routine.not_executed} of them never executed and not mutated"
        yield text
    for layout in target.layouts:
        if layout.why_not:
            yield f"  not tried in {layout.name}: the code fails as it is: {layout.why_not}"


def _table(what: str, rows: Mapping[Any, MutantRow]) -> Iterator[str]:
    yield ""
    for name, heading in zip((what, ""), _HEADINGS, strict=True):
        yield _row(name, heading)
    for name, row in rows.items():
        numbers = (
            row.all, row.killed, row.right, row.survived, row.equivalent, row.harmless, row.warned,
            row.no_answer,
        )  # fmt: skip
        yield _row(name, map(str, numbers))


def _row(name: str, cells: Iterable[str]) -> str:
    return f"{name:<{_NAME}}" + "".join(f"{cell:>{_CELL}}" for cell in cells)


def _left(one: Left) -> Iterator[str]:
    yield f"  {one.target}  {one.id}"
    yield f"    {one.place}: {one.text}"
    if one.warnings:
        yield f"    warned: {', '.join(one.warnings)}"
    if one.not_judged:
        yield f"    not judged: {', '.join(one.not_judged)}"
    if one.why:
        yield f"    {one.why}"


def _summary(row: MutantRow) -> str:
    if not row.all:
        return "no mutants"
    noun = "mutant" if row.all == 1 else "mutants"
    text = f"{row.all:,} {noun}: {row.killed:,} killed ({row.killed / row.all:.1%}"
    if row.equivalent:
        text += (
            f"; {row.killed / max(row.different, 1):.1%} without {row.equivalent:,} equivalent ones"
        )
    text += ")"
    if row.killed:
        text += f", {row.right / row.killed:.1%} of them at the right place"
    missed = row.survived - row.equivalent
    text += f"; {missed:,} survived"
    if row.told > row.killed:
        text += (
            f"; a rule warns of {row.warned:,} of them and of {row.harmless:,} equivalent ones: "
            f"with --strict {row.told / max(row.tellable, 1):.1%} fail"
        )
    return f"{text}, {row.no_answer:,} without an answer"
