"""After the hand-over: the new kernel runs on, with a console and firmware."""

from __future__ import annotations

from relokit.codegen.target import Regime
from relokit.runtime.arch.exceptions import DELIVER
from relokit.runtime.board import devices
from relokit.runtime.engine.cpu import NEVER, Cpu
from relokit.runtime.kexec.machine import Machine
from relokit.runtime.record.record import BootFacts
from relokit.runtime.run.journey import Report

UNLIMITED = 1 << 62
TICKS = 1000


def run_on(machine: Machine, cpu: Cpu, seconds: float, report: Report) -> BootFacts:
    """Let the kernel that was just entered run for ``seconds`` at most."""
    uart = devices.Pl011()
    devices.attach(cpu, (uart, devices.Gicv3()))
    cpu.add_registers(devices.GIC_REGISTERS)
    cpu.firmware = devices.Psci("hvc" if machine.target.regime is Regime.EL1 else "smc")
    cpu.policy = DELIVER
    stop = cpu.run(cpu.pc, until=NEVER, max_instructions=UNLIMITED, timeout_s=seconds)
    report("boot", TICKS, TICKS)
    kernel = machine.stages[-1].pc
    entered = next(
        one.kind
        for one in machine.inputs.segments
        if kernel - one.segment.mem in range(one.segment.memsz)
    )
    return BootFacts(entered, uart.text, stop, seconds)
