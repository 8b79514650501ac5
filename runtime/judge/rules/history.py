"""How it came to that: from where a wrong place was come to, and by what registers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from relokit.codegen.system_registers import REGISTERS
from relokit.runtime.arch.translation import SCTLR_EE
from relokit.runtime.judge.rules.disassembly import disassemble
from relokit.runtime.judge.rules.made import Used
from relokit.runtime.record.code_seen import CodeSeen
from relokit.runtime.record.known import Unknown
from relokit.runtime.record.record import LegName, Record

if TYPE_CHECKING:
    pass

_SCTLRS = [REGISTERS[f"SCTLR_EL{el}"] for el in (1, 2)]
_LAST_FETCHES = 8


def way_to_the_jump(record: Record, *wrong: str) -> tuple[Used, ...]:
    """What went before the jump: who set the system registers that are ``wrong``, the branch that
    led there, the call to EL2 and what that did.
    """
    from relokit.runtime.judge.rules.makers import steps_of

    steps, left = steps_of(record), record.leg(LegName.PRELUDE)
    if steps is None or left is None or isinstance(record.trace, Unknown):
        return ()
    from relokit.runtime.record.trace import TraceKind

    step = steps.at(left.instructions) - 1
    uses = [Used(system=wrong, begun=left.instructions, cost=-2)]
    far = 2 if wrong else 0
    uses += [Used(steps.pc(step), itself=True, cost=far)] if step >= 0 else []
    calls = record.trace.of(TraceKind.HVC, TraceKind.ERET)
    calls = calls[calls["before"] < left.instructions]
    for row in (calls[calls["kind"] == kind][-1:] for kind in (TraceKind.HVC, TraceKind.ERET)):
        # The function's number, and the address that it goes to; why the stub went this way.
        came = row["kind"] == TraceKind.ERET
        registers = () if came.all() else (0, 1)
        uses += [Used(int(pc), registers, itself=True, cost=far) for pc in row["pc"]]
    return (*uses, Used(system=("VBAR_EL2",), begun=left.instructions, cost=2))


def turned_round(record: Record) -> tuple[Used, ...]:
    """Who made data big-endian: whatever was loaded since is another value."""
    if isinstance(record.trace, Unknown):
        return ()
    import numpy as np

    from relokit.runtime.record.trace import TraceKind

    writes = record.trace.of(TraceKind.MSR)
    turned = np.isin(writes["encoding"], _SCTLRS) & (writes["value"] & np.uint64(SCTLR_EE) != 0)
    return tuple(Used(int(pc), itself=True, cost=-3) for pc in writes["pc"][turned][-1:])


def set_since_the_jump(record: Record, system: str) -> bool:
    """Whether the code that is judged has set the system register ``system``."""
    from relokit.runtime.judge.rules.makers import judged_steps
    from relokit.runtime.judge.rules.register_use import system_register

    found = judged_steps(record)
    if found is None:
        return False
    step = found.steps.writer(system_register(system), len(found.steps))
    return step is not None and step >= found.jump


def last_known(record: Record) -> int | None:
    """VA of the instruction of code that is known that was executed last."""
    if isinstance(record.trace, Unknown) or isinstance(record.code, Unknown):
        return None
    from relokit.runtime.record.trace import TraceKind

    for row in record.trace.of(TraceKind.FETCH)[::-1][:_LAST_FETCHES]:
        last = int(row["va"]) + int(row["length"]) - 4
        for pc in range(last, max(int(row["va"]), last - 4 * _LAST_FETCHES) - 4, -4):
            if pc in record.code.places:
                return pc
    return None


def come_from(record: Record) -> Iterator[str]:
    """Which instruction of code that is known was executed last."""
    pc = last_known(record)
    if pc is not None and not isinstance(record.code, Unknown):
        yield f"come from {called(record.code, pc)}"


def called(code: CodeSeen, pc: int) -> str:
    """The instruction at VA ``pc`` and its place."""
    word, place = code.word(pc), code.places.get(pc)
    text = "code" if word is None else f"`{disassemble(word, pc)}`"
    return f"{text} at {pc:#x}, {place}" if place else f"{text} at {pc:#x}"
