"""What a snapshot's ID registers promise beyond the CPU that goes on with it."""

from __future__ import annotations

from relokit.runtime.arch.id_fields import promised

OWN = {
    "ID_AA64PFR1_EL1": 0,
    "ID_AA64ISAR0_EL1": 0x2 << 20,
    "ID_AA64ISAR1_EL1": 0,
    "ID_AA64MMFR1_EL1": 0x1 << 8,
    "ID_AA64MMFR2_EL1": 0,
}


def test_only_what_is_more_is_named() -> None:
    told = {"ID_AA64ISAR0_EL1": 0x3 << 20 | 0x1 << 60 | 0xF, "ID_AA64MMFR1_EL1": 0x1 << 8}
    # Bits 3:0 are no feature, VH is what both have; LSE2 and RNDR are more.
    assert list(promised(told, OWN.__getitem__)) == [
        "ID_AA64ISAR0_EL1.Atomic = 3",
        "ID_AA64ISAR0_EL1.RNDR = 1",
    ]


def test_what_nobody_told_is_no_promise() -> None:
    assert list(promised({}, OWN.__getitem__)) == []
    assert list(promised(OWN, OWN.__getitem__)) == []


def test_code_that_leaves_maintenance_out_is_a_promise_of_ctr() -> None:
    # A Neoverse N1 has IDC and DIC; fields that have a sign (no FP is 15) are none.
    told = {"CTR_EL0": 0xB444_C004, "ID_AA64PFR0_EL1": 0xFF_0000, "ID_AA64PFR1_EL1": 1 << 24}
    own = {"CTR_EL0": 0x8444_C004, "ID_AA64PFR0_EL1": 0, "ID_AA64PFR1_EL1": 0}
    assert list(promised(told, own.__getitem__)) == [
        "ID_AA64PFR1_EL1.SME = 1",
        "CTR_EL0.IDC/DIC = 11",
    ]
