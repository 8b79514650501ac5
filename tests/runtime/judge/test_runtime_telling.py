"""What is told in which order, and how much of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from relokit.runtime.judge.book import judge
from relokit.runtime.judge.rules.rule import AT_THE_JUMP, Broken, Rule, always
from relokit.runtime.judge.rules.severity import Severity
from relokit.runtime.judge.telling import MAX_TOLD
from relokit.runtime.record.known import Unknown
from relokit.runtime.record.record import Record
from support import records as r
from support.traces import Story


def rule(name: str, *broken: Broken, severity: Severity = Severity.ERROR) -> Rule:
    def check(record: Record) -> Iterable[Broken]:
        return broken

    return Rule(name, "m", "s", severity, always, check, "c")


def at(address: int | None, message: str = "m", station: int | None = None) -> Broken:
    return Broken(message, address=address, place="f+0x0", station=station)


def executed(*addresses: int) -> Story:
    """Instructions at ``addresses``, one after the other."""
    story = Story()
    for address in addresses:
        story.pc = address
        story.store(r.SPARE, 64)
    return story


RECORD = r.traced(executed(0x100, 0x300, 0x200))


def names(record: Record, *rules: Rule) -> list[str]:
    return [finding.rule for finding in judge(record, rules).findings]


def test_the_first_occurrence_comes_first() -> None:
    rules = (rule("t.late", at(0x200)), rule("t.second", at(0x300)), rule("t.first", at(0x100)))
    assert names(RECORD, *rules) == ["t.first", "t.second", "t.late"]


def test_what_never_ran_comes_last_and_what_is_about_memory_before_it() -> None:
    memory = Broken("a page was changed", address=r.KERNEL)
    rules = (rule("t.never", at(0x900)), rule("t.first", at(0x100)), rule("t.memory", memory))
    assert names(RECORD, *rules) == ["t.first", "t.memory", "t.never"]


def test_it_is_told_as_it_happened() -> None:
    """What shows where something is entered comes after what was executed on the way there."""
    rules = (rule("t.arrival", at(0x700, station=0)), rule("t.first", at(0x100)))
    assert names(RECORD, *rules) == ["t.first", "t.arrival"]


def test_what_was_prepared_wrongly_comes_before_all_that_it_explains() -> None:
    rules = (rule("t.first", at(0x100)), rule("t.setup", Broken("m", station=AT_THE_JUMP)))
    assert names(RECORD, *rules) == ["t.setup", "t.first"]


def test_errors_come_before_warnings_whenever_they_occur() -> None:
    rules = (
        rule("t.note", at(0x100), severity=Severity.NOTE),
        rule("t.warning", at(0x300), severity=Severity.WARNING),
        rule("t.error", at(0x200)),
    )
    assert names(RECORD, *rules) == ["t.error", "t.warning", "t.note"]


def test_one_instruction_is_one_group_and_the_worst_leads_it() -> None:
    rules = (
        rule("t.warning", at(0x300), severity=Severity.WARNING),
        rule("t.other", at(0x100)),
        rule("t.error", at(0x300)),
    )
    findings = judge(RECORD, rules).findings
    assert [(finding.rule, finding.group) for finding in findings] == [
        ("t.other", 1),
        ("t.error", 2),
        ("t.warning", 2),
    ]


def test_registers_of_a_station_are_causes_of_their_own() -> None:
    """Four wrong registers at one address are four mistakes."""
    findings = judge(r.arrived(x={1: 1, 2: 2})).findings
    assert [finding.group for finding in findings] == [1, 2]


def test_without_a_trace_the_order_is_that_of_the_book() -> None:
    record = replace(RECORD, trace=Unknown("none"))
    rules = (rule("t.late", at(0x200)), rule("t.first", at(0x100)))
    assert names(record, *rules) == ["t.late", "t.first"]


def test_what_one_rule_tells_is_bounded_and_the_rest_is_counted() -> None:
    many = rule("t.many", *(at(0x1000 + 4 * number) for number in range(MAX_TOLD + 5)))
    findings = judge(RECORD, (many,)).findings
    assert len(findings) == MAX_TOLD + 1
    assert "and 5 more" in findings[-1].message
    exact = rule("t.exact", *(at(0x1000 + 4 * number) for number in range(MAX_TOLD)))
    assert len(judge(RECORD, (exact,)).findings) == MAX_TOLD
