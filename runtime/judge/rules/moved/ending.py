"""How the way ended, where it was not the new kernel: a rule for each way to end, explained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set

from relokit.runtime.arch.exceptions import (
    DATA_ABORTS,
    INSTRUCTION_ABORTS,
    ExceptionClass,
    vector_text,
)
from relokit.runtime.arch.register_fields import describe
from relokit.runtime.judge.rules.disassembly import disassemble, listing
from relokit.runtime.judge.rules.history import come_from, last_known, set_since_the_jump
from relokit.runtime.judge.rules.made import Used
from relokit.runtime.judge.rules.moved.causes import CAUSES
from relokit.runtime.judge.rules.rule import Broken, Check, Rule, always
from relokit.runtime.judge.rules.severity import Severity
from relokit.runtime.judge.rules.stores import stored_there
from relokit.runtime.record.known import Unknown
from relokit.runtime.record.record import JumpFacts, Record
from relokit.runtime.record.scene import UPPER, Scene
from relokit.runtime.record.stop import Stop, StopReason

_ENTRY = 8
"""Bytes of an entry of a translation table."""
_ENDLESS = frozenset({StopReason.SPIN, StopReason.INSTRUCTION_LIMIT, StopReason.TIMEOUT})
_EXPLAINED = frozenset({*INSTRUCTION_ABORTS, *DATA_ABORTS, int(ExceptionClass.UNKNOWN)})


def explained(record: Record, scene: Scene) -> Broken:
    """All there is to say of where the way ended."""
    from relokit.runtime.judge.rules.limits import limit_hit

    stop = scene.stop
    limit = limit_hit(record, stop)
    cause = limit.cause or next((cause.text for cause in CAUSES if cause.when(scene)), None)
    return Broken(
        f"{limit.message}, {_level(scene)}" if limit.message else _message(scene),
        address=stop.at,
        place=scene.place,
        listing=listing(scene.words, stop.at),
        registers=_registers(scene),
        notes=(*_notes(scene), *_history(record, scene)),
        uses=_uses(record, scene),
        cause=cause,
        hint=limit.hint,
        consequence=limit.consequence,
        station=len(record.reached),
    )


def _ends(when: Callable[[Stop], bool]) -> Check:
    def check(record: Record) -> Iterator[Broken]:
        if record.scene is not None and when(record.scene.stop):
            yield explained(record, record.scene)

    return check


def _for(reason: StopReason) -> Check:
    return _ends(lambda stop: stop.reason is reason)


def _exception(classes: Set[int]) -> Check:
    return _ends(lambda stop: _exception_class(stop) in classes)


def _exception_class(stop: Stop) -> int | None:
    """The class of the exception that ended the run, if one did."""
    ended = stop.reason is StopReason.EXCEPTION
    return stop.event.exception_class if ended and stop.event else None


def _stray(stop: Stop) -> bool:
    return stop.reason is StopReason.EXCEPTION and _exception_class(stop) not in _EXPLAINED


def _message(scene: Scene) -> str:
    stop = scene.stop
    at = _level(scene)
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
    detail = f": {stop.detail}" if stop.detail else ""
    return f"{stop.reason}{detail}, {at}"


def _level(scene: Scene) -> str:
    return f"at EL{scene.stop.el}, MMU {'on' if scene.mmu else 'off'}"


def _notes(scene: Scene) -> Iterator[str]:
    stop = scene.stop
    event = stop.event
    if event and stop.reason is not StopReason.EXCEPTION:
        yield (
            f"last exception: {event.text}, EL{event.source_el} to EL{event.target_el}, "
            f"ELR {event.return_address:#x}"
        )
        if event.exception_class == ExceptionClass.HVC64 and scene.raiser is not None:
            at = event.return_address - 4
            yield f"raised by: {disassemble(scene.raiser, at)} at {at:#x}"
    if scene.walk:
        yield from (f"page walk: {line.strip()}" for line in str(scene.walk).splitlines())
    for name, pa, owner in (
        ("fault address", scene.walk.pa if scene.walk else scene.aborted, scene.aborted_owner),
        ("accessed address", stop.access.pa if stop.access else None, scene.access_owner),
        ("code", scene.code_pa, scene.code_owner),
    ):
        if owner:
            yield f"{name}: PA {pa:#x} belongs to {owner}"
    if scene.linked_word is not None and scene.linked_word != scene.word:
        yield f"the image has here: {disassemble(scene.linked_word, stop.at)}"
    level, system = scene.cpu.level, scene.cpu.system
    for name in ("SCTLR", "TCR"):
        if f"{name}_EL{level}" in system:
            yield f"{name}_EL{level} = {describe(name, system[f'{name}_EL{level}'])}"
    if "HCR_EL2" in system:
        yield f"HCR_EL2 = {describe('HCR', system['HCR_EL2'])}"


def _history(record: Record, scene: Scene) -> Iterator[str]:
    """Where the last instruction is no code of ours, how it came there."""
    if not _is_known(record, scene.stop.at):
        yield from come_from(record)


def _is_known(record: Record, pc: int) -> bool:
    return not isinstance(record.code, Unknown) and pc in record.code.places


def _uses(record: Record, scene: Scene) -> tuple[Used, ...]:
    """What the last instruction went by, and what its address was translated by."""
    stop = scene.stop
    known = _is_known(record, stop.at) and not (scene.is_fetch or _fetches(stop))
    at = stop.at if known else last_known(record)
    uses = []
    if at is not None:
        uses.append(Used(at, loop=stop.reason in _ENDLESS))
    if at is not None and at != stop.at:
        # By a branch that is known the way led to what is not: it, or what it goes by.
        uses.append(Used(at, (), itself=True, cost=2))
    uses += _fallen(record)
    if stop.reason is StopReason.EXCEPTION and scene.aborted is not None:
        base = "TTBR1" if scene.aborted & UPPER and scene.mmu else "TTBR0"
        # A PA that is right, with the MMU on: it is that which is wrong.
        early = scene.mmu and scene.is_fetch and _is_there(record, scene)
        level = scene.cpu.level
        # What is on was set; if it was before the jump, there is nothing to say.
        if early or not scene.mmu or set_since_the_jump(record, f"SCTLR_EL{level}"):
            uses.append(Used(system=(f"SCTLR_EL{level}",), cost=-2 if early else 2))
        if scene.walk is not None and scene.walk.trail:
            # What the move itself has stored into the table where the walk ended.
            uses += stored_there(record, [(scene.walk.trail[-1].entry, _ENTRY)])
        if scene.mmu:
            names = f"{base}_EL{level}", f"TCR_EL{level}"
            set_here = tuple(name for name in names if set_since_the_jump(record, name))
            uses.append(Used(system=set_here, cost=2))
    if scene.vector is not None:
        uses.append(Used(system=(f"VBAR_EL{scene.vector[0]}",)))
    return tuple(uses)


def _fallen(record: Record) -> Iterator[Used]:
    """What was done before a run of NOPs, where the way led on by nothing else."""
    from relokit.runtime.judge.rules.makers import steps_of

    steps = steps_of(record)
    if steps is None or not len(steps):
        return
    end = steps.pc(len(steps) - 1)
    first = steps.first_of_run(end)
    fallen = steps.fallen_from(first)
    if fallen is not None:
        yield Used(steps.pc(fallen), (), itself=True, cost=-2)


def _is_there(record: Record, scene: Scene) -> bool:
    """Whether the PC is what it would be with the MMU off: where somebody's code is, as a PA."""
    promises = [one.pc for one in record.promises]
    if isinstance(record.jump, JumpFacts):
        promises.append(record.jump.promise.pc)
    at = scene.stop.at
    mapped = scene.walk is not None and scene.walk.pa is not None
    return at in promises or (scene.linked_word is not None and not at & UPPER and not mapped)


