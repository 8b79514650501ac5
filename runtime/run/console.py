"""After the hand-over: the new kernel runs on, with a console and firmware."""

from __future__ import annotations

from collections.abc import Callable

from relokit.codegen.target import Regime
from relokit.runtime.arch.exceptions import DELIVER
from relokit.runtime.board import devices
from relokit.runtime.engine.cpu import NEVER, Cpu
from relokit.runtime.engine.stop import StopReason
from relokit.runtime.guest.payload import PayloadKind
from relokit.runtime.judge.outcome import Finding
from relokit.runtime.kexec.machine import Machine

DEMO_PASS = "relokit demo kernel: PASS"
UNLIMITED = 1 << 62
TICKS = 1000


def run_on(
    machine: Machine, cpu: Cpu, seconds: float, report: Callable[[str, int, int], None]
) -> tuple[str, str, list[Finding]]:
    """Let the kernel that was just entered run for ``seconds`` at most.

    Returns its console, how it ended, and a finding if the demo kernel is not content.
    """
    uart = devices.Pl011()
    devices.attach(cpu, (uart, devices.Gicv3()))
    cpu.add_registers(devices.GIC_REGISTERS)
    cpu.firmware = devices.Psci("hvc" if machine.target.regime is Regime.EL1 else "smc")
    cpu.policy = DELIVER
    stop = cpu.run(cpu.pc, until=NEVER, max_instructions=UNLIMITED, timeout_s=seconds)
    report("boot", TICKS, TICKS)
    ended = f"{stop.reason}: {stop.detail}" if stop.detail else str(stop.reason)
    if stop.reason is StopReason.TIMEOUT:
        ended = f"stopped after {seconds:g} s"
    findings = []
    demo = machine.inputs.segments[0].kind is PayloadKind.DEMO_KERNEL
    if demo and DEMO_PASS not in uart.text:
        findings.append(
            Finding(
                rule="boot.demo",
                message="the demo kernel does not find the machine as booting.rst promises",
                address=stop.pc,
                notes=tuple(uart.text.splitlines()),
                cause=None if uart.text else f"it printed nothing ({ended})",
            )
        )
    return uart.text, ended, findings
