"""PSCI firmware as a guest meets it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from relokit.runtime.arch.exceptions import ExceptionClass
from relokit.runtime.board.psci import Psci
from relokit.runtime.record.stop import StopReason

MakeBench = Callable[..., Any]
NOT_SUPPORTED = (1 << 64) - 1
INVALID_PARAMETERS = (1 << 64) - 2


@pytest.mark.parametrize(
    ("function", "argument", "answer"),
    [
        (0x8400_0000, 0, 0x1_0001),
        (0x8400_000A, 0x8400_0008, 0),
        (0x8400_000A, 0xC400_0003, 0),
        (0x8400_000A, 0x8400_0099, NOT_SUPPORTED),
        (0xC400_0004, 0, 0),
        (0x8400_0006, 0, 2),
        (0x8400_0004, 1, INVALID_PARAMETERS),
        (0xC400_0003, 0, NOT_SUPPORTED - 3),
        (0xC400_0003, 0x8000_0000, NOT_SUPPORTED - 3),
        (0xC400_0003, 1, INVALID_PARAMETERS),
        (0xC400_0001, 0, 0),
        (0xC400_0001, 1 << 16, INVALID_PARAMETERS),
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
