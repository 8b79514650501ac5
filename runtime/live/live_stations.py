"""How far two kernels have come: the stations of a kexec, and why the next one was not reached."""

from __future__ import annotations

from dataclasses import field
from enum import StrEnum

from relokit.codegen.base.documents import ABSENT
from relokit.codegen.base.nouns import dataclass


class StationName(StrEnum):
    """What is passed, in this order; the value is how that is shown."""

    USER_SPACE = "first user space"
    LOADED = "kexec_load"
    LEFT = "machine_kexec"
    ENTERED = "next kernel"
    BANNER = "next banner"
    NEXT_USER_SPACE = "next user space"
    POWERED_OFF = "power-off"


@dataclass(frozen=True, slots=True)
class Station:
    """``instructions`` are those of the machine since it was switched on, None if it is not known
    when it was passed. ``why`` says why it was not ``reached``, or what of it was not seen.
    """

    name: StationName
    reached: bool
    instructions: int | None = field(default=None, metadata=ABSENT)
    why: str | None = field(default=None, metadata=ABSENT)
