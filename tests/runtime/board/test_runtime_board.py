"""Console, interrupts and time as a guest meets them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from relokit.codegen.system_registers import register_key
from relokit.codegen.target import Regime
from relokit.codegen.virt_board import (
    GIC_DISTRIBUTOR_BASE,
    GIC_REDISTRIBUTORS_BASE,
    PCI_CONFIG_SPACES,
    QUIET_DEVICES,
    UART_BASE,
)
from relokit.runtime.arch.exceptions import DELIVER, REPORT
from relokit.runtime.arch.feature_id import ShownFeature
from relokit.runtime.board.board import Board
from relokit.runtime.board.screen import Screen
from relokit.runtime.engine.clock import INSTRUCTIONS_PER_TICK, UPTIME
from relokit.runtime.record.stop import Stop, StopReason

MakeBench = Callable[..., Any]
VECTORS = 0x4000_8000
SEEN = 0x4000_4000
"""What handlers note: interrupts in order, 8 bytes each; x28 is the end."""
SGIS = GIC_REDISTRIBUTORS_BASE + 0x1_0000
E2H_TGE = 1 << 34 | 1 << 27
NONE = 1023

PRINT = """
ready: ldr w3, [x1, #0x18]
tbnz w3, #5, ready
ldrb w2, [x0], #1
cbz w2, done
str w2, [x1]
b ready
done: nop
"""


def mrs(rt: int, name: str) -> str:
    """Assembly that reads a system register, whatever the assembler knows."""
    return f".word {0xD5200000 | register_key(name) << 5 | rt:#x}\n"


def msr(name: str, rt: int) -> str:
    """Assembly that writes one."""
    return f".word {0xD5000000 | register_key(name) << 5 | rt:#x}\n"


def put(address: int, value: int, size: int = 4) -> str:
    """Assembly that stores ``value`` at PA ``address``; x0 and x1 are lost."""
    store = {1: "strb w1", 4: "str w1", 8: "str x1"}[size]
    return f"ldr x0, ={address:#x}\nldr x1, ={value:#x}\n{store}, [x0]\n"


@dataclass
class Guest:
    """A board with a guest at ``el``, whose IRQ handler is in place."""

    bench: Any
    board: Board
    el: int

    def run(self, text: str, **limits: int) -> Stop:
        """Run ``text``, with its literals behind it."""
        done = "b past_literals\n.ltorg\npast_literals: nop\n"
        self.bench.cpu.flush_code()
        stop: Stop = self.bench.run(text + done, **limits)
        return stop

    def set(self, name: str, value: int) -> str:
        """Assembly that writes a system register."""
        return f"ldr x1, ={value:#x}\n" + msr(name, 1)

    def load(self, address: int, size: int = 4) -> int:
        """What a load gives."""
        register = {1: "ldrb w1", 4: "ldr w1", 8: "ldr x1"}[size]
        self.run(f"ldr x0, ={address:#x}\n{register}, [x0]\n")
        return int(self.bench.cpu.x(1))

    def register(self, name: str) -> int:
        """What an MRS gives."""
        self.run(mrs(1, name))
        return int(self.bench.cpu.x(1))

    @property
    def seen(self) -> list[int]:
        """Interrupts that the handler has noted."""
        end = self.bench.cpu.x(28)
        memory = self.bench.memory
        return [int.from_bytes(memory.read(at, 8), "little") for at in range(SEEN, end, 8)]


STOP_TIMERS = "mov x26, #2\n" + "".join(msr(f"CNT{timer}_CTL_EL0", 26) for timer in ("P", "V"))


def power_on(
    bench: MakeBench, el: int = 1, hcr: int = 0, *, handler: str = "", regime: Regime = Regime.EL1
) -> Guest:
    """A guest that notes each interrupt, does ``handler``, ends it and goes on."""
    b = bench("max" if hcr else "a72")
    b.cpu.policy = DELIVER
    board = Board(b.cpu, regime, Screen())
    b.cpu.write("HCR_EL2", b.cpu.read("HCR_EL2") | hcr)
    b.cpu.set_el(el)
    b.cpu.write(f"VBAR_EL{el}", VECTORS)
    note = mrs(27, "ICC_IAR1_EL1") + "str x27, [x28], #8\n"
    back = msr("ICC_EOIR1_EL1", 27) + "eret\n"
    b.load(note + (handler or STOP_TIMERS) + back, at=VECTORS + 0x280)
    b.cpu.set_x(28, SEEN)
    return Guest(b, board, el)


def enable(*intids: int, priority: int = 0xA0) -> str:
    """Assembly that wakes the GIC and enables interrupts below 32, in Group 1."""
    bits = sum(1 << intid for intid in intids)
    return (
        put(GIC_DISTRIBUTOR_BASE, 0x12)
        + put(GIC_REDISTRIBUTORS_BASE + 0x14, 0)
        + put(SGIS + 0x80, 0xFFFF_FFFF)
        + "".join(put(SGIS + 0x400 + intid, priority, 1) for intid in intids)
        + put(SGIS + 0x100, bits)
        + "mov x1, #0xf0\n" + msr("ICC_PMR_EL1", 1)
        + "mov x1, #1\n" + msr("ICC_IGRPEN1_EL1", 1)
    )  # fmt: skip


@pytest.mark.parametrize("page", [4096, 65536])
def test_a_guest_prints(bench: MakeBench, page: int) -> None:
    g = power_on(bench)
    b = g.bench
    b.memory.write(0x4000_0000, b"hello\xff, world\nand more\0")
    b.cpu.set_x(0, 0x4000_0000)
    b.cpu.set_x(1, UART_BASE)
    assert b.run(PRINT).reason is StopReason.REACHED
    assert g.board.screen.text == "hello\N{REPLACEMENT CHARACTER}, world\n"
    g.board.flush()
    assert g.board.screen.text.endswith("\nand more")
    g.board.flush()
    assert g.board.screen.text.endswith("\nand more")


def test_what_is_expected_stops_the_guest_at_that_byte(bench: MakeBench) -> None:
    b = bench()
    Board(b.cpu, Regime.EL1, Screen("o, w", lambda: b.cpu.stop(StopReason.PRINTED)))
    b.memory.write(0x4000_0000, b"hello, world\n\0")
    b.cpu.set_x(0, 0x4000_0000)
    b.cpu.set_x(1, UART_BASE)
    stop = b.run(PRINT)
    assert stop.reason is StopReason.PRINTED
    assert b.cpu.x(0) == 0x4000_0000 + len("hello, w")


def test_the_console_identifies_itself_and_keeps_what_is_written(bench: MakeBench) -> None:
    g = power_on(bench)
    assert g.load(UART_BASE + 0x30) == 0x300
    g.run(put(UART_BASE + 0x24, 0x1_0027) + put(UART_BASE + 0x18, 0))
    assert (g.load(UART_BASE + 0x24), g.load(UART_BASE + 0x18)) == (0x27, 0x90)
    assert [g.load(UART_BASE + 0xFE0 + 4 * n) for n in range(4)] == [0x11, 0x10, 0x14, 0x00]
    assert g.load(UART_BASE + 0x800) == 0


def test_the_gic_identifies_itself(bench: MakeBench) -> None:
    g = power_on(bench)
    assert g.load(GIC_DISTRIBUTOR_BASE + 0xFFE8) >> 4 == 3
    assert g.load(GIC_DISTRIBUTOR_BASE + 4) & 0x1F == 8  # 288 interrupts
    assert g.load(GIC_REDISTRIBUTORS_BASE + 0xFFE8) >> 4 == 3
    assert g.load(GIC_REDISTRIBUTORS_BASE + 8, 8) == 1 << 4
    assert g.load(GIC_REDISTRIBUTORS_BASE + 0x14) == 6
    assert g.load(GIC_REDISTRIBUTORS_BASE + 0x2_FFE8) == 0  # there is one CPU


def test_rows_of_the_gic_are_set_and_cleared(bench: MakeBench) -> None:
    g = power_on(bench)
    for row in (0x100, 0x200, 0x300):
        for frame, at, kept in ((GIC_DISTRIBUTOR_BASE, 4, 0xF0), (SGIS, 0, 0xF0),
                                (GIC_DISTRIBUTOR_BASE, 0, 0), (SGIS, 4, 0)):  # fmt: skip
            g.run(put(frame + row + at, 0xFF) + put(frame + row + 0x80 + at, 0xF))
            assert [g.load(frame + row + part + at) for part in (0, 0x80)] == [kept, kept]
    g.run(put(GIC_DISTRIBUTOR_BASE + 0x420, 0xFFFF_FFFF) + put(GIC_DISTRIBUTOR_BASE + 0x421, 1, 1))
    assert g.load(GIC_DISTRIBUTOR_BASE + 0x420) == 0xF8F8_00F8
    g.run(put(GIC_DISTRIBUTOR_BASE + 0x6108, 0x1_0000_0002, 8))
    assert g.load(GIC_DISTRIBUTOR_BASE + 0x6108, 8) == 0x1_0000_0002
    g.run(put(GIC_DISTRIBUTOR_BASE, 0xFFFF_FFFF))
    assert g.load(GIC_DISTRIBUTOR_BASE) == 0x53


def test_what_else_qemus_board_has_is_quiet(bench: MakeBench) -> None:
    g = power_on(bench)
    for base, size in QUIET_DEVICES:
        assert [g.load(at) for at in (base, base + size - 4)] == [0, 0]
    for base, size in PCI_CONFIG_SPACES:
        g.run(put(base, 0))
        assert [g.load(at, 8) for at in (base, base + size - 8)] == [(1 << 64) - 1] * 2


TIMERS = [
    (1, 0, "CNTV_{}_EL0", 27),
    (1, 0, "CNTP_{}_EL0", 30),
    (2, 1 << 4, "CNTHP_{}_EL2", 26),
    (2, E2H_TGE, "CNTP_{}_EL0", 26),
    (2, E2H_TGE, "CNTV_{}_EL0", 28),
]


@pytest.mark.parametrize(("el", "hcr", "timer", "intid"), TIMERS)
def test_a_timer_interrupts(bench: MakeBench, el: int, hcr: int, timer: str, intid: int) -> None:
    control, left = timer.format("CTL"), timer.format("TVAL")

    def ended() -> tuple[Guest, Stop]:
        g = power_on(
            bench, el, hcr, handler="mov x26, #2\n" + msr(control, 26) + mrs(25, "CNTPCT_EL0")
        )
        start = g.set(left, 1000) + mrs(20, "CNTPCT_EL0") + "mov x1, #1\n" + msr(control, 1)
        text = enable(intid) + start + "msr daifclr, #2\nagain: cmp x28, x24\nb.eq again\n"
        g.bench.cpu.set_x(24, SEEN)
        return g, g.run(text)

    first, second = ended(), ended()
    assert first[0].seen == [intid]
    assert first[1].reason is StopReason.REACHED
    late = first[0].bench.cpu.x(25) - first[0].bench.cpu.x(20)
    assert 1000 <= late <= 1000 + 8
    assert first[1].instructions == second[1].instructions
    assert first[0].register("ICC_RPR_EL1") == 0xFF


def test_an_interrupt_waits_while_it_is_masked(bench: MakeBench) -> None:
    g = power_on(bench)
    begin = enable(27) + g.set("CNTV_TVAL_EL0", 10) + g.set("CNTV_CTL_EL0", 1)
    wait = "mov x2, #500\nloop: subs x2, x2, #1\nb.ne loop\nmov x3, x28\n"
    g.run(begin + wait + mrs(4, "ISR_EL1") + "msr daifclr, #2\nnop\nb next\nnext: mov x5, x28\n")
    assert (g.bench.cpu.x(3), g.bench.cpu.x(5)) == (SEEN, SEEN + 8)
    assert g.seen == [27]


def test_a_wait_ends_at_the_timers_time(bench: MakeBench) -> None:
    g = power_on(bench)
    begin = enable(27) + g.set("CNTV_TVAL_EL0", 62_500_000) + g.set("CNTV_CTL_EL0", 1)
    wait = (
        mrs(2, "CNTVCT_EL0") + "wfi\n" + mrs(3, "CNTVCT_EL0") + "msr daifclr, #2\nb on\non: nop\n"
    )
    stop = g.run(begin + wait, max_instructions=1_000_000_000)
    assert stop.reason is StopReason.REACHED
    assert stop.instructions < 200
    assert g.seen == [27]
    waited = g.bench.cpu.x(3) - g.bench.cpu.x(2)
    assert 62_499_900 < waited < 62_500_010


def test_waiting_counts_as_instructions_do(bench: MakeBench) -> None:
    g = power_on(bench)
    begin = enable(27) + g.set("CNTV_TVAL_EL0", 62_500_000) + g.set("CNTV_CTL_EL0", 1)
    stop = g.run(begin + "wfi\nb on\non: nop\n", max_instructions=1_000_000)
    assert stop.reason is StopReason.INSTRUCTION_LIMIT
    now = g.register("CNTPCT_EL0")
    assert 0 <= now - UPTIME - 1_000_000 // INSTRUCTIONS_PER_TICK < 100


@pytest.mark.parametrize("control", [0, 2, 3])
def test_a_wait_for_nothing_ends_the_run(bench: MakeBench, control: int) -> None:
    g = power_on(bench)
    text = enable(27) + g.set("CNTV_TVAL_EL0", 100) + g.set("CNTV_CTL_EL0", control)
    assert g.run(text + "wfi\n").reason is StopReason.HALTED
    assert g.seen == []


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize(
    ("loop", "end"),
    [
        ("b .\n", StopReason.SPIN),
        ("again: wfe\nb again\n", StopReason.SPIN),
        # As kernels park themselves: what is masked ends each wait, and nothing comes of it.
        ("again: wfe\nwfi\nb again\n", StopReason.HALTED),
        ("again: wfi\nb again\n", StopReason.HALTED),
    ],
)
def test_a_loop_that_an_interrupt_may_end_is_not_endless(
    bench: MakeBench, loop: str, end: StopReason, masked: bool
) -> None:
    # The handler goes on behind the loop, which never does.
    skip = "mrs x26, elr_el1\nand x26, x26, #~7\nadd x26, x26, #8\nmsr elr_el1, x26\n"
    g = power_on(bench, handler=STOP_TIMERS + skip)
    begin = enable(27) + g.set("CNTV_TVAL_EL0", 10_000) + g.set("CNTV_CTL_EL0", 1)
    mask = "" if masked else "msr daifclr, #2\n"
    text = begin + mask + ".balign 8\n" + loop + "nop\nnop\nnop\n"
    stop = g.run(text, max_instructions=400_000)
    assert stop.reason is (end if masked else StopReason.REACHED)
    assert g.seen == ([] if masked else [27])


def test_software_interrupts_itself_and_nobody_else(bench: MakeBench) -> None:
    g = power_on(bench)
    sends = "".join(
        g.set("ICC_SGI1R_EL1", value)
        for value in (1 << 24 | 1, 2 << 24 | 2, 3 << 24 | 1 << 40 | 1, 4 << 24 | 1 << 16 | 1)
    )
    g.run(enable(1, 2, 3, 4) + sends + "msr daifclr, #2\nb on\non: nop\nb more\nmore: nop\n")
    assert g.seen == [1]


def test_the_highest_priority_goes_first_and_the_mask_holds(bench: MakeBench) -> None:
    g = power_on(bench)
    lower = put(SGIS + 0x403, 0xB0, 1) + put(SGIS + 0x401, 0xF0, 1) + put(SGIS + 0x202, 0)
    g.run(enable(1, 2, 3) + lower + put(SGIS + 0x200, 0b1110))
    assert g.register("ICC_HPPIR1_EL1") == 2
    g.run("msr daifclr, #2\nb on\non: nop\nb more\nmore: nop\nb last\nlast: nop\n")
    assert g.seen == [2, 3]  # the mask is 0xf0, which is not above 0xf0
    assert g.load(SGIS + 0x200) == 0b10


def test_what_runs_is_preempted_by_what_is_above_it_only(bench: MakeBench) -> None:
    g = power_on(bench)
    g.run(enable(1, 2) + put(SGIS + 0x402, 0x20, 1) + put(SGIS + 0x200, 0b10))
    assert g.register("ICC_IAR1_EL1") == 1
    assert g.load(SGIS + 0x300) == 0b10
    assert g.register("ICC_RPR_EL1") == 0xA0
    g.run(put(SGIS + 0x200, 0b110))
    assert [g.register("ICC_IAR1_EL1") for _ in range(2)] == [2, NONE]
    assert g.register("ICC_RPR_EL1") == 0x20
    g.run(g.set("ICC_EOIR1_EL1", 2))
    assert g.register("ICC_RPR_EL1") == 0xA0
    g.run(g.set("ICC_EOIR1_EL1", 1))
    assert (g.register("ICC_RPR_EL1"), g.register("ICC_IAR1_EL1")) == (0xFF, 1)


def test_an_end_of_interrupt_may_leave_it_active(bench: MakeBench) -> None:
    g = power_on(bench)
    g.run(enable(1) + g.set("ICC_CTLR_EL1", 2) + put(SGIS + 0x200, 0b10))
    assert g.register("ICC_IAR1_EL1") == 1
    g.run(g.set("ICC_EOIR1_EL1", 1) + put(SGIS + 0x200, 0b10))
    assert (g.load(SGIS + 0x300), g.register("ICC_IAR1_EL1")) == (0b10, NONE)
    g.run(g.set("ICC_DIR_EL1", 1))
    assert (g.load(SGIS + 0x300), g.register("ICC_IAR1_EL1")) == (0, 1)


def test_a_second_kernel_finds_a_gic_that_it_can_start(bench: MakeBench) -> None:
    """What the first leaves: an interrupt that runs, others pending, a timer that goes."""
    g = power_on(bench)
    g.run(enable(1, 27) + put(SGIS + 0x200, 0b10))
    assert g.register("ICC_IAR1_EL1") == 1
    g.run(g.set("CNTV_TVAL_EL0", 10) + g.set("CNTV_CTL_EL0", 1) + "nop\n" * 60)
    stop = (
        put(GIC_DISTRIBUTOR_BASE, 0) + put(SGIS + 0x180, 0xFFFF_FFFF)
        + put(SGIS + 0x380, 0xFFFF_FFFF) + put(SGIS + 0x280, 0xFFFF_FFFF)
        + "mov x1, #0\n" + msr("ICC_AP1R0_EL1", 1) + msr("CNTV_CTL_EL0", 1)
    )  # fmt: skip
    g.run(stop + "msr daifclr, #2\nb on\non: nop\n")
    assert g.seen == []
    again = enable(27) + g.set("CNTV_TVAL_EL0", 10) + g.set("CNTV_CTL_EL0", 1)
    g.run(again + "mov x2, #99\nloop: subs x2, x2, #1\nb.ne loop\n")
    assert g.seen == [27]


def test_the_console_interrupts_when_it_has_sent(bench: MakeBench) -> None:
    handler = f"ldr x26, =0x44\nldr x27, ={UART_BASE:#x}\nmov w25, #0x20\nstr w25, [x27, #0x44]\n"
    g = power_on(
        bench, handler="mov x23, x27\n" + handler + "mov x27, x23\nb over\n.ltorg\nover: nop\n"
    )
    spi = put(GIC_DISTRIBUTOR_BASE + 0x84, 2) + put(GIC_DISTRIBUTOR_BASE + 0x104, 2)
    text = enable() + spi + put(UART_BASE + 0x38, 0x20) + "msr daifclr, #2\n"
    g.run(text + put(UART_BASE, ord("x")) + "b on\non: nop\nb more\nmore: nop\n")
    assert g.seen == [33]
    assert (g.load(UART_BASE + 0x3C), g.load(UART_BASE + 0x40)) == (0, 0)


def test_el0_has_no_part_in_it(bench: MakeBench) -> None:
    g = power_on(bench)
    g.bench.cpu.policy = REPORT
    g.bench.cpu.set_el(0)
    stop = g.run(mrs(1, "ICC_IAR1_EL1"))
    assert stop.reason is StopReason.EXCEPTION
    assert stop.event is not None
    assert (stop.event.source_el, stop.event.exception_class) == (0, 0)


HIDDEN = [
    (ShownFeature.PAUTH, "ID_AA64ISAR1_EL1", 0xFF00_0FF0),
    (ShownFeature.RNDR, "ID_AA64ISAR0_EL1", 0xF << 60),
]


@pytest.mark.parametrize(("feature", "name", "fields"), HIDDEN)
def test_what_is_slow_or_chance_is_shown_on_demand(
    bench: MakeBench, feature: ShownFeature, name: str, fields: int
) -> None:
    values = []
    for shown in ((), (feature,)):
        b = bench("max")
        Board(b.cpu, Regime.EL1, Screen(), shown)
        b.run(mrs(1, name))
        assert b.cpu.x(1) == b.cpu.seen(name)
        values.append(b.cpu.x(1))
    hidden, seen = values
    assert (hidden & fields, seen & fields > 0) == (0, True)
    assert hidden == seen & ~fields


def test_there_are_as_many_list_registers_as_are_promised(bench: MakeBench) -> None:
    """A kernel of 6.12 writes all of them at EL2; what is beyond is undefined, and told by name."""
    b = bench()
    Board(b.cpu, Regime.NVHE, Screen())
    b.cpu.policy = REPORT
    b.cpu.set_el(2)
    names = [f"S3_4_C12_C12_{number}" for number in range(4)]
    write = "".join(f"mov x1, #{7 + at}\n" + msr(name, 1) for at, name in enumerate(names))
    read = "".join(mrs(2 + at, name) for at, name in enumerate(names))
    stop = b.run(write + read + mrs(1, "ICH_VTR_EL2"))
    assert stop.reason is StopReason.REACHED
    assert [b.cpu.x(2 + at) for at in range(4)] == [7, 8, 9, 10]
    assert (b.cpu.x(1) & 0x1F) + 1 == len(names)
    assert not b.cpu.undefined
    for times in (1, 2):
        stop = b.run(mrs(2, "S3_4_C12_C12_4"), at=0x4018_0000)
        assert stop.reason is StopReason.EXCEPTION
        assert [*b.cpu.undefined.values()] == [times]
    assert [*b.cpu.undefined] == ["S3_4_C12_C12_4"]
