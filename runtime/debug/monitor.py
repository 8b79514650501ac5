"""What GDB's ``monitor`` is for: what there is to know of a guest beyond registers and memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from relokit.codegen.base.errors import MachineError, RelokitError
from relokit.codegen.base.nouns import dataclass
from relokit.runtime.arch.translation import SCTLR_M
from relokit.runtime.debug.debuggee import Debuggee
from relokit.runtime.debug.halts import Halt
from relokit.runtime.kexec.hibernate import Resume
from relokit.runtime.kexec.machine import Machine
from relokit.runtime.record.stop import Stop, StopReason
from relokit.runtime.run.scenes import place_of
from relokit.runtime.show.read_tables import walks_of
from relokit.runtime.show.walk_text import walk_lines

MAX_BYTES = 4096
"""Of memory that are shown at once."""
_LINE, _WORD = 16, 8
_BITS = 64


class Monitor:
    """Answers of ``debuggee``.

    ``physical``: addresses of memory are PAs. ``wanted`` is where the next step leads to instead.
    """

    def __init__(self, debuggee: Debuggee) -> None:
        self.debuggee = debuggee
        self.physical = False
        self.wanted: Callable[[], Halt] | None = None

    def answer(self, line: str) -> str:
        """What the command ``line`` says, whatever it is."""
        name, *operands = line.split() or ["help"]
        command = COMMANDS.get(name)
        if command is None:
            return f"no {name[:40]!r}: 'monitor help' has the commands\n"
        if not command.least <= len(operands) <= command.most:
            return f"usage: monitor {command.usage}\n"
        try:
            return "".join(f"{text}\n" for text in command.run(self, operands))
        except RelokitError as error:
            return f"{error.message}\n"


@dataclass(frozen=True, slots=True)
class MonitorCommand:
    """``usage`` and what it is for; ``run`` gets its operands, ``least`` to ``most`` of them."""

    usage: str
    help: str
    run: Callable[[Monitor, list[str]], Iterator[str]]
    least: int = 0
    most: int = 0


def told(stop: Stop, guest: Machine | Resume) -> str:
    """How the way of ``guest`` has ended, in words."""
    if stop.reason is StopReason.REACHED:
        resumed = isinstance(guest, Resume)
        what = "the resumed kernel goes on" if resumed else "the new kernel is entered"
        return f"{what}, at {stop.pc:#x}"
    detail = stop.detail or (stop.event.text if stop.event else "")
    return f"{stop.reason} at {stop.at:#x}" + (f": {detail}" if detail else "")


def number(text: str) -> int:
    """A number as it is typed; raises MachineError."""
    try:
        value = int(text[: _BITS + 2], 0)
    except ValueError:
        value = -1
    if not 0 <= value < 1 << _BITS:
        raise MachineError(f"{text[:40]!r} is no number: give one like 0x40080000")
    return value


def _help(_: Monitor, __: list[str]) -> Iterator[str]:
    width = max(len(one.usage) for one in COMMANDS.values())
    for one in COMMANDS.values():
        yield f"{one.usage:<{width}}  {one.help}"


def _where(monitor: Monitor, _: list[str]) -> Iterator[str]:
    debuggee = monitor.debuggee
    cpu = debuggee.cpu
    mmu = "on" if cpu.walk_registers().sctlr & SCTLR_M else "off"
    yield f"{debuggee.number:,} instructions carried out; at EL{cpu.el}, MMU {mmu}"
    place = place_of(debuggee.guest, cpu.pc)
    yield f"PC {cpu.pc:#x}" + (f": {place}" if place else "")
    if debuggee.over:
        yield f"the way has ended: {told(debuggee.over, debuggee.guest)}"


def _walk(monitor: Monitor, operands: list[str]) -> Iterator[str]:
    debuggee = monitor.debuggee
    for walk in walks_of(debuggee.guest, debuggee.cpu, number(operands[0])):
        yield from walk_lines(walk)


def _pa(monitor: Monitor, operands: list[str]) -> Iterator[str]:
    at, size = number(operands[0]), number(operands[1]) if len(operands) > 1 else _LINE
    if not 1 <= size <= MAX_BYTES:
        raise MachineError(f"{size:,} bytes: give 1 to {MAX_BYTES}")
    data = monitor.debuggee.read(at, size, physical=True)
    if len(data) < size:
        yield f"there is RAM for {len(data)} bytes of it"
    for first in range(0, len(data), _LINE):
        part = data[first : first + _LINE]
        words = (part[here : here + _WORD] for here in range(0, len(part), _WORD))
        shown = "  ".join(f"{int.from_bytes(word, 'little'):0{2 * len(word)}x}" for word in words)
        yield f"{at + first:#x}: {shown}"


def _memory(monitor: Monitor, operands: list[str]) -> Iterator[str]:
    if operands:
        if operands[0] not in ("va", "pa"):
            raise MachineError("memory is read by 'va' or by 'pa'")
        monitor.physical = operands[0] == "pa"
    kind = "physical" if monitor.physical else "virtual"
    yield f"addresses of memory that is read and written are {kind}"


def _goto(monitor: Monitor, operands: list[str]) -> Iterator[str]:
    where = number(operands[0])
    most = monitor.debuggee.most
    if where > most:
        raise MachineError(f"the way has {most:,} instructions at most")
    monitor.wanted = lambda: monitor.debuggee.go_to(where)
    yield f"the next 'stepi' or 'continue' leads to where {where:,} instructions are carried out"


def _jump(monitor: Monitor, _: list[str]) -> Iterator[str]:
    if monitor.debuggee.jump is None:
        raise MachineError("nothing is moved on this path: no code that moves is entered")
    monitor.wanted = monitor.debuggee.go_to_jump
    yield "the next 'stepi' or 'continue' leads to where the code that moves is entered"


COMMANDS: Mapping[str, MonitorCommand] = {
    "help": MonitorCommand("help", "this", _help),
    "where": MonitorCommand(
        "where", "instructions carried out, exception level, MMU, place", _where
    ),
    "walk": MonitorCommand("walk VA", "how VA translates, descriptor by descriptor", _walk, 1, 1),
    "pa": MonitorCommand("pa ADDRESS [BYTES]", "physical memory", _pa, 1, 2),
    "memory": MonitorCommand(
        "memory [va|pa]", "what addresses of 'x' and 'set' are", _memory, 0, 1
    ),
    "goto": MonitorCommand("goto N", "go to where N instructions are carried out", _goto, 1, 1),
    "jump": MonitorCommand("jump", "go to where the code that moves is entered", _jump),
}
