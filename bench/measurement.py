"""What is measured: rows of who took what, the bounds they are held to, and tables of them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median
from typing import Any

MIB = 1 << 20
PAGE = 4096


@dataclass(frozen=True)
class Bound:
    """``of`` is to be at most (at least, if ``more``) ``limit`` times ``against``.

    Both are columns of the row. Without ``against`` the limit is in the row's own unit.
    """

    of: str
    limit: float
    against: str = ""
    more: bool = False


@dataclass(frozen=True)
class BoundCheck:
    """A bound, the number that is held to it, and whether it is kept."""

    bound: Bound
    number: float
    kept: bool

    def __str__(self) -> str:
        one = self.bound
        what = f"{one.of} {self.number:.3g}" + (f" of {one.against}" if one.against else "")
        word = "least" if one.more else "most"
        return f"{what}, at {word} {one.limit:.3g}: {'kept' if self.kept else 'MISSED'}"


@dataclass
class Row:
    """One quantity in ``unit`` by who it is of, each time it was measured."""

    name: str
    unit: str
    bounds: tuple[Bound, ...] = ()
    values: dict[str, list[float]] = field(default_factory=dict)

    def add(self, column: str, value: float) -> None:
        """Once more."""
        self.values.setdefault(column, []).append(value)

    def median(self, column: str) -> float:
        """Of what was measured in ``column``."""
        return median(self.values[column])

    def verdicts(self) -> Iterator[BoundCheck]:
        """What is bounded, at the medians; a bound of what was not measured is none."""
        for one in self.bounds:
            if one.of not in self.values or (one.against and one.against not in self.values):
                continue
            number = self.median(one.of) / (self.median(one.against) if one.against else 1)
            kept = number >= one.limit if one.more else number <= one.limit
            yield BoundCheck(one, number, kept)

    def ratios(self) -> dict[str, float]:
        """The first column by each other one, and whatever a bound divides."""
        first, *others = self.values
        pairs = [(first, other) for other in others]
        pairs += [(one.of, one.against) for one in self.bounds if one.against in self.values]
        return {
            f"{of} / {against}": self.median(of) / self.median(against)
            for of, against in pairs
            if of in self.values and self.median(against)
        }

    def told(self) -> str:
        """The newest of each, for whoever waits."""
        newest = ", ".join(f"{name} {values[-1]:.3g}" for name, values in self.values.items())
        return f"{self.name} ({self.unit}): {newest}"

    def to_json(self) -> dict[str, Any]:
        """The row with everything that was seen, and what is made of it."""
        return {
            "name": self.name,
            "unit": self.unit,
            "values": {name: [rounded(one) for one in of] for name, of in self.values.items()},
            "median": {name: rounded(self.median(name)) for name in self.values},
            "ratios": {name: rounded(ratio) for name, ratio in self.ratios().items()},
            "bounds": [
                {"text": str(one), "ratio": rounded(one.number), "kept": one.kept}
                for one in self.verdicts()
            ],
        }


@dataclass
class Table:
    """Rows with the same columns; ``name`` is its place in the page, ``note`` what was at hand."""

    name: str
    rows: list[Row]
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """The table with everything that was seen."""
        rows = [row.to_json() for row in self.rows]
        return {"name": self.name, "note": self.note, "rows": rows}


def rounded(value: float) -> float:
    """Four digits: more are noise."""
    return float(f"{value:.4g}")


def progress(text: str) -> None:
    """One line on stderr."""
    print(text, file=sys.stderr, flush=True)
