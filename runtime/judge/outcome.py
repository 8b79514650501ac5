"""Outcome: what happened, as a document for people and machines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from enum import StrEnum
from typing import ClassVar

from relokit.codegen.base.documents import ABSENT
from relokit.codegen.base.errors import shortened
from relokit.codegen.base.nouns import dataclass, drawn
from relokit.codegen.kexec_routines import CodeUsed
from relokit.codegen.target import Regime, Target
from relokit.runtime.guest.payload import PayloadPart
from relokit.runtime.judge.rules.made import Made
from relokit.runtime.judge.rules.severity import Severity
from relokit.runtime.kexec.maintenance import Maintenance
from relokit.runtime.record.effect_facts import EffectFacts
from relokit.runtime.record.interrupt_seen import InterruptSeen

_MOST_TOLD = 400
"""Characters of a finding that is shown to who types its name."""


class Status(StrEnum):
    """The verdict of a run; NO_ANSWER where the host's time was over, or the engine gave up."""

    PASS = "pass"
    FAIL = "fail"
    NO_ANSWER = "no answer"


def verdict_on(statuses: Iterable[Status]) -> str:
    """The verdict on all of them: one that failed fails all; without any, it is ``nothing``."""
    found = set(statuses)
    worst = (Status.FAIL, Status.NO_ANSWER, Status.PASS)
    return str(next((one for one in worst if one in found), "nothing"))


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: ``rule`` is a stable dotted name, ``message`` says what.

    ``address`` is where (a VA while the MMU was on, a PA else), ``place`` the symbol and source
    line, ``listing`` the disassembly around it (``>`` marks the line), ``registers`` name/value
    pairs, ``notes`` further facts (page walk, owner of a page), ``cause`` the probable reason,
    ``consequence`` what becomes of a machine, ``hint`` what right code looks like.
    ``source`` is where it is written that this must not be. Findings that have one cause share the
    number of a ``group``, which counts from 1 in the order in which they are told; 0 is none.
    ``spared`` says why it does not bite on the outcome's ``profile``, if it does not. ``made`` are
    the instructions that made what is wrong, the likeliest to be wrong first. ``accepted`` is the
    reason for which a project takes it as it is: then it is a note, whatever it was.
    """

    _repr_html_ = drawn

    rule: str
    message: str
    address: int | None = field(default=None, metadata=ABSENT)
    place: str | None = field(default=None, metadata=ABSENT)
    listing: tuple[str, ...] = field(default=(), metadata=ABSENT)
    registers: tuple[tuple[str, int], ...] = field(default=(), metadata=ABSENT)
    notes: tuple[str, ...] = field(default=(), metadata=ABSENT)
    cause: str | None = field(default=None, metadata=ABSENT)
    consequence: str | None = field(default=None, metadata=ABSENT)
    hint: str | None = field(default=None, metadata=ABSENT)
    source: str | None = field(default=None, metadata=ABSENT)
    severity: Severity = Severity.ERROR
    group: int = field(default=0, metadata=ABSENT)
    spared: str | None = field(default=None, metadata=ABSENT)
    made: tuple[Made, ...] = field(default=(), metadata=ABSENT)
    accepted: str | None = field(default=None, metadata=ABSENT)

    def __repr__(self) -> str:
        where = self.place or ("" if self.address is None else f"{self.address:#x}")
        told = f"{self.severity} {self.rule}{where and f' at {where}'}: {self.message}"
        return f"<Finding {shortened(told, _MOST_TOLD)}>"

    @property
    def is_error(self) -> bool:
        """Whether it fails a run that is not strict, too."""
        return self.severity is Severity.ERROR


def accepted_text(findings: Iterable[Finding]) -> str:
    """``2 known findings accepted (reason; reason)``: belongs to a verdict; empty without one."""
    reasons = [one.accepted for one in findings if one.accepted is not None]
    return accepted_for(reasons)


def accepted_for(reasons: Sequence[str], noun: str = "finding") -> str:
    """The same, of a reason for each; ``noun`` is what was accepted."""
    if not reasons:
        return ""
    each = "; ".join(dict.fromkeys(reasons))
    return f"{len(reasons):,} known {noun}{'s' * (len(reasons) != 1)} accepted ({each})"


@dataclass(frozen=True, slots=True)
class RuleAnswers:
    """Names of the rules that were judged to the end; of the others, by name, why not.

    A rule that is ``not_applicable`` asks for what this path or state does not have; one that is
    ``not_judged`` lacks a fact.
    """

    applied: tuple[str, ...] = ()
    not_applicable: Mapping[str, str] = field(default_factory=dict)
    not_judged: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RelocationRun:
    """The move itself: ``bytes`` and ``pages`` in the list, ``el`` and ``mmu`` while copying.

    ``instructions`` and ``seconds`` run from the jump to the new kernel's first instruction.
    """

    bytes: int
    pages: int
    el: int
    mmu: bool
    sctlr: int
    instructions: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Handoff:
    """The CPU at the new kernel's first instruction. ``daif`` is PSTATE[9:6]."""

    pc: int
    el: int
    x0: int
    x1: int
    x2: int
    x3: int
    mmu: bool
    sctlr: int
    daif: int


