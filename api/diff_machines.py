"""The machines that both sides of a diff run in: what code shows, and what is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from relokit.codegen.base.errors import TargetError
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.facts import RELOCATION
from relokit.codegen.instruction_forms import HVC
from relokit.codegen.kimage_layouts import LAYOUTS, KimageLayout
from relokit.codegen.series import Feature
from relokit.codegen.target import MIB, Regime, Target
from relokit.diffing.read.routine import Side
from relokit.linker.foreign.code import ForeignCode, target_for
from relokit.linker.foreign.doors import kernel_code
from relokit.linker.foreign.shown import fields_read, page_size_of, states_of, words_of
from relokit.runtime.kexec.job import Job

DEMO_MEMORY = 256 * MIB
"""Guest RAM where nothing asks for more: all of it is looked at for stray writes."""


@dataclass(frozen=True, slots=True)
class DiffMachine:
    """What sides that are no target run in: ``regimes`` None are all of them, anything else None
    is what the code shows, or else the default.
    """

    regimes: tuple[Regime, ...] | None = None
    page_size: int | None = None
    va_bits: int | None = None
    layout: KimageLayout | None = None


@dataclass(frozen=True, slots=True)
class MachineSetup:
    """A machine: its target and job, the kernel whose code it has if it is not ours, and
    code that takes the place of the relocation.
    """

    target: Target
    job: Job
    code: ForeignCode | None = None
    relocation: bytes | None = None


def setups_of(
    sides: tuple[Side, Side], job: Job, asked: DiffMachine, whole: Callable[[Side], bytes]
) -> tuple[tuple[MachineSetup, MachineSetup], ...]:
    """Both machines in every regime: what does not say which it belongs to gets the other's.

    ``whole`` gives the relocation of a side as it can be copied. Raises RelokitError.
    """
    if job.memory is None and job.moves_demo:
        job = replace(job, memory=DEMO_MEMORY)
    like = sides[0].target or sides[1].target
    found: list[MachineSetup | None] = []
    for side in sides:
        if side.target is not None:
            found.append(MachineSetup(side.target, job))
        elif side.kernel is not None:
            code = kernel_code(side.kernel)
            if asked.layout is not None and code.layout not in (None, asked.layout):
                raise TargetError(
                    f"its BTF says that struct kimage is that of {code.layout.name}",
                    where=code.where,
                    hint="leave --layout out",
                )
            target = target_for(_shown(side, like, asked, code), code)
            found.append(MachineSetup(target, job, code))
        else:
            found.append(None)
    pair = []
    for number, side in enumerate(sides):
        setup = found[number]
        if setup is None:
            setup = found[1 - number] or MachineSetup(_shown(side, like, asked), job)
            setup = replace(setup, relocation=whole(side))
        pair.append(setup)
    left, right = pair
    if like is not None:
        return ((left, right),)
    return tuple(
        (_in_regime(left, regime), _in_regime(right, regime))
        for regime in asked.regimes or tuple(Regime)
    )


def _in_regime(setup: MachineSetup, regime: Regime) -> MachineSetup:
    return replace(setup, target=replace(setup.target, regime=regime))


def _shown(
    side: Side, like: Target | None, asked: DiffMachine, code: ForeignCode | None = None
) -> Target:
    """The target that the relocation of ``side`` is for; what it does not show as ``like`` has it,
    or as it is asked for. ``code`` is what it belongs to, and shows more than it does alone.
    """
    words = words_of(side.routines[RELOCATION].code)
    series = (code.states if code else states_of(words, ()))[-1]
    argument, off = Feature.KIMAGE_ARGUMENT.value, Feature.MMU_ON.value
    if argument <= series < off and not any(HVC.holds(word) for word in words):
        series = Feature.RELOCATE_AT_EL1.value - 1  # it does not come back from EL1
    page_size = (code.page_size if code else None) or page_size_of(words)
    if like is not None:
        if page_size in (None, like.page_size):
            return replace(like, series=series)
        return Target(series=series, page_size=page_size, regime=like.regime, layout=like.layout)
    layout = asked.layout
    if layout is None:
        fields = fields_read(words)
        fitting = [one for one in LAYOUTS.values() if fields <= one.offsets]
        default = Target().layout
        layout = default if default in fitting or not fitting else fitting[0]
    target = Target(series=series, page_size=asked.page_size or page_size or 4096, layout=layout)
    return target if asked.va_bits is None else replace(target, va_bits=asked.va_bits)


def differing(left: MachineSetup, right: MachineSetup) -> list[tuple[str, str, str]]:
    """(what, left, right) of how the two machines are not the same one."""

    def facts(setup: MachineSetup) -> dict[str, str]:
        target = setup.target
        return {
            "state": str(target.series),
            "page size": target.page_name,
            "VA bits": str(target.va_bits),
            "regime": str(target.regime),
            "cache line": str(target.cache_line),
        }

    both = facts(left), facts(right)
    return [(what, both[0][what], both[1][what]) for what in both[0]]
