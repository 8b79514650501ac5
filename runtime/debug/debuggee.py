"""A guest that is run by steps: forwards to what is marked, backwards by running it again.

Runs are deterministic: how many instructions were carried out since the start is a place in
time, and everything follows from it. What a debugger changes is done again on the way.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

from unicorn import unicorn_const as u

from relokit.codegen.base.errors import MachineError
from relokit.runtime.debug.description import CPSR, CURRENT_EL, GENERAL, PC, SP, Register
from relokit.runtime.debug.halts import Halt, HaltCause, Ready, WatchKind, Watchpoint
from relokit.runtime.engine.cpu import Cpu
from relokit.runtime.guest.memory import MIN_PAGE
from relokit.runtime.kexec.hibernate import Resume
from relokit.runtime.kexec.machine import Machine
from relokit.runtime.record.stop import Stop, StopReason

CHUNK = 1 << 20
"""Instructions between two looks at whoever debugs, and at the clock."""
_LOOKED_AT = 1 << 14
"""The same where each of them is looked at, which takes some 10 us."""
_MARKED = 1 << 17
"""The same where there are marks: in the worst case every second one is at one."""
_BACKSTOP = 10.0
"""Seconds that the engine gets beyond what a move may take, if it does not come back."""
_AHEAD = 1 << 11
"""Instructions before a place in time from which each is looked at: a block has half of that."""
_WIDEST = 16
"""Bytes of the widest access that the engine tells of at once."""
MAX_MARKS = 256
MAX_EDITS = 4096
MAX_EDITED = 1 << 24
"""Bytes of guest memory that edits may have."""
MAX_WATCHED = MIN_PAGE


_HOOKS = {
    WatchKind.WRITE: u.UC_HOOK_MEM_WRITE,
    WatchKind.READ: u.UC_HOOK_MEM_READ,
    WatchKind.ACCESS: u.UC_HOOK_MEM_READ | u.UC_HOOK_MEM_WRITE,
}


Ends = Callable[[int, int], bool]
"""Asked of a number of instructions and the PC."""
Marked = Callable[[Halt, int], bool]
"""Told that there is a halt at a mark, and of its number; whether to halt there."""


class Debuggee:
    """What ``build`` makes, at its start; it is asked for another one to go back.

    ``interrupted`` is asked now and then whether somebody wants it to halt; a move takes
    ``seconds`` of this host at most.
    """

    def __init__(
        self,
        build: Callable[[], Ready],
        registers: tuple[Register, ...],
        *,
        seconds: float,
        interrupted: Callable[[], bool] = lambda: False,
    ) -> None:
        self._build, self._seconds = build, seconds
        self._interrupted = interrupted
        self.registers = registers
        self.breakpoints: set[int] = set()
        self.watchpoints: dict[Watchpoint, int] = {}
        """With the PA of the first byte."""
        self._led_to: dict[int, int] = {}
        self._edits: list[tuple[int, Callable[[Cpu], None]]] = []
        self._edited = 0
        self._halted: Halt | None = None
        self._deadline = 0.0
        self._ready = build()
        self.number = 0
        self.over: Stop | None = None
        self._rewound()

    def _rewound(self) -> None:
        self.number, self.over = 0, None
        self.cpu.set_pc(self._ready.cpu.pc)

    @property
    def cpu(self) -> Cpu:
        """Its CPU, as it is now."""
        return self._ready.cpu

    @property
    def guest(self) -> Machine | Resume:
        """The guest, as it is now."""
        return self._ready.guest

    @property
    def most(self) -> int:
        """Instructions after which the way ends."""
        return self._ready.most

    @property
    def jump(self) -> int | None:
        """PA of the code that moves; None if nothing is moved."""
        return self._ready.jump

    def close(self) -> None:
        """Give everything back."""
        self._ready.guest.close()

    # Registers and memory -------------------------------------------------------------------

    def read_register(self, number: int) -> int:
        """Of GDB's ``number``; raises MachineError if there is none."""
        cpu, one = self.cpu, self._register(number)
        if number < GENERAL:
            return cpu.x(number)
        if one.name == CURRENT_EL:
            return cpu.el << 2
        core = {SP: lambda: cpu.sp, PC: lambda: cpu.pc, CPSR: lambda: cpu.pstate}
        return core[number]() if number in core else cpu.read(one.name)

    def write_register(self, number: int, value: int) -> None:
        """The same; what follows is another run from here on."""
        one = self._register(number)
        if one.name == CURRENT_EL:
            raise MachineError("CurrentEL is a field of cpsr: write that")
        if number == CPSR and value >> 2 & 3 > 2:
            raise MachineError("there is no EL3 here")
        self._edit(lambda cpu: _write(cpu, number, one, value))

    def _register(self, number: int) -> Register:
        if not 0 <= number < len(self.registers):
            raise MachineError(f"no register {number}")
        return self.registers[number]

    def pa_of(self, va: int) -> int | None:
        """Where ``va`` leads, by the current tables; None for what is no RAM."""
        pa = self.cpu.walk(va).pa
        return pa if pa is not None and self.cpu.memory.contains(pa) else None

    def read(self, address: int, size: int, *, physical: bool = False) -> bytes:
        """``size`` bytes at a VA or PA, or as many as there are."""
        memory = self.cpu.memory
        parts = []
        for pa, here in self._pieces(address, size, physical):
            parts.append(memory.read(pa, here))
        return b"".join(parts)

    def write(self, address: int, data: bytes, *, physical: bool = False) -> None:
        """Change memory; raises MachineError, with nothing changed, for what is not RAM."""
        pieces = list(self._pieces(address, len(data), physical))
        if sum(size for _, size in pieces) < len(data):
            raise MachineError(f"no RAM at {address:#x}")

        def change(cpu: Cpu) -> None:
            at = 0
            for pa, size in pieces:
                cpu.memory.write(pa, data[at : at + size])
                at += size
            cpu.flush_code()

        if self._edited + len(data) > MAX_EDITED:
            raise MachineError("too much of memory has been changed by hand")
        self._edit(change)
        self._edited += len(data)

    def _pieces(self, address: int, size: int, physical: bool) -> Iterator[tuple[int, int]]:
        """PAs and bytes, page by page, as far as there is RAM."""
        end = address + size
        while address < end:
            here = min(end, (address | (MIN_PAGE - 1)) + 1) - address
            pa = address if physical else self.pa_of(address)
            if pa is None or not self.cpu.memory.contains(pa, here):
                return
            yield pa, here
            address += here

    def _edit(self, change: Callable[[Cpu], None]) -> None:
        if len(self._edits) == MAX_EDITS:
            raise MachineError(f"more than {MAX_EDITS} changes by hand")
        change(self.cpu)
        self._edits.append((self.number, change))
        self.over = None

    # Marks ----------------------------------------------------------------------------------

    def watch(self, one: Watchpoint) -> None:
        """Halt before what accesses memory that ``one`` leads to now, by whatever VA.

        Where it leads nowhere by now, it is what it has led to before. Raises MachineError.
        """
        if one.va % MIN_PAGE + one.size > MIN_PAGE or not one.size:
            raise MachineError("what is watched is within one page of 4 KiB")
        pa = self.pa_of(one.va)
        if pa is None:
            pa = self._led_to.get(one.va)
        if pa is None:
            raise MachineError(f"{one.va:#x} leads to no memory")
        self._check_marks()
        self.watchpoints[one] = self._led_to[one.va] = pa

    def break_at(self, va: int) -> None:
        """Halt before the instruction at ``va``."""
        self._check_marks()
        self.breakpoints.add(va)

    def _check_marks(self) -> None:
        if len(self.breakpoints) + len(self.watchpoints) >= MAX_MARKS:
            raise MachineError(f"more than {MAX_MARKS} breakpoints and watchpoints")
        if len(self._led_to) >= MAX_EDITS:
            self._led_to.clear()

    # Forwards -------------------------------------------------------------------------------

    def step(self) -> Halt:
        """One instruction."""
        return self._forwards(lambda *_: True, None)

    def step_within(self, first: int, end: int) -> Halt:
        """On while the PC is from ``first`` to ``end``, that not included."""
        return self._forwards(lambda _, pc: not first <= pc < end, _each)

    def go(self) -> Halt:
        """On to a mark."""
        return self._forwards(None, _each)

    def _forwards(self, ends: Ends | None, marked: Marked | None) -> Halt:
        if self.over is not None:
            return Halt(HaltCause.OVER, stop=self.over)
        self._deadline = monotonic() + self._seconds
        halt = self._advance(None, ends, marked)
        if halt.watched is not None:
            # By now the engine has carried out some of the access: memory as it was before.
            return self._replayed(self.number) or halt
        return halt

    # Backwards ------------------------------------------------------------------------------

    def go_to(self, number: int) -> Halt:
        """To where ``number`` instructions are carried out: what was changed later is undone."""
        self._deadline = monotonic() + self._seconds
        if number > self.number:
            if self.over is not None:
                return Halt(HaltCause.OVER, stop=self.over)
            halt = self._advance(number, None, None)
        else:
            halt = self._replayed(number) or Halt(HaltCause.STEP)
        return Halt(HaltCause.START) if halt.cause is HaltCause.STEP and not self.number else halt

    def step_back(self) -> Halt:
        """The last instruction undone."""
        return self.go_to(self.number - 1) if self.number else Halt(HaltCause.START)

    def go_back(self) -> Halt:
        """Back to the last mark, or to the start; with an access that is watched just carried out.

        A debugger goes one step on from there, as it does forwards, and looks what has changed.
        """
        self._deadline = monotonic() + self._seconds
        here, found = self.number, [(Halt(HaltCause.START), 0)]

        def passed(halt: Halt, number: int) -> bool:
            if number < here:
                found[:] = [(halt, number + (halt.watched is not None))]
            return False

        self._restart()
        late = self._on_to(here, passed)
        if late.cause is not HaltCause.STEP:
            return late
        [(halt, number)] = found
        return self._replayed(number) or halt

    def go_to_jump(self) -> Halt:
        """To where the code that moves is entered, from the start."""
        if self.jump is None:
            raise MachineError("nothing is moved on this path: no code that moves is entered")
        self._deadline = monotonic() + self._seconds
        self._restart()
        self._edits.clear()
        jump = self.jump
        halt = self._advance(None, lambda _, pc: pc == jump, None)
        return Halt(HaltCause.BREAKPOINT) if halt.cause is HaltCause.STEP else halt

    def _restart(self) -> None:
        old = self._ready
        self._ready = self._build()
        old.guest.close()
        del old
        # What is left of its engine is a circle, with a gigabyte of addresses.
        gc.collect()
        self._rewound()

    def _replayed(self, number: int) -> Halt | None:
        """From the start to ``number``; why it has not come so far, if it has not."""
        self._edits = [edit for edit in self._edits if edit[0] <= number]
        self._restart()
        halt = self._on_to(number, None)
        return None if halt.cause is HaltCause.STEP else halt

    def _on_to(self, number: int, marked: Marked | None) -> Halt:
        """From here to ``number`` with what was changed on the way, or to a mark before."""
        for at, change in self._edits:
            if self.number <= at <= number:
                halt = self._advance(at, None, marked)
                if halt.cause is not HaltCause.STEP:
                    return halt
                change(self.cpu)
                if late := self._late():
                    return late
        return self._advance(number, None, marked)

    # Running --------------------------------------------------------------------------------

    def _advance(self, to: int | None, ends: Ends | None, marked: Marked | None) -> Halt:
        """On to the number ``to``, until ``ends`` says so, or to a mark that halts."""
        while to is None or self.number < to:
            most, looked = CHUNK if marked is None else _MARKED, ends
            if to is not None and to - self.number > _AHEAD:
                most = min(most, to - self.number - _AHEAD)
            elif to is not None:
                looked = _reaches(to)
            if looked:
                most = _LOOKED_AT
            stop = self._run(most, looked, marked)
            if self._halted is not None:
                return self._halted
            if self.number == to:
                break
            if stop.reason is not StopReason.INSTRUCTION_LIMIT or self.number >= self._ready.most:
                self.over = stop
                return Halt(HaltCause.OVER, stop=stop)
            if late := self._late():
                return late
        return Halt(HaltCause.STEP)

    def _late(self) -> Halt | None:
        """The halt that somebody wants, or that it is time for."""
        if self._interrupted():
            return Halt(HaltCause.INTERRUPTED)
        if monotonic() > self._deadline:
            return Halt(HaltCause.INTERRUPTED, f"this has taken {self._seconds:g} s")
        return None

    def _run(self, most: int, looked: Ends | None, marked: Marked | None) -> Stop:
        cpu, ready = self.cpu, self._ready
        begun = self.number
        self._halted = None

        def look(_: Any, pc: int, *__: Any) -> None:
            number = cpu.count.done_at(pc)
            if number > begun and looked is not None and looked(number, pc):
                self._halt(Halt(HaltCause.STEP))

        def arrived(_: Any, pc: int, *__: Any) -> None:
            self._passed(Halt(HaltCause.BREAKPOINT), begun, marked)

        def access(one: Watchpoint, pa: int) -> Callable[..., None]:
            def accessed(_: Any, __: Any, first: int, size: int, *___: Any) -> None:
                if first + size > pa:
                    self._passed(Halt(HaltCause.WATCHPOINT, watched=one), begun, marked)

            return accessed

        hooks: list[tuple[Any, ...]] = []
        if looked is not None:
            hooks.append((u.UC_HOOK_CODE, look))
        if marked is not None:
            hooks += [(u.UC_HOOK_CODE, arrived, None, va, va) for va in sorted(self.breakpoints)]
            for one, pa in self.watchpoints.items():
                first, last = pa - _WIDEST + 1, pa + one.size - 1
                hooks.append((_HOOKS[one.kind], access(one, pa), None, first, last))
        with self._hooked(hooks):
            stop = cpu.run(
                cpu.pc,
                until=ready.end,
                max_instructions=min(most, max(ready.most - begun, 1)),
                timeout_s=self._seconds + _BACKSTOP,
            )
        self.number += stop.instructions
        return stop

    def _passed(self, halt: Halt, begun: int, marked: Marked | None) -> None:
        """Tell of a mark; whoever has halted at one goes on from there."""
        number = self.cpu.count.done_at(self.cpu.pc)
        if number > begun and marked is not None and marked(halt, number):
            self._halt(halt)

    def _halt(self, halt: Halt) -> None:
        if self._halted is None:
            self._halted = halt
            self.cpu.stop(StopReason.REACHED)

    @contextmanager
    def _hooked(self, hooks: list[tuple[Any, ...]]) -> Iterator[None]:
        cpu = self.cpu
        if not hooks:
            yield
            return
        handles = [cpu.uc.hook_add(*hook) for hook in hooks]
        cpu.stop_at_once(True)
        try:
            yield
        finally:
            for handle in handles:
                cpu.uc.hook_del(handle)
            cpu.stop_at_once(False)


def _each(*_: object) -> bool:
    return True


def _reaches(to: int | None) -> Ends:
    return lambda number, _: number == to


def _write(cpu: Cpu, number: int, one: Register, value: int) -> None:
    if number < GENERAL:
        cpu.set_x(number, value)
    elif number == SP:
        cpu.set_sp(value)
    elif number == PC:
        cpu.set_pc(value)
    elif number == CPSR:
        cpu.set_pstate(value)
    else:
        cpu.write(one.name, value)
