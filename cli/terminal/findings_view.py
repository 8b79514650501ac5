"""Findings as a person reads them: one cause a paragraph, the first occurrence first, bounded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby

from relokit.cli.terminal.output import plain
from relokit.runtime.judge.outcome import Finding, RuleAnswers
from relokit.runtime.judge.rules.made import Made, MadeHow
from relokit.runtime.judge.rules.severity import Severity

Line = tuple[str | tuple[str, str], ...]
"""A line of output: texts, and texts with a style that rich knows."""

MAX_TOLD = 10
"""Causes that are told in full."""
REGISTERS_IN_ROW = 4
ANSWER_WIDTH = 14


def told(findings: Sequence[Finding]) -> Iterator[Line]:
    """All causes, a paragraph each, up to MAX_TOLD; then how many more findings there are."""
    groups = [list(group) for _, group in groupby(findings, lambda one: one.group or id(one))]
    for group in groups[:MAX_TOLD]:
        yield from _paragraph(group)
    left = [finding for group in groups[MAX_TOLD:] for finding in group]
    if left:
        rules = ", ".join(dict.fromkeys(plain(finding.rule) for finding in left))
        yield ()
        yield (f"and {len(left)} more findings, which --json has: {rules}",)


def _paragraph(group: list[Finding]) -> Iterator[Line]:
    """What is found at one place: the worst of it in full."""
    finding, *others = group
    yield ()
    yield _head(finding), f"  {plain(finding.message)}"
    if finding.place:
        where = f"{finding.address:#x}  " if finding.address is not None else ""
        yield (f"  at {where}{plain(finding.place)}",)
    for text in finding.listing:
        yield (f"    {plain(text)}",)
    for note in finding.notes:
        yield (f"  {plain(note)}",)
    for made in finding.made:
        yield (f"  {_made(made)}",)
    for at in range(0, len(finding.registers), REGISTERS_IN_ROW):
        row = finding.registers[at : at + REGISTERS_IN_ROW]
        yield ("  " + "  ".join(f"{name:>4} {value:016x}" for name, value in row),)
    for label, told_text in (
        ("probable cause", finding.cause),
        ("consequence", finding.consequence),
        ("hint", finding.hint),
        ("does not bite here", finding.spared),
    ):
        if told_text:
            yield "  ", (f"{label}:", "bold"), f" {plain(told_text)}"
    if finding.source:
        yield ((f"  source: {plain(finding.source)}", "dim"),)
    for other in others:
        yield "  here as well: ", _head(other), f"  {plain(other.message)}"


_MADE = {
    MadeHow.MADE: "{sets} made by {at}",
    MadeHow.BEFORE: "{sets} was set before the jump only, by {at}",
    MadeHow.FIRST: "{sets} first used by {at}",
    MadeHow.NEVER: "{sets} is set by nothing up to {at}",
    MadeHow.DECIDED: "decided by {at}",
    MadeHow.CAME: "come by {at}",
    MadeHow.REPEATED: "repeated by {at}",
    MadeHow.DONE: "see {at}",
    MadeHow.UNUSED: "{sets} is set for nothing by {at}",
    MadeHow.SET_AGAIN: "{sets} is set again, before anything has used it, by {at}",
    MadeHow.PENDING: "{sets} is used by nothing behind {at}",
    MadeHow.IN_VAIN: "without effect: {at}",
    MadeHow.IDLE: "nothing is done in the loop of {at}",
    MadeHow.ENDLESS: "the loop ends by what stays: {at}",
}
"""What an instruction has to do with a finding, in words."""


def _made(made: Made) -> str:
    """One instruction that made it so, in a line."""
    place = f", {made.place}" if made.place else ""
    at = f"`{made.text}` at {made.address:#x}{place}"
    return plain(_MADE[made.how].format(sets=made.sets, at=at))


def _head(finding: Finding) -> tuple[str, str]:
    rule = plain(finding.rule)
    if finding.is_error:
        return rule, "bold red"
    return f"{rule} ({finding.severity})", "bold yellow"


def answers_in_short(answers: RuleAnswers) -> str:
    """How many rules were judged, and what was not judged, in one line."""
    text = f"{len(answers.applied)} judged, {len(answers.not_applicable)} not applicable"
    if answers.not_judged:
        text += f"; not judged: {', '.join(dict.fromkeys(map(_subject, answers.not_judged)))}"
    return text


def not_judged(reasons: Mapping[str, str]) -> str:
    """Subjects of rules, by why they are not judged: ``caches, fetch (not recorded)``."""
    subjects: dict[str, dict[str, None]] = {}
    for rule, why in reasons.items():
        subjects.setdefault(why, {})[_subject(rule)] = None
    return "; ".join(f"{', '.join(names)} ({plain(why)})" for why, names in subjects.items())


def _subject(rule: str) -> str:
    return plain(rule.partition(".")[0])


def every_answer(answers: RuleAnswers, findings: Iterable[Finding]) -> Iterator[Line]:
    """A line for each rule of the book: what it answered, and why it did not."""
    worst: dict[str, Severity] = {finding.rule: finding.severity for finding in findings}
    for rule in answers.applied:
        yield _answer(str(worst.get(rule, "holds")), rule, None)
    for rule, why in answers.not_applicable.items():
        yield _answer("not applicable", rule, why)
    for rule, why in answers.not_judged.items():
        yield _answer("not judged", rule, why)


def _answer(answer: str, rule: str, why: str | None) -> Line:
    reason = f"  {plain(why)}" if why else ""
    return (f"    {answer:<{ANSWER_WIDTH}}  {plain(rule)}{reason}",)
