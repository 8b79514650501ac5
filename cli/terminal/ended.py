"""What has ended a command before its end, in words: a signal, or a limit of time."""

from __future__ import annotations

import signal

from relokit.codegen.base.errors import BudgetError

CLOCKS = {
    signal.SIGPROF: ("cpu", "CPU time"),
    signal.SIGALRM: ("time", "time"),
    signal.SIGXCPU: ("", "CPU time"),
}
"""Signals that say that a limit of time is over: its name, and what it is called."""


def over(number: int) -> BudgetError:
    """What a signal of one of the clocks says."""
    from relokit.codegen.base.budget import limits, told, twice

    name, what = CLOCKS[signal.Signals(number)]
    if number == signal.SIGXCPU:
        return BudgetError(
            f"more {what} than this host lets a process have", hint="'ulimit -t' says how much"
        )
    return BudgetError(
        f"more than {told(name, limits()[name])} of {what}",
        hint=f"--limit {twice(name)} allows more",
    )


def told_end(number: int) -> str:
    """What has ended a campaign before its end: a limit by its name, or a signal by its own."""
    if number not in CLOCKS:
        return f"interrupted ({signal.Signals(number).name})"
    error = over(number)
    return f"{error.message} ({error.hint})"