def _fetches(stop: Stop) -> bool:
    return stop.access is not None and stop.access.kind == "fetch"


def _registers(scene: Scene) -> tuple[tuple[str, int], ...]:
    cpu = scene.cpu
    names = [f"{name}_EL{cpu.level}" for name in ("TTBR0", "VBAR", "ESR", "ELR", "SPSR", "FAR")]
    if cpu.translation.ttbr1:
        names.insert(1, f"TTBR1_EL{cpu.level}")
    return (
        *((f"x{number}", value) for number, value in enumerate(cpu.x)),
        ("sp", cpu.sp),
        ("pc", scene.stop.pc),
        ("pstate", cpu.pstate),
        *((name, cpu.system[name]) for name in names if name in cpu.system),
    )


_OTHER_ENDS = frozenset(
    {StopReason.POWERED_OFF, StopReason.STORM, StopReason.PRINTED, StopReason.PANICKED}
)
_EXCEPTIONS = "ARM DDI 0487, D1.3 and ESR_ELx"
_RUN = "kexec: the move comes to the new kernel's first instruction"
_WAYS: tuple[tuple[str, str, str, Check], ...] = (
    (
        "exception.instruction-abort",
        "every instruction can be fetched: mapped, executable, in RAM",
        _EXCEPTIONS,
        _exception(INSTRUCTION_ABORTS),
    ),
    (
        "exception.data-abort",
        "every load and store has a translation that allows it",
        _EXCEPTIONS,
        _exception(DATA_ABORTS),
    ),
    (
        "exception.undefined",
        "every instruction is one that this CPU has at this exception level",
        _EXCEPTIONS,
        _exception({int(ExceptionClass.UNKNOWN)}),
    ),
    ("exception.stray", "no exception is raised that nobody handles", _EXCEPTIONS, _ends(_stray)),
    (
        "exception.vector",
        "VBAR of the level that takes an exception holds vectors that can be fetched",
        "ARM DDI 0487, D1.3.1: vector tables",
        _for(StopReason.BAD_VECTOR),
    ),
    (
        "bus.unassigned",
        "every physical access goes to RAM or a device",
        "the memory map of the machine",
        _for(StopReason.UNMAPPED),
    ),
    ("run.spin", "no branch leads to itself", _RUN, _for(StopReason.SPIN)),
    (
        "run.limit",
        "the move ends within many times what its list needs (or --max-instructions)",
        _RUN,
        _for(StopReason.INSTRUCTION_LIMIT),
    ),
    ("run.halted", "nothing waits for an interrupt", _RUN, _for(StopReason.HALTED)),
    (
        "run.off",
        "nothing turns the machine off, or ends the move in another way",
        _RUN,
        _ends(lambda stop: stop.reason in _OTHER_ENDS),
    ),
)
_GIVEN_UP: tuple[tuple[str, str, str, Check], ...] = (
    (
        "run.timeout",
        "there is an answer within the host's time (--timeout): else there is no verdict",
        "the host",
        _for(StopReason.TIMEOUT),
    ),
    (
        "run.engine",
        "the engine can run the code: else there is no verdict",
        "the engine",
        _for(StopReason.ENGINE),
    ),
)

ENDING = (
    *(
        Rule(name, must, source, Severity.ERROR, always, check)
        for name, must, source, check in _WAYS
    ),
    # Where it was is told, and nothing of it is held against the code: see Record.unanswered.
    *(
        Rule(name, must, source, Severity.NOTE, always, check)
        for name, must, source, check in _GIVEN_UP
    ),
)
