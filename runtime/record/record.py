"""Record: what happened from machine_kexec to the new kernel, and nothing judged.

A rule reads this and nothing else: no CPU, no guest memory. So a record can be kept, judged again
by another book, and made by hand. A fact is known, or an Unknown that says why not; what does not
exist on a path or in a state of the series is None.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field
from enum import Enum
from typing import TYPE_CHECKING

from relokit.codegen.base.documents import ABSENT
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.target import Regime
from relokit.runtime.guest.ledger import Region
from relokit.runtime.guest.payload import PayloadKind
from relokit.runtime.record.effect_facts import EffectFacts
from relokit.runtime.record.given import Extent, Given
from relokit.runtime.record.interrupt_seen import InterruptSeen
from relokit.runtime.record.known import Unknown
from relokit.runtime.record.memory_facts import Arrival, Damage, Prepared
from relokit.runtime.record.platform_facts import PlatformFacts
from relokit.runtime.record.scene import Scene
from relokit.runtime.record.stations import CpuFacts, Promise
from relokit.runtime.record.stop import NO_ANSWERS, Stop, StopReason

if TYPE_CHECKING:
    # A plain run has none of these.
    from relokit.runtime.guest.around import Around
    from relokit.runtime.record.claims import Ownership
    from relokit.runtime.record.code_path import CodePath
    from relokit.runtime.record.code_seen import CodeSeen
    from relokit.runtime.record.executed import Executed
    from relokit.runtime.record.prehistory import Prehistory
    from relokit.runtime.record.tables import TableFacts
    from relokit.runtime.record.trace import Trace


NOBODY_LOOKED = Unknown("nobody has looked")


class LegName(Enum):
    """A part of the way; the value is how that is shown."""

    PRELUDE = "the old kernel's last steps"
    MOVE = "the move"
    PURGATORY = "the purgatory"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a run may take: ``instructions``, and ``seconds`` of the host's time as a safety net.

    ``expected`` is about what right code takes, None if nobody knows; ``asked`` says that a person
    has chosen ``instructions``.
    """

    instructions: int
    seconds: float
    expected: int | None = None
    asked: bool = False


@dataclass(frozen=True, slots=True)
class Leg:
    """A part of the way, and how it ended: REACHED, or it was the last one.

    Its last ``unrecorded`` instructions are not in the trace.
    """

    name: LegName
    stop: Stop
    limits: Limits | Unknown = NOBODY_LOOKED
    unrecorded: int = field(default=0, metadata=ABSENT)


@dataclass(frozen=True, slots=True)
class JumpFacts:
    """The CPU at the jump into code that moves, and what the state of the series promises there."""

    promise: Promise
    cpu: CpuFacts


@dataclass(frozen=True, slots=True)
class BootFacts:
    """The new kernel, let run on: what it is, what it printed, how it ended.

    ``seconds`` of the board's time is how long it might run; ``expected`` is what it was to print,
    None if nothing special; ``dropped`` are bytes of ``console`` that are not kept. ``scene`` is
    where it ended, None where it ended by itself (powered off, or printed what was expected).
    ``undefined`` counts accesses to system registers that the CPU has not, by name.
    """

    kind: PayloadKind | Unknown
    console: str
    stop: Stop
    seconds: float
    limits: Limits | Unknown = NOBODY_LOOKED
    expected: str | None = None
    dropped: int = 0
    scene: Scene | None = None
    undefined: Mapping[str, int] = field(default_factory=dict)

    @property
    def ended(self) -> str:
        """How it ended, in words."""
        stop, detail = self.stop, self.stop.detail
        if stop.reason is StopReason.TIMEOUT:
            return f"the host's time was over after {stop.instructions:,} instructions"
        if stop.reason is StopReason.INSTRUCTION_LIMIT:
            return f"stopped after {self.seconds:g} s: {stop.instructions:,} instructions"
        return f"{stop.reason}: {detail}" if detail else str(stop.reason)


@dataclass(frozen=True, slots=True)
class SegmentPlace:
    """A segment: ``size`` bytes of memory at PA ``base``."""

    name: str
    kind: PayloadKind
    base: int
    size: int


