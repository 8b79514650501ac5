"""Time is instructions: what reads a clock or chance reads the same on every host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from unicorn.unicorn_const import UC_HOOK_CODE

from relokit.codegen.system_registers import REGISTERS, encode_key, register_key
from relokit.runtime.engine.clock import INSTRUCTIONS_PER_TICK, UPTIME

MakeBench = Callable[..., Any]
PMEVCNTR0, PMXEVCNTR = encode_key(3, 3, 14, 8, 0), encode_key(3, 3, 9, 13, 2)
PMEVTYPER0 = encode_key(3, 3, 14, 12, 0)
PMCNTENSET, PMSELR = encode_key(3, 3, 9, 12, 1), encode_key(3, 3, 9, 12, 5)
E2H_TGE = 1 << 34 | 1 << 27
_RT = 5


def at(b: Any, el: int, hcr: int = 0) -> Any:
    """The bench at an exception level, with these bits of HCR_EL2."""
    b.cpu.write("HCR_EL2", b.cpu.read("HCR_EL2") | hcr)
    b.cpu.set_el(el)
    return b


def mrs(key: int | str, rt: int = _RT) -> str:
    """Assembly that reads a system register."""
    key = register_key(key) if isinstance(key, str) else key
    return f".word {0xD5200000 | key << 5 | rt:#x}\n"


def msr(key: int | str, rt: int = _RT) -> str:
    """Assembly that writes one."""
    key = register_key(key) if isinstance(key, str) else key
    return f".word {0xD5000000 | key << 5 | rt:#x}\n"


def read(b: Any, *keys: int | str, before: str = "") -> tuple[int, ...]:
    """What these read as, one after the other, from x10 on."""
    code = before + "".join(mrs(key, 10 + number) for number, key in enumerate(keys))
    b.run(code)
    return tuple(b.cpu.x(10 + number) for number in range(len(keys)))


@pytest.mark.parametrize("name", ["CNTPCT_EL0", "CNTVCT_EL0"])
@pytest.mark.parametrize("el", [1, 2])
def test_the_counter_counts_instructions(bench: MakeBench, name: str, el: int) -> None:
    b = at(bench(), el)
    n = INSTRUCTIONS_PER_TICK
    first, second, third = read(b, name, name, name, before="nop\n" * (40 * n - 1))
    assert (first, second, third) == (UPTIME + 39, UPTIME + 40, UPTIME + 40)
    # It goes on where it was in the next run.
    assert read(b, name)[0] == UPTIME + (40 * n + 2) // n


def test_it_is_exact_within_a_block_whatever_a_block_is(bench: MakeBench) -> None:
    code = "mov x0, #37\nagain: subs x0, x0, #1\n" + mrs("CNTVCT_EL0", 10) + "b.ne again\n"
    values = []
    for seen in (False, True):
        b = bench()
        if seen:
            b.cpu.uc.hook_add(UC_HOOK_CODE, lambda *_: None)
        b.run(code + "nop\n" * 9 + mrs("CNTVCT_EL0", 11))
        values.append((b.cpu.x(10), b.cpu.x(11)))
    assert values[0] == values[1]


def test_the_virtual_counter_has_its_offset(bench: MakeBench) -> None:
    for el, hcr, offset in ((1, 0, 5), (2, 0, 5), (2, E2H_TGE, 0)):
        b = at(bench("max"), el, hcr)
        b.cpu.write("CNTVOFF_EL2", 5)
        physical, virtual = read(b, "CNTPCT_EL0", "CNTVCT_EL0")
        assert physical - virtual == offset, (el, hcr)


@pytest.mark.parametrize("timer", ["CNTP_{}_EL0", "CNTV_{}_EL0", "CNTHP_{}_EL2"])
def test_a_timer_follows_the_counter(bench: MakeBench, timer: str) -> None:
    control, compare, left = (timer.format(part) for part in ("CTL", "CVAL", "TVAL"))
    b = at(bench(), 2)
    begin = f"mov x5, #100\n{msr(left)}mov x5, #1\n{msr(control)}"
    values = read(b, control, left, compare, before=begin)
    assert values == (1, 99, UPTIME + 100)
    after = read(b, control, left, before="nop\n" * 100 * INSTRUCTIONS_PER_TICK)
    # TVAL is signed and of 32 bits; ISTATUS says that the time has come.
    assert after[0] == 5
    assert 0xFFFF_FFF0 < after[1] <= 0xFFFF_FFFF


def test_a_timer_under_e2h_is_that_of_el2(bench: MakeBench) -> None:
    b = at(bench("max"), 2, E2H_TGE)
    before = f"mov x5, #100\n{msr('CNTP_TVAL_EL0')}mov x5, #200\n{msr('CNTP_TVAL_EL02')}"
    mine, guests = read(b, "CNTP_TVAL_EL0", "CNTP_TVAL_EL02", before=before)
    assert (mine, guests) == (99, 199)
    assert b.cpu.read("CNTHP_CVAL_EL2") == UPTIME + 100
    assert b.cpu.read("CNTP_CVAL_EL0") == UPTIME + 200


def test_what_el0_may_not_read_is_trapped(bench: MakeBench) -> None:
    for allowed in (0, 2):
        b = at(bench(), 0)
        b.cpu.write("CNTKCTL_EL1", allowed)
        stop = b.run(mrs("CNTVCT_EL0", 10))
        assert (stop.event is None) == bool(allowed)
        assert (b.cpu.x(10) == UPTIME) == bool(allowed)


def test_chance_is_the_same_for_everybody(bench: MakeBench) -> None:
    def drawn() -> tuple[int, ...]:
        b = at(bench("max"), 1)
        values = read(b, "RNDR", "RNDR", "RNDRRS", before="cmp xzr, xzr\n")
        assert not b.cpu.pstate >> 28  # NZCV = 0: there was a number
        return values

    assert drawn() == drawn()
    assert len(set(drawn())) == 3


def test_cycles_are_instructions(bench: MakeBench) -> None:
    begin = (
        "mov x5, #1\n" + msr("PMCR_EL0") + "mov w5, #1\norr w5, w5, #0x80000000\n" + msr(PMCNTENSET)
        + "mov x5, #0x11\n" + msr(PMEVTYPER0) + "mov x5, #0\n" + msr(PMSELR)
    )  # fmt: skip
    found = read(at(bench(), 2), "PMCCNTR_EL0", PMEVCNTR0, PMXEVCNTR, before=begin)
    assert found == (9, 0, 0)


@pytest.mark.parametrize("model", ["a72", "max"])
def test_no_register_follows_the_host(bench: MakeBench, model: str) -> None:
    """Two machines, one after the other, read every register that there is a name for."""

    def answers() -> list[tuple[str, int]]:
        b = at(bench(model), 2)
        found = []
        for key in (*REGISTERS.values(), PMEVCNTR0, PMXEVCNTR):
            stop = b.run(mrs(key, 10))
            found.append((stop.reason.name, b.cpu.x(10)))
        return found

    assert answers() == answers()
