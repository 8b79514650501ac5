"""Findings as a project takes them: with its severities, without what it accepts, against what was.

Nothing is taken away: what is accepted is told as a note that says why, and until when.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import ClassVar

from relokit.cell_causes import cause_key
from relokit.codegen.base.budget import spend
from relokit.codegen.base.documents import ABSENT, from_json
from relokit.codegen.base.errors import FormatError, RelokitError
from relokit.codegen.base.host_file import read_small
from relokit.codegen.base.nouns import dataclass
from relokit.matrix import ERROR, CellResult, CellStatus, in_short
from relokit.project.project_file import ProjectFile, Suppression
from relokit.runtime.judge.outcome import Finding, Outcome, Status, accepted_text
from relokit.runtime.judge.rules.severity import Severity

JUDGED = frozenset((CellStatus.PASS, CellStatus.FAIL, CellStatus.KNOWN))
"""Cells that come to a verdict, and are in a baseline."""
_CHANGED = ("baseline.", "threshold.")
KNOWN_BYTES = 8
"""What a byte of one becomes, as objects."""
MAX_BASELINE = 1 << 26
"""Bytes of a file with a baseline."""
EPOCH = "SOURCE_DATE_EPOCH"
"""The environment variable with the seconds since 1970 that count as now."""


@dataclass(frozen=True, slots=True)
class KnownRun:
    """What a run came to: ``findings`` by rule and place, instructions from the jump on.

    ``code_bytes`` is the size of the relocation routine, where it was asked for.
    """

    findings: tuple[str, ...] = ()
    instructions: int | None = field(default=None, metadata=ABSENT)
    code_bytes: int | None = field(default=None, metadata=ABSENT)


@dataclass(frozen=True, slots=True)
class Baseline:
    """What runs came to, by their names: a fail is what changes."""

    SCHEMA: ClassVar[str] = "relokit.baseline/1"

    runs: Mapping[str, KnownRun]


@dataclass(frozen=True, slots=True)
class StoredBaseline:
    """The file: a Baseline with its schema."""

    schema: str
    runs: Mapping[str, KnownRun]


def read_baseline(path: Path) -> Baseline:
    """What ``--write-baseline`` wrote; raises RelokitError for anything else."""
    where = str(path)
    data = read_small(path, what="what --write-baseline has written", limit=MAX_BASELINE)
    spend(KNOWN_BYTES * len(data), "findings of a baseline", where)
    try:
        stored = from_json(StoredBaseline, data)
    except FormatError as error:
        raise FormatError(f"is no baseline: {error.message}", where=where) from None
    if stored.schema != Baseline.SCHEMA:
        raise FormatError(f"is {stored.schema[:40]!r}, not {Baseline.SCHEMA!r}", where=where)
    return Baseline(stored.runs)


def today() -> date:
    """The day by which suppressions expire: SOURCE_DATE_EPOCH's, or this host's, in UTC."""
    named = os.environ.get(EPOCH, "")
    if not named:
        return datetime.now(UTC).date()
    try:
        return datetime.fromtimestamp(int(named[:12]), UTC).date()
    except (ValueError, OverflowError, OSError):
        raise RelokitError(f"{named[:40]!r} is no number of seconds", where=EPOCH) from None


class FindingPolicy:
    """What a project and a baseline make of findings; either may be None."""

    def __init__(self, project: ProjectFile | None, baseline: Baseline | None) -> None:
        self._project, self._baseline = project, baseline
        self._day = today() if project and project.suppressions else date.min
        self._used: set[Suppression] = set()
        self.seen: dict[str, KnownRun] = {}

    def outcome(self, name: str, outcome: Outcome, code_bytes: int | None) -> Outcome:
        """``outcome``, judged again."""
        count = outcome.relocation.instructions if outcome.handoff is not None else None
        findings = self._findings(name, outcome.findings, count, code_bytes)
        accepted = accepted_text(findings) or None
        if outcome.status is Status.NO_ANSWER:
            del self.seen[name]
            return replace(outcome, findings=findings, accepted=accepted)
        failed = _fails(findings, strict=outcome.strict)
        status = Status.FAIL if failed else Status.PASS
        return replace(outcome, findings=findings, status=status, accepted=accepted)

    def cell(self, result: CellResult, code_bytes: int | None, *, strict: bool) -> CellResult:
        """``result``, judged again; what could not be run, or has no answer, stays as it is.

        What is known of a state of the series fails by what has changed only.
        """
        if result.status not in JUDGED or any(one.rule == ERROR for one in result.findings):
            return result
        count = result.instructions or None
        findings = self._findings(result.cell.id, result.findings, count, code_bytes)
        if result.status is CellStatus.KNOWN:
            changed = tuple(one for one in findings if one.rule.startswith(_CHANGED))
            if not _fails(changed, strict=strict):
                return result
            findings = (*result.findings, *changed)
        failed = _fails(findings, strict=strict)
        return replace(
            result,
            findings=findings,
            status=CellStatus.FAIL if failed else CellStatus.PASS,
            reason=in_short(findings) if failed else accepted_text(findings) or None,
        )

    def findings(self, found: Sequence[Finding], allowed: str | None) -> tuple[Finding, ...]:
        """``found``, each judged again; all that fails is accepted where it is ``allowed``."""
        told = [self._accepted(self._weighed(one)) for one in found]
        if allowed is not None:
            told = [_noted(one, f"accepted: {allowed}", allowed) for one in told]
        return tuple(told)

    def allowed(self, limit: str, count: int) -> str | None:
        """Why up to ``count`` of what the threshold ``limit`` bounds are accepted, if they are."""
        most = None if self._project is None else self._project.thresholds.get(limit)
        if self._project is None or most is None or count > most:
            return None
        return f"{self._project.where} allows {most:,} {limit}"

    def exceeded(self, limit: str, count: int) -> str:
        """That ``count`` is more than the threshold allows, if it is."""
        most = None if self._project is None else self._project.thresholds.get(limit)
        if self._project is None or most is None or count <= most:
            return ""
        return f"{count:,} {limit}, and {self._project.where} allows {most:,}"

    def unused(self, command: str) -> Iterator[str]:
        """What of the file accepted nothing in this run of ``command``, though it might have."""
        for one in () if self._project is None else self._project.suppressions:
            if one not in self._used and _is_of(one.rule, command):
                at = "" if one.place is None else f" at {one.place}"
                over = f", and is over since {one.until}" if one.until < self._day else ""
                yield f"{one.where}: [[suppress]] of {one.rule}{at} accepted nothing here{over}"

    def _findings(
        self,
        name: str,
        found: Sequence[Finding],
        instructions: int | None,
        code_bytes: int | None,
    ) -> tuple[Finding, ...]:
        keys = tuple(sorted({_key(one) for one in found}))
        self.seen[name] = KnownRun(keys, instructions, code_bytes)
        told = [self._accepted(self._weighed(one)) for one in found]
        text = self.exceeded("instructions", instructions or 0)
        if text:
            told.append(Finding("threshold.instructions", text))
        if self._baseline is not None:
            told = [*self._against(self._baseline, name, told)]
        return tuple(told)

    def _weighed(self, finding: Finding) -> Finding:
        severities = {} if self._project is None else self._project.severities
        severity = severities.get(finding.rule, finding.severity)
        if severity is finding.severity:
            return finding
        assert self._project is not None
        note = f"{severity} by {self._project.where}, by the book it is {finding.severity}"
        return replace(finding, severity=severity, notes=(*finding.notes, note))

    def _accepted(self, finding: Finding) -> Finding:
        for one in () if self._project is None else self._project.suppressions:
            if not _is_about(one, finding):
                continue
            self._used.add(one)
            if one.until < self._day:
                note = f"was accepted until {one.until}, which is over: {one.reason}"
                return replace(finding, notes=(*finding.notes, note))
            return _noted(finding, f"accepted until {one.until}: {one.reason}", one.reason)
        return finding

    def _against(self, baseline: Baseline, name: str, told: Sequence[Finding]) -> Sequence[Finding]:
        known = baseline.runs.get(name)
        if known is None:
            return [*told, Finding("baseline.unknown", f"the baseline has no {name}")]
        now = self.seen[name]
        result = [
            _noted(one, "known: it is in the baseline", "in the baseline")
            if _key(one) in known.findings
            else one
            for one in told
        ]
        for what, before, after in (
            ("instructions", known.instructions, now.instructions),
            ("code-bytes", known.code_bytes, now.code_bytes),
        ):
            if before != after and before is not None:
                text = f"{_count(after)}, and the baseline has {before:,}"
                result.append(Finding(f"baseline.{what}", text))
        gone = [one for one in known.findings if one not in now.findings]
        if gone:
            text = f"no more there, and in the baseline: {', '.join(gone)}"
            result.append(Finding("baseline.gone", text, severity=Severity.NOTE))
        return result


def _fails(findings: Sequence[Finding], *, strict: bool) -> bool:
    severities = {finding.severity for finding in findings}
    return Severity.ERROR in severities or (strict and Severity.WARNING in severities)


def _count(number: int | None) -> str:
    return "unknown" if number is None else f"{number:,}"


def _key(finding: Finding) -> str:
    return " at ".join(cause_key(finding)) if finding.place else finding.rule


def _is_about(one: Suppression, finding: Finding) -> bool:
    if one.rule != finding.rule:
        return False
    symbol = (finding.place or "").partition(" (")[0]
    known = finding.place, cause_key(finding)[1], symbol, symbol.partition("+0x")[0]
    return one.place is None or one.place in known


_OF_A_COMMAND = {"diff": "diff", "mutant": "mutate"}
"""By the subject of a rule, the one command that finds such."""


def _is_of(rule: str, command: str) -> bool:
    """Whether ``command`` may find something of this rule."""
    own = _OF_A_COMMAND.get(rule.partition(".")[0])
    return own == command or (own is None and command not in _OF_A_COMMAND.values())


def _noted(finding: Finding, note: str, reason: str) -> Finding:
    """``finding`` as a note; accepted is only what was more than that."""
    accepted = finding.accepted or (None if finding.severity is Severity.NOTE else reason)
    notes = (*finding.notes, note)
    return replace(finding, severity=Severity.NOTE, notes=notes, accepted=accepted)
