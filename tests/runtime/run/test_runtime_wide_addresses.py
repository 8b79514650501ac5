"""Runs with wide addresses: 52-bit kernels on either CPU, and RAM where few machines have it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from relokit.codegen.base.errors import MachineError
from relokit.codegen.target import Regime, Target
from relokit.runtime.arch.descriptors import TABLE
from relokit.runtime.board.devicetree import virt_dtb
from relokit.runtime.judge.outcome import Outcome
from relokit.runtime.kexec.job import Job, KexecPath, Shape
from relokit.runtime.kexec.kimage import read_field
from relokit.runtime.run.prepare import open_cpu
from relokit.runtime.run.verdict import run
from support.machines import prepared, programs, quiet

MIB, GIB = 1 << 20, 1 << 30
LIMIT = 1 << 48
# The new kernel has to lie below 48 bits (booting.rst). It and the old one fill what there is.
ACROSS, FILLING = LIMIT - 4 * MIB, 2 * MIB
PAGES = (4096, 16384, 65536)
WIDE = [Target(page_size=page, va_bits=52, regime=regime) for page in PAGES for regime in Regime]


def outcome(target: Target, job: Job) -> Outcome:
    return run(target, programs(target), job, quiet)


def tree(folder: Path, base: int, size: int = GIB) -> Path:
    """A device tree with RAM at PA ``base``."""
    path = folder / "far.dtb"
    path.write_bytes(virt_dtb(base, size, regime=Regime.NVHE))
    return path


@pytest.mark.parametrize("cpu", [48, 52])
@pytest.mark.parametrize("target", WIDE, ids=lambda target: target.name)
@pytest.mark.parametrize("state", [0, 9, 11, 15])
def test_a_52_bit_kernel_on_either_cpu(target: Target, cpu: int, state: int) -> None:
    # Either path with every two of the rest.
    turn = WIDE.index(target) // 3 + WIDE.index(target) % 3 + state // 4 + (cpu == 48)
    path = (KexecPath.NORMAL, KexecPath.HIBERNATE)[turn % 2]
    target = replace(target, series=state, cpu_bits=cpu)
    assert outcome(target, Job(path=path, size=MIB)).findings == ()


@pytest.mark.parametrize(("va", "pa"), [(48, 52), (52, 48)])
@pytest.mark.parametrize("cpu", [48, 52])
def test_64k_pages_with_one_of_the_two(va: int, pa: int, cpu: int) -> None:
    target = Target(page_size=65536, va_bits=va, pa_bits=pa, cpu_bits=cpu)
    assert outcome(target, Job(size=MIB)).findings == ()


def test_a_wide_cpu_is_really_used() -> None:
    """Five levels, DS, T0SZ of the identity map: as seen from the machine that runs."""
    target = Target(va_bits=52)
    with prepared(target, Job(size=MIB)) as machine:
        cpu = open_cpu(machine)
        tcr = cpu.read("TCR_EL1")
        assert (tcr >> 59 & 1, tcr >> 16 & 0x3F, tcr >> 32 & 7) == (1, 12, 6)
        walk = cpu.walk(machine.kimage.va)
        assert walk.pa == machine.kimage.pa
        assert walk.trail[0].level == -1
        assert machine.kimage.va >> 48 == 0xFFF0


MOVING = (KexecPath.NORMAL, KexecPath.PURGATORY, KexecPath.HIBERNATE)
KINDS = (0, 8, 11, 12, 15)
"""States that differ in what there is above 48 bits."""


@pytest.mark.parametrize("path", MOVING)
@pytest.mark.parametrize("state", KINDS)
@pytest.mark.parametrize("page", PAGES)
def test_tables_lists_and_code_above_48_bits(
    tmp_path: Path, page: int, state: int, path: KexecPath
) -> None:
    # Each regime with every two of the rest.
    turn = PAGES.index(page) + KINDS.index(state) + MOVING.index(path)
    target = Target(page_size=page, va_bits=52, regime=list(Regime)[turn % 3])
    job = Job(dtb=tree(tmp_path, ACROSS), size=FILLING, path=path)
    assert outcome(replace(target, series=state), job).findings == ()


def test_what_lies_above_48_bits_there(tmp_path: Path) -> None:
    """So that the test above cannot pass for want of pages up there."""
    job = Job(dtb=tree(tmp_path, ACROSS), size=FILLING)
    with prepared(Target(va_bits=52), job) as machine:
        memory, kimage = machine.memory, machine.kimage
        assert kimage.control_page >= LIMIT
        copy = read_field(memory, kimage, "ttbr1")
        assert copy >= LIMIT
        # TTBR0 holds bit 48 in bit 2; T0SZ is that of 52 bits.
        ttbr0 = read_field(memory, kimage, "ttbr0")
        assert ttbr0 < LIMIT
        assert ttbr0 & 0b111100 == 0b000100
        assert read_field(memory, kimage, "t0sz") == 12
        root = (ttbr0 & ~0xFFF) | LIMIT
        # The control page is at the same VA, through bit 48 of it: entry 1 of level -1.
        assert memory.read_u64(root + 8) & 0b11 == TABLE


@pytest.mark.parametrize(
    ("state", "routine"), [(0, "cpu_install_idmap"), (15, "cpu_install_ttbr0")]
)
def test_the_empty_table_that_ttbr0_gets_is_the_empty_table(
    tmp_path: Path, state: int, routine: str
) -> None:
    """For a moment, and nothing is translated by it: only the register shows a fold left out."""
    job = Job(dtb=tree(tmp_path, ACROSS), size=FILLING)
    with prepared(Target(series=state, va_bits=52), job) as machine:
        empty = machine.old.zero_page
        assert empty >= LIMIT
        cpu = open_cpu(machine)
        cpu.write("TTBR0_EL1", 0)
        # Two instructions fold, the third writes.
        until = machine.old.image.symbol(routine) + 12
        cpu.run(machine.state.pc, until=until, max_instructions=100, timeout_s=10)
        assert cpu.read("TTBR0_EL1") == empty - LIMIT | 1 << 2


@pytest.mark.parametrize("shape", [Shape.OWN_PLACE, Shape.GAPS, Shape.BOUNDARY])
@pytest.mark.parametrize("page", PAGES[:2])
def test_shapes_across_48_bits(tmp_path: Path, page: int, shape: Shape) -> None:
    target = Target(page_size=page, va_bits=52)
    job = Job(dtb=tree(tmp_path, ACROSS), size=FILLING, shape=shape)
    assert outcome(target, job).findings == ()


@pytest.mark.parametrize("base", [(1 << 44) - 4 * MIB, 1 << 44, LIMIT - 2 * GIB])
@pytest.mark.parametrize("regime", list(Regime))
@pytest.mark.parametrize(("page", "va"), [(4096, 39), (4096, 48), (16384, 36), (65536, 42)])
def test_ram_beyond_a_cortex_a72s_44_bits(
    tmp_path: Path, base: int, regime: Regime, page: int, va: int
) -> None:
    target = Target(page_size=page, va_bits=va, regime=regime)
    job = Job(dtb=tree(tmp_path, base), memory=128 * MIB)
    assert outcome(target, job).findings == ()


@pytest.mark.parametrize(
    ("target", "words", "hint"),
    [
        (Target(), ("0x10000", "49-bit", "kernel is built for 48"), "--va-bits 52"),
        (Target(va_bits=52, cpu_bits=48), ("49-bit", "CPU has 48"), "--cpu-bits"),
        (Target(page_size=65536, va_bits=52, pa_bits=48), ("built for 48",), "--va-bits 52"),
    ],
)
def test_ram_that_kernel_or_cpu_cannot_reach_is_refused_before_anything_runs(
    tmp_path: Path, target: Target, words: tuple[str, ...], hint: str
) -> None:
    with pytest.raises(MachineError) as caught:
        outcome(target, Job(dtb=tree(tmp_path, ACROSS)))
    assert all(word in caught.value.message for word in words)
    assert hint in (caught.value.hint or "")
    assert caught.value.where == str(tmp_path / "far.dtb")


def test_a_kernel_cannot_lie_above_48_bits(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match=r"KERNEL_48_BIT.*RAM starts at PA 0x1000000000000"):
        outcome(Target(va_bits=52), Job(dtb=tree(tmp_path, LIMIT)))


@pytest.mark.parametrize(
    ("options", "base", "parange", "tgran4", "tgran16", "varange"),
    [
        ({}, GIB, 4, 0, 0, 0),
        ({}, 1 << 44, 5, 0, 0, 0),
        ({"regime": Regime.VHE}, GIB, 4, 0, 1, 0),
        ({"va_bits": 52}, GIB, 6, 1, 2, 1),
        ({"va_bits": 52, "cpu_bits": 48}, GIB, 4, 0, 0, 0),
        ({"cpu_bits": 52}, GIB, 6, 1, 2, 1),
    ],
)
def test_id_registers_say_what_the_cpu_has(
    tmp_path: Path,
    options: dict[str, object],
    base: int,
    parange: int,
    tgran4: int,
    tgran16: int,
    varange: int,
) -> None:
    """As the guest reads them: ARM DDI 0487, ID_AA64MMFR0_EL1 and ID_AA64MMFR2_EL1."""
    target = Target(**options)  # type: ignore[arg-type]
    with prepared(target, Job(dtb=tree(tmp_path, base))) as machine:
        cpu = open_cpu(machine)
        entry, el = machine.inputs.old_kernel.base, machine.state.el
        # mrs x1, id_aa64mmfr0_el1; mrs x2, id_aa64mmfr2_el1; b .
        for offset, word in enumerate((0xD5380701, 0xD5380742, 0x14000000)):
            machine.memory.write(entry + 4 * offset, word.to_bytes(4, "little"))
        cpu.write(f"SCTLR_EL{el}", 0x30500800)
        cpu.run(entry, until=entry + 8, max_instructions=10, timeout_s=10)
        mmfr0, mmfr2 = cpu.x(1), cpu.x(2)
    assert mmfr0 & 0xF == parange
    assert mmfr0 >> 28 & 0xF == tgran4
    assert mmfr0 >> 20 & 0xF == tgran16
    assert mmfr0 >> 24 & 0xF == 0
    assert mmfr2 >> 16 & 0xF == varange
