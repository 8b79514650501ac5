"""What the machine room is asked of mutants: which there are, and what becomes of some of them."""

from __future__ import annotations

from functools import lru_cache

from relokit.codegen.base.nouns import dataclass
from relokit.runtime.kexec.programs import Programs, StoredPrograms
from relokit.runtime.mutation.layouts import MoveLayout
from relokit.runtime.mutation.mutant import Mutant, MutantResult, RoutineName
from relokit.runtime.mutation.mutant_survey import MutantSurvey, survey
from relokit.runtime.mutation.mutated import CodeSet
from relokit.runtime.mutation.trial import result_of
from relokit.runtime.room.requests import Report, Setup


@dataclass(frozen=True, slots=True)
class SurveyRequest:
    """Run the good code of ``setup``, and say which mutants of ``routines`` there are."""

    setup: Setup
    routines: tuple[RoutineName, ...]

    def carry_out(self, report: Report) -> MutantSurvey:
        """See Request."""
        setup = self.setup
        return survey(setup.target, _code(setup), setup.job, self.routines)


@dataclass(frozen=True, slots=True)
class TrialRequest:
    """Try each of ``mutants`` in those of ``layouts`` that it is for."""

    setup: Setup
    layouts: tuple[MoveLayout, ...]
    mutants: tuple[Mutant, ...]

    def carry_out(self, report: Report) -> tuple[MutantResult, ...]:
        """See Request."""
        target, code = self.setup.target, _code(self.setup)
        return tuple(result_of(one, target, code, self.layouts) for one in self.mutants)


def _code(setup: Setup) -> CodeSet:
    return CodeSet(_programs(setup.programs), setup.opened.code)


@lru_cache(maxsize=4)
def _programs(stored: StoredPrograms) -> Programs:
    return stored.decoded()
