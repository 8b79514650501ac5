"""The figures that the series reports, as data: reported.toml."""

from __future__ import annotations

from dataclasses import field
from enum import Enum
from functools import cache
from pathlib import Path

from relokit.codegen.base.documents import ABSENT
from relokit.codegen.base.nouns import dataclass
from relokit.runtime.judge.model.caches.memory_type import MemoryType
from relokit.runtime.timing.counts import Count, MoveCounts, Phase, Quantity
from relokit.runtime.timing.model.hardware_file import parse_size, read_toml

FILE = Path(__file__).with_name("reported.toml")


class FigureUnit(Enum):
    """What a figure is: seconds, a ratio, seconds saved, a part in percent."""

    SECONDS = "s"
    TIMES = "times"
    SAVED = "saved"
    SHARE = "share"


class FigureUse(Enum):
    """What is done with a time that is reported."""

    FIT = "fit"
    PREDICT = "predict"


@dataclass(frozen=True, slots=True)
class Reported:
    """A figure, ``value`` (or up to ``up_to``, or at least) of ``unit``.

    A time is of a move of ``size`` in state ``series`` of the series, or, without one, of so many
    ``loads`` and ``stores`` for each 64 bytes; on ``machine``, which is not named where that is
    empty (``perhaps`` it is this one). What is derived is ``of`` rows: before and after, with the
    seconds ``beside`` each.
    """

    id: str
    what: str
    value: float
    source: str
    unit: FigureUnit = field(default=FigureUnit.SECONDS, metadata=ABSENT)
    machine: str = field(default="", metadata=ABSENT)
    perhaps: str = field(default="", metadata=ABSENT)
    series: int | None = field(default=None, metadata=ABSENT)
    size: str = field(default="", metadata=ABSENT)
    loads: int = field(default=0, metadata=ABSENT)
    stores: int = field(default=0, metadata=ABSENT)
    of: tuple[str, ...] = field(default=(), metadata=ABSENT)
    beside: tuple[float, ...] = field(default=(), metadata=ABSENT)
    beside_after: tuple[float, ...] = field(default=(), metadata=ABSENT)
    use: FigureUse = field(default=FigureUse.PREDICT, metadata=ABSENT)
    at_least: bool = field(default=False, metadata=ABSENT)
    up_to: float | None = field(default=None, metadata=ABSENT)
    note: str = field(default="", metadata=ABSENT)

    @property
    def bytes(self) -> int:
        """Of what is moved."""
        return parse_size(self.size, self.id)

    @property
    def bounds(self) -> tuple[float, float]:
        """From where to where the reported figure may lie."""
        if self.at_least:
            return self.value, float("inf")
        return self.value, self.value if self.up_to is None else self.up_to


@dataclass(frozen=True, slots=True)
class ReportedFile:
    """The rows of the file, in order."""

    row: tuple[Reported, ...]


@cache
def reported_rows() -> tuple[Reported, ...]:
    """All of them."""
    return read_toml(FILE, ReportedFile).row


BLOCK = 64


def counts_of_accesses(row: Reported) -> MoveCounts:
    """Of a row that tells how often each 64 bytes are accessed, with the caches off."""
    blocks = row.bytes // BLOCK
    return MoveCounts(
        row.id,
        4096,
        BLOCK,
        0,
        0,
        (
            # It is no part of a move, and takes the place of one here.
            Count(Phase.COPY, Quantity.LOADS, row.loads * blocks, memory=MemoryType.DEVICE),
            Count(Phase.COPY, Quantity.STORES, row.stores * blocks, memory=MemoryType.DEVICE),
        ),
    )
