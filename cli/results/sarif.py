"""SARIF 2.1.0: what was found, each once, at its line.

Not in it are cases that passed: SARIF is about what is wrong. A finding that is known and accepted
is suppressed, one of a case without an answer is beside a notification that there was none. What
was not judged or compared is a notification too: no result is no verdict on that.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from relokit.cli.results.case_text import finding_lines
from relokit.cli.results.result_cases import (
    CaseEnd,
    FoundInCases,
    ResultSet,
    found_once,
    source_place,
)
from relokit.cli.terminal.output import plain, plain_lines
from relokit.codegen.base.version import VERSION
from relokit.runtime.judge.outcome import Finding

SCHEMA_URI = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
OWN_TEMPLATES = "RELOKIT"
"""The base of files that are ours."""
FINGERPRINT = "relokit/v1"
MAX_SARIF_ADDRESS = (1 << 63) - 1
"""Readers take addresses as signed 64-bit numbers."""


def sarif(results: ResultSet) -> str:
    """The log, of one run."""
    found = found_once(results.cases)
    rules = {plain(one.finding.rule): one.finding for one in reversed(found)}
    names = sorted(rules)
    unanswered = [case for case in results.cases if case.end in (CaseEnd.NO_ANSWER, CaseEnd.ERROR)]
    run = {
        "tool": {
            "driver": {
                "name": "relokit",
                "version": VERSION,
                "rules": [_rule(rules[name]) for name in names],
            }
        },
        "invocations": [
            {
                "executionSuccessful": not unanswered,
                "toolExecutionNotifications": [
                    {"level": "error", "message": _message(f"{case.name}: {case.why}")}
                    for case in unanswered
                ]
                + [{"level": "note", "message": _message(note)} for note in results.notes],
            }
        ],
        "originalUriBaseIds": {
            OWN_TEMPLATES: {"description": _message("the templates that relokit comes with")}
        },
        "results": [_result(one, names, results) for one in found],
        "columnKind": "unicodeCodePoints",
    }
    log = {"$schema": SCHEMA_URI, "version": "2.1.0", "runs": [run]}
    return json.dumps(log, indent=2)


def _message(*lines: str) -> dict[str, str]:
    return {"text": plain_lines(lines) or "-"}


def _rule(finding: Finding) -> dict[str, Any]:
    rule: dict[str, Any] = {"id": plain(finding.rule)}
    if finding.consequence:
        rule["fullDescription"] = _message(finding.consequence)
    help_lines = [text for text in (finding.hint, finding.source) if text]
    if help_lines:
        rule["help"] = _message(*help_lines)
    return rule


def _result(one: FoundInCases, names: list[str], results: ResultSet) -> dict[str, Any]:
    finding = one.finding
    result: dict[str, Any] = {
        "ruleId": plain(finding.rule),
        "ruleIndex": names.index(plain(finding.rule)),
        "level": finding.severity.value,
        "message": _message(*finding_lines(finding)),
        "occurrenceCount": len(one.cases),
        "partialFingerprints": {FINGERPRINT: _fingerprint(finding)},
        "properties": {"cases": [plain(case.name) for case in one.cases]},
    }
    location = _location(finding, results)
    if location:
        result["locations"] = [location]
    if one.accepted is not None:
        result["suppressions"] = [{"kind": "external", "justification": plain(one.accepted)}]
    return result


def _location(finding: Finding, results: ResultSet) -> dict[str, Any]:
    location: dict[str, Any] = {}
    physical: dict[str, Any] = {}
    place = source_place(finding, results.sources)
    if place is not None:
        artifact = {"uri": quote(plain(place.file))}
        if not place.own:
            artifact["uriBaseId"] = OWN_TEMPLATES
        physical = {"artifactLocation": artifact, "region": {"startLine": place.line}}
    if finding.address is not None and finding.address <= MAX_SARIF_ADDRESS:
        physical["address"] = {"absoluteAddress": finding.address}
    if physical:
        location["physicalLocation"] = physical
    if finding.place:
        location["logicalLocations"] = [{"fullyQualifiedName": plain(finding.place)}]
    return location


def _fingerprint(finding: Finding) -> str:
    """What stays the same when lines are added above it: the rule, and the place in its routine."""
    symbol = (finding.place or "").partition(" (")[0]
    return _digest((finding.rule, finding.severity.value, symbol or finding.message))


def _digest(parts: Iterable[str]) -> str:
    return sha256("\0".join(parts).encode("utf-8", "backslashreplace")).hexdigest()
