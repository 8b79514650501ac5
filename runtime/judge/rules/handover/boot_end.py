"""Where the new kernel ended, as a finding shows it: code, exception, registers, last lines."""

from __future__ import annotations

from collections.abc import Iterator

from relokit.runtime.judge.rules.disassembly import listing
from relokit.runtime.judge.rules.rule import Broken
from relokit.runtime.record.record import BootFacts
from relokit.runtime.record.scene import Scene
from relokit.runtime.record.stop import Stop

_SYSTEM = ("SCTLR", "TTBR0", "TTBR1", "VBAR", "ESR", "ELR", "SPSR", "FAR")


def end_of(boot: BootFacts, message: str, lines: tuple[str, ...], hint: str | None) -> Broken:
    """``message``, with all there is to see of where it ended, and ``lines`` that it printed."""
    scene, stop = boot.scene, boot.stop
    if scene is None:
        return Broken(message, notes=(f"it ended: {boot.ended}", *_console(lines)), hint=hint)
    return Broken(
        message,
        address=stop.at,
        place=scene.place,
        listing=listing(scene.words, stop.at),
        registers=_registers(scene),
        notes=(
            f"it ended: {boot.ended}, {stop.instructions:,} instructions after it was entered, "
            f"at EL{stop.el}, MMU {'on' if scene.mmu else 'off'}",
            *_exception(stop),
            *_console(lines),
        ),
        hint=hint,
    )


def _exception(stop: Stop) -> Iterator[str]:
    if stop.exceptions:
        yield f"it has taken {stop.exceptions:,} exceptions"
    if stop.event:
        event = stop.event
        yield (
            f"last exception: {event.text}, EL{event.source_el} to EL{event.target_el}, "
            f"ELR {event.return_address:#x}"
        )


def _console(lines: tuple[str, ...]) -> Iterator[str]:
    yield from (f"console: {line}" for line in lines)
    if not lines:
        yield "console: nothing"


def _registers(scene: Scene) -> tuple[tuple[str, int], ...]:
    cpu = scene.cpu
    names = [f"{name}_EL{cpu.level}" for name in _SYSTEM]
    return (
        *((f"x{number}", value) for number, value in enumerate(cpu.x)),
        ("sp", cpu.sp),
        ("pc", scene.stop.pc),
        ("pstate", cpu.pstate),
        *((name, cpu.system[name]) for name in names if name in cpu.system),
    )
