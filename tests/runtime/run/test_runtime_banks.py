"""Runs on machines whose memory is in several banks, or partly somebody else's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from relokit.codegen.base.errors import MachineError
from relokit.codegen.target import MIB, Regime, Target
from relokit.runtime.guest.ledger import PageAllocator
from relokit.runtime.guest.memory import GuestMemory
from relokit.runtime.guest.owner import Owner, OwnerKind
from relokit.runtime.judge.outcome import Outcome
from relokit.runtime.kexec.job import Job, KexecPath, Shape
from relokit.runtime.run.verdict import run
from support.device_trees import GIB, Board
from support.machines import prepared, programs, quiet

TWO = ((0, 28 * MIB), (GIB, 512 * MIB))
"""The first bank is too small for all that the move needs."""


def outcome(target: Target, job: Job) -> Outcome:
    return run(target, programs(target), job, quiet)


@pytest.mark.parametrize("regime", list(Regime))
@pytest.mark.parametrize("page_size", [4096, 65536])
@pytest.mark.parametrize("state", [0, 15])
def test_a_move_between_banks(regime: Regime, page_size: int, state: int) -> None:
    """Its destination is in one, its sources are in the other."""
    target = Target(series=state, page_size=page_size, regime=regime)
    job = Job(size=16 * MIB, memory_map=TWO)
    with prepared(target, job) as machine:
        [sources] = [r for r in machine.allocator.regions if r.owner.kind is OwnerKind.SOURCES]
        assert machine.start < GIB <= sources.base
    assert outcome(target, job).findings == ()


@pytest.mark.parametrize("path", [KexecPath.PURGATORY, KexecPath.IN_PLACE, KexecPath.HIBERNATE])
def test_other_ways_out(path: KexecPath) -> None:
    assert outcome(Target(), Job(size=MIB, memory_map=TWO, path=path)).passed


def test_with_caches_that_take_effect() -> None:
    result = outcome(Target(), Job(size=16 * MIB, memory_map=TWO, effects=True))
    assert result.findings == ()


def test_the_linear_map_leaves_out_what_may_not_be_mapped(tmp_path: Path) -> None:
    """And nothing that is set up is in what is reserved, whoever sets it up."""
    kept = ((GIB + 64 * 1024, 64 * MIB), (3 * GIB - 32 * MIB, 32 * MIB))
    path = tmp_path / "board.dtb"
    path.write_bytes(Board(reserved=kept, no_map=True).blob())
    for shape in (Shape.PLAIN, Shape.GAPS, Shape.BOUNDARY, Shape.OLD_KERNEL):
        job = Job(dtb=path, size=8 * MIB, path=KexecPath.PURGATORY, shape=shape)
        with prepared(Target(), job) as machine:
            for region in machine.allocator.regions:
                for low, size in kept:
                    assert region.end <= low or low + size <= region.base
            cpu = machine.old
            for low, size in kept:
                for pa in (low, low + size - 1):
                    assert walked(machine, pa + cpu.linear_offset) is None
                assert walked(machine, low - 1 + cpu.linear_offset) == low - 1
        assert outcome(Target(), job).findings == ()
    # The same without no-map is mapped.
    path.write_bytes(Board(reserved=kept, no_map=False).blob())
    with prepared(Target(), job) as machine:
        assert walked(machine, kept[0][0] + machine.old.linear_offset) == kept[0][0]


def walked(machine: object, va: int) -> int | None:
    from relokit.runtime.kexec.machine import Machine
    from relokit.runtime.run.prepare import open_cpu

    assert isinstance(machine, Machine)
    return open_cpu(machine).walk(va & (1 << 64) - 1).pa


@pytest.mark.parametrize("regime", list(Regime))
def test_memory_at_2_44(tmp_path: Path, regime: Regime) -> None:
    path = tmp_path / "high.dtb"
    path.write_bytes(Board(memory=((1 << 44, GIB),)).blob())
    for page_size in (4096, 16384, 65536):
        target = replace(Target(), regime=regime, page_size=page_size)
        assert outcome(target, Job(dtb=path, size=MIB)).findings == ()


def test_a_crash_kernel_in_a_hole_at_the_bottom() -> None:
    job = Job(size=MIB, path=KexecPath.CRASH, crash_size=64 * MIB, crash_at=GIB)
    with prepared(Target(series=0), job) as machine:
        for region in machine.allocator.regions:
            inside = GIB <= region.base < GIB + 64 * MIB
            assert inside == region.owner.is_destination
    assert outcome(Target(series=0), job).findings == ()


def test_an_initrd_across_two_nodes(tmp_path: Path) -> None:
    """What is told of memory is judged as one bank, too."""
    path, initrd = tmp_path / "board.dtb", tmp_path / "initrd"
    path.write_bytes(Board(memory=((GIB, 8 * MIB), (GIB + 8 * MIB, 248 * MIB))).blob())
    initrd.write_bytes(b"initrd" * (MIB // 2))
    job = Job(dtb=path, size=MIB, initrd=initrd, initrd_at=GIB + 7 * MIB)
    assert outcome(Target(), job).findings == ()


def test_devices_that_would_be_in_ram_are_refused_by_name() -> None:
    with pytest.raises(MachineError, match="RAM at PA 0x9000000") as caught:
        outcome(Target(), Job(memory_map=((0, 512 * MIB),), boot=1))
    assert "--boot" in (caught.value.hint or "")


def test_resumed_pages_keep_off_what_is_reserved(tmp_path: Path) -> None:
    """Behind the kernel that is left, where they were put; there is firmware's memory now."""
    for kept in (((GIB + 5 * MIB, 2 * MIB),), ((GIB + 6 * MIB, 3 * GIB // 2),)):
        path = tmp_path / "board.dtb"
        path.write_bytes(Board(reserved=kept).blob())
        for target in (Target(), Target(series=0, page_size=65536)):
            result = outcome(target, Job(dtb=path, size=4 * MIB, path=KexecPath.HIBERNATE))
            assert result.findings == ()


def test_resumed_pages_below_if_there_is_no_room_above() -> None:
    banks = ((0, 1 * MIB), (GIB, 512 * MIB))
    memory = GuestMemory.of(banks)
    allocator = PageAllocator(memory, 4096, ((GIB + MIB, 511 * MIB),))
    owner = Owner(OwnerKind.EXIT_CODE)
    assert allocator.place(owner, 4096, GIB).base == GIB
    assert allocator.place(owner, MIB, GIB).base == 0
    with pytest.raises(MachineError, match="no room"):
        allocator.place(owner, MIB, GIB)


@pytest.mark.parametrize("page_size", [4096, 65536])
@pytest.mark.parametrize("name", ["kernel_at", "initrd_at", "dtb_at"])
def test_what_is_put_onto_a_reservation_is_told_whose_it_is(
    tmp_path: Path, page_size: int, name: str
) -> None:
    """Also in the rest of its last page; and where two adjoin, of the one that is met first."""
    first, second, third = (GIB + n * 64 * MIB for n in (4, 6, 7))
    board = Board(
        reserved=((first, 2 * MIB), (first + 2 * MIB, MIB), (third, 512)),
        reservations=((second, 4096),),
    )
    dtb, initrd = tmp_path / "board.dtb", tmp_path / "initrd"
    dtb.write_bytes(board.blob())
    initrd.write_bytes(bytes(4096))
    for at, whose in (
        (first, f"/reserved-memory/kept@{first:x},0"),
        (first + 2 * MIB, f"/reserved-memory/kept@{first + 2 * MIB:x},1"),
        (second, "/memreserve/"),
        (third, f"/reserved-memory/kept@{third:x},2"),
    ):
        job = replace(Job(dtb=dtb, initrd=initrd), **{name: at})
        with pytest.raises(MachineError, match=f"NOT_RESERVED: .* of {whose}"):
            outcome(Target(page_size=page_size), job)


def test_what_is_put_onto_the_old_kernel_is_told() -> None:
    with prepared(Target(), Job()) as machine:
        [old] = [r for r in machine.allocator.regions if r.owner.kind is OwnerKind.OLD_KERNEL]
    with pytest.raises(MachineError, match=r"NOT_RESERVED: .* of the old kernel"):
        outcome(Target(), Job(kernel_at=old.base // (2 * MIB) * 2 * MIB))
