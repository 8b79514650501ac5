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
from relokit.runtime.arch.translation import SCTLR_M
from relokit.runtime.engine.cpu import Cpu
from relokit.runtime.judge.outcome import Finding, Handoff
from relokit.runtime.kexec.arrange import Stage
from relokit.runtime.kexec.kimage import read_field
from relokit.runtime.kexec.machine import Machine

ALL_MASKED = 0b1111


Check = Callable[[Machine, Cpu, Handoff, Stage], str | None]


@dataclass(frozen=True, slots=True)
class Rule:
    """``broken`` returns what is wrong, or None; ``cause`` the probable reason."""

    name: str
    source: str
    broken: Check
    cause: str | Callable[[Machine, Cpu], str]


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


def _daif_before(machine: Machine, cpu: Cpu, handoff: Handoff, stage: Stage) -> str | None:
    """The exception to EL2 masked everything; SPSR tells what it was when the HVC came."""
    if machine.target.regime is not Regime.NVHE or handoff.el != 2:
        return None
    daif = cpu.read("SPSR_EL2") >> 6 & ALL_MASKED
    if daif == ALL_MASKED:
        return None
    return f"PSTATE.DAIF was {daif:04b} at the HVC to EL2: an interrupt would have had no vector"


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


def _why_sctlr(machine: Machine, cpu: Cpu) -> str:
    value = cpu.read(f"SCTLR_EL{2 if machine.target.regime is Regime.VHE else 1}")
    if value & SCTLR_M:
        return "the MMU of the level that relocated was never turned off"
    return "the fixed value has to be written whole: nothing of the old kernel's SCTLR may stay"


def _why_level(machine: Machine, cpu: Cpu) -> str:
    """Why EL2 was not reached, or was left."""
    if machine.target.regime is not Regime.NVHE:
        return "there is no stub to call in this regime: the relocation code ends with a branch"
    if machine.kimage.layout.arch is not None and machine.target.has(Feature.RELOCATE_AT_EL1):
        if read_field(machine.memory, machine.kimage, "el2_vectors") == 0:
            return "kimage el2_vectors is 0, so the code takes it that no stub waits at EL2"
        caller = cpu.read("ELR_EL2") - 4
        control = machine.kimage.control_page
        if control <= caller < control + len(machine.routines.relocation):
            return (
                f"the HVC at {caller:#x} came back: its function number in x0 was not "
                f"HVC_SOFT_RESTART ({facts.HVC_SOFT_RESTART}), or the vectors do not know that; "
                "the code fell through to the branch"
            )
    return "no HVC was made on the way out"


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
    Rule("handoff.el", BOOTING, _level, _why_level),
    Rule("handoff.mmu", BOOTING, _mmu, "SCTLR was not written, or at another exception level"),
    Rule("handoff.sctlr", "series, patch 12", _sctlr, _why_sctlr),
    Rule("handoff.daif", BOOTING, _daif, "DAIF was not masked before the jump, or unmasked since"),
    Rule(
        "relocation.daif",
        "series, machine_kexec",
        _daif_before,
        "DAIF was not masked before the jump, or unmasked since",
    ),
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
                    cause=rule.cause if isinstance(rule.cause, str) else rule.cause(machine, cpu),
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
                cause="the el2_switch of the soft restart before it",
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
                cause="the way from machine_kexec to the control page: by a call, or through the "
                "soft restart, which turns the MMU off",
            )
        )
    return findings
