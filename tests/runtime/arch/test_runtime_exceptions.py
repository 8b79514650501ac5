"""Syndromes in words, vector offsets, and the state a level is entered with."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relokit.runtime.arch.exceptions import (
    DELIVER,
    REPORT,
    ExceptionClass,
    ExceptionEvent,
    class_text,
    describe_syndrome,
    entry_pstate,
    make_event,
    status_text,
    vector_text,
)

EL1H, EL1T, EL2H = 0b0101, 0b0100, 0b1001


def _event(esr: int = 0x5A000000, spsr: int = EL1H, target: int = 2) -> ExceptionEvent:
    return make_event(esr, 0x1234, pc=0x40, pstate=spsr, target_el=target)


@pytest.mark.parametrize(
    ("esr", "far", "text"),
    [
        (0x5A000007, None, "HVC #0x7"),
        (0x56000000, None, "SVC #0x0"),
        (0xF2000003, None, "BRK #0x3"),
        (0x02000000, None, "undefined instruction"),
        (0x96000004, 0x10, "data abort at 0x10 (read): translation fault, level 0"),
        (0x9600004F, 0x10, "data abort at 0x10 (write): permission fault, level 3"),
        (0x96000147, 0x10, "data abort at 0x10 (cache maintenance): translation fault, level 3"),
        (0x96000021, 0x11, "data abort at 0x11 (read): alignment fault"),
        (0x96000010, 0x10, "data abort at 0x10 (read): synchronous external abort"),
        (
            0x82000006,
            0x10,
            "instruction abort from a lower level at 0x10: translation fault, level 2",
        ),
        (0x8600000D, 0x10, "instruction abort at 0x10: permission fault, level 1"),
    ],
)
def test_syndromes_in_words(esr: int, far: int | None, text: str) -> None:
    assert describe_syndrome(esr, far) == text


@given(st.integers(0, 0xFFFF_FFFF), st.one_of(st.none(), st.integers(0, (1 << 64) - 1)))
def test_any_syndrome_has_words(esr: int, far: int | None) -> None:
    assert describe_syndrome(esr, far)
    assert status_text(esr & 0x3F)


def test_every_class_has_a_name_and_reserved_ones_a_number() -> None:
    names = {class_text(entry) for entry in ExceptionClass}
    assert len(names) == len(ExceptionClass)
    assert class_text(0x3F) == "exception class 0x3f"


@pytest.mark.parametrize(
    ("spsr", "target", "offset"),
    [(EL1H, 1, 0x200), (EL1T, 1, 0x000), (EL1H, 2, 0x400), (EL1T, 2, 0x400), (EL2H, 2, 0x200),
     (0, 1, 0x400)],
)  # fmt: skip
def test_vector_offsets(spsr: int, target: int, offset: int) -> None:
    assert _event(spsr=spsr, target=target).vector_offset == offset


def test_only_classes_with_an_address_have_one() -> None:
    assert _event(0x96000004).far == 0x1234
    assert _event(0x5A000000).far is None
    assert _event(0x02000000).far is None


def test_slots_have_names() -> None:
    assert vector_text(0x400) == "slot 0x400 (synchronous from a lower level in AArch64)"
    assert vector_text(0x284) == "slot 0x280 (IRQ from the same level using SP_ELx)"
    assert vector_text(0x7FC) == "slot 0x780 (SError from a lower level in AArch32)"


def test_a_handler_starts_masked_on_its_own_stack() -> None:
    event = _event(spsr=0xF << 28 | 1 << 22 | 1 << 20 | 1 << 21 | EL1T)
    # NZCV and PAN stay; IL and SS go; DAIF, EL2 and SP_ELx are set.
    assert entry_pstate(event, set_pan=False) == 0xF << 28 | 1 << 22 | 0xF << 6 | EL2H
    assert entry_pstate(_event(spsr=EL1H, target=1), set_pan=True) == 1 << 22 | 0xF << 6 | EL1H
    assert entry_pstate(_event(spsr=EL1H, target=1), set_pan=False) == 0xF << 6 | EL1H


def test_policies() -> None:
    hvc, abort = _event(0x5A000000), _event(0x96000004)
    assert (REPORT.delivers(hvc), REPORT.delivers(abort)) == (True, False)
    assert (DELIVER.delivers(hvc), DELIVER.delivers(abort)) == (True, True)


@pytest.mark.parametrize(
    ("exception_class", "target", "at"),
    [
        (ExceptionClass.SVC64, 1, 0x3C),
        (ExceptionClass.HVC64, 2, 0x3C),
        (ExceptionClass.SMC64, 3, 0x3C),
        # Trapped by HCR_EL2.TSC: it was not executed, and is what would be returned to.
        (ExceptionClass.SMC64, 2, 0x40),
        (ExceptionClass.BRK64, 1, 0x40),
        (ExceptionClass.DATA_ABORT_SAME, 1, 0x40),
        (ExceptionClass.UNKNOWN, 1, 0x40),
    ],
)
def test_a_call_is_before_where_it_returns_to(
    exception_class: ExceptionClass, target: int, at: int
) -> None:
    """ARM DDI 0487, D1.3.1: preferred exception return addresses."""
    assert _event(exception_class << 26, target=target).raised_at == at
