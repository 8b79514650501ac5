"""Outcomes of a kexec of shipped kernels, made by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from relokit.codegen.target import Regime
from relokit.runtime.judge.outcome import Outcome, Status
from relokit.runtime.live.live_outcome import LiveOutcome, LoadWindow
from relokit.runtime.live.live_stations import Station, StationName
from relokit.runtime.live.page_digests import ChangedPages

WHY = "the console never came"
_NOTHING = LiveOutcome(
    status=Status.FAIL,
    kernel="vmlinuz",
    next="vmlinuz",
    regime=Regime.EL1,
    cpu="a72",
    features=(),
    crash=False,
    instructions=2,
    stations=(),
    console="",
)


def live_outcome(**fields: Any) -> LiveOutcome:
    """One of which nothing is known but ``fields``: it failed, by nothing in particular."""
    return replace(_NOTHING, **fields)


def silent(handover: Outcome, **fields: Any) -> LiveOutcome:
    """Two kernels of which the second one never printed, and a list that somebody wrote to."""
    whole = {
        "kernel": "vmlinuz-6.1.0-50-cloud-arm64",
        "next": "vmlinuz-6.12.117+deb13-cloud-arm64",
        "regime": Regime.VHE,
        "instructions": 1_234_567_890,
        "stations": (
            Station(StationName.LEFT, True, 1_234_567_890),
            Station(StationName.BANNER, False, None, WHY),
        ),
        "console": "Bye!",
        "load": LoadWindow(1, {"dc civac": 4288}, 1, (ChangedPages("list", 1, 0x4000_0000),)),
        "handover": handover,
        "ended": "waits for an interrupt",
    }
    return live_outcome(**whole | fields)
