"""LiveOutcome: what became of two kernels, as a document for people and machines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import ClassVar

from relokit.codegen.base.documents import ABSENT
from relokit.codegen.base.nouns import dataclass, drawn
from relokit.codegen.target import Regime
from relokit.runtime.arch.feature_id import ShownFeature
from relokit.runtime.judge.outcome import Outcome, Status
from relokit.runtime.live.live_stations import Station
from relokit.runtime.live.page_digests import ChangedPages


@dataclass(frozen=True, slots=True)
class LoadWindow:
    """machine_kexec_post_load: ``instructions``, maintenance by name, and how many ``pages`` were
    compared with what they were at its end when the kernel was left; ``changed`` are different.
    """

    instructions: int
    operations: Mapping[str, int]
    pages: int
    changed: tuple[ChangedPages, ...] = ()


@dataclass(frozen=True, slots=True)
class LiveOutcome:
    """The verdict, how far both kernels came, and what was judged of the hand-over.

    ``kernel`` and ``next`` are files, ``regime`` is where the first one ran, ``features`` what of
    the CPU was shown on demand, ``instructions`` those of the whole machine. ``load`` is None where
    that was not seen, ``handover`` where machine_kexec was never called; it has the console of the
    next kernel, ``console`` that of the first. ``unknown`` says of what is not known of such a
    machine why not.
    """

    _repr_html_ = drawn

    SCHEMA: ClassVar[str] = "relokit.kexec/1"

    status: Status
    kernel: str
    next: str
    regime: Regime
    cpu: str
    features: tuple[ShownFeature, ...]
    crash: bool
    instructions: int
    stations: tuple[Station, ...]
    console: str
    load: LoadWindow | None = None
    handover: Outcome | None = None
    unknown: Mapping[str, str] = field(default_factory=dict)
    undefined: Mapping[str, int] | None = field(default=None, metadata=ABSENT)
    ended: str | None = field(default=None, metadata=ABSENT)

    @property
    def passed(self) -> bool:
        """Whether all stations were reached, and nothing was found that fails a run."""
        return self.status is Status.PASS
