"""The contract at the last step: what the new kernel may rely on at its first instruction.

Each rule has a name and its source: Documentation/arch/arm64/booting.rst for what every kernel
asks, the contract of the series for what its own code promises beyond that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from relokit.codegen import facts
from relokit.codegen.series import Feature
from relokit.codegen.target import Regime
from relokit.runtime.arrange import Stage
from relokit.runtime.cpu import Cpu
from relokit.runtime.machine import Machine
from relokit.runtime.outcome import Finding, Handoff
from relokit.runtime.regime import SCTLR_M

ALL_MASKED = 0b1111


Check = Callable[[Machine, Cpu, Handoff, Stage], str | None]


@dataclass(frozen=True, slots=True)
class Rule:
    """``broken`` returns what is wrong, or None; ``cause`` is the usual reason."""

    name: str
    source: str
    broken: Check
    cause: str


def _zero(number: int) -> Check:
    def check(machine: Machine, cpu: Cpu, handoff: Handoff, stage: Stage) -> str | None:
        value = cpu.x(number)
        return f"x{number} = {value:#x}, and it is reserved: 0" if value else None

    return check


def _entry(machine: Machine, cpu: Cpu, handoff: Handoff, stage: Stage) -> str | None:
    if handoff.pc == stage.pc:
        return None
    return f"the {stage.name} is entered at {handoff.pc:#x} instead of {stage.pc:#x}"


def _dtb(machine: Machine, cpu: Cpu, handoff: Handoff, stage: Stage) -> str | None:
    if handoff.x0 == stage.x0:
        return None
    if stage.x0 == 0:
        return f"x0 = {handoff.x0:#x}, and the {stage.name} is promised 0"
    return f"x0 = {handoff.x0:#x}, but the device tree is at {stage.x0:#x}"


def _mmu(machine: Machine, cpu: Cpu, handoff: Handoff, stage: Stage) -> str | None:
    return f"the MMU is on (SCTLR_EL{handoff.el} = {handoff.sctlr:#x})" if handoff.mmu else None


def _daif(machine: Machine, cpu: Cpu, handoff: Handoff, stage: Stage) -> str | None:
    if handoff.daif == ALL_MASKED:
        return None
    return f"PSTATE.DAIF = {handoff.daif:04b}: D, A, I and F must be masked"


def _level(machine: Machine, cpu: Cpu, handoff: Handoff, stage: Stage) -> str | None:
    if handoff.el == machine.el_at_start:
        return None
    return f"the {stage.name} is entered at EL{handoff.el} instead of EL{machine.el_at_start}"


def _sctlr(machine: Machine, cpu: Cpu, handoff: Handoff, stage: Stage) -> str | None:
    """The level that had the MMU on must be left with the fixed value."""
    level = 2 if machine.target.regime is Regime.VHE else 1
    value = cpu.read(f"SCTLR_EL{level}")
    if value == facts.SCTLR_EL1_MMU_OFF:
        return None
    return f"SCTLR_EL{level} = {value:#x} instead of {facts.SCTLR_EL1_MMU_OFF:#x}"


def _vectors(machine: Machine, cpu: Cpu, handoff: Handoff, stage: Stage) -> str | None:
    """HVC that failed leaves HVC_STUB_ERR behind (regression: error ignored)."""
    if cpu.x(0) == facts.HVC_STUB_ERR:
        return f"x0 = {facts.HVC_STUB_ERR:#x}: the EL2 stub refused the call before"
    return None


BOOTING = "booting.rst"
RULES: tuple[Rule, ...] = (
    Rule("handoff.entry", BOOTING, _entry, "kimage.start, or the branch that uses it"),
    Rule(
        "handoff.stub-error",
        "EL2 stub contract",
        _vectors,
        "an HVC without its arguments, or vectors that do not know the call",
    ),
    Rule(
        "handoff.el",
        BOOTING,
        _level,
        "the HVC to EL2 was skipped (kimage.arch.el2_vectors = 0) or refused and fell through",
    ),
    Rule("handoff.mmu", BOOTING, _mmu, "SCTLR was not written, or at another exception level"),
    Rule("handoff.sctlr", "series, patch 12", _sctlr, "the value written to turn the MMU off"),
    Rule("handoff.daif", BOOTING, _daif, "DAIF was not masked before the jump"),
    Rule("handoff.dtb", BOOTING, _dtb, "kimage.arch.dtb_mem, or the register it is kept in"),
    Rule("handoff.x1", BOOTING, _zero(1), "a register left over from the copy"),
    Rule("handoff.x2", BOOTING, _zero(2), "a register left over from the copy"),
    Rule("handoff.x3", BOOTING, _zero(3), "a register left over from the copy"),
)


def check_handoff(machine: Machine, cpu: Cpu, handoff: Handoff, stage: Stage) -> list[Finding]:
    """Every rule that is broken at the first instruction of ``stage``."""
    findings = []
    for rule in RULES:
        message = rule.broken(machine, cpu, handoff, stage)
        if message:
            findings.append(
                Finding(
                    rule=rule.name,
                    message=message,
                    address=handoff.pc,
                    notes=(f"source: {rule.source}",),
                    cause=rule.cause,
                )
            )
    return findings


def check_jump(machine: Machine, el: int, sctlr: int) -> list[Finding]:
    """What the state of the series promises at the first instruction of the relocation code.

    Nothing, where there is no relocation.
    """
    findings: list[Finding] = []
    if machine.jump is None:
        return findings
    if el != machine.el_at_jump:
        findings.append(
            Finding(
                rule="relocation.el",
                message=f"relocation runs at EL{el}, and this state of the series runs it at "
                f"EL{machine.el_at_jump}",
                address=machine.jump,
            )
        )
    wanted = machine.target.has(Feature.MMU_ON)
    if bool(sctlr & SCTLR_M) != wanted:
        findings.append(
            Finding(
                rule="relocation.mmu",
                message=f"the MMU is {'off' if wanted else 'on'} during relocation, and this state "
                f"of the series has it {'on' if wanted else 'off'}",
                address=machine.jump,
            )
        )
    return findings
