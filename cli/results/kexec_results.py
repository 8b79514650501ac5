"""The cases of two shipped kernels: each station, and each rule of the hand-over."""

from __future__ import annotations

from collections.abc import Iterator

from relokit.cli.results.judged_cases import judged_cases, judged_notes
from relokit.cli.results.result_cases import BAD, CaseEnd, ResultCase, ResultSet
from relokit.runtime.judge.outcome import Finding, Status
from relokit.runtime.live.live_outcome import LiveOutcome

STATIONS, HANDOVER = "stations", "hand-over"
_ENDS = {
    Status.PASS: CaseEnd.SKIPPED,
    Status.FAIL: CaseEnd.FAILED,
    Status.NO_ANSWER: CaseEnd.NO_ANSWER,
}
"""By the verdict, what a station is that was not reached: it was not asked for where all passed."""


def kexec_results(command: str, outcome: LiveOutcome) -> ResultSet:
    """The results of a kexec of shipped kernels."""
    cases = list(_cases(outcome))
    end = _ENDS[outcome.status]
    if end in BAD and not any(case.end is end for case in cases):
        cases.insert(0, ResultCase(STATIONS, "kexec", end, outcome.ended))
    unknown = tuple(f"unknown: {name}: {why}" for name, why in outcome.unknown.items())
    handover = outcome.handover
    silent = () if handover is None else judged_notes(handover)
    return ResultSet(command, tuple(cases), (*unknown, *silent))


def _cases(outcome: LiveOutcome) -> Iterator[ResultCase]:
    for one in outcome.stations:
        end = CaseEnd.PASSED if one.reached else _ENDS[outcome.status]
        yield ResultCase(STATIONS, one.name.value, end, None if one.reached else one.why)
    if outcome.load is not None:
        changed = tuple(
            Finding(
                "load.changed", f"{one.count} pages of {one.owner}, the first at PA {one.pa:#x}"
            )
            for one in outcome.load.changed
        )
        end = CaseEnd.FAILED if changed else CaseEnd.PASSED
        why = "what was loaded has changed" if changed else None
        yield ResultCase(STATIONS, "load", end, why, changed)
    if outcome.handover is not None:
        yield from judged_cases(HANDOVER, outcome.handover)
