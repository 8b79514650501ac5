"""What a command may cost: named limits, and a ledger of what was spent of them, on what.

What is derived from input is asked for before it is built: ``spend`` counts it, and says no with
what was spent so far. One ledger is open for a command; in a child process for a request. Where
none is (a function that is called from Python), :func:`budgeted` opens one for what it wraps.
Limits are of the process: whoever starts another one hands them on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import NamedTuple

from relokit.codegen.base.errors import BudgetError

MEMORY, CPU, TIME, CONSOLE, LINES, STEPS = "memory", "cpu", "time", "console", "lines", "steps"


class Limit(NamedTuple):
    """One that ``--limit`` can set: its unit (bytes, seconds or nothing), default and meaning."""

    unit: str
    default: int
    meaning: str


LIMITS: Mapping[str, Limit] = MappingProxyType(
    {
        MEMORY: Limit("bytes", 4 << 30, "what is made of all that comes in, by one process"),
        CPU: Limit("seconds", 3600, "CPU time of the main process"),
        TIME: Limit("seconds", 7 * 86400, "time on the host's clock"),
        CONSOLE: Limit("bytes", 1 << 20, "what is kept of a guest's console, from its beginning"),
        LINES: Limit("", 1 << 14, "lines that are kept of it"),
        STEPS: Limit("", 1_000_000, "steps of a template, statements of an assembly file"),
    }
)
"""By name. Docs: docs/limits.md, held to this by a test."""

FIXED = "a fixed bound, which --limit does not raise"
"""For a hint, with what it is for."""
PORTION = 1 << 16
"""Bytes of what is small and many that are asked for at a time."""
NAMED = 3
"""Kinds of what was spent that an error names, the largest first."""
_UNITS = (1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")
_TIMES = (86400, "days"), (3600, "h"), (60, "min"), (1, "s")


class Budget:
    """Limits, by name, and what was ``spent`` of each so far, by what it was spent on."""

    def __init__(self, limits: Mapping[str, int]) -> None:
        self.limits = limits
        self.spent: dict[str, Counter[str]] = {}

    def spend(self, name: str, amount: int, on: str, where: str | None = None) -> None:
        """Count ``amount`` more of limit ``name``, for what ``on`` says in the plural.

        Raises BudgetError, which names what was asked for and on what, if there is not so much.
        """
        spent = self.spent.setdefault(name, Counter())
        total = sum(spent.values()) + amount
        if total <= self.limits[name]:
            spent[on] += amount
            return
        asked = Counter(spent)
        asked[on] += amount
        parts = ", ".join(f"{told(name, size)} of {on}" for on, size in asked.most_common(NAMED))
        raise BudgetError(
            f"{told(name, total)} of {name} asked of {told(name, self.limits[name])}: {parts}",
            where=where,
            hint=f"--limit {name}={_ample(name, total)} allows it",
        )


_limits: Mapping[str, int] = {name: limit.default for name, limit in LIMITS.items()}
_open: ContextVar[Budget | None] = ContextVar("relokit.budget", default=None)


def limits() -> Mapping[str, int]:
    """Those of this process, by name."""
    return _limits


def set_limits(given: Mapping[str, int]) -> None:
    """From now on, here and in the processes that are started: ``given``, else the defaults."""
    global _limits
    _limits = {name: given.get(name, limit.default) for name, limit in LIMITS.items()}
    if (budget := _open.get()) is not None:
        budget.limits = _limits


@contextmanager
def budgeted(*, anew: bool = False) -> Iterator[None]:
    """One ledger for what is done within: that which is open, unless it is to be a new one."""
    if not anew and _open.get() is not None:
        yield
        return
    token = _open.set(Budget(_limits))
    try:
        yield
    finally:
        _open.reset(token)


def spend(amount: int, on: str, where: str | None = None, *, name: str = MEMORY) -> None:
    """Count ``amount`` (bytes of memory, unless ``name`` is another limit); see Budget.spend."""
    budget = _open.get() or Budget(_limits)
    budget.spend(name, amount, on, where)


def counted(parts: Iterable[str], on: str) -> Iterator[str]:
    """``parts``, which are made one by one, each counted before there is the next portion."""
    size = 0
    for part in parts:
        size += len(part)
        if size >= PORTION:
            spend(size, on)
            size = 0
        yield part
    spend(size, on)


def told(name: str, amount: int) -> str:
    """``amount`` of limit ``name`` with its unit: 19 GiB, 10 min, 1,000,000."""
    unit = LIMITS[name].unit
    if unit == "seconds":
        size, suffix = next((one for one in _TIMES if amount % one[0] == 0), _TIMES[-1])
        return f"{amount // size} {suffix}"
    if unit == "bytes":
        for size, suffix in _UNITS:
            if amount >= size:
                return (
                    f"{amount / size:.3g} {suffix}"
                    if amount < 1000 * size
                    else (f"{amount // size} {suffix}")
                )
        return f"{amount} bytes"
    return f"{amount:,}"


def twice(name: str) -> str:
    """``NAME=AMOUNT`` for --limit, of twice what limit ``name`` is."""
    amount = 2 * _limits[name]
    if LIMITS[name].unit == "seconds":
        size, suffix = next(one for one in _TIMES if amount % one[0] == 0)
        return f"{name}={amount // size}{suffix.removesuffix('ays')}"
    return f"{name}={amount}"


def _ample(name: str, amount: int) -> str:
    """What to give for ``amount``, as --limit takes it: the next power of two, for what is asked
    for behind it is not known.
    """
    if LIMITS[name].unit != "bytes":
        return str(amount)
    amount = 1 << (amount - 1).bit_length()
    size, suffix = next((one for one in _UNITS if amount >= one[0]), (1, ""))
    return f"{amount // size}{suffix[:1]}"
