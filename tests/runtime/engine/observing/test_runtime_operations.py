"""Counted maintenance: every SYS instruction by name, every barrier of the code, and no more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keystone
import pytest

from relokit.codegen.base.documents import from_json, to_data, to_json
from relokit.codegen.instruction_forms import barrier_name
from relokit.codegen.series import COMPLETE, Feature
from relokit.codegen.target import MIB, Regime, Target
from relokit.runtime.engine.observing.operations import OperationCounter
from relokit.runtime.judge.outcome import Outcome
from relokit.runtime.kexec.job import Job, KexecPath
from relokit.runtime.run.verdict import run
from support.machines import programs

CODE = 0x4010_0000
PAGE = 4096

PROGRAM = """
    mov x3, #37
    movz x0, #0x4020, lsl #16
    dmb osh
again:
    dc ivac, x0
    dc civac, x0
    dc cvac, x0
    dc cvau, x0
    ic ivau, x0
    dsb ish
    tlbi vae1, x0
    subs x3, x3, #1
    b.ne again
    ic iallu
    tlbi vmalle1
    dsb sy
    isb
    dmb ishst
    nop
"""
LOOPED = ("dc ivac", "dc civac", "dc cvac", "dc cvau", "ic ivau", "dsb ish", "tlbi vae1")
ONCE = ("dmb osh", "ic iallu", "tlbi vmalle1", "dsb sy", "isb", "dmb ishst")
EXPECTED = dict(sorted({**dict.fromkeys(LOOPED, 37), **dict.fromkeys(ONCE, 1)}.items()))


@pytest.mark.parametrize("model", ["a72", "max"])
def test_every_operation_is_counted_by_name(bench: Callable[..., Any], model: str) -> None:
    machine = bench(model)
    end = machine.load(PROGRAM, CODE)
    with OperationCounter(machine.cpu, CODE, PAGE) as counter:
        stop = machine.cpu.run(CODE, until=end, max_instructions=10**6, timeout_s=20)
        assert counter.counts() == EXPECTED
    assert list(counter.counts()) == sorted(EXPECTED)
    assert stop.instructions == 3 + 37 * 9 + 6


def test_counting_changes_no_instruction_count_and_ends_when_left(
    bench: Callable[..., Any],
) -> None:
    machine = bench()
    end = machine.load(PROGRAM, CODE)

    def instructions() -> int:
        stop = machine.cpu.run(CODE, until=end, max_instructions=10**6, timeout_s=20)
        return int(stop.instructions)

    plain = instructions()
    with OperationCounter(machine.cpu, CODE, PAGE) as counter:
        assert counter.counts() == {}
        assert instructions() == plain
    assert instructions() == plain
    assert counter.counts() == EXPECTED
    with OperationCounter(machine.cpu, CODE, PAGE) as again:
        assert instructions() == plain
    assert again.counts() == EXPECTED


NAMES = [
    *(f"{kind} {name}" for kind in ("dsb", "dmb") for name in (
        "sy", "st", "ld", "ish", "ishst", "ishld", "nsh", "nshst", "nshld", "osh", "oshst", "oshld"
    )),
    "isb",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_barriers_have_the_assemblers_names(name: str) -> None:
    engine = keystone.Ks(keystone.KS_ARCH_ARM64, keystone.KS_MODE_LITTLE_ENDIAN)
    code, _ = engine.asm(name, as_bytes=True)
    assert barrier_name(int.from_bytes(code, "little")) == name


@pytest.mark.parametrize("text", ["nop", "clrex", "hvc #0", "dc civac, x0", "msr daifset, #15"])
def test_what_is_no_barrier(text: str) -> None:
    engine = keystone.Ks(keystone.KS_ARCH_ARM64, keystone.KS_MODE_LITTLE_ENDIAN)
    code, _ = engine.asm(text, as_bytes=True)
    assert barrier_name(int.from_bytes(code, "little")) is None


def test_reserved_barrier_options_are_numbers() -> None:
    assert barrier_name(0xD503309F | 8 << 8) == "dsb #8"


def outcome(target: Target, job: Job) -> Outcome:
    return run(target, programs(target), job, lambda *_: None)


MACHINES = [
    *((4096, regime) for regime in Regime),
    (16384, Regime.VHE),
    (65536, Regime.NVHE),
]


@pytest.mark.parametrize("state", range(COMPLETE + 1))
@pytest.mark.parametrize(("page", "regime"), MACHINES)
def test_the_move_maintains_each_line_once(page: int, regime: Regime, state: int) -> None:
    target = Target(series=state, page_size=page, regime=regime)
    result = outcome(target, Job(size=MIB + 5, observe=True))
    assert result.passed
    lines = result.relocation.pages * page // 64
    bbm = target.has(Feature.LINEAR_MAP_COPY)
    mmu = target.has(Feature.MMU_ON)
    expected = {
        "dc civac" if mmu else "dc ivac": lines,
        "dsb sy": result.relocation.pages,
        "dsb nsh": 2 + bbm,
        "ic iallu": 1,
        "isb": 1 + 2 * bbm + 2 * mmu,
    }
    if bbm:
        expected["tlbi vmalle1"] = 1
    assert result.operations == expected


@pytest.mark.parametrize("line", [16, 128])
def test_the_line_size_of_the_cpu_counts(line: int) -> None:
    for state, name in ((0, "dc ivac"), (15, "dc civac")):
        result = outcome(Target(series=state, cache_line=line), Job(size=MIB, observe=True))
        assert result.operations is not None
        assert result.operations[name] == result.relocation.bytes // line


def test_nothing_is_counted_unless_asked() -> None:
    target = Target()
    plain, observed = (outcome(target, Job(observe=observe)) for observe in (False, True))
    assert plain.operations is None
    assert "operations" not in to_data(plain)
    assert observed.relocation.instructions == plain.relocation.instructions
    assert from_json(Outcome, to_json(observed)).operations == observed.operations


def test_a_skipped_move_counts_nothing_and_resume_cleans_to_the_pou() -> None:
    target = Target()
    assert outcome(target, Job(path=KexecPath.IN_PLACE, observe=True)).operations == {}
    resumed = outcome(target, Job(path=KexecPath.HIBERNATE, size=MIB, observe=True))
    assert resumed.operations is not None
    assert resumed.operations["dc cvau"] == resumed.relocation.bytes // 64 > MIB // 64
    assert resumed.operations["tlbi vmalle1"] == 2


def test_a_purgatory_is_run_unobserved() -> None:
    target = Target()
    result = outcome(target, Job(path=KexecPath.PURGATORY, observe=True))
    assert result.passed
    assert result.operations is not None
    assert result.operations["dc civac"] == result.relocation.bytes // 64
