"""What the machine room is asked of mutants: which there are, and what becomes of some of them."""

from __future__ import annotations

from functools import lru_cache

from relokit.codegen.base.budget import budgeted
from relokit.codegen.base.nouns import dataclass
from relokit.runtime.kexec.programs import Programs, StoredPrograms
from relokit.runtime.mutation.layouts import MoveLayout
from relokit.runtime.mutation.mutant import Mutant, MutantResult, RoutineName
from relokit.runtime.mutation.mutant_survey import MutantSurvey, survey
from relokit.runtime.mutation.mutated import CodeSet
from relokit.runtime.mutation.trial import Trier
from relokit.runtime.room.requests import Report, Setup


@dataclass(frozen=True, slots=True)
class SurveyRequest:
    """Run the good code of ``setup`` in ``layouts``: which mutants of ``routines`` are there?"""

    setup: Setup
    layouts: tuple[MoveLayout, ...]
    routines: tuple[RoutineName, ...]

    def carry_out(self, report: Report) -> MutantSurvey:
        """See Request."""
        setup = self.setup
        return survey(setup.target, _code(setup), self.layouts, self.routines)


@dataclass(frozen=True, slots=True)
class TrialRequest:
    """Try each of ``mutants`` in those of ``layouts`` that it is for."""

    setup: Setup
    layouts: tuple[MoveLayout, ...]
    mutants: tuple[Mutant, ...]

    def carry_out(self, report: Report) -> tuple[MutantResult, ...]:
        """See Request."""
        trier = _trier(self)
        return tuple(_result(trier, one) for one in self.mutants)


def _result(trier: Trier, mutant: Mutant) -> MutantResult:
    with budgeted(anew=True):  # nothing of it stays but the answer
        return trier.result_of(mutant)


_last: tuple[object, Trier] | None = None


def _trier(request: TrialRequest) -> Trier:
    """The last one, if it is for the same code: it knows what the good code does."""
    global _last
    setup = request.setup
    asked = setup.target, setup.programs, setup.opened.code, request.layouts
    if _last is None or _last[0] != asked:
        _last = asked, Trier(setup.target, _code(setup), request.layouts)
    return _last[1]


def _code(setup: Setup) -> CodeSet:
    return CodeSet(_programs(setup.programs), setup.opened.code)


@lru_cache(maxsize=4)
def _programs(stored: StoredPrograms) -> Programs:
    return stored.decoded()
