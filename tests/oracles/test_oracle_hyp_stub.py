"""The CPU under the EL2 vectors that Debian's kernels ship: their machine code, our exceptions.

Every call number is made from EL1 with the MMU on, through the kernel's own table; call 3 goes
through ``finalise EL2``: E2H on, the EL1 context copied by ``_EL12`` names, and back at EL2.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from relokit.codegen import facts
from relokit.linker.kernel.kallsyms import Kallsyms, read_kallsyms
from relokit.linker.kernel.kernel_file import KernelFile, open_kernel
from relokit.runtime.arch import descriptors as d
from relokit.runtime.arch.geometry import granule_of, tcr_el1
from relokit.runtime.board.gic_virtual import KEPT
from relokit.runtime.engine.cpu import Cpu
from relokit.runtime.guest.ledger import PageAllocator
from relokit.runtime.guest.memory import GuestMemory
from relokit.runtime.guest.owner import destination
from relokit.runtime.kexec.pagetables import PageTables
from relokit.runtime.record.stop import Stop, StopReason

pytestmark = pytest.mark.oracle

RAM, LOAD, CALLER, RESTART = 0x4000_0000, 0x4020_0000, 0x4000_0000, 0x4001_0000
STACK, EL1_VECTORS = 0x4005_5550, 0x4006_0000
SCTLR_ON = 0x3050_1805
HVC, NOP = 0xD4000002, 0xD503201F
REFUSED = facts.HVC_STUB_ERR
OLD = ("kernel_5_10",)
SERIES = ("kernel_6_1", "kernel_6_12", "kernel_6_12_16k", "kernel_7")


@dataclass
class Stub:
    """A kernel at LOAD, EL1 with an identity map, VBAR_EL2 at one of its tables."""

    cpu: Cpu
    vectors: int

    def call(self, function: int, x1: int = 0, *, until: int = CALLER + 4) -> Stop:
        for number, value in enumerate((function, x1, 22, 33, 44)):
            self.cpu.set_x(number, value)
        return self.cpu.run(CALLER, until=until, max_instructions=1_000_000, timeout_s=20)


@cache
def _opened(path: Path) -> tuple[KernelFile, Kallsyms]:
    kernel = open_kernel(path)
    return kernel, read_kallsyms(kernel.image)


@pytest.fixture(name="stub")
def _stub(request: pytest.FixtureRequest) -> Callable[[str, str], Stub]:
    def make(fixture: str, symbol: str = "__hyp_stub_vectors") -> Stub:
        path: Path = request.getfixturevalue(fixture)
        kernel, symbols = _opened(path)
        vectors = LOAD + symbols.offset(symbol)
        memory = GuestMemory(RAM, 128 << 20)
        memory.write(LOAD, kernel.image)
        memory.write(CALLER, struct.pack("<3I", HVC, NOP, NOP))
        page = 16384 if fixture.endswith("16k") else 4096
        cpu = Cpu("max", memory)
        cpu.add_registers(KEPT)
        allocator = PageAllocator(memory, page)
        allocator.reserve(destination(0, "kernel"), RAM, 64 << 20)
        tables = PageTables(
            memory, allocator, granule_of(page), 48, upper=False, owner=destination(0, "idmap")
        )
        tables.idmap(RAM, 64 << 20)
        for name, value in (
            ("TCR_EL1", tcr_el1(granule_of(page), t0_bits=48, t1_bits=48, pa_bits=44)),
            ("TTBR0_EL1", tables.root),
            ("TTBR1_EL1", tables.root),
            ("MAIR_EL1", d.MAIR),
            ("VBAR_EL1", EL1_VECTORS),
            ("SCTLR_EL1", SCTLR_ON),
            ("SCTLR_EL2", facts.SCTLR_EL2_MMU_OFF),
            ("VBAR_EL2", vectors),
        ):
            cpu.write(name, value)
        cpu.set_sp(STACK)
        return Stub(cpu, vectors)

    return make


@pytest.mark.parametrize("kernel", OLD + SERIES)
def test_set_and_reset_vectors(stub: Callable[..., Stub], kernel: str) -> None:
    s = stub(kernel)
    stop = s.call(facts.HVC_RESET_VECTORS)
    assert (stop.reason, stop.el, s.cpu.x(0)) == (StopReason.REACHED, 1, 0)
    assert s.cpu.read("VBAR_EL2") == s.vectors
    stop = s.call(facts.HVC_SET_VECTORS, 0x4010_0000)
    assert (stop.reason, stop.el, stop.exceptions) == (StopReason.REACHED, 1, 1)
    assert [s.cpu.x(number) for number in range(5)] == [0, 0x4010_0000, 22, 33, 44]
    assert s.cpu.read("VBAR_EL2") == 0x4010_0000


@pytest.mark.parametrize("kernel", OLD + SERIES)
def test_soft_restart_stays_at_el2(stub: Callable[..., Stub], kernel: str) -> None:
    s = stub(kernel)
    stop = s.call(facts.HVC_SOFT_RESTART, RESTART, until=RESTART)
    assert (stop.reason, stop.pc, stop.el) == (StopReason.REACHED, RESTART, 2)
    assert [s.cpu.x(number) for number in range(5)] == [22, 33, 44, 33, RESTART]


@pytest.mark.parametrize("kernel", OLD + SERIES)
@pytest.mark.parametrize("function", [5, 0x1234])
def test_unknown_calls_are_refused(stub: Callable[..., Stub], kernel: str, function: int) -> None:
    s = stub(kernel)
    assert s.call(function).reason is StopReason.REACHED
    assert (s.cpu.x(0), s.cpu.x(1)) == (REFUSED, 0)


def test_before_the_series_there_is_no_call_three(stub: Callable[..., Stub]) -> None:
    s = stub(OLD[0])
    assert s.call(facts.HVC_FINALISE_EL2).reason is StopReason.REACHED
    assert s.cpu.x(0) == REFUSED


@pytest.mark.parametrize("kernel", ["kernel_6_1", "kernel_6_12", "kernel_6_12_16k"])
def test_call_three_enters_vhe(stub: Callable[..., Stub], kernel: str) -> None:
    s = stub(kernel)
    tcr = s.cpu.read("TCR_EL1")
    stop = s.call(facts.HVC_FINALISE_EL2)
    assert (stop.reason, stop.el, s.cpu.x(0)) == (StopReason.REACHED, 2, 0)
    assert s.cpu.read("HCR_EL2") == facts.HCR_EL2_VHE
    assert s.cpu.read("SCTLR_EL2") == SCTLR_ON
    assert s.cpu.read("SCTLR_EL1") == facts.SCTLR_EL1_MMU_OFF
    assert s.cpu.read("VBAR_EL2") == EL1_VECTORS
    assert s.cpu.read("TCR_EL2") == tcr
    assert s.cpu.sp == STACK
    # From EL2 itself, and still behind the same tables.
    s.cpu.write("VBAR_EL2", s.vectors)
    stop = s.call(facts.HVC_SET_VECTORS, 0x4010_0000)
    assert (stop.reason, stop.el, s.cpu.read("VBAR_EL2")) == (StopReason.REACHED, 2, 0x4010_0000)


def test_vectors_that_el2_may_not_execute_are_found_out(stub: Callable[..., Stub]) -> None:
    s = stub("kernel_6_1")
    s.cpu.write("SCTLR_EL2", facts.SCTLR_EL2_MMU_OFF | 1)
    # EL2's own tables: the identity map of EL1, read in EL2's format.
    s.cpu.write("TCR_EL2", s.cpu.read("TCR_EL1") & 0xFFFF | 4 << 16 | 1 << 31 | 1 << 23)
    s.cpu.write("TTBR0_EL2", s.cpu.read("TTBR0_EL1"))
    s.cpu.write("MAIR_EL2", d.MAIR)
    # KERNEL_RX is executable at EL1 only: EL2 has one XN bit, where UXN is.
    assert s.call(facts.HVC_FINALISE_EL2).reason is StopReason.BAD_VECTOR


def test_call_four_reads_the_list_register_count(stub: Callable[..., Stub]) -> None:
    s = stub("kernel_7")
    assert s.call(4).reason is StopReason.REACHED
    assert (s.cpu.x(0), s.cpu.x(1)) == (0, KEPT["ICH_VTR_EL2"])


@pytest.mark.parametrize("kernel", SERIES)
def test_the_copied_vectors_know_two_calls(stub: Callable[..., Stub], kernel: str) -> None:
    s = stub(kernel, "trans_pgd_stub_vectors")
    for function in (2, 3, 4):
        assert s.call(function).reason is StopReason.REACHED
        assert s.cpu.x(0) == REFUSED
    assert s.call(facts.HVC_SET_VECTORS, s.vectors).reason is StopReason.REACHED
    assert s.cpu.x(0) == 0
    stop = s.call(facts.HVC_SOFT_RESTART, RESTART, until=RESTART)
    assert (stop.reason, stop.el) == (StopReason.REACHED, 2)


@pytest.mark.parametrize("kernel", SERIES)
def test_a_call_from_el2_spins_in_the_copied_vectors(
    stub: Callable[..., Stub], kernel: str
) -> None:
    s = stub(kernel, "trans_pgd_stub_vectors")
    s.cpu.set_el(2)
    stop = s.call(facts.HVC_SET_VECTORS)
    assert (stop.reason, stop.el) == (StopReason.SPIN, 2)
    assert s.vectors <= stop.pc < s.vectors + facts.VECTOR_TABLE_SIZE
