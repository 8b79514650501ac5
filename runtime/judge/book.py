"""The book: every rule there is, in the order in which findings are told.

Rules that read the trace are kept apart (``trace_book.py``): a plain run does not load them.
"""

from __future__ import annotations

from collections.abc import Iterable

from relokit.codegen.base.budget import spend
from relokit.codegen.base.nouns import dataclass
from relokit.runtime.judge.advice import advice_on
from relokit.runtime.judge.outcome import Finding, RuleAnswers
from relokit.runtime.judge.rules.handover.arrival import ARRIVAL
from relokit.runtime.judge.rules.handover.beside import AROUND
from relokit.runtime.judge.rules.handover.boot import BOOT
from relokit.runtime.judge.rules.handover.boot_chosen import BOOT_CHOSEN
from relokit.runtime.judge.rules.handover.boot_memory import BOOT_MEMORY
from relokit.runtime.judge.rules.handover.boot_registers import BOOT_REGISTERS
from relokit.runtime.judge.rules.handover.handoff import HANDOFF
from relokit.runtime.judge.rules.handover.resume import RESUME
from relokit.runtime.judge.rules.made import Made, Used
from relokit.runtime.judge.rules.moved.damage import DAMAGE
from relokit.runtime.judge.rules.moved.ending import ENDING
from relokit.runtime.judge.rules.moved.relocation import RELOCATION
from relokit.runtime.judge.rules.moved.setup import SETUP
from relokit.runtime.judge.rules.profile import Profile, profile_named, profile_of
from relokit.runtime.judge.rules.rule import Broken, Rule
from relokit.runtime.judge.rules.severity import Severity
from relokit.runtime.judge.telling import Told, bounded, grouped
from relokit.runtime.record.known import Unknown, UnknownFactError
from relokit.runtime.record.record import Record

Book = tuple[Rule, ...]

_STATIONS: Book = (
    *HANDOFF,
    *BOOT_REGISTERS,
    *RESUME,
    *ENDING,
    *RELOCATION,
    *ARRIVAL,
    *SETUP,
    *DAMAGE,
    *BOOT_MEMORY,
    *BOOT_CHOSEN,
    *AROUND,
)
TRACE_SUBJECTS = (
    "own", "caches", "fetch", "context", "bbm", "tlb", "errata", "interrupt", "call", "stack",
    "code",
)  # fmt: skip
"""What the rules in ``trace_book.py`` are about: the first words of their names."""
PURGATORY = "purgatory"
"""What is not judged of one that takes longer than is recorded: its accesses."""


def whole_book() -> Book:
    """Every rule there is."""
    from relokit.runtime.judge.trace_book import TRACE_BOOK

    return (*_STATIONS, *TRACE_BOOK, *BOOT)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a book says of a record: what is broken, and what each rule answered."""

    findings: tuple[Finding, ...]
    answers: RuleAnswers
    profile: str | None = None

    @property
    def failed(self) -> bool:
        """Whether an error is among the findings."""
        return any(finding.is_error for finding in self.findings)

    @property
    def flawless(self) -> bool:
        """Whether neither an error nor a warning is among the findings: what is strict asks for."""
        return all(finding.severity is Severity.NOTE for finding in self.findings)


JUDGED_BYTES = 320
"""What the rules keep of a record at their peak, five times what it takes itself."""


def judge(
    record: Record, book: Iterable[Rule] | None = None, profile: str | None = None
) -> Judgement:
    """Apply every rule of ``book`` to ``record``; by default, every rule there is.

    The worst machine decides. Findings say if they would not bite on the CPU that ``profile``
    names (raises MachineError if it names none): by default on the record's, if that is known.

    Without a trace, one answer for each of TRACE_SUBJECTS takes the place of those of its rules.
    """
    told: list[Told] = []
    applied: list[str] = []
    not_applicable: dict[str, str] = {}
    not_judged: dict[str, str] = {}
    if book is None:
        if isinstance(record.trace, Unknown):
            not_judged = dict.fromkeys(TRACE_SUBJECTS, record.trace.why)
            book = (*_STATIONS, *BOOT)
        else:
            spend(JUDGED_BYTES * len(record.trace.records), "what traces are judged by")
            book = whole_book()
            if record.unrecorded:
                not_judged[PURGATORY] = (
                    f"what it does in its last {record.unrecorded:,} instructions: not recorded"
                )
    for rule in book:
        why = rule.applies(record)
        if why is not None:
            not_applicable[rule.name] = why
            continue
        found: list[Broken] = []
        try:
            # One by one: what was found before a fact was missing stays found.
            for broken in rule.check(record):
                found.append(broken)
        except UnknownFactError as missing:
            not_judged[rule.name] = str(missing)
        else:
            applied.append(rule.name)
        if found:
            told.extend(bounded(rule, found))
    beside = _beside(record, profile)
    findings = tuple(
        _finding(record, one, number, beside)
        for number, group in enumerate(grouped(record, told), 1)
        for one in group
    )
    answers = RuleAnswers(tuple(applied), not_applicable, not_judged)
    return Judgement(findings, answers, beside.name if beside else None)


def _beside(record: Record, name: str | None) -> Profile | None:
    if name is not None:
        return profile_named(name)
    return None if isinstance(record.platform, Unknown) else profile_of(record.platform.identity)


def _finding(record: Record, told: Told, group: int, profile: Profile | None) -> Finding:
    rule, broken = told.rule, told.broken
    advice = advice_on(rule)
    cause = broken.cause
    if cause is None and rule.cause is not None:
        cause = rule.cause if isinstance(rule.cause, str) else rule.cause(record)
    return Finding(
        rule=rule.name,
        message=broken.message,
        source=rule.source,
        severity=rule.severity,
        address=broken.address,
        place=broken.place,
        listing=broken.listing,
        registers=broken.registers,
        notes=broken.notes,
        cause=cause,
        consequence=broken.consequence or advice.consequence,
        hint=broken.hint or advice.hint,
        group=group,
        spared=profile.spares(rule.name, broken.spared_by or rule.spared_by) if profile else None,
        made=_made(record, told),
    )


def _made(record: Record, told: Told) -> tuple[Made, ...]:
    """Who made what an error is about."""
    broken = told.broken
    if told.rule.severity is not Severity.ERROR:
        return ()
    uses = broken.uses
    if uses is None and broken.address is not None and (broken.place or broken.listing):
        uses = (Used(broken.address),)
    if not uses or isinstance(record.path, Unknown):
        return ()
    # A good run needs none of it.
    from relokit.runtime.judge.rules.history import turned_round
    from relokit.runtime.judge.rules.makers import makers

    return makers(record, (*uses, *turned_round(record)), broken.address)
