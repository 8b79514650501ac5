"""The lines about a case that every format has: what was found, and how to see it again."""

from __future__ import annotations

from collections.abc import Iterator

from relokit.cli.results.result_cases import ResultCase
from relokit.runtime.judge.outcome import Finding


def lines_of(case: ResultCase) -> Iterator[str]:
    """Findings in full, then the command line."""
    for finding in case.findings:
        yield from finding_lines(finding)
    if case.reproduce is not None:
        yield f"reproduce: {case.reproduce}"


def finding_lines(finding: Finding) -> Iterator[str]:
    """What is wrong, where, why, and what mends it."""
    yield f"{finding.rule} ({finding.severity}): {finding.message}"
    if finding.place:
        address = "" if finding.address is None else f"{finding.address:#x}  "
        yield f"  at {address}{finding.place}"
    yield from (f"    {line}" for line in finding.listing)
    yield from (f"  {note}" for note in finding.notes)
    for label, text in (
        ("probable cause", finding.cause),
        ("consequence", finding.consequence),
        ("hint", finding.hint),
        ("does not bite here", finding.spared),
        ("source", finding.source),
    ):
        if text:
            yield f"  {label}: {text}"
