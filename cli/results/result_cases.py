"""What a command came to, as tests that passed, failed or were not run: one model, for every CI."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path

from relokit.cell_causes import cause_key, line_of
from relokit.codegen.base.nouns import dataclass
from relokit.runtime.judge.outcome import Finding


class CaseEnd(StrEnum):
    """How a case ended. KNOWN fails by what is known and accepted; ERROR has no verdict at all."""

    PASSED = "passed"
    FAILED = "failed"
    KNOWN = "known"
    SKIPPED = "skipped"
    NO_ANSWER = "no answer"
    ERROR = "error"


BAD = frozenset({CaseEnd.FAILED, CaseEnd.NO_ANSWER, CaseEnd.ERROR})
"""Ends that fail a pipeline."""
RUN_DIFFERS = "diff.run"
"""The rule by which two sides that were executed did not do the same."""


@dataclass(frozen=True, slots=True)
class ResultCase:
    """One test of a ``group``. ``why`` says why it did not pass, or was not run.

    ``findings`` are told with it, whatever its end. ``reproduce`` is the command line of just this
    one, ``seconds`` what it took of this host, where that was measured.
    """

    group: str
    name: str
    end: CaseEnd
    why: str | None = None
    findings: tuple[Finding, ...] = ()
    reproduce: str | None = None
    seconds: float | None = None

    @property
    def is_counted(self) -> bool:
        """Whether its findings are among what a threshold counts; what a run did is not."""
        return all(one.rule != RUN_DIFFERS for one in self.findings)


def rest_case(command: str, why: str) -> ResultCase:
    """What ``command`` was ended before: without it, results would read as if they were whole."""
    return ResultCase(command, "the rest", CaseEnd.NO_ANSWER, why)


@dataclass(frozen=True, slots=True)
class ResultSet:
    """All cases of ``command``, in order. ``notes`` are lines about the whole, without host times.

    ``sources`` are the files and directories of files that the user gave, in which a finding may
    have its place.
    """

    command: str
    cases: tuple[ResultCase, ...]
    notes: tuple[str, ...] = ()
    sources: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class SourcePlace:
    """A line of a source file. ``own`` is whether it is the user's, and ``file`` a path to it."""

    file: str
    line: int
    own: bool


def source_place(finding: Finding, sources: Iterable[Path]) -> SourcePlace | None:
    """Where in a source file it is, if that is known: in one of the user's, or in one of ours."""
    found = line_of(finding.place)
    if found is None:
        return None
    name, line = found
    for source in sources:
        if source.name == Path(name).name and source.is_file():
            return SourcePlace(source.as_posix(), line, own=True)
        if (source / name).is_file():
            return SourcePlace((source / name).as_posix(), line, own=True)
    return SourcePlace(name, line, own=False)


@dataclass(frozen=True, slots=True)
class FoundInCases:
    """One thing that is wrong, and the cases in which it is; ``finding`` is that of the first.

    ``accepted`` says why it fails none of them, though it would; None for what nobody accepts,
    also where that is in a case that is KNOWN by something else.
    """

    finding: Finding
    cases: tuple[ResultCase, ...]
    accepted: str | None


def found_once(cases: Sequence[ResultCase]) -> tuple[FoundInCases, ...]:
    """What was found, each once: at one place by one rule is one thing, in however many cases."""
    causes: dict[object, list[tuple[Finding, ResultCase]]] = {}
    for case in cases:
        keys = set()
        for finding in case.findings:
            key = (finding.severity, *cause_key(finding))
            if key not in keys:
                keys.add(key)
                causes.setdefault(key, []).append((finding, case))
    return tuple(
        FoundInCases(found[0][0], tuple(case for _, case in found), _accepted(found))
        for found in causes.values()
    )


def _accepted(found: Sequence[tuple[Finding, ResultCase]]) -> str | None:
    reasons = []
    for finding, case in found:
        defect = case.why or "known" if case.end is CaseEnd.KNOWN and finding.is_error else None
        reasons.append(finding.accepted or defect)
    return None if None in reasons else reasons[0]