@dataclass(frozen=True, slots=True)
class Seen:
    """What is recorded beside the stations, if a run is not plain: see Record."""

    trace: Trace | Unknown
    prehistory: Prehistory | Unknown
    code: CodeSeen | Unknown
    tables: TableFacts | Unknown
    ownership: Ownership | Unknown
    path: CodePath | Unknown
    executed: Executed | Unknown


@dataclass(frozen=True, kw_only=True)
class Record:
    """One move.

    ``regime`` is the old kernel's. ``stub_by_kimage`` says that the code learns from kimage
    el2_vectors whether a stub waits at EL2. ``jump`` is None where nothing is moved. ``promises``
    are what is entered after the move, in order, the new kernel last; ``reached`` is the CPU at
    each of those that were. ``prepared`` and ``damage`` are None where no kimage takes part.
    ``arrived`` are all segments. ``scene`` is where the way ended before its end; ``boot`` is None
    unless the new kernel was let run on. ``operations`` counts maintenance instructions of the move
    by name, ``interrupt`` is what became of one, if that was asked for.

    ``trace`` is what the CPU did from the first instruction to the last; ``prehistory`` what the
    caches were like before, ``code`` what it executed, ``path`` in which order and ``executed``
    how often, ``tables`` what it may have been translated by. ``segments`` are what the new kernel
    is given, or one that is resumed finds back, and ``regions`` who owns RAM, ascending;
    ``ownership`` is what of it is to be read and filled. ``around`` is what goes on beside the CPU,
    None where there is nothing. ``platform`` is the machine as the old
    kernel found it, ``given`` what the new one finds in RAM (None if one is resumed). ``banks`` is
    where RAM is: first PA and bytes.
    """

    regime: Regime | Unknown
    stub_by_kimage: bool | Unknown
    legs: tuple[Leg, ...]
    jump: JumpFacts | Unknown | None
    promises: tuple[Promise, ...]
    reached: tuple[CpuFacts, ...]
    prepared: Prepared | Unknown | None
    damage: tuple[Damage, ...] | Unknown | None
    arrived: tuple[Arrival, ...] | Unknown
    scene: Scene | None
    boot: BootFacts | None
    operations: dict[str, int] | None
    interrupt: InterruptSeen | Unknown | None
    trace: Trace | Unknown
    prehistory: Prehistory | Unknown
    code: CodeSeen | Unknown
    tables: TableFacts | Unknown
    segments: tuple[SegmentPlace, ...]
    regions: tuple[Region, ...]
    ownership: Ownership | Unknown
    platform: PlatformFacts | Unknown = NOBODY_LOOKED
    given: Given | Unknown | None = NOBODY_LOOKED
    effects: EffectFacts | None = None
    path: CodePath | Unknown = NOBODY_LOOKED
    executed: Executed | Unknown = NOBODY_LOOKED
    banks: tuple[Extent, ...] | Unknown = NOBODY_LOOKED
    around: Around | Unknown | None = None

    @property
    def complete(self) -> bool:
        """Whether the new kernel was entered."""
        return len(self.reached) == len(self.promises)

    def stations(self) -> Iterator[tuple[int, Promise, CpuFacts]]:
        """What was entered after the move: number, promise and CPU."""
        for number, (promise, cpu) in enumerate(zip(self.promises, self.reached, strict=False)):
            yield number, promise, cpu

    @property
    def unanswered(self) -> Stop | None:
        """The end that says nothing of the code, if it was one: host or engine gave up."""
        stops = [leg.stop for leg in self.legs] + ([self.boot.stop] if self.boot else [])
        return next((stop for stop in stops if stop.reason in NO_ANSWERS), None)

    def begun(self, station: int) -> int:
        """How many instructions had begun when what has this number was entered, or was to be."""
        first = any(leg.name is LegName.MOVE for leg in self.legs)
        return sum(leg.stop.instructions for leg in self.legs[: station + 1 + first])

    @property
    def unrecorded(self) -> int:
        """Instructions behind the trace, up to the new kernel's first: a purgatory's."""
        return sum(leg.unrecorded for leg in self.legs)

    def leg(self, name: LegName) -> Stop | None:
        """How the leg called ``name`` ended; None if it was never begun."""
        return next((leg.stop for leg in self.legs if leg.name is name), None)
