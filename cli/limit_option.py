"""``--limit``, which every command has, and the two clocks that end a command."""

from __future__ import annotations

import re
import signal
import sys
from typing import Any

import click

from relokit.codegen.base.budget import CPU, LIMITS, TIME, limits, set_limits, told
from relokit.codegen.base.told_to_end import GRACE, set_last_clock, start_clock

_SUFFIXES = {
    "bytes": {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40},
    "seconds": {"": 1, "s": 1, "min": 60, "h": 3600, "d": 86400},
    "": {"": 1, "k": 1000, "m": 1_000_000},
}
"""What may stand behind a number, by the limit's unit."""
MOST = 1 << 48
"""The largest of any."""
_AMOUNT = r"([0-9]{1,15}) ?([a-z]*)"
_EXAMPLES = {"bytes": "8G", "seconds": "10min", "": "100000"}


class LimitParam(click.ParamType[dict[str, int]]):
    """``NAME=AMOUNT``, several with commas between."""

    name = "limits"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> dict[str, int]:
        found: dict[str, int] = {}
        for part in str(value).split(",", len(LIMITS)):
            name, equals, amount = (one.strip() for one in part.partition("="))
            if name not in LIMITS:
                from relokit.codegen.base.suggestion import meant

                near = meant(name, LIMITS).strip() or f"those are {', '.join(LIMITS)}"
                self.fail(f"{name[:40]!r} is no limit: {near}")
            if name in found:
                self.fail(f"{name} is given twice")
            found[name] = self._amount(name, amount) if equals else self._amount(name, "")
        return found

    def _amount(self, name: str, text: str) -> int:
        unit = LIMITS[name].unit
        suffixes = _SUFFIXES[unit]
        match = re.fullmatch(_AMOUNT, text.lower())
        suffix = match[2] if match else ""
        if unit == "bytes":
            suffix = suffix.removesuffix("b").removesuffix("i")
        if match is None or suffix not in suffixes:
            behind = ", ".join(one for one in suffixes if one)
            self.fail(
                f"{name}={text[:40]} is no amount; give a number with {behind} behind it or "
                f"nothing: {name}={_EXAMPLES[unit]}"
            )
        amount = int(match[1]) * suffixes[suffix]
        if not 0 < amount <= MOST:
            self.fail(f"{name}={text[:40]} is out of range; give 1 to {MOST}")
        return amount


def _set(ctx: click.Context, _param: click.Parameter, value: tuple[dict[str, int], ...]) -> None:
    given: dict[str, int] = {}
    for one in value:
        if both := given.keys() & one.keys():
            raise click.UsageError(f"--limit {min(both)} is given twice: leave one out", ctx)
        given |= one
    if given:
        set_limits(given)
        if _clocks_run:
            start_clocks()


LIMIT = click.Option(
    ["--limit"],
    type=LimitParam(),
    multiple=True,
    metavar="NAME=AMOUNT,...",
    expose_value=False,
    callback=_set,
    help="What the command may cost: "
    + ", ".join(f"{name} ({told(name, one.default)})" for name, one in LIMITS.items())
    + ".",
)
"""Of every command; see docs/limits.md."""

_clocks_run: list[bool] = []


def start_clocks() -> None:
    """Have the kernel send SIGPROF and SIGALRM to this process when its time is over.

    They are met as other signals are (:mod:`relokit.codegen.base.told_to_end`).
    """
    _clocks_run[:] = [True]
    start_clock(signal.ITIMER_PROF, limits()[CPU])
    start_clock(signal.ITIMER_REAL, limits()[TIME])
    set_last_clock(limits()[CPU], limits()[TIME], _last_words)


def _last_words() -> tuple[int, tuple[bytes, bytes]]:
    """What to say where a library does not come back, of both clocks; and to which descriptor."""
    from relokit.cli.terminal.ended import over
    from relokit.cli.terminal.output import ErrorDocument, ErrorText, json_text

    errors = [over(one) for one in (signal.SIGPROF, signal.SIGALRM)]
    for error in errors:
        error.message += f", and what it was in has not ended {GRACE:g} s later"
    if "--json" in sys.argv[1:]:
        cpu, time = (
            json_text(ErrorDocument("error", ErrorText(one.message, hint=one.hint)))
            for one in errors
        )
        return 1, (f"{cpu}\n".encode(), f"{time}\n".encode())
    cpu, time = (f"relokit: {one}\n" for one in errors)
    return 2, (cpu.encode(), time.encode())
