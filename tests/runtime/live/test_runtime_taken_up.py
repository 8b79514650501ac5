"""A CPU of a snapshot to the State that goes on from it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from relokit.codegen.base.errors import MachineError
from relokit.codegen.base.host_file import open_file
from relokit.runtime.guest.memory import GuestMemory
from relokit.runtime.live.taken_up import NEEDED, state_of
from relokit.runtime.snapshot.snapshot import GENERAL, CpuSnapshot, KernelNamed, Power, Snapshot

BASE, SIZE = 0x4000_0000, 1 << 20
EL2H = 0x3C9


@pytest.fixture
def memory() -> Iterator[GuestMemory]:
    with GuestMemory(BASE, SIZE) as one:
        yield one


def snapshot(**registers: int) -> Snapshot:
    own = dict.fromkeys((*GENERAL, *(f"{name}_EL2" for name in NEEDED), "HCR_EL2"), 0)
    cpu = CpuSnapshot(Power.ON, {**own, "CPSR": EL2H, **registers})
    nothing = open_file(__file__, what="a file", limit=1 << 20)
    named = KernelNamed("vmlinuz", "0" * 64, included=False)
    return Snapshot(((BASE, SIZE),), (), nothing, named, 0, (cpu,))


@pytest.mark.parametrize(
    ("registers", "bits"),
    [
        ({}, 48),
        # A Cortex-A72: no LVA, and pages of 4 KiB without LPA2.
        ({"ID_AA64MMFR0_EL1": 0x1124, "ID_AA64MMFR2_EL1": 0}, 48),
        ({"ID_AA64MMFR0_EL1": 0xF000_0000}, 48),
        # QEMU's -cpu max: 7.2 has 52 bits of VA there, and its tables were not found.
        ({"ID_AA64MMFR0_EL1": 0x323_1020_1126, "ID_AA64MMFR2_EL1": 0}, 52),
        ({"ID_AA64MMFR2_EL1": 0x1_0000}, 52),
    ],
)
def test_addresses_are_as_wide_as_its_id_registers_say(
    memory: GuestMemory, registers: dict[str, int], bits: int
) -> None:
    assert state_of(snapshot(**registers), memory).cpu_bits == bits


@pytest.mark.parametrize(
    ("cpsr", "message"),
    [
        (0x3CD, "the CPU is at EL3"),
        (0x3C0, "the CPU is at EL0"),
        # Abort mode: its bits 3:2 are those of EL1.
        (0x1D7, "in AArch32 state, by CPSR = 0x1d7"),
    ],
)
def test_a_cpu_that_no_kernel_leaves_from_is_told(
    memory: GuestMemory, cpsr: int, message: str
) -> None:
    with pytest.raises(MachineError, match=message):
        state_of(snapshot(CPSR=cpsr), memory)
