"""A limit that was hit: which one, what was counted, whose fault that is, and how to raise it."""

from __future__ import annotations

from relokit.codegen.base.nouns import dataclass
from relokit.runtime.record.known import Unknown
from relokit.runtime.record.record import LegName, Limits, Record
from relokit.runtime.record.stop import Stop, StopReason

ENOUGH = 4
"""Times what right code takes: whoever has not ended by then is not about to."""
_ENDLESS = (
    "the code does not come to an end: a list without its done entry, or a loop whose bound was "
    "overwritten"
)


@dataclass(frozen=True, slots=True)
class LimitHit:
    """What is to be said; nothing, if no limit was hit."""

    message: str | None = None
    cause: str | None = None
    hint: str | None = None
    consequence: str | None = None


def limit_hit(record: Record, stop: Stop) -> LimitHit:
    """What is to be said of ``stop``, with which the last leg of ``record`` has ended."""
    leg = record.legs[-1]
    limits = leg.limits
    if stop.reason is StopReason.TIMEOUT:
        return _of_time(stop, None if isinstance(limits, Unknown) else limits)
    if stop.reason is not StopReason.INSTRUCTION_LIMIT:
        return LimitHit()
    counted = f"no end after {stop.instructions:,} instructions"
    if isinstance(limits, Unknown):
        return LimitHit(counted, _ENDLESS)
    if leg.name is not LegName.MOVE:
        return LimitHit(f"{counted}, the limit for {leg.name.value}", _ENDLESS)
    needs = limits.expected or 0
    about = f"such a list takes some {needs:,}"
    if not limits.asked:
        return LimitHit(f"{counted}, the limit: {about}", _ENDLESS)
    asked = f"{counted}, the limit (--max-instructions {limits.instructions}): {about}"
    raised = f"leave --max-instructions out, or give at least {ENOUGH * needs}"
    if limits.instructions < ENOUGH * needs:
        too_low = "the limit is too low for this list"
        return LimitHit(asked, too_low, raised, "None: the code may be right, or have no end.")
    return LimitHit(asked, _ENDLESS)


def _of_time(stop: Stop, limits: Limits | None) -> LimitHit:
    seconds = limits.seconds if limits else stop.seconds
    of = f" of at most {limits.instructions:,}" if limits else ""
    return LimitHit(
        f"the host's time was over (--timeout {seconds:g}) after {stop.instructions:,} "
        f"instructions{of}",
        "the limit: nothing is known of the code, which may or may not come to an end",
        "give more --timeout; --max-instructions ends a loop by count, the same on every host",
    )
