"""The reviewed list of mutants that are no mistakes (reviewed.toml)."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from relokit.codegen.base.nouns import dataclass
from relokit.runtime.mutation.mutant import Likeness, Mutant

PROOFS = (Likeness.EFFECTS, Likeness.STATE)
_ANYTHING = ".*"


@dataclass(frozen=True, slots=True)
class Reviewed:
    """An entry: which mutants, what the model has to show of each, and what says that it is so."""

    name: str
    operators: frozenset[str]
    text: re.Pattern[str]
    after: re.Pattern[str]
    before: re.Pattern[str]
    independent: bool
    told: frozenset[str]
    proof: Likeness
    cites: str

    def is_of(self, mutant: Mutant) -> bool:
        """Whether ``mutant`` is one of these, were it proved."""
        return (
            mutant.operator in self.operators
            and (mutant.independent or not self.independent)
            and self.text.fullmatch(mutant.text) is not None
            and self.after.fullmatch(mutant.after) is not None
            and self.before.fullmatch(mutant.before) is not None
        )

    def proved_by(self, likeness: Likeness | None, warnings: Iterable[str] = ()) -> bool:
        """Whether the model shows enough, of a survivor that the rules ``warnings`` warn of."""
        enough = likeness in PROOFS[: PROOFS.index(self.proof) + 1]
        return enough and (not self.told or self.told.issuperset(warnings))


@lru_cache(maxsize=1)
def reviewed() -> tuple[Reviewed, ...]:
    """All entries, in their order."""
    with (Path(__file__).parent / "reviewed.toml").open("rb") as file:
        return tuple(_entry(one) for one in tomllib.load(file)["equivalent"])


def _entry(entry: dict[str, Any]) -> Reviewed:
    return Reviewed(
        entry["name"],
        frozenset(entry["operators"]),
        re.compile(entry.get("text", _ANYTHING)),
        re.compile(entry.get("after", _ANYTHING)),
        re.compile(entry.get("before", _ANYTHING)),
        entry.get("independent", False),
        frozenset(entry.get("told", ())),
        Likeness(entry["proof"]),
        entry["cites"],
    )


def entry_of(mutant: Mutant) -> Reviewed | None:
    """The first entry that ``mutant`` is one of, proved or not."""
    return next((one for one in reviewed() if one.is_of(mutant)), None)