@dataclass(frozen=True, slots=True)
class JudgedTarget:
    """What was built and run, as the outcome says it: sizes in bytes, ``layout`` by name."""

    series: int
    page_size: int
    va_bits: int
    pa_bits: int
    cpu_bits: int
    regime: Regime
    cache_line: int
    layout: str

    @classmethod
    def of(cls, target: Target) -> JudgedTarget:
        """What an outcome says of ``target``."""
        return cls(
            target.series,
            target.page_size,
            target.va_bits,
            target.pa_bits,
            target.cpu_bits,
            target.regime,
            target.cache_line,
            target.layout.name,
        )


@dataclass(frozen=True, slots=True)
class TraceFile:
    """A trace that was written or read: its size in bytes, its records, its digest in hexadecimal.

    ``of`` is the target's name, ``version`` the relokit that wrote it. ``full_at`` is where there
    was no more room for records: what came after that many instructions is not in it, or not all.
    """

    bytes: int
    records: int
    digest: str
    of: str
    version: str
    full_at: int | None = field(default=None, metadata=ABSENT)


@dataclass(frozen=True, slots=True)
class TakenUp:
    """A run that goes on from a snapshot of ``kernel``.

    ``lacks`` are fields of ID registers that promise more than the emulated CPU has; ``unknown``
    says of what is not known of such a machine why not.
    """

    kernel: str
    lacks: tuple[str, ...]
    unknown: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Brief:
    """Of an Outcome, what one of many is asked for: the verdict, and what speaks for it.

    ``instructions`` are the guest's from the jump on; ``not_judged`` is that of RuleAnswers.
    """

    status: Status
    instructions: int
    findings: tuple[Finding, ...]
    not_judged: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Verdict, measurements and findings of one run.

    ``handoff`` is None when the new kernel was never reached. ``console`` is what the new
    kernel printed when it was let run on, ``undefined`` how often it accessed which system
    registers that the CPU has not, if it did. ``maintenance`` is what the C half did to caches
    (kexec only), ``operations`` how often the move executed which maintenance instruction or
    barrier:
    None if that was not observed. ``interrupt`` is what became of one that was asked for.
    ``trace`` is the file of the run's trace, if there is one. ``strict`` says that a warning fails
    it, too; ``effects`` what caches did, if that took place. ``profile`` is the CPU that is shown
    beside the worst machine, which decides. ``unanswered`` says why there is no answer, if so:
    what was found by then is told, and decides nothing. ``code`` says which routines were not ours,
    if some; ``taken_up`` what is known of a machine that was a snapshot's. ``accepted`` says how
    many findings the project accepts, and why: without it a verdict is about all that was found.
    ``left_out`` is what is said of memory that the old kernel leaves out.
    """

    _repr_html_ = drawn

    SCHEMA: ClassVar[str] = "relokit.run/1"

    status: Status
    target: JudgedTarget
    payload: tuple[PayloadPart, ...]
    relocation: RelocationRun
    handoff: Handoff | None
    verified_bytes: int
    findings: tuple[Finding, ...] = ()
    rules: RuleAnswers = field(default_factory=RuleAnswers)
    timings: Mapping[str, float] = field(default_factory=dict)
    maintenance: tuple[Maintenance, ...] = ()
    operations: Mapping[str, int] | None = field(default=None, metadata=ABSENT)
    interrupt: InterruptSeen | None = field(default=None, metadata=ABSENT)
    console: str | None = field(default=None, metadata=ABSENT)
    ended: str | None = field(default=None, metadata=ABSENT)
    undefined: Mapping[str, int] | None = field(default=None, metadata=ABSENT)
    trace: TraceFile | None = field(default=None, metadata=ABSENT)
    strict: bool = field(default=False, metadata=ABSENT)
    effects: EffectFacts | None = field(default=None, metadata=ABSENT)
    profile: str | None = field(default=None, metadata=ABSENT)
    unanswered: str | None = field(default=None, metadata=ABSENT)
    code: CodeUsed | None = field(default=None, metadata=ABSENT)
    taken_up: TakenUp | None = field(default=None, metadata=ABSENT)
    accepted: str | None = field(default=None, metadata=ABSENT)
    left_out: str | None = field(default=None, metadata=ABSENT)

    def __repr__(self) -> str:
        from relokit.codegen.base.noun_reprs import size_told

        target, moved, entered = self.target, self.relocation, self.handoff
        counts = [
            f"{count:,} {severity}{'s' * (count != 1)}"
            for severity in Severity
            if (count := sum(one.severity is severity for one in self.findings))
        ]
        parts = (
            f"series {target.series}, {size_told(target.page_size)} pages, {target.regime}",
            f"{moved.pages:,} pages in {moved.instructions:,} instructions at EL{moved.el}",
            f"entered at {entered.pc:#x}, EL{entered.el}" if entered else "no kernel entered",
            f"{len(self.rules.applied):,} rules judged, {len(self.rules.not_judged):,} not",
            ", ".join(counts) or "no findings",
        )
        return f"<Outcome {self.status}: {'; '.join(parts)}>"

    @property
    def passed(self) -> bool:
        """Whether every check held."""
        return self.status is Status.PASS

    @property
    def brief(self) -> Brief:
        """The verdict without what was measured."""
        return Brief(
            self.status, self.relocation.instructions, self.findings, self.rules.not_judged
        )
