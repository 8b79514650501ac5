"""Facts about tables, against the walk, and how they were before the move."""

from __future__ import annotations

import numpy as np
import pytest

from relokit.codegen.target import Regime, Target
from relokit.runtime.arch.translation import SCTLR_M, WalkRegisters
from relokit.runtime.arch.walker import walk
from relokit.runtime.guest.owner import OwnerKind
from relokit.runtime.kexec.address_space import kernel_tcr, kernel_ttbr1
from relokit.runtime.kexec.job import Job
from relokit.runtime.kexec.machine import Machine
from relokit.runtime.record.known import Unknown
from relokit.runtime.record.tables import TableFacts, Tables, UnknownTables
from relokit.runtime.run.execute import execute
from relokit.runtime.run.prepare import open_cpu
from relokit.runtime.run.tables_kept import MAX_RANGES, TablesKept
from support.machines import prepared, quiet
from support.traces import Story

SMALL = Job(size=128 << 10, max_instructions=200_000)


def facts_of(machine: Machine) -> TableFacts:
    """Of the tables of the old kernel, at the start."""
    registers = {"SCTLR_EL1": 0} | dict(machine.state.sysregs)
    el = machine.state.el
    story = Story(el=el, pc=machine.kimage.control_page).starting(**registers)
    facts = TablesKept(machine).facts(story.trace())
    assert isinstance(facts, TableFacts)
    return facts


def base(machine: Machine, kind: OwnerKind) -> int:
    return next(one.base for one in machine.allocator.regions if one.owner.kind is kind)


@pytest.mark.parametrize(
    "target",
    [
        Target(),
        Target(page_size=16384, regime=Regime.VHE),
        Target(page_size=65536, regime=Regime.EL1),
        Target(va_bits=52, pa_bits=52),
        Target(va_bits=52, pa_bits=52, page_size=65536),
        Target(va_bits=52, pa_bits=52, page_size=65536, cpu_bits=48),
    ],
    ids=str,
)
def test_what_the_old_kernel_maps_is_what_the_walk_finds(target: Target) -> None:
    with prepared(target, SMALL) as machine:
        facts = facts_of(machine)
        [upper] = [one for one in facts.tables if one.key.upper]
        assert isinstance(upper, Tables)
        registers = WalkRegisters(
            sctlr=SCTLR_M,
            tcr=kernel_tcr(target, machine.memory.end),
            ttbr0=0,
            ttbr1=kernel_ttbr1(target, machine.old.swapper),
            e2h=machine.state.el == 2,
            cpu_bits=target.cpu_bits,
        )
        memory = machine.memory
        end = 0
        for leaves in upper.leaves:
            assert leaves.va >= end
            for at in (leaves.va, leaves.va + leaves.size // 2, leaves.end - 1):
                found = walk(memory, registers, at, el=machine.state.el)
                assert (found.pa, found.level) == (leaves.pa + at - leaves.va, leaves.level)
            if leaves.va > end:
                assert walk(memory, registers, leaves.va - 1, el=machine.state.el).fault
            end = leaves.end
        # All of RAM is in the linear map.
        linear = machine.old.linear_offset
        assert upper.leaves[0].va == memory.base + linear & (1 << 64) - 1
        assert upper.missing is None
        words = [
            word for start, stop in upper.entries for word in memory.u64(start, (stop - start) // 8)
        ]
        assert all(int(word) & 1 for word in words)
        assert all(
            any(first <= start and stop <= last for first, last in upper.pages)
            for start, stop in upper.entries
        )


def test_tables_are_as_they_were_before_the_move() -> None:
    """A destination that overlaps them is found, and by what they were."""
    with prepared(Target(), SMALL) as machine:
        before = facts_of(machine)
        copy = base(machine, OwnerKind.LINEAR_MAP)
        cpu = open_cpu(machine)
        kept = TablesKept(machine)
        machine.memory.u64(copy, 512)[:] = np.uint64(0x5A5A)
        machine.memory.u64(machine.old.swapper, 512)[:] = 0
        story = Story(pc=machine.kimage.control_page).starting(**dict(machine.state.sysregs))
        assert kept.facts(story.trace()) == before
        assert cpu.pc >= 0


def test_what_nobody_kept_is_as_it_is() -> None:
    with prepared(Target(), SMALL) as machine:
        spare = machine.memory.end - 0x10000
        kept = TablesKept(machine)
        machine.memory.write_u64(spare, 0x4000_0003)
        start = dict(machine.state.sysregs) | {"TTBR0_EL1": spare, "TTBR1_EL1": 0x1000}
        facts = kept.facts(Story(pc=0x4000_0000).starting(**start).trace())
        assert isinstance(facts, TableFacts)
        lower = next(one for one in facts.tables if not one.key.upper)
        upper = next(one for one in facts.tables if one.key.upper)
        assert isinstance(lower, Tables)
        assert lower.entries[0] == (spare, spare + 8)
        assert isinstance(upper, Tables)
        assert (upper.missing, upper.empty) == (0x1000, False)


def test_more_ranges_than_are_kept_are_unknown() -> None:
    with prepared(Target(), SMALL) as machine:
        tables = machine.memory.end - 0x100000
        words = machine.memory.u64(tables, 512 * 24)
        words[:] = 0
        for level in range(2):
            words[512 * level] = tables + 0x1000 * (level + 1) | 3
        words[1024 : 1024 + 20] = [tables + 0x1000 * (3 + at) | 3 for at in range(20)]
        # Every other page: none follows another.
        words[3 * 512 :: 2] = 0x4000_0403
        start = dict(machine.state.sysregs) | {"TTBR0_EL1": tables}
        facts = TablesKept(machine).facts(Story(pc=0x4000_0000).starting(**start).trace())
        assert isinstance(facts, TableFacts)
        [lower] = [one for one in facts.tables if not one.key.upper]
        assert isinstance(lower, UnknownTables)
        assert f"{MAX_RANGES:,} ranges" in lower.why.why


def test_a_run_has_the_tables_of_its_way_and_a_plain_one_none() -> None:
    with prepared(Target(), SMALL) as machine:
        record = execute(machine, open_cpu(machine), SMALL, quiet)
    assert isinstance(record.tables, TableFacts)
    roots = {one.key.root for one in record.tables.tables}
    wanted = (OwnerKind.ZERO_PAGE, OwnerKind.LINEAR_MAP, OwnerKind.CONTROL_IDMAP, OwnerKind.SWAPPER)
    assert roots == {base(machine, kind) for kind in wanted}
    plain = Job(size=128 << 10, plain=True)
    with prepared(Target(), plain) as machine:
        assert isinstance(execute(machine, open_cpu(machine), plain, quiet).tables, Unknown)
