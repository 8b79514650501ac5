"""What the cause that a finding names depends on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from relokit.codegen import facts
from relokit.codegen.target import Regime
from relokit.runtime.guest.owner import Owner, OwnerKind
from relokit.runtime.guest.payload import PayloadKind
from relokit.runtime.judge.book import judge
from relokit.runtime.record.known import Unknown
from relokit.runtime.record.memory_facts import (
    BrokenList,
    KimageWord,
)
from relokit.runtime.record.record import Record
from support import records as r
from support.twins import rule_named


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
    record = r.arrived(el=1, system={"SPSR_EL2": r.MASKED_BUT_I})
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
    rules = [finding.rule for finding in judge(silent).findings]
    assert ("boot.demo" in rules) == (kind is PayloadKind.DEMO_KERNEL)
