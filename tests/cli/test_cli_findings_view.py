"""Findings on the screen: by cause, bounded, and nothing that a terminal takes for a command."""

from __future__ import annotations

from relokit.cli.terminal.findings_view import MAX_TOLD, told
from relokit.runtime.judge.outcome import Finding
from relokit.runtime.judge.rules.severity import Severity


def text(*findings: Finding) -> str:
    lines = ("".join(p if isinstance(p, str) else p[0] for p in line) for line in told(findings))
    return "\n".join(lines)


def finding(rule: str, group: int, severity: Severity = Severity.ERROR) -> Finding:
    return Finding(rule, f"message of {rule}", hint=f"mend {rule}", severity=severity, group=group)


def test_one_cause_is_one_paragraph() -> None:
    shown = text(finding("t.first", 1), finding("t.also", 1, Severity.WARNING), finding("t.b", 2))
    first, second = shown.strip().split("\n\n")
    assert first.startswith("t.first  message of t.first\n")
    assert "hint: mend t.first" in first
    assert first.endswith("here as well: t.also (warning)  message of t.also")
    assert second.startswith("t.b")


def test_no_more_than_a_screen_is_told_and_the_rest_is_counted() -> None:
    findings = [finding(f"t.r{number}", number) for number in range(1, MAX_TOLD + 4)]
    shown = text(*findings)
    assert f"message of t.r{MAX_TOLD}\n" in shown
    assert f"message of t.r{MAX_TOLD + 1}" not in shown
    last = shown.splitlines()[-1]
    names = ", ".join(f"t.r{MAX_TOLD + more}" for more in (1, 2, 3))
    assert last == f"and 3 more findings, which --json has: {names}"


def test_findings_of_no_group_are_apart() -> None:
    assert text(finding("t.a", 0), finding("t.b", 0)).count("hint:") == 2


def test_texts_are_not_to_be_trusted() -> None:
    bad = "\x1b[2J"
    shown = text(
        Finding(bad, bad, place=bad, listing=(bad,), notes=(bad,), cause=bad, consequence=bad),
        Finding(bad, bad, hint=bad, source=bad),
    )
    assert "\x1b" not in shown
