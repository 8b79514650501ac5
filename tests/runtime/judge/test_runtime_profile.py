"""Profiles: what a CPU spares, by its ID registers; the worst machine decides all the same."""

from __future__ import annotations

from dataclasses import replace

import pytest

from relokit.codegen.base.errors import MachineError
from relokit.runtime.judge.book import judge, whole_book
from relokit.runtime.judge.rules.profile import (
    CORTEX_A72,
    ERRATA,
    FALKOR,
    PROFILES,
    THUNDERX2,
    Guarantee,
    profile_named,
    profile_of,
)
from relokit.runtime.record.known import Unknown
from support import records as r
from support.twins import TWINS, rule_named


@pytest.mark.parametrize(
    ("register", "value", "given"),
    [
        ("CTR_EL0", 0x8444_C004, set()),
        ("CTR_EL0", 1 << 28, {Guarantee.IDC}),
        ("CTR_EL0", 1 << 29, {Guarantee.DIC}),
        ("ID_AA64MMFR1_EL1", 1 << 36, set()),
        ("ID_AA64MMFR1_EL1", 2 << 36, {Guarantee.ETS2}),
        ("ID_AA64MMFR2_EL1", 1 << 52, {Guarantee.BBML1}),
        ("ID_AA64MMFR2_EL1", 2 << 52, {Guarantee.BBML1, Guarantee.BBML2}),
    ],
)
def test_guarantees_are_read_from_id_registers(
    register: str, value: int, given: set[Guarantee]
) -> None:
    assert profile_of({register: value}).guarantees == given
    assert profile_of({}).guarantees == frozenset()


@pytest.mark.parametrize(
    ("midr", "model"), [(0x410F_D083, CORTEX_A72), (0x510F_C000, FALKOR), (0x431F_0AF1, THUNDERX2)]
)
def test_a_model_is_known_by_its_midr(midr: int, model: object) -> None:
    profile = profile_of({"MIDR_EL1": midr})
    assert profile.model is model
    assert profile.name.endswith("(emulated)")


def test_a_cpu_that_nobody_knows_has_no_erratum_of_a_model() -> None:
    profile = profile_of({"MIDR_EL1": 0x000F_0510})
    assert profile.model is None
    assert "0xf0510" in profile.name
    assert profile.spares("errata.e1041", frozenset()) == "it is none of Falkor"


@pytest.mark.parametrize("erratum", ERRATA, ids=lambda erratum: erratum.rule)
def test_an_erratum_bites_where_it_is(erratum: object) -> None:
    rule, models = erratum.rule, erratum.models  # type: ignore[attr-defined]
    for profile in PROFILES.values():
        spared = profile.spares(rule, frozenset())
        assert (spared is None) == (not models or profile.model in models), profile


def test_what_is_missing_and_not_needed_is_said_beside_the_verdict() -> None:
    record = TWINS["fetch.in-place"].bad
    [finding] = judge(record, profile="coherent-fetch").findings
    assert finding.spared == "it has DIC"
    for name in (None, "cortex-a72"):
        [finding] = judge(record, profile=name).findings
        assert finding.spared is None


def test_the_worst_machine_decides() -> None:
    record = r.traced(r.moved().dsb())
    for name in (None, *PROFILES):
        judged = judge(record, (rule_named("fetch.image"),), name)
        assert judged.failed
        assert (judged.findings[0].spared is not None) == (name in ("coherent-fetch", "best"))


def test_a_step_that_every_cpu_needs_is_never_spared() -> None:
    """DIC needs no IC, and a DSB and an ISB all the same."""
    record = r.traced(r.moved().dsb().ic().dsb())
    [finding] = judge(record, (rule_named("fetch.image"),), "best").findings
    assert finding.spared is None


def test_the_cpu_of_a_record_is_the_default() -> None:
    assert judge(r.GOOD, ()).profile == "Cortex-A72 (emulated)"
    assert judge(replace(r.GOOD, platform=Unknown("lost")), ()).profile is None


def test_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(MachineError, match="no profile 'Cortex'"):
        profile_named("Cortex")


def test_every_rule_on_an_erratum_has_its_row() -> None:
    rows = {erratum.rule for erratum in ERRATA}
    assert {rule.name for rule in whole_book() if rule.name.startswith("errata.")} <= rows
