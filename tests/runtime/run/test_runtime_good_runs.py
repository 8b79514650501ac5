"""The run, right on every target, of every size, and told as it goes."""

from __future__ import annotations

import pytest

import relokit
from relokit.codegen.facts import SCTLR_EL1_MMU_OFF, SCTLR_EL2_MMU_OFF
from relokit.codegen.target import MIB, PAGE_SIZES, Regime, Target
from relokit.runtime.judge.outcome import Outcome, Status
from relokit.runtime.kexec.job import Job
from relokit.runtime.run.verdict import run
from support.machines import programs, quiet

TARGETS = [Target(page_size=page, regime=el) for page in PAGE_SIZES.values() for el in Regime]
SMALL = Job(size=300_000, memory=160 * MIB, max_instructions=3_000_000, timeout=20)


def named(value: object) -> str:
    """A test's id."""
    return value.name if isinstance(value, Target) else str(value)


def holds(outcome: Outcome, target: Target) -> None:
    """What every good run of the complete series looks like."""
    assert outcome.findings == ()
    assert outcome.status is Status.PASS
    relocation, handoff = outcome.relocation, outcome.handoff
    assert relocation.bytes == relocation.pages * target.page_size == outcome.verified_bytes
    assert (relocation.el, relocation.mmu) == (2 if target.regime is Regime.VHE else 1, True)
    assert relocation.instructions > relocation.bytes // 64 * 11
    assert handoff is not None
    kernel = outcome.payload[0]
    assert handoff.pc == kernel.at
    assert handoff.x0 == outcome.payload[-1].at
    assert (handoff.x1, handoff.x2, handoff.x3) == (0, 0, 0)
    assert not handoff.mmu
    assert handoff.daif == 0b1111
    if target.regime is Regime.NVHE:
        assert (handoff.el, handoff.sctlr) == (2, SCTLR_EL2_MMU_OFF)
    else:
        assert handoff.el == (2 if target.regime is Regime.VHE else 1)
        assert handoff.sctlr == SCTLR_EL1_MMU_OFF


@pytest.mark.parametrize("target", TARGETS, ids=named)
def test_demo_kernel_passes_and_is_content(target: Target) -> None:
    outcome = run(target, programs(target), Job(boot=10), quiet)
    holds(outcome, target)
    assert outcome.console is not None
    assert "relokit demo kernel: PASS" in outcome.console
    level = 1 if target.regime is Regime.EL1 else 2
    assert f"entered at EL{level}" in outcome.console
    assert outcome.ended is not None
    assert "powered off" in outcome.ended


# All of it on the diagonal, a tenth elsewhere.
@pytest.mark.parametrize(
    ("target", "size"),
    [(target, 84 * MIB if n % 4 == 0 else 8 * MIB + 1) for n, target in enumerate(TARGETS)],
    ids=named,
)
def test_synthetic_payload_passes(target: Target, size: int) -> None:
    outcome = run(target, programs(target), Job(size=size), quiet)
    holds(outcome, target)
    assert outcome.verified_bytes >= size


@pytest.mark.parametrize("line", [16, 32, 128, 256, 2048])
@pytest.mark.parametrize("regime", [Regime.NVHE, Regime.VHE])
def test_any_cache_line_passes(line: int, regime: Regime) -> None:
    target = Target(cache_line=line, regime=regime)
    outcome = run(target, programs(target), SMALL, quiet)
    holds(outcome, target)
    # Four instructions clean a line.
    other = run(Target(regime=regime), programs(Target(regime=regime)), SMALL, quiet)
    lines = outcome.relocation.bytes // line - other.relocation.bytes // 64
    assert outcome.relocation.instructions - other.relocation.instructions == 4 * lines


@pytest.mark.parametrize(("page", "va_bits"), [(4096, 39), (16384, 36), (16384, 47), (65536, 42)])
@pytest.mark.parametrize("regime", list(Regime))
def test_narrower_address_spaces_pass(page: int, va_bits: int, regime: Regime) -> None:
    target = Target(page_size=page, va_bits=va_bits, regime=regime)
    holds(run(target, programs(target), SMALL, quiet), target)


@pytest.mark.parametrize("target", TARGETS[::4], ids=named)
def test_the_facade_says_the_same(target: Target) -> None:
    """Through the machine room, a child process."""
    here = run(target, programs(target), SMALL, quiet)
    there = relokit.run(target, SMALL)
    holds(there, target)
    assert (there.handoff, there.verified_bytes) == (here.handoff, here.verified_bytes)
    assert there.relocation.instructions == here.relocation.instructions


def test_progress_is_told_in_order() -> None:
    seen: list[tuple[str, int, int]] = []
    target = Target()
    job = Job(size=24 * MIB)
    run(target, programs(target), job, lambda *report: seen.append(report))
    stages = list(dict.fromkeys(stage for stage, _, _ in seen))
    assert stages[0] == "prepare"
    assert stages[-1] == "verify"
    assert all(0 <= done <= total for _, done, total in seen)
    for stage in ("prepare", "verify"):
        done = [part for name, part, _ in seen if name == stage]
        assert done == sorted(done)
        assert seen[[name for name, _, _ in seen].index(stage)][2] == done[-1]
