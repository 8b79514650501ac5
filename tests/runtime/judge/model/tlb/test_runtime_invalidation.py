"""TLBI by TLBI: what each is for, by which operand, and when it is complete."""

from __future__ import annotations

import pytest

from relokit.codegen.facts import HCR_EL2_E2H, HCR_EL2_TGE
from relokit.codegen.system_registers import OPERATIONS
from relokit.runtime.judge.model.tlb.invalidation import (
    MAX_INVALIDATIONS,
    RESERVED,
    Broadcast,
    Invalidation,
    Reach,
    invalidations,
)
from relokit.runtime.record.known import UnknownFactError
from relokit.runtime.record.views import NEVER
from support.traces import FULL, INNER, LOADS, NON, OUTER, STORES, SYSTEM, Story

HOST = HCR_EL2_E2H | HCR_EL2_TGE
VA = 0xFFFF_8000_1234_5000


def one(name: str, operand: int = 0, *, el: int = 1, hcr: int = 0, **start: int) -> Invalidation:
    story = Story(el=el, hcr=hcr).starting(**start).tlbi(name, operand)
    [found] = invalidations(story.trace())
    return found


@pytest.mark.parametrize(
    ("name", "el", "hcr", "level"),
    [
        ("vmalle1", 1, 0, 1),
        ("vmalle1", 1, HOST, 1),
        ("vmalle1", 2, 0, 1),
        ("vmalle1", 2, HCR_EL2_E2H, 1),
        ("vmalle1", 2, HOST, 2),
        ("vae1", 2, HOST, 2),
        ("alle1", 2, HOST, 1),
        ("vmalls12e1", 2, HOST, 1),
        ("alle2", 2, 0, 2),
        ("vae2is", 2, HOST, 2),
        ("alle3", 2, 0, 3),
    ],
)
def test_the_regime_is_that_of_the_name_and_of_the_host(
    name: str, el: int, hcr: int, level: int
) -> None:
    """D8.17.5.4: with E2H and TGE, what is named EL1 is EL2&0, all but the forms for all VMIDs."""
    assert one(name, el=el, hcr=hcr).level == level


@pytest.mark.parametrize("name", [name for name in OPERATIONS if name.startswith("tlbi ")])
@pytest.mark.parametrize("el", [1, 2])
def test_every_tlbi_is_known_and_legal_where_it_is(name: str, el: int) -> None:
    found = invalidations(Story(el=el).starting(ID_AA64ISAR0_EL1=2 << 56).tlbi(name[5:]).trace())
    if "pa" in name and "ipa" not in name:
        assert found == (), "of EL3, for granule protection"
        return
    [invalidation] = found
    base = name.removesuffix("is").removesuffix("os")
    needs = 3 if base[-1] == "3" else 2 if base[-1] == "2" or "all" in base[5:9] else 1
    if base[5:] in ("vaale1", "rvaale1", "vmalle1"):
        needs = 1
    if base[5:] == "vmalls12e1" or "ipas2" in base:
        needs = 2
    assert (invalidation.illegal is None) == (el >= needs), invalidation.illegal
    form = {"is": Broadcast.INNER, "os": Broadcast.OUTER}.get(name[-2:], Broadcast.LOCAL)
    assert invalidation.form is form


def test_what_a_cpu_has_not_is_undefined() -> None:
    assert one("vmalle1os").illegal
    assert one("rvae1").illegal
    assert one("rvae1", ID_AA64ISAR0_EL1=1 << 56).illegal
    assert one("vmalle1os", ID_AA64ISAR0_EL1=1 << 56).illegal is None
    assert one("vmalle1is").illegal is None


def test_an_address_is_in_units_of_4_kib_with_asid_and_level_above() -> None:
    """D8.17.5, IZVNJG: whatever the granule."""
    found = one("vae1", 0x12 << 48 | VA >> 12 & (1 << 44) - 1)
    assert (found.va, found.asid, found.page, found.ttl) == (VA, 0x12, 0, None)
    assert found.scope is Reach.ADDRESS
    assert (found.last_level, found.any_asid) == (False, False)
    low = one("vaale1", 0x4000_0)
    assert (low.va, low.last_level, low.any_asid) == (0x4000_0000, True, True)
    hinted = one("vale1", 0b1011 << 44 | 0x40000)
    assert (hinted.page, hinted.ttl) == (16384, 3)


@pytest.mark.parametrize(("code", "page"), [(1, 4096), (2, 16384), (3, 65536), (0, RESERVED)])
def test_a_range_has_its_base_in_its_own_granule(code: int, page: int) -> None:
    """D8.17.5, RQKRKL: (NUM + 1) * 2^(5 * SCALE + 1) granules from BaseADDR on."""
    unit = max(page, 1)
    base = (VA // unit) & (1 << 37) - 1
    found = one("rvae1", code << 46 | 1 << 44 | 2 << 39 | base, ID_AA64ISAR0_EL1=2 << 56)
    assert found.page == page
    if page != RESERVED:
        assert found.va == VA // unit * unit
        assert found.size == 3 * 2**6 * page


@pytest.mark.parametrize(
    ("name", "domain", "wide"),
    [
        ("vmalle1", NON, True),
        ("vmalle1", OUTER, True),
        ("vmalle1is", NON, False),
        ("vmalle1is", INNER, True),
        ("vmalle1is", SYSTEM, True),
        ("alle2os", INNER, False),
        ("alle2os", OUTER, True),
    ],
)
def test_a_full_dsb_completes_in_its_domain(name: str, domain: int, *, wide: bool) -> None:
    story = Story(el=2).starting(ID_AA64ISAR0_EL1=1 << 56).tlbi(name)
    story.dsb(STORES, SYSTEM).dsb(LOADS, SYSTEM).isb().dsb(FULL, domain).dsb(FULL, SYSTEM)
    [found] = invalidations(story.trace())
    assert found.completion is not None
    assert (found.completion.number, found.completion.wide) == (4, wide)
    assert (found.complete, found.weak) == (5, 1)


def test_without_a_dsb_it_is_never_complete() -> None:
    [found] = invalidations(Story().dsb().tlbi().isb().trace())
    assert (found.completion, found.weak, found.complete) == (None, None, NEVER)


def test_more_than_are_looked_at_are_no_move() -> None:
    story = Story()
    for _ in range(MAX_INVALIDATIONS + 1):
        story.tlbi()
    with pytest.raises(UnknownFactError, match="8,193"):
        invalidations(story.trace())
