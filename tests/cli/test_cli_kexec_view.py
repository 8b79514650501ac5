"""What a person sees of a kexec that came nowhere."""

from __future__ import annotations

from relokit.cli.terminal.kexec_view import kexec_summary
from relokit.codegen.base.documents import document
from relokit.runtime.live.live_outcome import LiveOutcome
from relokit.runtime.live.live_stations import Station, StationName
from support.live_outcomes import live_outcome

WHY = "panicked: Attempted to kill init!"


def nowhere(undefined: dict[str, int] | None) -> LiveOutcome:
    """Its first kernel does not come to user space."""
    return live_outcome(
        stations=(Station(StationName.USER_SPACE, False, None, WHY),),
        console="first\nlast words\n",
        undefined=undefined,
        ended=WHY,
    )


def test_registers_that_the_cpu_has_not_are_counted_and_named() -> None:
    told = kexec_summary(nowhere({"S3_0_C15_C2_7": 1, "S3_0_C15_C2_1": 2000}))
    [line] = [line for line in told.splitlines() if "undefined" in line]
    assert line.endswith("S3_0_C15_C2_1 2,000, S3_0_C15_C2_7 1")
    assert "undefined" not in kexec_summary(nowhere(None))
    assert "undefined" not in document(nowhere(None))


def test_what_came_nowhere_says_why_with_the_last_words() -> None:
    told = kexec_summary(nowhere(None))
    assert f"not reached: {WHY}" in told
    assert "last words" in told
    assert told.splitlines()[-1] == f"FAIL  {WHY}"
