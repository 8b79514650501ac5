"""What code does when it runs, as data: one run's Observation, and how two of them differ.

The two kinds of run are in ``behaviour_relocation`` and ``behaviour_call``; what counts as a
difference is in ``behaviour_compare``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum
from typing import ClassVar

from relokit.codegen.base.documents import Table, shown
from relokit.codegen.base.nouns import dataclass
from relokit.runtime.judge.outcome import Finding


class TrialMode(StrEnum):
    """RELOCATION is the whole kexec machine; CALL the routine alone, MMU off, with made-up
    arguments.
    """

    RELOCATION = "relocation"
    CALL = "call"


class Leaving(StrEnum):
    """How control left the code.

    OWN_DATA is a load or store of what belongs to the routine's own program and is not there:
    nothing can be said from there on.
    """

    HAND_OVER = "hand-over"
    RETURN = "return"
    CALL = "call"
    BRANCH = "branch"
    EXCEPTION_RETURN = "exception return"
    UNRESOLVED = "unresolved reference"
    SYSTEM_CALL = "system call"
    FAULT = "fault"
    OWN_DATA = "own data"
    WAIT = "wait for interrupt"
    ENDLESS = "endless"
    ENGINE = "engine error"
    TIMEOUT = "timeout"


class BehaviourKind(StrEnum):
    """What a difference is about.

    RESULT: somebody who relies on the routine sees it. MAINTENANCE: caches, TLBs and barriers,
    whose effect the engine does not show. COST: what it takes. LEFTOVER: in registers that nobody
    may rely on. SETUP: the two machines were not set up alike.
    """

    RESULT = "result"
    MAINTENANCE = "maintenance"
    COST = "cost"
    LEFTOVER = "leftover"
    SETUP = "setup"


class Verdict(StrEnum):
    """In order: what is worst decides for many."""

    SAME = "same"
    MAINTENANCE = "maintenance differs"
    NO_ANSWER = "no answer"
    DIFFERENT = "different"


@dataclass(frozen=True, slots=True)
class Ending:
    """``place`` is where control went, or the VA of the access that failed: a name if one is
    known, else an address. ``detail`` is what an exception says of itself.
    """

    DOCUMENT: ClassVar[Table] = shown("leaving", "place", "detail", "text")

    leaving: Leaving
    place: int | str | None = None
    detail: str | None = None

    @property
    def text(self) -> str:
        """``calls memcpy``, ``HVC #0``, ``data abort at 0x10 ...``"""
        where = f"{self.place:#x}" if isinstance(self.place, int) else self.place
        verb = _VERBS.get(self.leaving)
        if verb is None:
            text = self.detail or str(self.leaving)
            return f"{text}, at {where}" if where else text
        return f"{verb} {where}" if where else verb


DIGEST_SIZE = 8
"""Bytes of BLAKE2b that tell whether what two sides left is the same."""
_VERBS = {
    Leaving.HAND_OVER: "enters the new kernel at",
    Leaving.RETURN: "returns",
    Leaving.CALL: "calls",
    Leaving.BRANCH: "goes to",
    Leaving.EXCEPTION_RETURN: "returns from the exception to",
    Leaving.UNRESOLVED: "refers to",
    Leaving.OWN_DATA: "uses data of its own program:",
    Leaving.WAIT: "waits for an interrupt",
    Leaving.ENDLESS: "does not come to an end",
    Leaving.TIMEOUT: "was stopped by the host's clock",
}
UNANSWERED = frozenset({Leaving.ENGINE, Leaving.TIMEOUT})
"""The engine gave up, or the host's time was over: that says nothing of the code."""
_CUT = frozenset({Leaving.CALL, Leaving.SYSTEM_CALL, Leaving.UNRESOLVED, Leaving.OWN_DATA})
"""From there a routine comes back, or would go on."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What a run took. Loads and stores are accesses (a pair is two), ``loaded`` and ``stored``
    their bytes. The mappings are name to executions: DC, IC, TLBI and AT; barriers; MRS; MSR.
    """

    instructions: int
    loads: int
    stores: int
    loaded: int
    stored: int
    operations: Mapping[str, int] = field(default_factory=dict)
    barriers: Mapping[str, int] = field(default_factory=dict)
    reads: Mapping[str, int] = field(default_factory=dict)
    writes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Written:
    """Memory of one owner as a run left it.

    ``digest`` is of its content where the run was to write or has written. Of a destination,
    ``parts`` are the digests of pieces of ``part`` bytes each; else ``words`` are the first
    64-bit words that changed, as (offset, value). ``on_stack`` says that it is the stack of a
    routine that was called.
    """

    owner: str
    base: int
    size: int
    digest: str
    part: int = 0
    parts: tuple[str, ...] = ()
    words: tuple[tuple[int, int], ...] = ()
    on_stack: bool = False


