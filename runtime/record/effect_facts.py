"""What caches did to the bytes of a run that was made with effects."""

from __future__ import annotations

from relokit.codegen.base.nouns import dataclass


@dataclass(frozen=True, slots=True)
class EffectFacts:
    """Lines of ``line`` bytes that were lost, and not to code that asked for it.

    ``overwritten`` in memory by older bytes that were written back, ``discarded`` by an
    invalidation before they got there again. At the hand-over, memory had of ``absent`` nothing,
    and of ``stale`` what was there before the last store.
    """

    line: int
    discarded: int
    overwritten: int
    stale: int
    absent: int

    @property
    def lost(self) -> int:
        """Lines, each as often as that happened."""
        return self.discarded + self.overwritten + self.stale + self.absent

    def told(self) -> str:
        """In words, what became of lines."""
        words = {
            "never got to memory": self.absent,
            "in memory are from before the last store": self.stale,
            "were discarded while dirty": self.discarded,
            "in memory were overwritten by old dirty lines": self.overwritten,
        }
        said = [f"{count:,} {what}" for what, count in words.items() if count]
        lines = f"of lines of {self.line} bytes, " if said else "no line was lost"
        return lines + ", ".join(said)
