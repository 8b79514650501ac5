"""Two lists of Observations to Differences: who may rely on what, and how it is said."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set

from relokit.runtime.behaviour.flat_machine import data_text
from relokit.runtime.behaviour.observation import (
    UNANSWERED,
    BehaviourKind,
    Counts,
    Difference,
    Leaving,
    Observation,
    RoutineBehaviour,
    TrialMode,
    Written,
)

ARGUMENTS = frozenset(f"x{number}" for number in range(8))
"""What routines hand to one another (AAPCS64, 6.8 and 6.9)."""
_FIRST = frozenset({"x0"})
# AAPCS64, 6.1.1: callee-saved, the platform register (the kernel's shadow call stack), SP.
_KEPT = frozenset({*(f"x{number}" for number in range(18, 30)), "sp"})
# Which general registers somebody relies on for certain, by how the code is left. Of a new kernel
# booting.rst says x0 to x3. In the middle of a routine only what it passes on counts.
_RELIED_ON: Mapping[Leaving, frozenset[str]] = {
    Leaving.HAND_OVER: frozenset({"x0", "x1", "x2", "x3"}),
    Leaving.RETURN: _FIRST | _KEPT,
    Leaving.BRANCH: _FIRST | _KEPT,
    Leaving.EXCEPTION_RETURN: ARGUMENTS | _KEPT,
    Leaving.CALL: _FIRST,
    Leaving.SYSTEM_CALL: _FIRST,
}
# Where what the code hands on, as far as is known, counts besides.
_HANDED_ON = (Leaving.RETURN, Leaving.BRANCH, Leaving.CALL, Leaving.SYSTEM_CALL)
# The middle of a routine, where nothing of one side corresponds to anything of the other.
_NOWHERE = (Leaving.UNRESOLVED, Leaving.OWN_DATA)
# Where the routine is over, so that what is on the stack is somebody else's.
_OVER = (Leaving.RETURN, Leaving.BRANCH, Leaving.EXCEPTION_RETURN)
UNCHANGED = "unchanged"

_COSTS = {
    "instructions": "instructions",
    "loads": "loads",
    "stores": "stores",
    "loaded": "bytes loaded",
    "stored": "bytes stored",
}


def compare_behaviour(
    name: str,
    mode: TrialMode,
    left: tuple[Observation, ...],
    right: tuple[Observation, ...],
    setup: Iterable[tuple[str, str, str]] = (),
    handed_on: Set[str] = ARGUMENTS,
) -> RoutineBehaviour:
    """What differs between the runs of ``left`` and of ``right``, trial by trial.

    ``setup`` are differences in what was set up: (what, left, right). ``handed_on`` are those of
    ARGUMENTS that a caller or a callee may get from the routine; the others are its own scratch.
    """
    merged: dict[tuple[BehaviourKind, str], list[tuple[str, str, str]]] = {}
    for one, other in zip(left, right, strict=True):
        for what, *values in setup:
            if values[0] != values[1]:
                found = (one.trial, values[0], values[1])
                merged.setdefault((BehaviourKind.SETUP, what), []).append(found)
        for kind, what, before, after in _differences(one, other, mode, handed_on):
            merged.setdefault((kind, what), []).append((one.trial, before, after))
    differences = [
        Difference(kind, what, found[0][1], found[0][2], tuple(trial for trial, _, _ in found))
        for (kind, what), found in merged.items()
        # What somebody relies on in one trial is no leftover in another.
        if kind is not BehaviourKind.LEFTOVER or (BehaviourKind.RESULT, what) not in merged
    ]
    order = list(BehaviourKind)
    differences.sort(key=lambda one: (order.index(one.kind), -len(one.trials)))
    return RoutineBehaviour(name, mode, left, right, tuple(differences))


_Row = tuple[BehaviourKind, str, str, str]


def _row(kind: BehaviourKind, what: str, values: Iterable[str]) -> _Row:
    left, right = values
    return kind, what, left, right


def _differences(
    left: Observation, right: Observation, mode: TrialMode, handed_on: Set[str]
) -> Iterator[_Row]:
    if left.ending.leaving in _NOWHERE or right.ending.leaving in _NOWHERE:
        return
    # How far each came is the host's affair, or the engine's.
    if left.ending.leaving in UNANSWERED or right.ending.leaving in UNANSWERED:
        return
    # Neither can do with these arguments; in which order each finds out is its own affair.
    if mode is TrialMode.CALL and _misses_memory(left) and _misses_memory(right):
        return
    if left.ending != right.ending:
        yield BehaviourKind.RESULT, "way out", left.ending.text, right.ending.text
    if left.verdict != right.verdict:
        yield BehaviourKind.RESULT, "verdict", left.verdict, right.verdict
    leaving = left.ending.leaving
    # Else the two are at different points, and nothing of their state corresponds.
    if leaving is right.ending.leaving and leaving is not Leaving.ENDLESS:
        yield from _registers(left, right, handed_on)
        yield from _system(left, right, mode)
        yield from _memory(left, right)
    comparable = leaving is right.ending.leaving and leaving is not Leaving.ENDLESS
    if comparable or mode is TrialMode.RELOCATION:
        yield from _maintenance(left.counts, right.counts)
        yield from _costs(left.counts, right.counts)
    jump = [f"EL{one.jump.el}, MMU {_on(one.jump.mmu)}" for one in (left, right)]
    if jump[0] != jump[1]:
        yield _row(BehaviourKind.SETUP, "entered at", jump)


def _misses_memory(one: Observation) -> bool:
    """Whether a load, a store or a fetch failed: then there is an address."""
    return one.ending.leaving is Leaving.FAULT and one.ending.place is not None


def _on(value: bool) -> str:
    return "on" if value else "off"


def _registers(left: Observation, right: Observation, handed_on: Set[str]) -> Iterator[_Row]:
    leaving = left.ending.leaving
    if leaving not in _RELIED_ON:
        return
    relied_on = _RELIED_ON[leaving] | (handed_on if leaving in _HANDED_ON else frozenset())
    for name in left.registers:
        if name == "x30" and leaving in (Leaving.CALL, Leaving.SYSTEM_CALL):
            continue  # Where in its own code a routine is called back.
        values = [_value(one, one.registers, name) for one in (left, right)]
        if values[0] != values[1]:
            kind = BehaviourKind.RESULT if name in relied_on else BehaviourKind.LEFTOVER
            yield _row(kind, name, values)
    if left.flags != right.flags:
        yield _row(BehaviourKind.LEFTOVER, "flags", (_flags(one.flags) for one in (left, right)))


def _flags(value: int) -> str:
    return "".join(
        letter if value >> bit & 1 else "-"
        for letter, bit in zip("NZCV", (3, 2, 1, 0), strict=True)
    )


def _system(left: Observation, right: Observation, mode: TrialMode) -> Iterator[_Row]:
    for what, values in (
        ("exception level", (f"EL{left.el}", f"EL{right.el}")),
        ("MMU", (_on(left.mmu), _on(right.mmu))),
        ("DAIF", (f"{left.daif:#x}", f"{right.daif:#x}")),
    ):
        if values[0] != values[1]:
            yield _row(BehaviourKind.RESULT, what, values)
    # A new kernel sets up translation and vectors for itself.
    counted = {f"SCTLR_EL{max(left.el, 1)}", *(["HCR_EL2"] if left.el == 2 else [])}
    for name in dict.fromkeys((*left.system, *right.system)):
        pair = [
            _value(one, one.system, name) if name in one.system else UNCHANGED
            for one in (left, right)
        ]
        if pair[0] != pair[1]:
            kind = (
                BehaviourKind.RESULT
                if mode is TrialMode.CALL or name in counted
                else BehaviourKind.LEFTOVER
            )
            yield _row(kind, name, pair)


def _value(observation: Observation, values: Mapping[str, int], name: str) -> str:
    value = values[name]
    return observation.named.get(name) or f"{value:#x}"


def _memory(left: Observation, right: Observation) -> Iterator[_Row]:
    before, after = ({one.owner: one for one in side.memory} for side in (left, right))
    for owner in dict.fromkeys((*before, *after)):
        one, other = before.get(owner), after.get(owner)
        on_stack = any(side is not None and side.on_stack for side in (one, other))
        if on_stack and left.ending.leaving not in _OVER:
            continue
        if one is None or other is None:
            texts = [UNCHANGED if side is None else _changed(side) for side in (one, other)]
            yield _row(BehaviourKind.RESULT, f"memory: {owner}", texts)
        elif one.parts and (one.base, one.size) != (other.base, other.size):
            # Another payload, which the findings compare each side with.
            places = [f"{side.size:,} bytes at {side.base:#x}" for side in (one, other)]
            yield _row(BehaviourKind.SETUP, owner, places)
        elif one.digest != other.digest:
            yield _content(one, other)


def _changed(written: Written) -> str:
    if not written.words:
        return "written"
    offset, value = written.words[0]
    where = data_text(written.base + offset) or f"{written.base + offset:#x}"
    return f"{where} = {value:#x}"


def _content(left: Written, right: Written) -> _Row:
    """What to say of memory that both wrote and that is not alike."""
    what = f"memory: {left.owner}"
    if left.parts:
        pairs = enumerate(zip(left.parts, right.parts, strict=True))
        wrong = [number for number, (a, b) in pairs if a != b]
        at = left.base + wrong[0] * left.part if wrong else left.base
        other = f"{len(wrong)} of {len(left.parts)} pieces of {left.part:,} bytes differ"
        return BehaviourKind.RESULT, what, "written", f"{other}, from PA {at:#x} on"
    words = [{one.base + offset: value for offset, value in one.words} for one in (left, right)]
    for at in sorted({*words[0], *words[1]}):
        values = [f"{side[at]:#x}" if at in side else UNCHANGED for side in words]
        if values[0] != values[1]:
            return BehaviourKind.RESULT, f"memory: {data_text(at) or hex(at)}", values[0], values[1]
    return BehaviourKind.RESULT, what, "written", "written otherwise"


def _maintenance(left: Counts, right: Counts) -> Iterator[_Row]:
    for field in ("operations", "barriers"):
        yield from _by_name(
            BehaviourKind.MAINTENANCE, "", getattr(left, field), getattr(right, field)
        )


def _costs(left: Counts, right: Counts) -> Iterator[_Row]:
    for field, what in _COSTS.items():
        values = [getattr(one, field) for one in (left, right)]
        if values[0] != values[1]:
            yield BehaviourKind.COST, what, f"{values[0]:,}", f"{values[1]:,}"
    yield from _by_name(BehaviourKind.COST, "mrs ", left.reads, right.reads)
    yield from _by_name(BehaviourKind.COST, "msr ", left.writes, right.writes)


def _by_name(
    kind: BehaviourKind, prefix: str, left: Mapping[str, int], right: Mapping[str, int]
) -> Iterator[_Row]:
    for name in dict.fromkeys((*left, *right)):
        counts = left.get(name, 0), right.get(name, 0)
        if counts[0] != counts[1]:
            yield kind, prefix + name, f"{counts[0]:,}", f"{counts[1]:,}"
