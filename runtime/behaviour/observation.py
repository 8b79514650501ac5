"""What code does when it runs, as data: one run's Observation, and how two of them differ.

The two kinds of run are in ``behaviour_relocation`` and ``behaviour_call``; what counts as a
difference is in ``behaviour_compare``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from relokit.codegen.base.errors import FormatError
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
    DIFFERENT = "different"


@dataclass(frozen=True, slots=True)
class Ending:
    """``place`` is where control went, or the VA of the access that failed: a name if one is
    known, else an address. ``detail`` is what an exception says of itself.
    """

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
}
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
class Observation:
    """One run. ``trial`` names its arguments.

    ``registers`` are x0 to x30 and sp. ``system`` are system registers by name; of a call, only
    those it changed. ``named`` says which of both hold the address of what. ``flags`` are NZCV,
    ``daif`` PSTATE.DAIF, each four bits. ``jump_el`` and ``jump_mmu`` are the state in which the
    code was entered.
    """

    trial: str
    ending: Ending
    counts: Counts
    el: int
    mmu: bool
    flags: int
    daif: int
    registers: Mapping[str, int]
    system: Mapping[str, int]
    memory: tuple[Written, ...]
    jump_el: int
    jump_mmu: bool
    named: Mapping[str, str] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    @property
    def verdict(self) -> str:
        """``passes``, or ``fails: `` and the rules that are broken; of a call, always the first."""
        rules = dict.fromkeys(finding.rule for finding in self.findings)
        return f"fails: {', '.join(rules)}" if rules else "passes"

    def to_json(self) -> dict[str, Any]:
        """The observation as JSON data."""
        return {
            "trial": self.trial,
            "ending": asdict(self.ending) | {"text": self.ending.text},
            "counts": asdict(self.counts),
            "jump": {"el": self.jump_el, "mmu": self.jump_mmu},
            "el": self.el,
            "mmu": self.mmu,
            "flags": self.flags,
            "daif": self.daif,
            "registers": dict(self.registers),
            "system": dict(self.system),
            "named": dict(self.named),
            "memory": [asdict(one) for one in self.memory],
            "findings": [finding.to_json() for finding in self.findings],
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Observation:
        """Read what :meth:`to_json` wrote; raises FormatError for anything else."""
        try:
            ending = document["ending"]
            return cls(
                trial=document["trial"],
                ending=Ending(Leaving(ending["leaving"]), ending["place"], ending["detail"]),
                counts=Counts(**document["counts"]),
                el=document["el"],
                mmu=document["mmu"],
                flags=document["flags"],
                daif=document["daif"],
                registers=document["registers"],
                system=document["system"],
                memory=tuple(_written(entry) for entry in document["memory"]),
                jump_el=document["jump"]["el"],
                jump_mmu=document["jump"]["mmu"],
                named=document["named"],
                findings=tuple(Finding.from_json(entry) for entry in document["findings"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"not an observation: {error!r}") from None


def _written(document: dict[str, Any]) -> Written:
    parts = tuple(document["parts"])
    words = tuple((offset, value) for offset, value in document["words"])
    return Written(**document | {"parts": parts, "words": words})


@dataclass(frozen=True, slots=True)
class Difference:
    """``what`` is ``left`` on one side and ``right`` on the other, in ``trials``."""

    kind: BehaviourKind
    what: str
    left: str
    right: str
    trials: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The difference as JSON data."""
        return asdict(self) | {"kind": str(self.kind), "trials": list(self.trials)}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Difference:
        """Read what :meth:`to_json` wrote."""
        kind, trials = BehaviourKind(document["kind"]), tuple(document["trials"])
        return cls(**document | {"kind": kind, "trials": trials})


@dataclass(frozen=True, slots=True)
class RoutineBehaviour:
    """A routine on either side: ``name`` (or ``left → right``), its runs, trial by trial in the
    same order, and how they differ.
    """

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
        return Verdict.MAINTENANCE if BehaviourKind.MAINTENANCE in kinds else Verdict.SAME

    @property
    def cut(self) -> int:
        """Trials that on either side ended before the routine did: what it wanted is not there."""
        return sum(
            one.ending.leaving in _CUT or other.ending.leaving in _CUT
            for one, other in zip(self.left, self.right, strict=True)
        )

    def to_json(self) -> dict[str, Any]:
        """The routine as JSON data."""
        return {
            "name": self.name,
            "mode": str(self.mode),
            "verdict": str(self.verdict),
            "cut": self.cut,
            "differences": [difference.to_json() for difference in self.differences],
            "left": [observation.to_json() for observation in self.left],
            "right": [observation.to_json() for observation in self.right],
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> RoutineBehaviour:
        """Read what :meth:`to_json` wrote."""
        left, right = (
            tuple(Observation.from_json(entry) for entry in document[side])
            for side in ("left", "right")
        )
        differences = tuple(Difference.from_json(entry) for entry in document["differences"])
        return cls(document["name"], TrialMode(document["mode"]), left, right, differences)


@dataclass(frozen=True, slots=True)
class BehaviourDiff:
    """Two sides, as they call themselves, and every routine that was run on both."""

    left: str
    right: str
    routines: tuple[RoutineBehaviour, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst of its routines' verdicts."""
        order = list(Verdict)
        return max((routine.verdict for routine in self.routines), key=order.index)

    @property
    def same(self) -> bool:
        """Whether results and maintenance agree."""
        return self.verdict is Verdict.SAME

    def to_json(self) -> dict[str, Any]:
        """The document that ``relokit diff --run --json`` has as ``run``."""
        return {
            "left": self.left,
            "right": self.right,
            "verdict": str(self.verdict),
            "routines": [routine.to_json() for routine in self.routines],
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> BehaviourDiff:
        """Read what :meth:`to_json` wrote; raises FormatError for anything else."""
        try:
            routines = tuple(RoutineBehaviour.from_json(entry) for entry in document["routines"])
            if not routines:
                raise ValueError("no routine")
            return cls(document["left"], document["right"], routines)
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"not a behaviour document: {error!r}") from None
