"""What SCTLR and HCR make of an access, of maintenance and of a fetch."""

from __future__ import annotations

import pytest

from relokit.codegen.system_registers import REGISTERS
from relokit.runtime.judge.model.caches.controls import (
    HCR_CD,
    HCR_DC,
    HCR_ID,
    HCR_TGE,
    HCR_VM,
    SCTLR_C,
    SCTLR_I,
    Controls,
)
from relokit.runtime.judge.model.caches.memory_type import MemoryType
from support.traces import MMU_OFF, NON_CACHEABLE, WRITE_BACK

DEVICE, AROUND, THROUGH, BACK = MemoryType
E2H = 1 << 34


def controls(el1: int = 0, el2: int = 0, hcr: int = 0) -> Controls:
    return Controls({"SCTLR_EL1": el1, "SCTLR_EL2": el2, "HCR_EL2": hcr})


@pytest.mark.parametrize(
    ("attributes", "sctlr", "hcr", "wanted"),
    [
        (WRITE_BACK, SCTLR_C, 0, BACK),
        (WRITE_BACK, 0, 0, AROUND),
        (NON_CACHEABLE, SCTLR_C, 0, AROUND),
        (MMU_OFF, SCTLR_C, 0, DEVICE),
        (MMU_OFF, 0, HCR_DC, BACK),
        (MMU_OFF, 0, HCR_DC | HCR_TGE, DEVICE),
        (MMU_OFF, 0, HCR_DC | HCR_CD, AROUND),
        (MMU_OFF, 0, HCR_VM, DEVICE),
        (WRITE_BACK, SCTLR_C, HCR_VM, BACK),
        (WRITE_BACK, SCTLR_C, HCR_VM | HCR_CD, AROUND),
        (WRITE_BACK, SCTLR_C, HCR_CD, BACK),
        (WRITE_BACK, SCTLR_C, HCR_VM | HCR_ID, BACK),
    ],
)
def test_data(attributes: int, sctlr: int, hcr: int, wanted: MemoryType) -> None:
    assert controls(sctlr, hcr=hcr).data(attributes, 1) is wanted


@pytest.mark.parametrize(
    ("attributes", "sctlr", "hcr", "wanted"),
    [
        (WRITE_BACK, SCTLR_I, 0, BACK),
        (WRITE_BACK, SCTLR_C, 0, AROUND),
        (MMU_OFF, SCTLR_I, 0, THROUGH),
        (MMU_OFF, 0, 0, AROUND),
        (MMU_OFF, SCTLR_I, HCR_DC, BACK),
        (WRITE_BACK, SCTLR_I, HCR_VM | HCR_ID, AROUND),
        (WRITE_BACK, SCTLR_I, HCR_VM | HCR_CD, BACK),
    ],
)
def test_fetches_have_a_switch_of_their_own(
    attributes: int, sctlr: int, hcr: int, wanted: MemoryType
) -> None:
    assert controls(sctlr, hcr=hcr).code(attributes, 1) is wanted


def test_a_level_has_its_own_register_and_el0_that_of_el1() -> None:
    one = controls(el1=SCTLR_C, el2=0)
    assert [one.data(WRITE_BACK, el) for el in (0, 1, 2)] == [BACK, BACK, AROUND]
    # A second stage is below EL2 only.
    other = controls(el1=SCTLR_C, el2=SCTLR_C, hcr=HCR_VM | HCR_CD)
    assert [other.data(WRITE_BACK, el) for el in (0, 1, 2)] == [AROUND, AROUND, BACK]


def test_what_is_written_counts_and_goes_where_e2h_sends_it() -> None:
    one = controls(el1=SCTLR_C, el2=SCTLR_C)
    one.write(REGISTERS["SCTLR_EL1"], 0, 2)
    assert (one.data(WRITE_BACK, 1), one.data(WRITE_BACK, 2)) == (AROUND, BACK)
    one.write(REGISTERS["HCR_EL2"], E2H, 2)
    one.write(REGISTERS["SCTLR_EL1"], 0, 2)
    one.write(REGISTERS["SCTLR_EL12"], SCTLR_C, 2)
    assert (one.data(WRITE_BACK, 1), one.data(WRITE_BACK, 2)) == (BACK, AROUND)


@pytest.mark.parametrize(
    ("hcr", "el", "cleans"),
    [(0, 1, False), (HCR_VM, 1, True), (HCR_DC, 1, True), (HCR_VM, 2, False), (HCR_CD, 1, False)],
)
def test_invalidation_cleans_below_a_second_stage(hcr: int, el: int, cleans: bool) -> None:
    assert controls(hcr=hcr).invalidation_cleans(el) is cleans


def test_lines_are_allocated_below_any_mmu_that_is_on() -> None:
    assert controls().may_allocate(WRITE_BACK, 1)
    assert not controls().may_allocate(MMU_OFF, 1)
    assert controls(el2=1).may_allocate(MMU_OFF, 1)
    assert not controls(el1=1).may_allocate(MMU_OFF, 2)
    assert controls(hcr=HCR_DC).may_allocate(MMU_OFF, 1)
