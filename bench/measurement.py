"""What a measurement is, and how a table of them looks."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from statistics import median
from typing import Any

MIB = 1 << 20


@dataclass
class Measurement:
    """Repeated wall times of one thing, in seconds; ``size`` bytes are dealt with each time."""

    group: str
    name: str
    size: int | None = None
    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Median, in seconds."""
        return median(self.seconds)

    @property
    def rate(self) -> float | None:
        """Bytes per second at the median."""
        return None if self.size is None else self.size / self.median

    def to_json(self) -> dict[str, Any]:
        """The measurement with everything that was seen."""
        document: dict[str, Any] = {
            "group": self.group,
            "name": self.name,
            "seconds": self.seconds,
            "median": self.median,
        }
        if self.size is not None:
            document |= {"bytes": self.size, "bytes_per_second": self.rate}
        return document


def progress(text: str) -> None:
    """One line on stderr."""
    print(text, file=sys.stderr, flush=True)
