"""The code that a trace is of: its words, and how its addresses are called."""

from __future__ import annotations

from collections.abc import Mapping

from relokit.codegen.base.nouns import dataclass
from relokit.runtime.record.scene import SeenWord

AROUND = 2
"""Instructions that are shown on either side of the one a finding is at."""


@dataclass(frozen=True, slots=True)
class CodeSeen:
    """``words`` are executed instructions by VA, ``places`` how a VA is called."""

    words: Mapping[int, SeenWord]
    places: Mapping[int, str]

    def around(self, pc: int) -> tuple[SeenWord, ...]:
        """The instruction at ``pc``, and those beside it that were executed too."""
        addresses = range(pc - 4 * AROUND, pc + 4 * AROUND + 4, 4)
        return tuple(self.words[at] for at in addresses if at in self.words)

    def word(self, pc: int) -> int | None:
        """The instruction word at ``pc``, if it was seen."""
        seen = self.words.get(pc)
        return seen.word if seen else None
