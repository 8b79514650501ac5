"""What became of two kernels, as a report."""

from __future__ import annotations

from relokit.reporting.report_facts import ReportFacts
from relokit.reporting.report_parts import Part, Report, ReportSection, ReportTable, ReportText
from relokit.reporting.run_report import (
    HowMade,
    made_section,
    outcome_sections,
    summary_of,
    verdict_of,
)
from relokit.runtime.live.live_outcome import LiveOutcome


def kexec_report(outcome: LiveOutcome, facts: ReportFacts, how: HowMade) -> Report:
    """The report of ``relokit kexec``."""
    handed = outcome.handover
    sections = list(outcome_sections(handed, facts)) if handed else []
    sections.insert(1 if sections else 0, stations_section(outcome))
    sections.append(made_section(how))
    return Report(
        title=f"relokit kexec: {outcome.kernel} to {outcome.next}",
        **verdict_of(outcome.status, handed.accepted if handed else None),
        summary=summary_of(handed) if handed else "machine_kexec was never called.",
        facts=(
            ("command", how.words),
            ("machine", f"{outcome.regime}, CPU {outcome.cpu}{', a crash' * outcome.crash}"),
            ("all of it", f"{outcome.instructions:,} instructions"),
            *((("ended", outcome.ended),) if outcome.ended else ()),
        ),
        sections=tuple(sections),
    )


def stations_section(outcome: LiveOutcome) -> ReportSection:
    """How far both kernels came, the load, and what the first one printed."""
    rows = tuple(
        (
            str(one.name), "yes" if one.reached else "no",
            "" if one.instructions is None else f"{one.instructions:,}", one.why or "",
        )
        for one in outcome.stations
    )  # fmt: skip
    columns = ("station", "reached", "instructions", "why not")
    parts: list[Part] = [ReportTable("How far both kernels came", columns, rows)]
    load = outcome.load
    if load is not None:
        operations = tuple((name, f"{count:,}") for name, count in load.operations.items())
        parts.append(ReportTable("Maintenance at load", ("operation", "times"), operations))
        changed = tuple((one.owner, f"{one.count:,}", f"{one.pa:#x}") for one in load.changed)
        if changed:
            parts.append(
                ReportTable("Changed since they were loaded", ("whose", "pages", "first"), changed)
            )
    if outcome.unknown:
        unknown = tuple(outcome.unknown.items())
        parts.append(ReportTable("Not known of such a machine", ("what", "why"), unknown))
    if outcome.console:
        lines = tuple(outcome.console.splitlines())
        parts.append(ReportText("What the first kernel printed", lines))
    return ReportSection("stations", "Stations", "", tuple(parts))
