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
    """One thing that is wrong, and the cases in which it is; ``finding`` is that of the first."""

    finding: Finding
    cases: tuple[ResultCase, ...]

    @property
    def accepted(self) -> bool:
        """Whether it fails none of them."""
        return all(case.end is CaseEnd.KNOWN for case in self.cases)


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
        FoundInCases(found[0][0], tuple(case for _, case in found)) for found in causes.values()
    )
