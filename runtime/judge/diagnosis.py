"""Why a run ended badly: a Stop, the CPU and the machine's knowledge, made into a Finding."""

from __future__ import annotations

from relokit.codegen.object import SourceLine
from relokit.runtime.arch.exceptions import (
    DATA_ABORTS,
    INSTRUCTION_ABORTS,
    ExceptionClass,
    vector_text,
)
from relokit.runtime.arch.register_fields import describe
from relokit.runtime.engine.cpu import Cpu
from relokit.runtime.engine.stop import Stop, StopReason
from relokit.runtime.judge.causes import CAUSES
from relokit.runtime.judge.disassembly import disassemble, listing
from relokit.runtime.judge.outcome import Finding
from relokit.runtime.judge.scene import Guest, Scene, guest_owner

_RULES: dict[StopReason, str] = {
    StopReason.REACHED: "run.early",
    StopReason.BAD_VECTOR: "exception.vector",
    StopReason.UNMAPPED: "bus.unassigned",
    StopReason.SPIN: "run.spin",
    StopReason.INSTRUCTION_LIMIT: "run.limit",
    StopReason.TIMEOUT: "run.timeout",
    StopReason.HALTED: "run.halted",
    StopReason.POWERED_OFF: "run.off",
    StopReason.ENGINE: "run.engine",
}
_EXCEPTION_RULES = {
    **dict.fromkeys(INSTRUCTION_ABORTS, "exception.instruction-abort"),
    **dict.fromkeys(DATA_ABORTS, "exception.data-abort"),
    int(ExceptionClass.UNKNOWN): "exception.undefined",
}


def diagnose(guest: Guest, cpu: Cpu, stop: Stop) -> Finding:
    """Explain a run that ended as ``stop``; ``cpu`` is still in the state it ended in."""
    scene = Scene(guest, cpu, stop)
    return Finding(
        rule=_rule(stop),
        message=_message(scene),
        address=stop.pc,
        place=place_of(guest, stop.pc),
        listing=listing(cpu.instruction_at, stop.pc, note=lambda pc: _line_text(_line(guest, pc))),
        registers=_registers(scene),
        notes=tuple(_notes(scene)),
        cause=next((cause.text for cause in CAUSES if cause.when(scene)), None),
    )


def place_of(guest: Guest, pc: int) -> str | None:
    """``symbol+0x10 (relocate.S.j2:41)`` of an address in code we know."""
    located = guest.locate(pc)
    if located is None:
        owner = guest.allocator.owner(pc)
        return f"in {owner.owner}" if owner else None
    image, va = located
    symbol = image.symbol_at(va)
    name = f"{symbol[0]}+{symbol[1]:#x}" if symbol else f"{image.name}, {va:#x}"
    line = _line_text(image.line_at(va))
    return f"{name} ({line})" if line else name


def _rule(stop: Stop) -> str:
    if stop.reason is StopReason.EXCEPTION and stop.event:
        return _EXCEPTION_RULES.get(stop.event.exception_class, "exception.stray")
    return _RULES.get(stop.reason, "exception.stray")


def _message(scene: Scene) -> str:
    stop = scene.stop
    at = f"at EL{stop.el}, MMU {'on' if scene.mmu else 'off'}"
    if stop.reason is StopReason.EXCEPTION and stop.event:
        return f"{stop.event.text}, {at}"
    if stop.reason is StopReason.UNMAPPED and stop.access:
        access = stop.access
        return (
            f"{access.kind} of {access.size} bytes at PA {access.pa:#x}, which nothing owns, {at}"
        )
    if stop.reason is StopReason.SPIN and scene.vector:
        el, offset = scene.vector
        return f"spins at {stop.pc:#x}, entered by VBAR_EL{el} {vector_text(offset)}"
    if stop.reason is StopReason.SPIN:
        return f"spins at {stop.pc:#x}, {at}"
    if stop.reason in (StopReason.INSTRUCTION_LIMIT, StopReason.TIMEOUT):
        return (
            f"no end after {stop.instructions} instructions, {stop.seconds:.3g} s "
            f"({stop.reason}), {at}"
        )
    detail = f": {stop.detail}" if stop.detail else ""
    return f"{stop.reason}{detail}, {at}"


def _notes(scene: Scene) -> list[str]:
    notes = []
    stop, cpu = scene.stop, scene.cpu
    event = stop.event
    if event and stop.reason is not StopReason.EXCEPTION:
        notes.append(
            f"last exception: {event.text}, EL{event.source_el} to EL{event.target_el}, "
            f"ELR {event.return_address:#x}"
        )
        word = cpu.instruction_at(event.return_address - 4)
        if event.exception_class == ExceptionClass.HVC64 and word is not None:
            notes.append(
                f"raised by: {disassemble(word, event.return_address - 4)} at "
                f"{event.return_address - 4:#x}"
            )
    if scene.walk:
        notes += [f"page walk: {line.strip()}" for line in str(scene.walk).splitlines()]
    for name, pa in (
        ("fault address", scene.walk.pa if scene.walk else scene.aborted),
        ("accessed address", stop.access.pa if stop.access else None),
        ("code", cpu.walk(stop.pc).pa),
    ):
        owner = guest_owner(scene.guest, pa)
        if owner:
            notes.append(f"{name}: PA {pa:#x} belongs to {owner}")
    if scene.linked_word not in (None, scene.word):
        assert scene.linked_word is not None
        notes.append(f"the image has here: {disassemble(scene.linked_word, stop.pc)}")
    level = max(stop.el, 1)
    notes += [
        f"{name}_EL{level} = {describe(name, cpu.read(f'{name}_EL{level}'))}"
        for name in ("SCTLR", "TCR")
    ]
    notes.append(f"HCR_EL2 = {describe('HCR', cpu.read('HCR_EL2'))}")
    return notes


def _registers(scene: Scene) -> tuple[tuple[str, int], ...]:
    cpu = scene.cpu
    level = max(scene.stop.el, 1)
    general = [(f"x{number}", value) for number, value in enumerate(cpu.registers)]
    names = [f"{name}_EL{level}" for name in ("TTBR0", "VBAR", "ESR", "ELR", "SPSR", "FAR")]
    if cpu.walk_registers(level).ttbr1:
        names.insert(1, f"TTBR1_EL{level}")
    return (
        *general,
        ("sp", cpu.sp),
        ("pc", scene.stop.pc),
        ("pstate", cpu.pstate),
        *((name, cpu.read(name)) for name in names),
    )


def _line(guest: Guest, pc: int) -> SourceLine | None:
    located = guest.locate(pc)
    return located[0].line_at(located[1]) if located else None


def _line_text(line: SourceLine | None) -> str | None:
    return str(line) if line else None
