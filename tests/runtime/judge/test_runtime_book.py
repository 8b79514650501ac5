"""The book: every rule has a good and a bad twin, is documented, and says when it cannot tell."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from pathlib import Path

import numpy as np
import pytest

from relokit.codegen.base.documents import from_json, to_json
from relokit.runtime.arch.exceptions import ExceptionClass
from relokit.runtime.arch.translation import WalkRegisters
from relokit.runtime.judge.book import TRACE_SUBJECTS, judge, whole_book
from relokit.runtime.judge.outcome import Finding
from relokit.runtime.judge.rules.rule import Broken, Rule
from relokit.runtime.judge.rules.severity import Severity
from relokit.runtime.judge.trace_book import TRACE_BOOK
from relokit.runtime.record.known import Unknown, known
from relokit.runtime.record.record import JumpFacts, Record
from relokit.runtime.record.stop import StopReason
from relokit.runtime.record.trace import RECORD
from support import records as r
from support.twins import TWINS, rule_named

ROOT = Path(__file__).resolve().parents[3]


def test_every_rule_has_twins() -> None:
    assert set(TWINS) == {rule.name for rule in whole_book()}
    assert len(whole_book()) == len(TWINS), "a name stands twice"


@pytest.mark.parametrize("name", TWINS)
def test_the_good_twin_passes_and_the_bad_one_fails(name: str) -> None:
    rule, twins = rule_named(name), TWINS[name]
    for record, broken in ((twins.good, False), (twins.bad, True)):
        judged = judge(record, (rule,))
        assert judged.answers.applied == (name,) or judged.answers.not_judged
        assert [finding.rule for finding in judged.findings] == [name] * broken
    [finding] = judge(twins.bad, (rule,)).findings
    assert finding.message
    assert finding.source == rule.source
    assert finding.severity is rule.severity
    assert finding.cause or name == "boot.demo"
    assert from_json(Finding, to_json(finding)) == finding


@pytest.mark.parametrize("name", TWINS)
def test_a_bad_twin_breaks_its_own_rule_first(name: str) -> None:
    """And what else it breaks follows from that: an MMU that is on is a wrong SCTLR, too.

    But for an error that comes before a warning.
    """
    errors = {"caches.mixed": ["tlb.attributes"]}
    follow = {
        "handoff.stub-error": ["handoff.dtb"],
        "resume.el": ["resume.ttbr1"],
        "tlb.domain": ["errata.repeat-tlbi"],
    }
    names = [finding.rule for finding in judge(TWINS[name].bad).findings]
    assert names == [*errors.get(name, []), name, *follow.get(name, [])]


@pytest.mark.parametrize("record", [r.GOOD, r.AWAKE, r.RAN_ON])
def test_every_rule_answers(record: Record) -> None:
    judged = judge(record)
    answers = judged.answers
    names = [*answers.applied, *answers.not_applicable, *answers.not_judged]
    assert sorted(names) == sorted(rule.name for rule in whole_book())
    assert judged.findings == ()
    assert not answers.not_judged
    assert all(answers.not_applicable.values())


def test_without_a_trace_a_subject_answers_for_its_rules() -> None:
    whole = judge(r.GOOD).answers
    answers = judge(replace(r.GOOD, trace=Unknown("not recorded"))).answers
    assert answers.not_judged == dict.fromkeys(TRACE_SUBJECTS, "not recorded")
    assert {rule.name.split(".")[0] for rule in TRACE_BOOK} == set(TRACE_SUBJECTS)
    traced = {rule.name for rule in TRACE_BOOK}
    # What the trace tells of stores is then judged by the bytes.
    by_bytes = {name for name in whole.not_applicable if name.startswith("damage.")}
    assert set(answers.applied) == set(whole.applied) - traced | by_bytes
    assert answers.not_applicable.keys() == whole.not_applicable.keys() - traced - by_bytes


@pytest.mark.parametrize("reason", [one for one in StopReason if one is not StopReason.REACHED])
def test_no_way_to_end_is_a_pass(reason: StopReason) -> None:
    classes = [None, *ExceptionClass] if reason is StopReason.EXCEPTION else [None]
    for one in classes:
        [finding] = judge(r.ended(reason, one)).findings
        assert finding.cause, one


def test_what_was_never_reached_is_not_judged_and_says_why() -> None:
    record = replace(
        r.ended(StopReason.SPIN),
        arrived=Unknown("the new kernel was never entered"),
        jump=Unknown("the code that moves was never entered"),
    )
    judged = judge(record)
    assert [finding.rule for finding in judged.findings] == ["run.spin"]
    reasons = judged.answers.not_judged
    assert {name.split(".")[0] for name in reasons} == {
        "handoff", "relocation", "memory", "stack", "own",
    }  # fmt: skip
    assert "never entered" in reasons["handoff.x1"]
    assert "never entered" in reasons["relocation.el"]
    assert "setup.kimage" in judged.answers.applied


def test_what_a_purgatory_got_is_judged_even_where_it_does_not_hand_on() -> None:
    promise = replace(r.BOOTED, x0=0)
    record = replace(
        r.ended(StopReason.SPIN), promises=(promise, r.BOOTED), reached=(r.cpu(x={0: 0, 1: 1}),)
    )
    judged = judge(record)
    assert [finding.rule for finding in judged.findings] == ["handoff.x1", "run.spin"]
    assert "handoff.x1" in judged.answers.not_judged


def test_what_shows_first_is_told_first() -> None:
    """At the purgatory before the kernel, whatever the order of the rules."""
    first, second = r.cpu(x={0: 0, 3: 1}), r.cpu(pc=r.KERNEL + 4)
    record = replace(r.GOOD, promises=(replace(r.BOOTED, x0=0), r.BOOTED), reached=(first, second))
    assert [finding.rule for finding in judge(record).findings] == ["handoff.x3", "handoff.entry"]


def _unknown_everywhere(record: Record) -> Iterable[tuple[str, Record]]:
    """``record`` with one fact after the other unknown, as far as its type lets it be."""
    gone = Unknown("lost")
    for name in (
        "regime", "stub_by_kimage", "jump", "prepared", "damage", "arrived", "trace",
        "prehistory", "platform", "given", "ownership",
    ):  # fmt: skip
        yield name, replace(record, **{name: gone})
    for name in ("pc", "el", "mmu", "x0", "ttbr1", "vectors"):
        promise = replace(record.promises[-1], **{name: gone})
        yield f"promise.{name}", replace(record, promises=(promise,))
    assert isinstance(record.jump, JumpFacts)
    for name in ("el", "mmu"):
        jump = replace(record.jump, promise=replace(record.jump.promise, **{name: gone}))
        yield f"jump.{name}", replace(record, jump=jump)
    cpu = replace(record.reached[0], system={})
    yield "registers", replace(record, reached=(cpu,))
    if record.prepared is not None:
        words = tuple(replace(word, wanted=gone) for word in r.PREPARED.words)
        yield "words", replace(record, prepared=replace(r.PREPARED, words=words))
        copies = tuple(replace(copy, difference=gone) for copy in r.PREPARED.copies or ())
        yield "copies", replace(record, prepared=replace(r.PREPARED, copies=copies))
        for name in ("listed", "misled"):
            yield name, replace(record, prepared=replace(r.PREPARED, **{name: gone}))


@pytest.mark.parametrize("record", [r.GOOD, r.AWAKE])
def test_a_fact_that_is_unknown_is_neither_a_finding_nor_a_pass(record: Record) -> None:
    told = 0
    for name, lacking in _unknown_everywhere(record):
        judged = judge(lacking)
        assert judged.findings == (), name
        told += len(judged.answers.not_judged)
        assert set(judged.answers.not_judged.values()) <= {"lost"} or name == "registers"
    assert told > 15


def test_at_el0_the_registers_of_el1_count() -> None:
    fallen = r.cpu(el=0)
    assert (fallen.el, fallen.level) == (0, 1)
    assert (r.cpu(el=1).level, r.cpu(el=2).level) == (1, 2)


def test_known_gives_the_fact_or_the_reason() -> None:
    assert known(0) == 0
    with pytest.raises(Exception, match="nobody looked"):
        known(Unknown("nobody looked"))


def test_only_errors_fail_a_run() -> None:
    def broken(record: Record) -> Iterable[Broken]:
        yield Broken("as it were")

    noted = Rule("t.note", "m", "s", Severity.NOTE, lambda record: None, broken, "c")
    [finding] = judge(r.GOOD, (noted,)).findings
    assert finding.severity is Severity.NOTE
    assert not judge(r.GOOD, (noted,)).failed
    assert judge(r.GOOD, (replace(noted, severity=Severity.ERROR),)).failed


# A record is plain --------------------------------------------------------------------------------


def _plain(value: object, seen: set[type]) -> None:
    """Nothing in a record can run or reach a guest: dataclasses, enums, numbers and texts."""
    if is_dataclass(value):
        seen.add(type(value))
        for one in fields(value):
            _plain(getattr(value, one.name), seen)
    elif isinstance(value, (tuple, list)):
        for item in value:
            _plain(item, seen)
    elif isinstance(value, dict):
        for item in value.values():
            _plain(item, seen)
    elif isinstance(value, np.ndarray):
        assert value.dtype == RECORD
        assert not value.flags.writeable
    else:
        assert value is None or isinstance(value, (int, float, str, bytes, Enum)), type(value)


def test_records_are_plain_data() -> None:
    seen: set[type] = set()
    for record in (*(twins.bad for twins in TWINS.values()), r.GOOD, r.AWAKE, r.RAN_ON):
        _plain(record, seen)
    assert {Record, WalkRegisters} <= seen
