"""Where things lie in a machine that is ready to go, and what all it needs afterwards."""

from __future__ import annotations

from relokit.codegen.base.bits import MASK64
from relokit.codegen.base.documents import from_json, to_json
from relokit.runtime.arch.translation import WalkRegisters
from relokit.runtime.arch.walker import WalkStep, walk
from relokit.runtime.judge.outcome import Outcome
from relokit.runtime.kexec.kimage import read_field
from relokit.runtime.kexec.machine import Machine

ABORT, FETCH = "exception.data-abort", "exception.instruction-abort"


def words_of(machine: Machine) -> WalkRegisters:
    """Translation during the move."""
    own = dict(machine.state.sysregs)
    el = machine.state.el
    return WalkRegisters(
        sctlr=1,
        tcr=own[f"TCR_EL{el}"],
        ttbr0=read_field(machine.memory, machine.kimage, "ttbr0"),
        ttbr1=read_field(machine.memory, machine.kimage, "ttbr1"),
        e2h=el == 2,
    )


def trail(machine: Machine, address: int) -> tuple[WalkStep, ...]:
    """The entries that translate a VA; a PA is taken for its linear-map VA."""
    return walk(machine.memory, words_of(machine), address, el=machine.state.el).trail


def linear(machine: Machine, pa: int) -> int:
    return pa + machine.old.linear_offset & MASK64


def destination(machine: Machine) -> int:
    return linear(machine, machine.kimage.segments[0].mem)


def control(machine: Machine) -> int:
    return machine.kimage.control_page


def entries(machine: Machine) -> int:
    """PA of the first list page."""
    return machine.kimage.list_pages[0].base


def complete(machine: Machine, outcome: Outcome) -> None:
    """Whatever the findings, they are whole: nothing a person would have to ask for."""
    assert from_json(Outcome, to_json(outcome)).findings == outcome.findings
    for finding in outcome.findings:
        assert finding.message
        assert finding.cause, finding
        if finding.rule.split(".")[0] in ("exception", "run"):
            assert dict(finding.registers).keys() >= {"x0", "x30", "sp", "pc", "pstate"}
            assert sum(line.startswith("> ") for line in finding.listing) == 1
            assert any(note.startswith("SCTLR_EL") for note in finding.notes)
        if finding.rule in (ABORT, FETCH) and "MMU on" in finding.message:
            assert any(note.startswith("page walk:") for note in finding.notes)
