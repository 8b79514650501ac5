"""Console, GIC and PSCI as a guest meets them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relokit.runtime.arch.exceptions import ExceptionClass
from relokit.runtime.board.devices import (
    GIC_REGISTERS,
    UART_BASE,
    Gicv3,
    Pl011,
    Psci,
    Screen,
    attach,
)
from relokit.runtime.record.stop import StopReason

MakeBench = Callable[..., Any]
NOT_SUPPORTED = (1 << 64) - 1

PRINT = """
ready: ldr w3, [x1, #0x18]
tbnz w3, #5, ready
ldrb w2, [x0], #1
cbz w2, done
str w2, [x1]
b ready
done: nop
"""


@pytest.mark.parametrize("page", [4096, 65536])
def test_a_guest_prints(bench: MakeBench, page: int) -> None:
    b = bench()
    uart = Pl011()
    attach(b.cpu, (uart, Gicv3()))
    b.memory.write(0x4000_0000, b"hello\xff, world\n\0")
    b.cpu.set_x(0, 0x4000_0000)
    b.cpu.set_x(1, UART_BASE)
    assert b.run(PRINT).reason is StopReason.REACHED
    assert uart.screen.text == "hello\N{REPLACEMENT CHARACTER}, world\n"


def test_console_output_is_bounded() -> None:
    uart = Pl011(screen=Screen(limit=3))
    for byte in b"abc" + b"x" * 10_000 + b"the end":
        uart.write(uart.DATA, 1, byte)
    screen = uart.screen
    assert screen.dropped == 10_007 - Screen.LAST
    text = screen.text
    assert text.startswith(f"abc\n[{screen.dropped:,} bytes more]\nxxx")
    assert text.endswith("xthe end")
    assert len(text) < Screen.LAST + 100


def test_lines_are_bounded_too() -> None:
    """A MiB of newlines is a million rows of somebody's screen."""
    screen = Screen()
    for _ in range(1 << 17):
        screen.put(ord("\n"))
    assert screen.text.count("\n") < Screen.LINES + Screen.LAST + 10
    assert screen.more().count("\n") == Screen.LINES
    assert screen.more() == ""
    assert screen.rest().count("\n") < Screen.LAST + 10


@given(st.binary(max_size=60), st.lists(st.integers(0, 60)), st.integers(1, 40), st.integers(1, 5))
def test_what_streams_is_what_is_kept(
    printed: bytes, looks: list[int], limit: int, lines: int
) -> None:
    screen = Screen(limit=limit, lines=lines)
    shown = ""
    for number, byte in enumerate(printed):
        screen.put(byte)
        if number in looks:
            more = screen.more()
            assert more == "" or more.endswith("\n")
            shown += more
    assert shown + screen.rest() == screen.text


@given(st.text("ab\n", max_size=30), st.text("ab\n", min_size=1, max_size=4))
def test_what_is_expected_is_found_wherever_it_is_printed(printed: str, expected: str) -> None:
    found: list[int] = []
    put = count()
    screen = Screen(expected, lambda: found.append(next(put)), limit=3)
    for byte in printed.encode():
        screen.put(byte)
        if not found:
            next(put)
    first = printed.find(expected)
    assert found == ([] if first < 0 else [first + len(expected) - 1])


def test_uart_registers_read_back_and_identify() -> None:
    uart = Pl011()
    uart.write(0x24, 4, 0x1_0027)
    uart.write(0x18, 4, 0)
    assert (uart.read(0x24, 4), uart.read(0x18, 4), uart.read(0x30, 4)) == (0x27, 0x90, 0x300)
    assert [uart.read(0xFE0 + 4 * n, 4) for n in range(4)] == [0x11, 0x10, 0x14, 0x00]
    assert uart.read(0x800, 4) == 0


def test_the_gic_identifies_itself() -> None:
    gic = Gicv3()
    assert gic.read(0xFFE8, 4) >> 4 == 3
    assert gic.read(0xA_FFE8, 4) >> 4 == 3
    assert gic.read(0xA_0008, 8) & 1 << 4
    gic.write(0, 4, 0x8000_0037)
    assert gic.read(0, 4) == 0x37
    gic.write(0x100, 4, 1)
    assert (gic.read(0x100, 4), gic.read(0xA_0014, 4)) == (0, 0)


def test_the_gic_cpu_interface_can_be_given_to_the_cpu(bench: MakeBench) -> None:
    b = bench()
    text = "mov x1, #0xf0\nmsr s3_0_c4_c6_0, x1\nmrs x2, s3_0_c4_c6_0\nmrs x3, s3_0_c12_c12_0"
    stop = b.run(text)
    assert (stop.reason, stop.pc) == (StopReason.EXCEPTION, 0x4010_0004)
    b.cpu.add_registers(GIC_REGISTERS)
    stop = b.run(text)
    assert (stop.reason, stop.instructions) == (StopReason.REACHED, 4)
    assert (b.cpu.x(2), b.cpu.x(3)) == (0xF0, 1023)


@pytest.mark.parametrize(
    ("function", "argument", "answer"),
    [
        (0x8400_0000, 0, 0x1_0001),
        (0x8400_000A, 0x8400_0008, 0),
        (0x8400_000A, 0xC400_0003, 0),
        (0x8400_000A, 0x8400_0099, NOT_SUPPORTED),
        (0xC400_0004, 0, 0),
        (0x8400_0006, 0, 2),
        (0xC400_0003, 1, NOT_SUPPORTED - 3),
        (0x8000_0000, 0, 0x1_0001),
        (0x1234_5678, 0, NOT_SUPPORTED),
    ],
)
@pytest.mark.parametrize("conduit", ["smc", "hvc"])
def test_psci_answers(
    bench: MakeBench, conduit: str, function: int, argument: int, answer: int
) -> None:
    b = bench()
    b.cpu.firmware = Psci(conduit)
    b.cpu.set_x(0, function)
    b.cpu.set_x(1, argument)
    stop = b.run(f"{conduit} #0\nnop")
    assert (stop.reason, stop.instructions, stop.el) == (StopReason.REACHED, 2, 1)
    assert b.cpu.x(0) == answer


@pytest.mark.parametrize(
    ("function", "what"),
    [
        (0x8400_0008, "PSCI SYSTEM_OFF"),
        (0x8400_0009, "PSCI SYSTEM_RESET"),
        (0x8400_0002, "PSCI CPU_OFF of the only CPU"),
    ],
)
def test_psci_ends_the_run(bench: MakeBench, function: int, what: str) -> None:
    b = bench()
    b.cpu.firmware = Psci("smc")
    b.cpu.set_x(0, function)
    stop = b.run("nop\nsmc #0\nnop")
    assert (stop.reason, stop.detail) == (StopReason.POWERED_OFF, what)
    assert stop.instructions == 2


def test_smc_without_firmware_is_reported(bench: MakeBench) -> None:
    stop = bench().run("smc #3")
    assert stop.reason is StopReason.EXCEPTION
    assert stop.event is not None
    assert (stop.event.exception_class, stop.event.target_el) == (ExceptionClass.SMC64, 3)


def test_the_other_conduit_is_not_taken(bench: MakeBench) -> None:
    b = bench()
    b.cpu.firmware = Psci("hvc")
    assert b.run("smc #0").reason is StopReason.EXCEPTION