@dataclass(frozen=True, slots=True)
class Entered:
    """The state in which code was entered: exception level, and whether the MMU was on."""

    el: int
    mmu: bool


@dataclass(frozen=True, slots=True)
class Observation:
    """One run. ``trial`` names its arguments.

    ``registers`` are x0 to x30 and sp. ``system`` are system registers by name; of a call, only
    those it changed. ``named`` says which of both hold the address of what. ``flags`` are NZCV,
    ``daif`` PSTATE.DAIF, each four bits; ``jump`` is the state in which the code was entered.
    """

    trial: str
    ending: Ending
    counts: Counts
    jump: Entered
    el: int
    mmu: bool
    flags: int
    daif: int
    registers: Mapping[str, int]
    system: Mapping[str, int]
    memory: tuple[Written, ...]
    named: Mapping[str, str] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    @property
    def verdict(self) -> str:
        """``passes``, or ``fails: `` and the rules that are broken; of a call, always the first.

        What is no error is said and fails nothing: ``passes, but: `` and the rules.
        """
        failed = dict.fromkeys(f.rule for f in self.findings if f.is_error)
        if failed:
            return f"fails: {', '.join(failed)}"
        rules = dict.fromkeys(finding.rule for finding in self.findings)
        return f"passes, but: {', '.join(rules)}" if rules else "passes"


@dataclass(frozen=True, slots=True)
class Difference:
    """``what`` is ``left`` on one side and ``right`` on the other, in ``trials``."""

    kind: BehaviourKind
    what: str
    left: str
    right: str
    trials: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RoutineBehaviour:
    """A routine on either side: ``name`` (or ``left → right``), its runs, trial by trial in the
    same order, and how they differ.
    """

    DOCUMENT: ClassVar[Table] = shown(
        "name", "mode", "verdict", "cut", "differences", "left", "right"
    )

    name: str
    mode: TrialMode
    left: tuple[Observation, ...]
    right: tuple[Observation, ...]
    differences: tuple[Difference, ...]

    @property
    def verdict(self) -> Verdict:
        """Whether the two behave the same, as far as it was tried."""
        kinds = {difference.kind for difference in self.differences}
        if BehaviourKind.RESULT in kinds:
            return Verdict.DIFFERENT
        if any(one.ending.leaving in UNANSWERED for one in (*self.left, *self.right)):
            return Verdict.NO_ANSWER
        return Verdict.MAINTENANCE if BehaviourKind.MAINTENANCE in kinds else Verdict.SAME

    @property
    def cut(self) -> int:
        """Trials that on either side ended before the routine did: what it wanted is not there."""
        return sum(
            one.ending.leaving in _CUT or other.ending.leaving in _CUT
            for one, other in zip(self.left, self.right, strict=True)
        )


@dataclass(frozen=True, slots=True)
class BehaviourDiff:
    """Two sides, as they call themselves, and every routine that was run on both."""

    DOCUMENT: ClassVar[Table] = shown("left", "right", "verdict", "routines")

    left: str
    right: str
    routines: tuple[RoutineBehaviour, ...]

    def __post_init__(self) -> None:
        if not self.routines:
            raise ValueError("no routine")

    @property
    def verdict(self) -> Verdict:
        """The worst of its routines' verdicts."""
        order = list(Verdict)
        return max((routine.verdict for routine in self.routines), key=order.index)

    @property
    def same(self) -> bool:
        """Whether results and maintenance agree."""
        return self.verdict is Verdict.SAME

    @property
    def unanswered(self) -> bool:
        """Whether the host or the engine ended what might have shown a difference."""
        return self.verdict is Verdict.NO_ANSWER
