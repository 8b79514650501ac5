"""Registers of a GICv3 to the memory it uses: values that real machines had."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from relokit.codegen.base.host_file import HostFile, open_file
from relokit.runtime.guest.around import DeviceTable, OtherCpu
from relokit.runtime.guest.ledger import Region
from relokit.runtime.guest.memory import GuestMemory
from relokit.runtime.guest.owner import Owner, OwnerKind
from relokit.runtime.live.around_reading import prepared, surroundings
from relokit.runtime.snapshot.snapshot import (
    CpuSnapshot,
    Devices,
    Its,
    KernelNamed,
    LoadSeen,
    Power,
    Redistributor,
    Snapshot,
)

BASE, SIZE = 0x4000_0000, 1 << 20
CPU = CpuSnapshot(Power.ON, {})
OFF = CpuSnapshot(Power.OFF, {})
ON = 1


@pytest.fixture
def memory() -> Iterator[GuestMemory]:
    with GuestMemory(BASE, SIZE) as one:
        yield one


def _snapshot(devices: Devices | None, *others: CpuSnapshot) -> Snapshot:
    nothing: HostFile = open_file(__file__, what="a file", limit=1 << 20)
    named = KernelNamed("vmlinuz", "0" * 64, included=False)
    cpus = (CPU, *others)
    return Snapshot(((BASE, SIZE),), (), nothing, named, 0, cpus, devices=devices)


def test_tables_are_those_of_the_registers(memory: GuestMemory) -> None:
    """Of the case that was found: 16 bits of IDs, and 64 KiB for devices and for collections."""
    devices = Devices(
        (
            Redistributor(3, 0x421A_078F, 0x421B_0000 | 0x780),
            Redistributor(3, 0x421A_078F, 0x421C_0000 | 0x780),
        ),
        (Its(1 << 31 | ON, (0xF907_0000_4218_0600, 0xBC07_0000_4219_0600, 0x4219_0600)),),
    )
    found = surroundings(_snapshot(devices), memory).tables
    assert found is not None
    assert [(one.base, one.size) for one in found] == [
        (0x421A_0000, 65536 - 8192),
        (0x421B_0000, 8192),
        (0x421C_0000, 8192),
        (0x4218_0000, 0x1_0000),
        (0x4219_0000, 0x1_0000),
    ]
    assert found[0] == DeviceTable("GICR_PROPBASER", 0x421A_078F, 0x421A_0000, 57344)


def test_a_table_of_a_cpu_behind_one_that_is_off_is_used(memory: GuestMemory) -> None:
    devices = Devices(
        (Redistributor(2, 0x421A_078F, 0), Redistributor(3, 0x421A_078F, 0x421B_0000))
    )
    found = surroundings(_snapshot(devices), memory).tables
    assert found is not None
    assert [one.name for one in found] == ["GICR_PROPBASER", "GICR_PENDBASER of CPU 1"]


def test_what_is_switched_off_uses_nothing(memory: GuestMemory) -> None:
    devices = Devices((Redistributor(2, 0x421A_078F, 0x421B_0780),), (Its(1 << 31, (1 << 63,)),))
    assert surroundings(_snapshot(devices), memory).tables == ()
    assert surroundings(_snapshot(None), memory).tables is None


def test_the_second_level_of_an_itss_table_is_used_as_far_as_it_is_there(
    memory: GuestMemory,
) -> None:
    """Of Linux on QEMU: a page of 64 KiB that leads to others."""
    baser, valid = 0xF907_0000_4008_0600, 1 << 63
    for slot, entry in ((0, valid | 0x4300_0000), (1, valid | 0x4301_0000), (9, 0x4400_0000)):
        memory.write_u64(0x4008_0000 + 8 * slot, entry)
    memory.write_u64(0x4008_FFF8, valid | 0x4500_0000)
    found = surroundings(_snapshot(Devices((), (Its(ON, (baser,)),))), memory).tables
    assert found is not None
    assert [(one.name, one.base, one.size) for one in found] == [
        ("GITS_BASER0", 0x4008_0000, 0x1_0000),
        ("GITS_BASER0, level 2", 0x4300_0000, 0x2_0000),
        ("GITS_BASER0, level 2", 0x4500_0000, 0x1_0000),
    ]
    elsewhere = Its(ON, (baser + BASE,))
    assert len(surroundings(_snapshot(Devices((), (elsewhere,))), memory).tables or ()) == 1


def test_larger_and_smaller_pages_of_an_its(memory: GuestMemory) -> None:
    valid = 1 << 63
    small, large = valid | 0x4218_5000 | 3, valid | 0x4219_2000 | 2 << 8
    found = surroundings(_snapshot(Devices((), (Its(ON, (small, large)),))), memory).tables
    assert found is not None
    # Of pages of 64 KiB, bits 15:12 are the PA's bits 51:48.
    assert [(one.base, one.size) for one in found] == [
        (0x4218_5000, 4 * 4096),
        (0x2_0000_4219_0000, 0x1_0000),
    ]


def test_the_commands_of_an_its_are_used_while_it_has_to_read_some(memory: GuestMemory) -> None:
    cbaser = 1 << 63 | 0x4218_0000 | 0xF
    for its, used in (
        (Its(ON, (), cbaser, 0x60, 0x40), True),
        (Its(ON, (), cbaser, 0x40, 0x40), False),
        # Bits that are no offset: Retry, Stalled.
        (Its(ON, (), cbaser, 0x41, 0x40), False),
        (Its(0, (), cbaser, 0x60, 0x40), False),
        (Its(ON, (), cbaser & ~(1 << 63), 0x60, 0x40), False),
    ):
        tables = surroundings(_snapshot(Devices((), (its,))), memory).tables
        table = DeviceTable("GITS_CBASER", cbaser, 0x4218_0000, 16 * 4096)
        assert tables == ((table,) if used else ())


def test_other_cpus_are_where_their_registers_say(memory: GuestMemory) -> None:
    bare = {"PC": BASE + 0x100, "CPSR": 0x3C5, "SCTLR_EL1": 0, "TCR_EL1": 0, "TTBR0_EL1": 0}
    others = (
        CpuSnapshot(Power.HALTED, bare),
        OFF,
        CpuSnapshot(Power.UNKNOWN, {"PC": BASE}),
        # With an MMU that maps nothing.
        CpuSnapshot(Power.ON, bare | {"SCTLR_EL1": 1, "TCR_EL1": 0x19, "TTBR0_EL1": BASE}),
    )
    around = surroundings(_snapshot(None, *others), memory)
    assert around.count == 4
    assert around.cpus == (OtherCpu(1, BASE + 0x100), OtherCpu(3, None), OtherCpu(4, None))


def test_what_the_load_prepared_and_somebody_changed() -> None:
    page = 0x1000
    regions = [
        Region(Owner(OwnerKind.CONTROL_PAGE), BASE, page),
        Region(Owner(OwnerKind.LINEAR_MAP), BASE + 4 * page, 4 * page),
        Region(Owner(OwnerKind.OLD_KERNEL), BASE + 8 * page, 4 * page),
    ]
    sources = [(BASE + 16 * page, BASE + 17 * page), (BASE + 18 * page, BASE + 19 * page)]

    def told(*changed: tuple[int, int], late: bool = False) -> list[tuple[int, int]]:
        load = LoadSeen((), tuple((BASE + at * page, size * page) for at, size in changed))
        seen = replace(_snapshot(None), load=load)
        found = prepared(seen, regions, iter(sources), copies_late=late)
        assert not isinstance(found, str)
        return [((one.base - BASE) // page, one.size // page) for one in found]

    # The kernel's own pages change, and what is beside the load's.
    assert told((1, 3), (8, 8), (17, 1)) == []
    assert told((0, 1), (5, 4), (18, 1)) == [(0, 1), (5, 3), (18, 1)]
    # 5.10 copies its code at the jump.
    assert told((0, 1), (5, 4), (18, 1), late=True) == [(5, 3), (18, 1)]
    nobody = prepared(_snapshot(None), regions, iter(sources), copies_late=False)
    assert "nobody looked" in str(nobody)
