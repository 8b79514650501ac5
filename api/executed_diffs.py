"""Run both sides of a diff and say what differs in the run.

>>> from relokit.executed_diffs import behave
>>> behave("series:14:cpu_soft_restart", "series:15").same
True
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from relokit.arguments import path_or_none
from relokit.building import encoder
from relokit.codegen.base.coercion import argument
from relokit.codegen.base.documents import ALL, Table
from relokit.codegen.base.errors import NativeCrashError, RelokitError
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.facts import RELOCATION
from relokit.codegen.instruction_forms import RELATIVE
from relokit.diff_machines import DiffMachine, MachineSetup, differing, setups_of
from relokit.diffing.read.routine import Names, Routine, Side
from relokit.diffing.read.sides import (
    read_sides,
)
from relokit.diffing.routines.model import Diff
from relokit.runtime.behaviour.differences import ARGUMENTS, compare_behaviour
from relokit.runtime.behaviour.flat_machine import (
    CODE,
    REACH,
    Callee,
    data_text,
    level_of,
    placed,
)
from relokit.runtime.behaviour.observation import BehaviourDiff, Leaving, Observation, TrialMode
from relokit.runtime.kexec.job import Job
from relokit.session import Progress, Session, process_session

MAX_ROUTINES = 64
"""Pairs of routines that are run; each takes some twenty small machines."""
DEMO_INSTRUCTIONS = 1 << 24
"""Where nobody gives a limit: 250 times what the demo kernel takes. It decides, and not the host's
time, also where each instruction is slow."""
_KERNEL_HALF = 0xFFFF << 48


@dataclass(frozen=True, slots=True)
class ExecutedDiff:
    """Two sides read and run: what ``relokit diff --run`` prints."""

    SCHEMA: ClassVar[str] = Diff.SCHEMA
    DOCUMENT: ClassVar[Table] = {ALL: "diff", "run": "run"}

    diff: Diff
    run: BehaviourDiff


def behave(
    left: str,
    right: str,
    *,
    job: Job | None = None,
    machine: DiffMachine | None = None,
    include_dir: Path | None = None,
    progress: Progress | None = None,
) -> BehaviourDiff:
    """Run what ``left`` and ``right`` name (operands of ``relokit diff``), and compare.

    ``arm64_relocate_new_kernel`` moves the payload of ``job`` (by default the demo kernel) in the
    whole kexec machine, as ``machine`` asks for, in every regime unless one of the two is a target;
    any other routine that both have is called in a small machine of its own, with made-up
    arguments. ``progress`` is called as by ``relokit.run``, for
    each side in turn. Raises RelokitError for bad input, and NativeCrashError, naming the side, if
    code brings the engine down.
    """
    process_session().start()
    include_dir = path_or_none("include_dir", include_dir)
    sides = read_sides(left, right, encoder, include_dir=include_dir)
    return behave_sides(*sides, job=job, machine=machine, progress=progress)


def behave_sides(
    left: Side,
    right: Side,
    *,
    job: Job | None = None,
    machine: DiffMachine | None = None,
    progress: Progress | None = None,
) -> BehaviourDiff:
    """As :func:`behave`, of sides that have been read."""
    session, sides = process_session(), (left, right)
    routines = []
    pairs = _pairs(*sides)
    if machine not in (None, DiffMachine()) and pairs[0][0].name != RELOCATION:
        raise RelokitError(
            f"no {RELOCATION} on both sides: a routine that is called has no kexec machine",
            where=left.name,
            hint="leave --el, --page-size, --va-bits and --layout out",
        )
    for one, other in pairs:
        if one.name == other.name == RELOCATION:
            given = _demo() if job is None else argument("job", job, Job)
            machines = setups_of(sides, given, machine or DiffMachine(), _whole)
            seen = [
                [
                    _relocate(session, setup, side.name, progress)
                    for setup, side in zip(pair, sides, strict=True)
                ]
                for pair in machines
            ]
            if len(machines) > 1:
                seen = [
                    [replace(one_, trial=str(pair[0].target.regime)) for one_ in both]
                    for both, pair in zip(seen, machines, strict=True)
                ]
            before, after = zip(*seen, strict=True)
            found = compare_behaviour(
                one.name, TrialMode.RELOCATION, before, after, differing(*machines[0])
            )
        else:
            name = one.name if one.name == other.name else f"{one.name} → {other.name}"
            found = compare_behaviour(
                name,
                TrialMode.CALL,
                *_calls(session, sides, (one, other)),
                handed_on=_handed_on(one, sides[0].names) | _handed_on(other, sides[1].names),
            )
        routines.append(found)
    return BehaviourDiff(sides[0].name, sides[1].name, tuple(routines))


def _pairs(left: Side, right: Side) -> list[tuple[Routine, Routine]]:
    """What is run on both: equal names, or the only two there are."""
    ours, theirs = (
        {name: one for name, one in side.routines.items() if not one.data} for side in (left, right)
    )
    if len(ours) == len(theirs) == 1:
        return list(zip(ours.values(), theirs.values(), strict=True))
    names = [name for name in ours if name in theirs]
    if not names:
        raise RelokitError(
            f"{left.name} and {right.name} have no routine in common that could be run",
            hint="name one on each side: WHAT:symbol",
        )
    if len(names) > MAX_ROUTINES:
        raise RelokitError(
            f"{len(names)} routines in common, more than the {MAX_ROUTINES} that are run at once",
            where=left.name,
            hint="name one of them: WHAT:symbol",
        )
    names.sort(key=lambda name: name != RELOCATION)
    return [(ours[name], theirs[name]) for name in names]


# The kexec machine --------------------------------------------------------------------------


def _demo() -> Job:
    return Job(max_instructions=DEMO_INSTRUCTIONS)


def _whole(side: Side) -> bytes:
    """Code that can be copied to the control page by itself."""
    code, unresolved = _resolved(side.routines[RELOCATION], side.names)
    for offset, name in unresolved.items():
        raise RelokitError(
            f"{RELOCATION}+{offset:#x} refers to {name}, which is not resolved",
            where=side.name,
            hint="link it first: what runs in the control page has to be complete in itself",
        )
    return code


def _relocate(
    session: Session, setup: MachineSetup, side: str, progress: Progress | None
) -> Observation:
    with _named_crash(side):
        return session.observe(
            setup.target,
            setup.job,
            code=setup.code,
            relocation=setup.relocation,
            progress=progress,
        )


@contextmanager
def _named_crash(side: str) -> Iterator[None]:
    """Have an engine that goes down say whose code did that."""
    try:
        yield
    except NativeCrashError as error:
        hint = error.hint or "its code brought the engine down"
        raise NativeCrashError(error.message, where=side, text=error.text, hint=hint) from None


# The flat machine ---------------------------------------------------------------------------


def _calls(
    session: Session, sides: tuple[Side, Side], routines: tuple[Routine, Routine]
) -> tuple[tuple[Observation, ...], tuple[Observation, ...]]:
    """Every trial of both routines."""
    level = level_of(*(routine.name for routine in routines))
    answers: dict[object, tuple[Observation, ...]] = {}

    def observed(side: Side, routine: Routine) -> tuple[Observation, ...]:
        code, unresolved = _resolved(routine, side.names)
        callee = Callee(code, placed(routine.address), level, unresolved)
        # The same code at the same place does the same.
        same = (code, callee.start, *unresolved.items())
        if same not in answers:
            with _named_crash(side.name):
                answers[same] = session.call(callee)
        return tuple(_named(one, routine, side.names) for one in answers[same])

    return observed(sides[0], routines[0]), observed(sides[1], routines[1])


def _handed_on(routine: Routine, names: Names) -> frozenset[str]:
    """Argument registers that the routine sets and does not read: they are for somebody else.

    What it reads as well may be, too; x0 always counts.
    """
    from relokit.diffing.instructions.decode import decode
    from relokit.diffing.instructions.live_ranges import GENERAL, live_ranges
    from relokit.diffing.instructions.normalise import keys_of

    code = decode(routine, names)
    unread = live_ranges(code, keys_of(code, frozenset())).unread
    return ARGUMENTS & {f"x{number}" for bank, number in unread if bank == GENERAL}


def _resolved(routine: Routine, names: Names) -> tuple[bytes, dict[int, str]]:
    """The code with references to itself filled in, and by offset what else it refers to."""
    code = bytearray(routine.code)
    unresolved = {}
    for offset, target in sorted(routine.fixups.items()):
        if not 0 <= offset <= len(code) - 4:
            continue
        word = int.from_bytes(code[offset : offset + 4], "little")
        distance = target - (routine.address + offset)
        inside = 0 <= target - routine.address < len(code)
        encoded = _with_distance(word, distance) if inside else None
        if encoded is None:
            unresolved[offset] = names.name(target) or f"{target:#x}"
        else:
            code[offset : offset + 4] = encoded.to_bytes(4, "little")
    return bytes(code), unresolved


def _with_distance(word: int, distance: int) -> int | None:
    """``word`` with a PC-relative distance (bytes) in its field, None if it has no such field."""
    for mask, value, low, width in RELATIVE:
        half = 1 << width + 1
        if word & mask == value and distance % 4 == 0 and -half <= distance < half:
            ones = (1 << width) - 1
            return word & ~(ones << low) | (distance >> 2 & ones) << low
    return None


def _named(seen: Observation, routine: Routine, names: Names) -> Observation:
    """``seen`` with names for the addresses of its own program, and of what it was given."""

    def text(value: int) -> str | None:
        near = value - placed(routine.address)
        if abs(value - CODE) < REACH:
            if 0 <= near < len(routine.code):
                return f"its own code + {near:#x}"
            address = near + routine.address
            sign = "+" if near >= 0 else "-"
            return names.name(address) or f"its own program {sign} {abs(near):#x}"
        if value & _KERNEL_HALF == _KERNEL_HALF:
            return names.name(value)
        return data_text(value)

    values = {**seen.registers, **seen.system}
    named = {name: found for name, value in values.items() if (found := text(value))}
    ending = seen.ending
    place = ending.place
    if isinstance(place, int):
        if ending.leaving is Leaving.FAULT and abs(place - CODE) < REACH:
            ending = replace(ending, leaving=Leaving.OWN_DATA)
        ending = replace(ending, place=text(place) or place)
    return replace(seen, named=named, ending=ending)
