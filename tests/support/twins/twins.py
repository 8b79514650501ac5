"""Twins: two records, alike but for one thing."""

from __future__ import annotations

from dataclasses import dataclass

from relokit.runtime.record.record import Record
from support import records as r


@dataclass(frozen=True)
class Twins:
    """Two records, alike but for one thing: a rule holds in ``good`` and is broken in ``bad``."""

    bad: Record
    good: Record = r.GOOD
