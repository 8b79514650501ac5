"""After the hand-over: the new kernel runs on, with a console and firmware."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from relokit.codegen.base.errors import FormatError
from relokit.linker.image import Image
from relokit.runtime.arch.exceptions import DELIVER
from relokit.runtime.board.devicetree import node_at
from relokit.runtime.engine.block_count import NEVER
from relokit.runtime.engine.cpu import Cpu
from relokit.runtime.guest.content import BytesContent
from relokit.runtime.guest.payload import PayloadKind
from relokit.runtime.judge.outcome import Outcome
from relokit.runtime.kexec.inputs import Loaded
from relokit.runtime.kexec.job import BOARD_SPEED, Job
from relokit.runtime.kexec.machine import Machine
from relokit.runtime.record.record import BootFacts, Limits
from relokit.runtime.record.scene import Scene
from relokit.runtime.record.stop import Stop, StopReason
from relokit.runtime.run.journey import Report
from relokit.runtime.run.scenes import place_in, scene_of
from relokit.runtime.run.storms import Storm

TICKS = 1000
BY_ITSELF = frozenset({StopReason.POWERED_OFF, StopReason.PRINTED, StopReason.PANICKED})


class BootWatcher(Protocol):
    """Is told what happens while the new kernel runs, from any thread."""

    def handed_over(self, outcome: Outcome) -> None:
        """The move was judged well; the new kernel is about to run on."""

    def printed(self, text: str) -> None:
        """The new kernel has printed ``text``: lines, whole but for the very last."""


def run_on(
    machine: Machine,
    cpu: Cpu,
    job: Job,
    report: Report,
    watcher: BootWatcher | None = None,
    demo: Image | None = None,
) -> BootFacts:
    """Let the kernel that was just entered run as long as ``job`` says; ``demo`` is the demo
    kernel's Image, whose symbols it has.
    """
    # What only a run with --boot needs.
    from relokit.runtime.board.board import Board
    from relokit.runtime.board.screen import Screen

    seconds = job.boot or 0.0
    limits = Limits(max(1, int(seconds * BOARD_SPEED)), job.timeout + seconds)
    screen = Screen(job.expect, lambda: cpu.stop(StopReason.PRINTED))
    board = Board(cpu, machine.target.regime, screen)
    cpu.policy = DELIVER
    cpu.on_exception = Storm(cpu)

    def progress(instructions: int) -> None:
        report("boot", min(instructions * TICKS // limits.instructions, TICKS), TICKS)
        if watcher and (lines := screen.more()):
            watcher.printed(lines)

    stop = cpu.run(
        cpu.pc,
        until=NEVER,
        max_instructions=limits.instructions,
        timeout_s=limits.seconds,
        progress=progress,
    )
    board.flush()
    stop = _of_the_board(machine, stop)
    report("boot", TICKS, TICKS)
    if watcher and (lines := screen.rest()):
        watcher.printed(lines)
    kernel = machine.stages[-1].pc
    entered = next(
        one
        for one in machine.inputs.segments
        if kernel - one.segment.mem in range(one.segment.memsz)
    )
    scene = None
    if stop.reason not in BY_ITSELF:
        scene = scene_of_kernel(machine, cpu, stop, entered, demo)
    return BootFacts(
        entered.kind,
        screen.text,
        stop,
        seconds,
        limits,
        job.expect,
        screen.dropped,
        scene,
        cpu.undefined,
    )


def _of_the_board(machine: Machine, stop: Stop) -> Stop:
    """An access to a device that the tree has and this board has not says nothing of the kernel."""
    if stop.reason is not StopReason.UNMAPPED or stop.access is None:
        return stop
    pa = stop.access.pa
    for one in machine.inputs.segments:
        if one.kind is PayloadKind.DEVICE_TREE and isinstance(one.content, BytesContent):
            node = node_at(bytes(one.content.data), pa)
            if node is not None:
                detail = f"{node} of the device tree, at PA {pa:#x}, is no device of this board"
                return replace(stop, reason=StopReason.ENGINE, detail=detail)
    return stop


def scene_of_kernel(
    machine: Machine, cpu: Cpu, stop: Stop, kernel: Loaded, demo: Image | None = None
) -> Scene:
    """Where the new kernel ended, in its own words: a kernel's PC is known by its PA."""
    scene = scene_of(machine, cpu, stop)
    if scene.code_pa is None:
        return scene
    offset = scene.code_pa - kernel.segment.mem
    if not 0 <= offset < kernel.segment.memsz:
        return scene
    return replace(scene, place=_named(kernel, offset, demo))


def _named(kernel: Loaded, offset: int, demo: Image | None) -> str:
    """``symbol+0x10`` of the byte at ``offset`` of the kernel; ``kernel+0x10`` if nothing says."""
    unnamed = f"{kernel.segment.name}+{offset:#x}"
    if kernel.kind is PayloadKind.DEMO_KERNEL and demo is not None:
        return place_in(demo, min(section.va for section in demo.sections) + offset)
    if not isinstance(kernel.content, BytesContent):
        return unnamed
    # 30 ms, and only a kernel that has not ended by itself needs it.
    from relokit.linker.kernel.kallsyms import read_kallsyms

    try:
        symbols = read_kallsyms(memoryview(kernel.content.data))
    except FormatError:
        return unnamed
    found = symbols.before(offset)
    return f"{found[0]}+{offset - found[1]:#x}" if found else unnamed
