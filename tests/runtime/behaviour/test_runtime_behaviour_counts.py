"""What is counted of a run: accesses, bytes and system instructions, against numbers by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from relokit.runtime.behaviour.watch import Watch
from relokit.runtime.engine.observing.access_counter import AccessCounter, Accesses
from relokit.runtime.engine.observing.execution_profile import (
    OPERATIONS,
    READS,
    WRITES,
    ExecutionProfile,
)

CODE = 0x4010_0000
LOOP = """
    movz x0, #0x4020, lsl #16
    movz x1, #0x4030, lsl #16
    mov x2, #5
again:
    ldp x3, x4, [x0], #16
    ldrb w5, [x0]
    stp x3, x4, [x1], #16
    strh w5, [x1]
    str w5, [x1, #8]
    dsb ish
    subs x2, x2, #1
    b.ne again
    mrs x6, sctlr_el1
    msr vbar_el1, x6
    msr vbar_el1, x6
    msr daifset, #15
    dc civac, x0
    isb
"""
# Five rounds of 8 + 8 + 1 bytes in three loads and 8 + 8 + 2 + 4 bytes in four stores.
ACCESSES = Accesses(loads=15, stores=20, loaded=85, stored=110)


@pytest.mark.parametrize("model", ["a72", "max"])
def test_loads_and_stores_are_counted_with_their_bytes(
    bench: Callable[..., Any], model: str
) -> None:
    machine = bench(model)
    end = machine.load(LOOP, CODE)
    counter = AccessCounter(machine.cpu)
    for expected in (ACCESSES, Accesses(30, 40, 170, 220)):
        with counter:
            machine.cpu.run(CODE, until=end, max_instructions=10**4, timeout_s=20)
        assert counter.counts() == expected
    machine.cpu.run(CODE, until=end, max_instructions=10**4, timeout_s=20)
    assert counter.counts() == Accesses(30, 40, 170, 220)


def test_a_watch_counts_all_of_it_and_changes_no_instruction_count(
    bench: Callable[..., Any],
) -> None:
    machine = bench("max")
    end = machine.load(LOOP, CODE)
    plain = machine.cpu.run(CODE, until=end, max_instructions=10**4, timeout_s=20)
    assert plain.instructions == 3 + 5 * 8 + 6
    watch = Watch(machine.cpu, CODE, end - CODE)
    with watch:
        stop = machine.cpu.run(CODE, until=end, max_instructions=10**4, timeout_s=20)
    counts = watch.counts(stop.instructions)
    assert counts.instructions == plain.instructions
    assert (counts.loads, counts.stores, counts.loaded, counts.stored) == (15, 20, 85, 110)
    assert counts.operations == {"dc civac": 1}
    assert counts.barriers == {"dsb ish": 5, "isb": 1}
    assert counts.reads == {"SCTLR_EL1": 1}
    assert counts.writes == {"DAIFSet": 1, "VBAR_EL1": 2}
    assert watch.system_state()["VBAR_EL1"] == machine.cpu.read("VBAR_EL1")


def test_a_register_that_only_the_code_names_is_read_too(bench: Callable[..., Any]) -> None:
    machine = bench()
    end = machine.load("mov x0, #7\nb #8\nmsr par_el1, x1\nmsr vtcr_el2, x0", CODE)
    watch = Watch(machine.cpu, CODE, end - CODE)
    assert "PAR_EL1" in watch.system_state()
    assert "AFSR1_EL1" not in watch.system_state()


def test_only_the_code_that_was_named_is_profiled(bench: Callable[..., Any]) -> None:
    machine = bench()
    end = machine.load("isb\nisb\ndsb sy\nisb\nmrs x0, ctr_el0", CODE)
    with ExecutionProfile(machine.cpu, CODE + 8, 8) as profile:
        machine.cpu.run(CODE, until=end, max_instructions=100, timeout_s=20)
    assert profile.barriers() == {"dsb sy": 1, "isb": 1}
    assert profile.system(READS) == profile.system(WRITES) == profile.system(OPERATIONS) == {}
