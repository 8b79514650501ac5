"""Context synchronisation, access by access: every register is the set of values it may have."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Step:
    """``what`` is write, synchronise, wait (which does not), or an access: low, high."""

    what: str
    register: str = ""
    value: int = 0


@dataclass
class Machine:
    """TTBR0 and TTBR1, each with all values that an access may go by, the newest last."""

    may_be: dict[str, list[int]] = field(default_factory=lambda: {"TTBR0": [0], "TTBR1": [0]})

    def doubtful(self, steps: Iterable[Step]) -> list[int]:
        """Numbers of the steps that may go by one value or by another."""
        found = []
        for number, step in enumerate(steps):
            match step.what:
                case "write":
                    self.may_be[step.register].append(step.value)
                case "synchronise":
                    self.may_be = {name: values[-1:] for name, values in self.may_be.items()}
                case "low" | "high":
                    name = "TTBR0" if step.what == "low" else "TTBR1"
                    if len(set(self.may_be[name])) > 1:
                        found.append(number)
        return found
