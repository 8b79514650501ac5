"""Debian's device trees: of any board, a move passes, and whatever is placed is where it may be.

Which of them are tried is chosen by their digests; all are once in a while, by hand.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from relokit.codegen.base.errors import MachineError
from relokit.codegen.target import MIB, Target
from relokit.runtime.board.devicetree import memory_of, reserved_of
from relokit.runtime.kexec.inputs import load_inputs
from relokit.runtime.kexec.job import Job, KexecPath
from relokit.runtime.kexec.opened_inputs import open_inputs
from relokit.runtime.run.verdict import run
from support.machines import programs, quiet

pytestmark = pytest.mark.oracle

RUN, PLACED = 10, 60
OF_THE_TREE = {"handoff.cpus", "handoff.spin-table"}
"""What such a tree lacks until firmware has filled it in: how CPUs are brought up."""
SIZE = 2 * MIB
OLD_KERNEL = 64 << 10


def job_of(path: Path, way: KexecPath) -> Job:
    """Half of the boards have their memory from firmware: then it is an option."""
    has_memory = bool(memory_of(path.read_bytes()))
    return Job(size=SIZE, dtb=path, memory=None if has_memory else 1 << 30, path=way)


def test_the_archive_has_boards_of_both_kinds(device_trees: list[Path]) -> None:
    sizes = [bool(memory_of(path.read_bytes())) for path in device_trees[:PLACED]]
    assert len(device_trees) > 500
    assert {True, False} == set(sizes)
    kept = [reserved_of(path.read_bytes()) for path in device_trees[:PLACED]]
    assert sum(map(bool, kept)) > PLACED // 4


@pytest.mark.parametrize("number", range(RUN))
def test_a_move_on_any_board(device_trees: list[Path], number: int) -> None:
    way = (KexecPath.NORMAL, KexecPath.PURGATORY)[number % 2]
    result = run(Target(), programs(Target()), job_of(device_trees[number], way), quiet)
    assert {finding.rule for finding in result.findings} <= OF_THE_TREE


@pytest.mark.parametrize("way", [KexecPath.NORMAL, KexecPath.CRASH])
def test_where_things_are_placed(device_trees: list[Path], way: KexecPath) -> None:
    for path in device_trees[:PLACED]:
        job = job_of(path, way)
        inputs = load_inputs(Target(), job, open_inputs(job), None, OLD_KERNEL)
        reserved = reserved_of(path.read_bytes())
        placed = [(one.segment.mem, one.segment.memsz) for one in inputs.segments]
        for start, size in (*placed, (inputs.old_kernel.base, inputs.old_kernel.size)):
            assert any(low <= start and start + size <= low + n for low, n in inputs.ram.banks)
            assert not any(start < low + n and low < start + size for low, n in reserved), path


def test_what_firmware_says_at_boot_is_asked_for(device_trees: list[Path]) -> None:
    path = next(one for one in device_trees if not memory_of(one.read_bytes()))
    job = Job(size=SIZE, dtb=path)
    with pytest.raises(MachineError, match="no memory node with a size") as caught:
        load_inputs(Target(), job, open_inputs(job), None, OLD_KERNEL)
    assert caught.value.where == str(path)
