"""The book: every rule has a good and a bad twin, is documented, and says when it cannot tell."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass, fields, is_dataclass, replace
from enum import Enum
from pathlib import Path

import numpy as np
import pytest

from relokit.codegen import facts
from relokit.codegen.base.documents import from_json, to_json
from relokit.codegen.target import Regime
from relokit.runtime.arch.exceptions import ExceptionClass
from relokit.runtime.arch.translation import WalkRegisters
from relokit.runtime.arch.walker import Fault, FaultKind, Walk
from relokit.runtime.guest.owner import Owner, OwnerKind
from relokit.runtime.guest.payload import PayloadKind
from relokit.runtime.judge.book import BOOK, judge
from relokit.runtime.judge.outcome import Finding
from relokit.runtime.judge.rules.rule import Broken, Rule
from relokit.runtime.judge.rules.severity import Severity
from relokit.runtime.judge.rules_page import OTHERS, page
from relokit.runtime.record.known import Unknown, known
from relokit.runtime.record.memory_facts import (
    BrokenList,
    EmptyTable,
    KimageWord,
    ListFacts,
    MisledPage,
    PageUse,
    WordDifference,
)
from relokit.runtime.record.prehistory import Prehistory
from relokit.runtime.record.record import JumpFacts, Record
from relokit.runtime.record.stop import StopReason
from relokit.runtime.record.trace import RECORD
from support import records as r
from support.traces import FULL, INNER, OUTER, STORES, UNALIGNED, Story

ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Twins:
    """Two records, alike but for one thing: a rule holds in ``good`` and is broken in ``bad``."""

    bad: Record
    good: Record = r.GOOD


def _jump(**changed: object) -> Record:
    return replace(r.GOOD, jump=JumpFacts(r.RELOCATION, r.cpu(**changed)))  # type: ignore[arg-type]


def _misled() -> MisledPage:
    fault = Fault(FaultKind.TRANSLATION, 3)
    walk = Walk(0x1000, None, fault, 3, 0, (), False, False, None, None)
    return MisledPage(PageUse.DESTINATION, r.KERNEL, 0x1000, walk, fault)


def _copy() -> Record:
    assert r.PREPARED.copies
    code, vectors = r.PREPARED.copies
    wrong = replace(code, difference=WordDifference(r.CONTROL, 0, 0xD503201F))
    return r.prepared(copies=(wrong, vectors))


_MASKED_BUT_I = r.ALL_MASKED & ~(1 << 7) | r.EL1H
_ABORT = 0b000111

TWINS: dict[str, Twins] = {
    "handoff.entry": Twins(r.arrived(pc=r.KERNEL + 4)),
    "handoff.stub-error": Twins(r.arrived(x={0: facts.HVC_STUB_ERR})),
    "handoff.el": Twins(r.arrived(el=1)),
    "handoff.mmu": Twins(r.arrived(mmu=True)),
    "handoff.sctlr": Twins(r.arrived(system={"SCTLR_EL1": 0})),
    "handoff.daif": Twins(r.arrived(daif=0b1101)),
    "relocation.daif": Twins(r.arrived(system={"SPSR_EL2": _MASKED_BUT_I})),
    "handoff.dtb": Twins(r.arrived(x={0: 0x1000})),
    "handoff.x1": Twins(r.arrived(x={1: 1})),
    "handoff.x2": Twins(r.arrived(x={2: 1})),
    "handoff.x3": Twins(r.arrived(x={3: 1})),
    "resume.el": Twins(r.awoken(el=2), r.AWAKE),
    "resume.ttbr1": Twins(r.awoken(system={"TTBR1_EL1": 0x6100_0000}), r.AWAKE),
    "resume.mmu": Twins(r.awoken(mmu=False), r.AWAKE),
    "resume.vectors": Twins(r.awoken(system={"VBAR_EL2": 0}), r.AWAKE),
    "exception.instruction-abort": Twins(
        r.ended(StopReason.EXCEPTION, ExceptionClass.INSTRUCTION_ABORT_SAME, status=_ABORT)
    ),
    "exception.data-abort": Twins(
        r.ended(StopReason.EXCEPTION, ExceptionClass.DATA_ABORT_SAME, status=_ABORT)
    ),
    "exception.undefined": Twins(r.ended(StopReason.EXCEPTION, ExceptionClass.UNKNOWN)),
    "exception.stray": Twins(r.ended(StopReason.EXCEPTION, ExceptionClass.BRK64)),
    "exception.vector": Twins(r.ended(StopReason.BAD_VECTOR)),
    "bus.unassigned": Twins(r.ended(StopReason.UNMAPPED)),
    "run.spin": Twins(r.ended(StopReason.SPIN)),
    "run.limit": Twins(r.ended(StopReason.INSTRUCTION_LIMIT)),
    "run.timeout": Twins(r.ended(StopReason.TIMEOUT)),
    "run.halted": Twins(r.ended(StopReason.HALTED)),
    "run.off": Twins(r.ended(StopReason.POWERED_OFF)),
    "run.engine": Twins(r.ended(StopReason.ENGINE)),
    "relocation.el": Twins(_jump(el=2, pc=r.CONTROL, mmu=True)),
    "relocation.mmu": Twins(_jump(el=1, pc=r.CONTROL, mmu=False)),
    "memory.segment": Twins(replace(r.GOOD, arrived=r.misplaced())),
    "memory.resumed": Twins(replace(r.AWAKE, arrived=r.misplaced()), r.AWAKE),
    "setup.kimage": Twins(r.prepared(words=(KimageWord("head", 0, 2, None),))),
    "setup.code": Twins(_copy()),
    "setup.list": Twins(r.prepared(listed=ListFacts(3, 4, None))),
    "setup.zero-page": Twins(r.prepared(empty_table=EmptyTable(r.ZERO_PAGE, r.ZERO_PAGE + 8))),
    "setup.tables": Twins(r.prepared(misled=(_misled(),))),
    "damage.kimage": Twins(
        r.damaged(OwnerKind.KIMAGE), r.damaged(OwnerKind.KIMAGE, in_destination=True)
    ),
    "damage.code": Twins(r.damaged(OwnerKind.CONTROL_PAGE), r.damaged(OwnerKind.LIST)),
    "damage.list": Twins(r.damaged(OwnerKind.LIST), r.damaged(OwnerKind.CONTROL_PAGE)),
    "damage.zero-page": Twins(
        r.damaged(OwnerKind.ZERO_PAGE), r.damaged(OwnerKind.ZERO_PAGE, in_destination=True)
    ),
    "damage.tables": Twins(r.damaged(OwnerKind.LINEAR_MAP), r.damaged(OwnerKind.LIST)),
    "caches.discard": Twins(
        r.traced(
            Story(pc=r.CONTROL)
            .store(r.KERNEL, r.SIZE)
            .dc("ivac", r.KERNEL, r.SIZE)
            .dsb()
            .store(r.DTB, 0x1000)
            .dc("civac", r.DTB, 0x1000)
            .fetchable()
        )
    ),
    "caches.image": Twins(
        r.traced(r.moved().store(r.KERNEL, 64).fetchable()),
        r.traced(r.moved().store(r.KERNEL, 64).dc("cvac", r.KERNEL, 64).fetchable()),
    ),
    "caches.data": Twins(
        r.traced(r.moved().store(r.DTB, 64).fetchable()),
        r.traced(r.moved().store(r.DTB, 64).dc("cvac", r.DTB, 64).fetchable()),
    ),
    "caches.completion": Twins(
        r.traced(r.moved().fetchable().store(r.DTB, 64).dc("cvac", r.DTB, 64).dsb(STORES)),
        r.traced(r.moved().fetchable().store(r.DTB, 64).dc("cvac", r.DTB, 64).dsb(FULL, OUTER)),
    ),
    "caches.domain": Twins(
        r.traced(r.moved().fetchable().store(r.DTB, 64).dc("cvac", r.DTB, 64).dsb(FULL, INNER)),
    ),
    "caches.read-around": Twins(
        r.traced(r.moved().fetchable().store(r.SPARE, 64).mmu_off().load(r.SPARE, 64)),
        r.traced(
            r.moved()
            .store(r.SPARE, 64)
            .dc("cvac", r.SPARE, 64)
            .fetchable()
            .mmu_off()
            .load(r.SPARE, 64)
        ),
    ),
    "caches.write-around": Twins(
        r.traced(r.moved().fetchable().mmu_off().store(r.SPARE, 64)),
        r.traced(r.moved().dc("civac", r.SPARE, 0x800).fetchable().mmu_off().store(r.SPARE, 64)),
    ),
    "caches.read-hidden": Twins(
        r.traced(
            r.moved()
            .dc("civac", r.SPARE, 0x800)
            .fetchable()
            .mmu_off()
            .store(r.SPARE, 64)
            .mmu_on()
            .load(r.SPARE, 64)
        ),
        r.traced(
            r.moved()
            .dc("civac", r.SPARE, 0x800)
            .fetchable()
            .mmu_off()
            .store(r.SPARE, 64)
            .dc("ivac", r.SPARE, 64)
            .dsb()
            .mmu_on()
            .load(r.SPARE, 64)
        ),
    ),
    "caches.hidden": Twins(
        r.traced(r.moved().fetchable().mmu_off().store(r.DTB, 64)),
        r.traced(r.moved().fetchable().mmu_off().dc("ivac", r.DTB, 64).dsb().store(r.DTB, 64)),
    ),
    "caches.set-way": Twins(r.traced(r.moved().dc_by_way("cisw").fetchable())),
    "caches.device": Twins(
        r.traced(r.moved().fetchable().mmu_off().load(r.KERNEL + 1, 8, flags=UNALIGNED)),
        r.traced(r.moved().load(r.KERNEL + 1, 8, flags=UNALIGNED).fetchable()),
    ),
    "fetch.image": Twins(r.traced(r.moved().dsb().ic().dsb())),
    "fetch.code": Twins(
        r.traced(
            r.moved()
            .store(r.SPARE, 64)
            .dc("cvau", r.SPARE, 64)
            .dsb()
            .ic()
            .isb()
            .fetch(r.SPARE)
            .fetchable()
        ),
        r.traced(r.moved().store(r.SPARE, 64).dc("cvau", r.SPARE, 64).fetchable().fetch(r.SPARE)),
    ),
    "fetch.in-place": Twins(
        replace(
            r.traced(Story(pc=r.CONTROL).mmu_off()),
            prehistory=Prehistory(r.IN_PLACE, r.IN_PLACE),
        ),
        replace(
            r.traced(Story(pc=r.CONTROL).fetchable().mmu_off()),
            prehistory=Prehistory(r.IN_PLACE, r.IN_PLACE),
        ),
    ),
    "boot.demo": Twins(replace(r.RAN_ON, boot=replace(r.BOOT, console="FAIL\n")), r.RAN_ON),
}


def rule_named(name: str) -> Rule:
    [found] = [rule for rule in BOOK if rule.name == name]
    return found


def test_every_rule_has_twins() -> None:
    assert set(TWINS) == {rule.name for rule in BOOK}
    assert len(BOOK) == len(TWINS), "a name stands twice"


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
    """And what else it breaks follows from that: an MMU that is on is a wrong SCTLR, too."""
    follow = {"handoff.stub-error": ["handoff.dtb"], "resume.el": ["resume.ttbr1"]}
    names = [finding.rule for finding in judge(TWINS[name].bad).findings]
    assert names == [name, *follow.get(name, [])]


@pytest.mark.parametrize("record", [r.GOOD, r.AWAKE, r.RAN_ON])
def test_every_rule_answers(record: Record) -> None:
    judged = judge(record)
    answers = judged.answers
    names = [*answers.applied, *answers.not_applicable, *answers.not_judged]
    assert sorted(names) == sorted(rule.name for rule in BOOK)
    assert judged.findings == ()
    assert not answers.not_judged
    assert all(answers.not_applicable.values())


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
    assert {name.split(".")[0] for name in reasons} == {"handoff", "relocation", "memory"}
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
        "prehistory",
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


# What the causes depend on ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "cause"),
    [
        (r.arrived(el=1), "no HVC was made"),
        (r.arrived(el=1, system={"ELR_EL2": r.CONTROL + 0x100}), "came back: its function number"),
        (r.arrived(el=1, system={"ELR_EL2": r.CONTROL + 0x204}), "no HVC was made"),
        (replace(r.arrived(el=1), regime=Regime.VHE), "no stub to call in this regime"),
        (
            replace(
                r.prepared(words=(KimageWord("el2_vectors", 0, 0, None),)),
                reached=(r.cpu(el=1),),
            ),
            "el2_vectors is 0",
        ),
        (replace(r.arrived(el=1), prepared=Unknown("lost")), "no HVC was made"),
    ],
)
def test_why_a_level_is_wrong(record: Record, cause: str) -> None:
    [finding] = judge(record, (rule_named("handoff.el"),)).findings
    assert cause in (finding.cause or "")


def test_spsr_tells_of_an_hvc_only_where_one_was_taken() -> None:
    """Entered at EL1, the CPU has come by no exception, whatever SPSR_EL2 holds."""
    record = r.arrived(el=1, system={"SPSR_EL2": _MASKED_BUT_I})
    assert [finding.rule for finding in judge(record).findings] == ["handoff.el"]


@pytest.mark.parametrize(
    ("regime", "register"),
    [(Regime.EL1, "SCTLR_EL1"), (Regime.NVHE, "SCTLR_EL1"), (Regime.VHE, "SCTLR_EL2")],
)
@pytest.mark.parametrize(
    ("value", "cause"),
    [
        (facts.SCTLR_EL1_MMU_OFF | 1 << 12, "written whole"),
        (facts.SCTLR_EL1_MMU_OFF & ~(1 << 11), "written whole"),
        (0, "written whole"),
        (facts.SCTLR_EL1_MMU_OFF | 1, "was never turned off"),
    ],
)
def test_sctlr_of_the_level_that_relocated(
    regime: Regime, register: str, value: int, cause: str
) -> None:
    record = replace(r.arrived(system={register: value}), regime=regime)
    [finding] = judge(record, (rule_named("handoff.sctlr"),)).findings
    assert f"{register} = " in finding.message
    assert cause in (finding.cause or "")


def test_a_list_that_cannot_be_walked_is_a_finding_of_its_own() -> None:
    record = r.prepared(listed=BrokenList("the list loops"), misled=Unknown("no list"))
    judged = judge(record)
    assert [finding.message for finding in judged.findings] == ["the list loops"]
    assert judged.answers.not_judged == {"setup.tables": "no list"}


def test_a_destination_that_holds_kimage_is_lawful_and_one_that_holds_the_list_is_not() -> None:
    for kind, allowed in (
        (OwnerKind.KIMAGE, True),
        (OwnerKind.ZERO_PAGE, True),
        (OwnerKind.LIST, False),
        (OwnerKind.CONTROL_PAGE, False),
        (OwnerKind.EL2_VECTORS, False),
        (OwnerKind.LINEAR_MAP, False),
        (OwnerKind.CONTROL_IDMAP, False),
    ):
        findings = judge(r.damaged(kind, in_destination=True)).findings
        assert (findings == ()) == allowed, kind
        [finding] = judge(r.damaged(kind)).findings
        assert str(Owner(kind)) in finding.message


@pytest.mark.parametrize("kind", PayloadKind)
def test_only_the_demo_kernel_owes_a_report(kind: PayloadKind) -> None:
    silent = replace(r.RAN_ON, boot=replace(r.BOOT, kind=kind, console=""))
    findings = judge(silent).findings
    assert bool(findings) == (kind is PayloadKind.DEMO_KERNEL)


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
        assert value is None or isinstance(value, (int, float, str, Enum)), type(value)


def test_records_are_plain_data() -> None:
    seen: set[type] = set()
    for record in (*(twins.bad for twins in TWINS.values()), r.GOOD, r.AWAKE, r.RAN_ON):
        _plain(record, seen)
    assert {Record, WalkRegisters} <= seen


# The page -----------------------------------------------------------------------------------------


def test_the_page_is_what_the_book_says() -> None:
    text = (ROOT / "docs" / "rules.md").read_text("utf-8")
    assert text == page(), "make docs/rules.md"
    for rule in BOOK:
        assert f"`{rule.name}`" in text
        assert rule.must in text
        assert rule.source in text


_NAME = re.compile(
    r"(handoff|relocation|memory|setup|damage|exception|bus|run|boot|resume|matrix|caches|fetch)\.[a-z][a-z0-9-]+"
)


def test_every_name_that_a_finding_can_have_is_on_the_page() -> None:
    """Every text in the sources that looks like a rule's name is one."""
    known_names = {rule.name for rule in BOOK} | set(OTHERS)
    for folder in ("api", "runtime", "cli", "diffing"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            names = {
                node.value
                for node in ast.walk(ast.parse(path.read_text("utf-8")))
                if isinstance(node, ast.Constant)
                and isinstance(node.value, str)
                and _NAME.fullmatch(node.value)
            }
            assert names <= known_names, path
