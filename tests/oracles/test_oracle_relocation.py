"""Relocation code run with a real kernel: ours moves one, and shipped ones move as ours does.

Source: the shipped kernels themselves.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import cycle, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import relokit
from relokit.codegen.facts import SCTLR_EL1_MMU_OFF, SCTLR_EL2_MMU_OFF
from relokit.codegen.target import PAGE_SIZES, Regime, Target
from relokit.linker.kernel.btf import kimage_layout_from
from relokit.linker.kernel.kernel_file import open_kernel
from relokit.runtime.arch.descriptors import TABLE_AF
from relokit.runtime.board.devicetree import virt_dtb
from relokit.runtime.guest.order import Order
from relokit.runtime.guest.owner import Owner, OwnerKind
from relokit.runtime.judge.outcome import Handoff
from relokit.runtime.kexec.job import Job, Shape
from relokit.runtime.record.record import LegName
from relokit.runtime.run.execute import execute
from relokit.runtime.run.prepare import open_cpu, prepare_machine
from relokit.runtime.run.verdict import run
from support.machines import linked, prepared, programs, quiet, run_linked

pytestmark = pytest.mark.oracle

RAM, RAM_SIZE = 0x4000_0000, 64 << 20
TARGETS = [Target(page_size=page, regime=el) for page in PAGE_SIZES.values() for el in Regime]


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_debians_kernel_arrives_whole(target: Target, kernel_6_1: Path) -> None:
    outcome = run(target, programs(target), Job(kernel=kernel_6_1), quiet)
    assert outcome.findings == ()
    assert outcome.payload[0].bytes == kernel_6_1.stat().st_size
    assert outcome.verified_bytes == outcome.relocation.bytes >= kernel_6_1.stat().st_size
    assert outcome.relocation.mmu
    assert outcome.relocation.el == (2 if target.regime is Regime.VHE else 1)
    handoff = outcome.handoff
    assert handoff is not None
    assert handoff.el == (1 if target.regime is Regime.EL1 else 2)
    assert handoff.x0 == outcome.payload[-1].at
    assert (handoff.x1, handoff.x2, handoff.x3, handoff.mmu, handoff.daif) == (0, 0, 0, False, 15)
    assert handoff.sctlr == (
        SCTLR_EL2_MMU_OFF if target.regime is Regime.NVHE else SCTLR_EL1_MMU_OFF
    )


@dataclass(frozen=True)
class Shipped:
    """A kernel whose own code runs; ``four_pages`` is what it takes for a list of four pages.

    That number was measured on the bare function: the guest's own start and end around it are a
    few instructions more or less.
    """

    fixture: str
    series: int
    page_size: int
    four_pages: int | None


SHIPPED = [
    Shipped("kernel_5_10", 0, 4096, None),
    Shipped("kernel_6_1", 15, 4096, 4209),
    Shipped("kernel_6_12", 15, 4096, 4211),
    Shipped("kernel_6_12_16k", 15, 16384, 16499),
    Shipped("kernel_7", 15, 4096, 4227),
]
AROUND = 20
KEPT = 1 << 4
"""SCTLR.SA0: 5.10's soft restart clears what it knows of, and writes the rest back."""
WITH_CODE = frozenset(
    {
        OwnerKind.CONTROL_PAGE,
        OwnerKind.EL2_VECTORS,
        OwnerKind.OLD_KERNEL,
        OwnerKind.SWAPPER,
        OwnerKind.RESTART_IDMAP,
    }
)
SAMPLE = Job(size=3_000_000, memory=160 << 20, order=Order.SHUFFLED, seed=7)


def target_for(one: Shipped, kernel: Path, regime: Regime, **sizes: int) -> Target:
    """Built for the struct kimage that the kernel's code reads."""
    layout = kimage_layout_from(open_kernel(kernel).image)
    return Target(series=one.series, page_size=one.page_size, regime=regime, layout=layout, **sizes)


@pytest.fixture(params=SHIPPED, ids=lambda shipped: shipped.fixture)
def shipped(request: pytest.FixtureRequest) -> tuple[Shipped, Path]:
    """What runs, and where it is."""
    one: Shipped = request.param
    return one, request.getfixturevalue(one.fixture)


@dataclass(frozen=True)
class Result:
    """The machine at the new kernel's first instruction."""

    handoff: Handoff
    x4: int
    sctlr_el1: int
    instructions: int
    ram: NDArray[np.uint8]


def _arrive(target: Target, job: Job) -> Result:
    """Run to the hand-over; the pages that hold code are left out of what is compared."""
    target, built, opened = linked(target, job)
    machine = prepare_machine(target, built, job, quiet, opened)
    cpu = open_cpu(machine)
    record = execute(machine, cpu, job, quiet)
    assert record.complete
    for region in machine.allocator.regions:
        # The old kernel has its stub and its soft restart, and is mapped as long as it then is.
        if region.owner.kind in WITH_CODE:
            machine.memory.view(region.base, region.size).fill(0)
        elif region.owner.kind is OwnerKind.LINEAR_MAP:
            # The one thing in which kernels copy this map of ours differently.
            words = machine.memory.view(region.base, region.size).view(np.uint64)
            words &= ~np.uint64(TABLE_AF)
    [stage] = machine.stages
    handoff = Handoff(
        pc=cpu.pc,
        el=cpu.el,
        x0=cpu.x(0),
        x1=cpu.x(1),
        x2=cpu.x(2),
        x3=cpu.x(3),
        mmu=bool(cpu.read(f"SCTLR_EL{cpu.el}") & 1),
        sctlr=cpu.read(f"SCTLR_EL{cpu.el}"),
        daif=cpu.pstate >> 6 & 0xF,
    )
    assert (handoff.pc, handoff.x0) == (stage.pc, stage.x0)
    move = record.leg(LegName.MOVE)
    assert move is not None
    return Result(handoff, cpu.x(4), cpu.read("SCTLR_EL1"), move.instructions, machine.memory.ram)


