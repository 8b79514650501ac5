"""Where a finding leads a person to, seen from the instructions that were changed."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import count

from relokit.codegen.base.nouns import dataclass
from relokit.linker.image import Image
from relokit.runtime.judge.outcome import Finding
from relokit.runtime.judge.rules.executed_steps import ExecutedSteps
from relokit.runtime.judge.rules.made import Made, MadeHow
from relokit.runtime.judge.rules.makers import steps_of
from relokit.runtime.judge.rules.register_use import ARGUMENTS, Effect, name_of, use_of
from relokit.runtime.mutation.mutant import FindingPlace, Mutant
from relokit.runtime.mutation.mutated import WORD
from relokit.runtime.mutation.operators import DROP
from relokit.runtime.record.record import Record
from relokit.runtime.run.scenes import place_in

GAP = 8
"""Instructions from who has set a register last to one that is missing, or from that to the use."""
_NOTHING = frozenset({MadeHow.BEFORE, MadeHow.NEVER})
"""It is said that nothing that was judged has set it."""
_WITHOUT_USE = frozenset({MadeHow.UNUSED, MadeHow.PENDING})
"""It is said that nothing has used it."""
Locate = Callable[[int], tuple[Image, int] | None]


@dataclass(frozen=True, slots=True)
class Changed:
    """What is known of a mutant that ran: ``good`` is the Image that it was made of.

    ``locate`` leads from a PC to an Image and VA; ``names`` are changed data, as findings call it.
    """

    mutant: Mutant
    good: Image
    record: Record
    locate: Locate
    names: tuple[str, ...]

    def place_of(self, finding: Finding) -> tuple[FindingPlace, int | None]:
        """Where ``finding`` is; and if it is named by what made it, as which, counted from 1."""
        located = None if finding.address is None else self.locate(finding.address)
        changed = {edit.va for edit in self.mutant.edits}
        if located and located[1] in changed:
            return FindingPlace.AT, None
        for rank, made in zip(count(1), finding.made, strict=False):
            if self._va(made.address) in changed:
                return FindingPlace.NAMED, rank
        if self._in_text(finding):
            return FindingPlace.NAMED, None
        if located and finding.address is not None:
            shown = {f"{finding.address - located[1] + va:#x}:" for va in changed}
            if any(one in line for one in shown for line in finding.listing):
                return FindingPlace.SHOWN, None
        if any(self._is_missed(made) for made in finding.made):
            return FindingPlace.MISSED, None
        if self.mutant.operator == DROP and self._is_beside(finding):
            return FindingPlace.BESIDE, None
        return FindingPlace.ELSEWHERE, None

    def _va(self, pc: int) -> int | None:
        located = self.locate(pc)
        return located[1] if located else None

    def _in_text(self, finding: Finding) -> bool:
        text = "\n".join((finding.message, *finding.notes))
        places = [place_in(self.good, edit.va) for edit in self.mutant.edits]
        return any(_names(text, name) for name in (*self.names, *places))

    def _is_missed(self, made: Made) -> bool:
        """Whether ``made`` leads to where a changed instruction has done something before.

        It says who has set last what that one would have set, and that is in between, close by or
        with nothing since the jump; or who has set what that one would have used, close by in the
        same way; or a short loop that it is of.
        """
        steps = steps_of(self.record)
        if steps is None:
            return False
        changed = [(edit, self._word(edit.va)) for edit in self.mutant.edits]
        if made.how is MadeHow.IDLE:
            return any(self._is_inside(edit.va, made) for edit in self.mutant.edits)
        if made.sets is None:
            return False
        if made.how in _WITHOUT_USE:
            return any(
                self._is_between(steps, edit.va, made)
                for edit, good in changed
                if made.sets in _read(good) - _read(edit.word)
            )
        return any(
            self._is_between(steps, edit.va, made)
            for edit, good in changed
            if made.sets in _named(good) - _named(edit.word)
        )

    def _word(self, va: int) -> int:
        return int.from_bytes(self.good.read(va, WORD), "little")

    def _is_inside(self, va: int, made: Made) -> bool:
        assert made.used is not None
        first, last = self._va(made.used), self._va(made.address)
        if first is None or last is None:
            return False
        return first <= va <= last and last - first <= GAP * WORD

    def _is_between(self, steps: ExecutedSteps, va: int, made: Made) -> bool:
        holes = [pc for pc in steps.addresses() if self._va(pc) == va]
        end: int | None
        if made.how in _WITHOUT_USE:
            maker = steps.last(made.address)
            assert maker is not None
            end = len(steps) if made.used is None else steps.next(made.used, maker)
            found = [steps.next(pc, maker) for pc in holes]
        else:
            end = len(steps) if made.used is None else steps.last(made.used)
            if end is None:
                return False
            maker = None if made.how is MadeHow.NEVER else steps.last(made.address, end)
            found = [steps.last(pc, end) for pc in holes]
        for hole in found:
            if hole is None or end is None or not (maker or 0) <= hole <= end:
                continue
            if made.how in _NOTHING or maker is None or min(hole - maker, end - hole) <= GAP:
                return True
        return False

    def _is_beside(self, finding: Finding) -> bool:
        told = [one.address for one in finding.made]
        told += [] if finding.address is None else [finding.address]
        [edit] = self.mutant.edits
        return any(self._va(pc) in (edit.va - WORD, edit.va + WORD) for pc in told)


def _named(word: int) -> set[str]:
    """The registers that an instruction sets."""
    return {name_of(number) for number in use_of(word).writes}


def _read(word: int) -> set[str]:
    """The registers that an instruction uses, or that it takes along to whom it calls."""
    use = use_of(word)
    given = range(ARGUMENTS) if use.effect is Effect.LEAVES else ()
    return {name_of(number) for number in (*use.reads, *given)}


def _names(text: str, place: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(place)}(?![0-9a-z_])", text) is not None
