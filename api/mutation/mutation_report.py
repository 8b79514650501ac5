"""What a campaign of mutants comes to: counts by operator, rule and place; who survived."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field
from typing import ClassVar, TypeVar

from relokit.codegen.base.documents import ABSENT
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.kexec_routines import CodeUsed
from relokit.mutation.mutate import SurveyDone, Tried
from relokit.runtime.mutation.mutant import FindingPlace, Likeness, MutantStatus, RoutineName
from relokit.runtime.mutation.mutant_survey import LayoutFacts, RoutineFacts
from relokit.runtime.mutation.reviewed import entry_of

K = TypeVar("K")

RIGHT = frozenset(FindingPlace) - {FindingPlace.ELSEWHERE}
"""Places of a finding from which a person sees the mutated instruction, or that one is missing."""


@dataclass(frozen=True, slots=True)
class TargetTried:
    """A target by name: the moves that mutants were tried in, the code they are of.

    ``why_not`` says why there is none of it.
    """

    target: str
    layouts: tuple[LayoutFacts, ...] = ()
    routines: tuple[RoutineFacts, ...] = ()
    why_not: str | None = field(default=None, metadata=ABSENT)


@dataclass(frozen=True, slots=True)
class MutantRow:
    """How many mutants of one kind ended how; ``right`` is of the killed, at the right place.

    Of the survivors, ``equivalent`` are no mistakes: the model shows it, and the reviewed list says
    why; of ``harmless`` ones a rule warns all the same. Of the others, ``warned`` have a warning.
    Only what the good code is not warned of counts.
    """

    killed: int
    right: int
    survived: int
    no_answer: int
    equivalent: int
    harmless: int
    warned: int

    @property
    def all(self) -> int:
        """All of the kind."""
        return self.killed + self.survived + self.no_answer

    @property
    def different(self) -> int:
        """All but those that are no mistakes."""
        return self.all - self.equivalent

    @property
    def told(self) -> int:
        """What a rule finds, be it by a warning: what ``--strict`` fails."""
        return self.killed + self.warned + self.harmless

    @property
    def tellable(self) -> int:
        """All but those that are no mistakes and that no rule says anything of."""
        return self.all - self.equivalent + self.harmless


@dataclass(frozen=True, slots=True)
class Left:
    """A mutant that was not killed. ``equivalent`` is what is cited where it is no mistake."""

    target: str
    id: str
    operator: str
    place: str
    text: str
    equivalent: str | None = field(default=None, metadata=ABSENT)
    likeness: Likeness | None = field(default=None, metadata=ABSENT)
    warnings: tuple[str, ...] = field(default=(), metadata=ABSENT)
    not_judged: tuple[str, ...] = field(default=(), metadata=ABSENT)
    why: str | None = field(default=None, metadata=ABSENT)


@dataclass(frozen=True, slots=True)
class MutationReport:
    """``status`` is ``pass`` where all were killed, ``fail``, ``no answer`` (also where a target
    could not be looked at), ``nothing`` or ``interrupted``.

    ``rules`` says how many each rule was the first to kill, ``places`` where those findings were,
    ``ranks`` how often the mutated instruction was the first, the second, ... of what made it so.
    ``code`` is whose code was mutated, where it is not ours. ``accepted`` says how many survivors a
    project accepts, and why: they are counted like the others, and fail nothing.
    """

    SCHEMA: ClassVar[str] = "relokit.mutants/1"

    status: str
    targets: tuple[TargetTried, ...]
    all: MutantRow
    routines: Mapping[RoutineName, MutantRow]
    operators: Mapping[str, MutantRow]
    rules: Mapping[str, int]
    places: Mapping[FindingPlace, int]
    ranks: Mapping[int, int]
    survivors: tuple[Left, ...]
    unanswered: tuple[Left, ...]
    code: CodeUsed | None = field(default=None, metadata=ABSENT)
    accepted: str | None = field(default=None, metadata=ABSENT)

    @property
    def is_whole(self) -> bool:
        """Whether every target was looked at, and every mutant has an answer."""
        return not self.unanswered and all(one.why_not is None for one in self.targets)


class Campaign:
    """Results as they come, in whatever order; the report does not depend on it."""

    def __init__(self, code: CodeUsed | None = None) -> None:
        self._code = code
        self._surveys: list[SurveyDone] = []
        self._tried: list[Tried] = []

    def add(self, event: SurveyDone | Tried) -> None:
        """Count one more."""
        if isinstance(event, SurveyDone):
            self._surveys.append(event)
        else:
            self._tried.append(event)

    @property
    def known(self) -> int:
        """Mutants that there are, so far."""
        return sum(len(one.survey.mutants) for one in self._surveys if one.survey)

    @property
    def done(self) -> int:
        """Mutants with a result."""
        return len(self._tried)

    @property
    def taken(self) -> int:
        """Of these, how many were known already."""
        return sum(one.taken for one in self._tried)

    @property
    def tried(self) -> tuple[Tried, ...]:
        """What has a result, in the order of the targets and their mutants."""
        return tuple(sorted(self._tried, key=self._order()))

    def report(self, *, interrupted: bool = False) -> MutationReport:
        """All there is to say so far."""
        tried = self.tried
        killed = [one.result for one in tried if one.result.status is MutantStatus.KILLED]
        survivors = tuple(_left(one) for one in tried if _ended(one, MutantStatus.SURVIVED))
        unanswered = tuple(_left(one) for one in tried if _ended(one, MutantStatus.NO_ANSWER))
        missed = [one for one in survivors if not one.equivalent]
        status = "pass" if tried else "nothing"
        if missed or unanswered or any(one.survey is None for one in self._surveys):
            status = "fail" if missed else "no answer"
        rules = Counter(result.rule or "" for result in killed)
        places = Counter(result.place for result in killed)
        ranks = Counter(result.rank for result in killed if result.rank is not None)
        return MutationReport(
            status="interrupted" if interrupted else status,
            targets=tuple(_target(one) for one in self._surveys),
            all=_row(tried),
            routines=dict(_rows(tried, lambda one: one.mutant.routine)),
            operators=dict(_rows(tried, lambda one: one.mutant.operator)),
            rules=dict(sorted(rules.items(), key=lambda pair: (-pair[1], pair[0]))),
            places={place: places[place] for place in FindingPlace if places[place]},
            ranks=dict(sorted(ranks.items())),
            survivors=survivors,
            unanswered=unanswered,
            code=self._code,
        )

    def _order(self) -> Callable[[Tried], tuple[int, int]]:
        targets = {one.target: number for number, one in enumerate(self._surveys)}
        numbers = {
            (one.target, mutant.id): number
            for one in self._surveys
            if one.survey
            for number, mutant in enumerate(one.survey.mutants)
        }
        return lambda one: (targets[one.target], numbers[one.target, one.mutant.id])


def _ended(one: Tried, status: MutantStatus) -> bool:
    return one.result.status is status


def _target(one: SurveyDone) -> TargetTried:
    if one.survey is None:
        return TargetTried(one.target.name, why_not=one.why_not)
    return TargetTried(one.target.name, one.survey.layouts, one.survey.routines)


def _left(one: Tried) -> Left:
    mutant, result = one.mutant, one.result
    return Left(
        one.target.name,
        mutant.id,
        mutant.operator,
        mutant.place,
        mutant.text,
        citation_of(one),
        result.likeness,
        result.warnings,
        result.not_judged,
        result.why,
    )


def _rows(tried: Sequence[Tried], kind: Callable[[Tried], K]) -> Iterator[tuple[K, MutantRow]]:
    kinds: dict[K, list[Tried]] = {}
    for one in tried:
        kinds.setdefault(kind(one), []).append(one)
    return ((name, _row(ones)) for name, ones in kinds.items())


def citation_of(one: Tried) -> str | None:
    """What says that a survivor is no mistake, if it is one that the model cannot tell either."""
    if one.result.status is not MutantStatus.SURVIVED:
        return None
    entry = entry_of(one.mutant)
    proved = entry is not None and entry.proved_by(one.result.likeness, one.result.warnings)
    return f"{entry.name}: {entry.cites}" if entry and proved else None


def _row(tried: Sequence[Tried]) -> MutantRow:
    counts = Counter(one.result.status for one in tried)
    survived = [one for one in tried if one.result.status is MutantStatus.SURVIVED]
    different = [one for one in survived if citation_of(one) is None]
    return MutantRow(
        killed=counts[MutantStatus.KILLED],
        right=sum(one.result.place in RIGHT for one in tried),
        survived=counts[MutantStatus.SURVIVED],
        no_answer=counts[MutantStatus.NO_ANSWER],
        equivalent=len(survived) - len(different),
        harmless=sum(bool(one.result.warnings) for one in survived if citation_of(one)),
        warned=sum(bool(one.result.warnings) for one in different),
    )
