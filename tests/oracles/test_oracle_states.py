"""Every state of the series on a real kernel, and the two ends against shipped machine code."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from relokit.codegen.base.errors import TargetError
from relokit.codegen.series import COMPLETE, Feature
from relokit.codegen.target import PAGE_SIZES, Regime, Target
from relokit.runtime.judge.outcome import Outcome
from relokit.runtime.kexec.job import Job
from support.machines import run_linked

pytestmark = pytest.mark.oracle


def outcome(target: Target, job: Job) -> Outcome:
    return run_linked(target, job)


@pytest.mark.parametrize("state", range(COMPLETE + 1))
def test_debians_kernel_arrives_in_every_state(state: int, kernel_6_1: Path) -> None:
    """In every regime, each with another page size; the next state turns them."""
    for number, regime in enumerate(Regime, state):
        page_size = [*PAGE_SIZES.values()][number % 3]
        target = Target(series=state, page_size=page_size, regime=regime)
        result = outcome(target, Job(kernel=kernel_6_1))
        assert not [one for one in result.findings if one.is_error]
        assert result.verified_bytes >= kernel_6_1.stat().st_size
        assert result.relocation.mmu == target.has(Feature.MMU_ON)


@pytest.mark.parametrize("regime", list(Regime))
@pytest.mark.parametrize("state", [0, COMPLETE])
def test_shipped_code_ends_where_ours_does(
    state: int, regime: Regime, kernel_5_10: Path, kernel_6_1: Path
) -> None:
    shipped = kernel_6_1 if state == COMPLETE else kernel_5_10
    target = Target(series=state, regime=regime)
    ours = outcome(target, Job(kernel=kernel_6_1))
    theirs = outcome(target, Job(kernel=kernel_6_1, code_from=shipped))
    # 5.10's soft restart leaves SCTLR.SA0 set, which booting.rst allows.
    kept = 0 if state == COMPLETE else 1 << 4
    assert [one.rule for one in theirs.findings] == ["handoff.sctlr"] * bool(kept)
    mine, others = ours.handoff, theirs.handoff
    assert mine is not None
    assert others is not None
    assert replace(others, sctlr=others.sctlr & ~kept) == replace(mine, sctlr=mine.sctlr & ~kept)
    assert theirs.verified_bytes == ours.verified_bytes
    assert theirs.relocation.el == ours.relocation.el
    # Not the same code: another number of instructions does the same work.
    assert theirs.relocation.instructions != ours.relocation.instructions


def test_code_of_one_end_is_refused_at_the_other(kernel_5_10: Path, kernel_6_1: Path) -> None:
    with pytest.raises(TargetError, match="states 0 to 1 of the series"):
        outcome(Target(), Job(code_from=kernel_5_10))
    with pytest.raises(TargetError, match="states 12 to 15 of the series"):
        outcome(Target(series=0), Job(code_from=kernel_6_1))


def test_a_4k_kernel_runs_on_after_one_with_larger_pages(kernel_6_1: Path) -> None:
    # The engine's TLB unit must not be larger than the new kernel's pages: it went silent then.
    target = Target(page_size=65536, regime=Regime.EL1)
    banner = "Linux version 6.1."
    result = outcome(target, Job(kernel=kernel_6_1, boot=5.0, cmdline="earlycon", expect=banner))
    assert not [one for one in result.findings if one.is_error]
    assert result.console is not None
    assert banner in result.console


@pytest.mark.parametrize(("cpu_bits", "found"), [(52, True), (48, False)])
def test_a_52_bit_kernel_finds_the_cpu_it_runs_on(
    cpu_bits: int, found: bool, kernel_6_12: Path
) -> None:
    """6.12 asks the ID registers, and with LPA2 makes five levels of tables of its own."""
    target = Target(va_bits=52, cpu_bits=cpu_bits, regime=Regime.EL1)
    result = outcome(target, Job(kernel=kernel_6_12, boot=300.0, cmdline="earlycon panic=-1"))
    assert not [one for one in result.findings if one.is_error]
    assert result.console is not None
    assert "Linux version 6.12." in result.console
    assert ("52-bit Virtual Addressing (LPA2)" in result.console) == found
    # It has come to its end: without a root to mount it panics and resets the machine.
    assert "SYSTEM_RESET" in (result.ended or "")


@pytest.mark.parametrize(("va_bits", "found"), [(48, False), (52, True)])
def test_a_16k_kernel_runs_on(va_bits: int, found: bool, kernel_6_12_16k: Path) -> None:
    # It parked itself for want of 16 KiB pages in the ID registers, and then found old entries in
    # its tables: TLBI by VA forgot a quarter of a page.
    target = Target(page_size=16384, va_bits=va_bits, regime=Regime.EL1)
    result = outcome(target, Job(kernel=kernel_6_12_16k, boot=300.0, cmdline="earlycon panic=-1"))
    assert result.console is not None
    assert "Linux version 6.12." in result.console
    assert ("52-bit Virtual Addressing (LPA2)" in result.console) == found
    assert "SYSTEM_RESET" in (result.ended or "")