def _masked(handoff: Handoff, kept: int) -> Handoff:
    return replace(handoff, sctlr=handoff.sctlr & ~kept)


@pytest.mark.parametrize("regime", list(Regime))
def test_shipped_code_gives_the_same_memory_and_registers(
    shipped: tuple[Shipped, Path], regime: Regime
) -> None:
    one, path = shipped
    target = target_for(one, path, regime)
    assert run(target, programs(target), SAMPLE, quiet).findings == ()
    ours = _arrive(target, SAMPLE)
    theirs = _arrive(target, replace(SAMPLE, code_from=path))
    kept = KEPT if one.series == 0 else 0
    assert _masked(ours.handoff, kept) == _masked(theirs.handoff, kept)
    assert ours.sctlr_el1 & ~kept == theirs.sctlr_el1 & ~kept
    if regime is Regime.NVHE:
        assert ours.x4 == theirs.x4
    assert np.array_equal(ours.ram, theirs.ram)


FOLDING = [one for one in SHIPPED if one.fixture in ("kernel_6_12", "kernel_6_12_16k", "kernel_7")]
# The new kernel is below 48 bits, and with the old one fills what there is of that.
ACROSS, FILLING = (1 << 48) - (4 << 20), 2 << 20


# Each kernel by each regime, in turn on a CPU of 52 bits and on one of 48: all pairs are there.
OVER_52_BITS = [
    pytest.param(one, cpu_bits, regime, id=f"{one.fixture}-{cpu_bits}-{regime}")
    for (one, regime), cpu_bits in zip(product(FOLDING, Regime), cycle((52, 48)))
]


@pytest.mark.parametrize(("one", "cpu_bits", "regime"), OVER_52_BITS)
def test_code_shipped_for_52_bits_gives_the_same_over_52_bit_tables(
    one: Shipped, cpu_bits: int, regime: Regime, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Their folds of TTBR1 at work: with a CPU of 52 bits, all tables are above 48."""
    path = request.getfixturevalue(one.fixture)
    target = target_for(one, path, regime, va_bits=52, cpu_bits=cpu_bits)
    job = replace(SAMPLE, size=FILLING)
    if cpu_bits == 52:
        tree = tmp_path / "across.dtb"
        tree.write_bytes(virt_dtb(ACROSS, 160 << 20, regime=regime))
        job = replace(job, dtb=tree, memory=None)
    assert run_linked(target, replace(job, code_from=path)).findings == ()
    ours = _arrive(target, job)
    theirs = _arrive(target, replace(job, code_from=path))
    assert ours.handoff == theirs.handoff
    assert np.array_equal(ours.ram, theirs.ram)


def test_the_linear_map_is_copied_by_the_rule_of_the_kernel_whose_code_runs(
    kernel_6_1: Path, kernel_6_12: Path, kernel_7: Path
) -> None:
    def tables(job: Job) -> set[int]:
        with prepared(Target(), job) as machine:
            (root,) = (
                region.base
                for region in machine.allocator.regions
                if region.owner == Owner(OwnerKind.LINEAR_MAP)
            )
            words = machine.memory.view(root, 4096).view(np.uint64)
            return {word & TABLE_AF for word in words[words != 0].tolist()}

    assert tables(SAMPLE) == {0}
    assert tables(replace(SAMPLE, code_from=kernel_6_1)) == {0}
    assert tables(replace(SAMPLE, code_from=kernel_6_12)) == {0}
    assert tables(replace(SAMPLE, code_from=kernel_7)) == {TABLE_AF}


def test_shipped_code_takes_as_many_instructions_as_it_is_known_to(
    shipped: tuple[Shipped, Path],
) -> None:
    one, path = shipped
    if one.four_pages is None:
        return
    target = target_for(one, path, Regime.NVHE)

    def count(**options: Any) -> int:
        job = Job(code_from=path, memory=160 << 20, **options)
        outcome = run_linked(target, job)
        assert outcome.findings == ()
        return outcome.relocation.instructions

    a_page = count(size=11 * one.page_size) - count(size=10 * one.page_size)
    four = count(shape=Shape.ONE_PAGE) + 3 * a_page
    assert abs(four - one.four_pages) <= AROUND
    # 64 bytes a turn at eleven or twelve instructions, four for each 64-byte line.
    assert 14 * one.page_size // 64 < a_page < 18 * one.page_size // 64


def test_the_facade_builds_for_the_layout_that_shipped_code_reads(
    shipped: tuple[Shipped, Path],
) -> None:
    one, path = shipped
    target = Target(series=one.series, page_size=one.page_size)
    outcome = relokit.run(target, replace(SAMPLE, code_from=path))
    assert [one.rule for one in outcome.findings] == ["handoff.sctlr"] * (one.series == 0)
    assert outcome.passed
    assert outcome.verified_bytes == outcome.relocation.bytes > 0


def test_a_16k_kernel_leaves_for_a_16k_kernel(kernel_6_12_16k: Path) -> None:
    target = Target(page_size=16384, regime=Regime.VHE)
    job = Job(kernel=kernel_6_12_16k, code_from=kernel_6_12_16k)
    assert run_linked(target, job).findings == ()
