"""Bounds on what a template from elsewhere may cost: steps, memory, the size of numbers.

Jinja's sandbox keeps a template from reaching out; it does not keep it from never ending.
"""

from __future__ import annotations

import re
import resource
import sys
from collections.abc import Callable, Iterator, Sized
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from time import process_time
from types import FrameType
from typing import Any

from jinja2 import Environment, Undefined
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from relokit.codegen.base.budget import STEPS, limits

MAX_GROWTH = 256 << 20
"""Bytes of address space that one rendering may add."""
MAX_SECONDS = 30.0
"""CPU time of this process: a safety net for steps that are costly, each for itself."""
LEFT_OUT = ("wordwrap", "striptags", "urlize", "xmlattr", "random")
"""Filters that are not there: of HTML, which cost more than what they are given, and of chance."""
MAX_PRODUCT = 1 << 20
"""Bits of a product or a power, characters of a repeated text, columns that are asked for."""
MAX_WORK = 1 << 27
"""Characters and items that filters, tests and methods of one rendering may go through: where two
sizes are given, their product, which is what stripping or counting one in the other may take."""
_SORTED, _SORTED_COST = ("sort", "dictsort", "groupby", "unique"), 400
"""What compares items with one another, and what that is of going through them."""
_WIDE = ("center", "indent", "batch", "slice", "tojson", "round")
"""Filters that make as much as a number says."""
_NUMBER = re.compile(r"[0-9]+|\*")


class _Work:
    """What is left of MAX_WORK in the rendering under way; nothing counts where none is limited."""

    left: int | None = None


_NOT_COUNTED = (Environment, Context, Undefined)
"""What has no size, or none that may be asked for."""


class LimitError(Exception):
    """A template went over one of the limits."""


class LimitedEnvironment(ImmutableSandboxedEnvironment):
    """The sandbox, where each step costs what it builds and goes through.

    Jinja's filters run in one step, however long; products, powers and formats make much of little.
    """

    intercepted_binops = frozenset(["*", "**", "%"])

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        for name in LEFT_OUT:
            del self.filters[name]
        del self.globals["lipsum"]
        tables: tuple[dict[str, Any], ...] = self.filters, self.tests
        for table in tables:
            for name, function in table.items():
                table[name] = _charged(name, function)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Compute ``left operator right`` unless the result would be huge."""
        if operator == "%" and isinstance(left, str):
            _check_format(left)
        elif _result_size(operator, left, right) > MAX_PRODUCT:
            raise LimitError(f"the result of {operator} is too large")
        return super().call_binop(context, operator, left, right)

    def call(self, context: Any, function: Any, *arguments: Any, **named: Any) -> Any:
        """Call ``function``; a method of a text or a list is charged as a filter is."""
        of = getattr(function, "__self__", None)
        if isinstance(of, str | bytes | list | dict):
            if function.__name__ in ("format", "format_map"):
                _check_format(of)
            _charge(function.__name__, of, (*arguments, *named.values()), wide=True)
        return super().call(context, function, *arguments, **named)


def _charged(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter or a test that is charged before it is carried out."""

    @wraps(function)
    def charged(*arguments: Any, **named: Any) -> Any:
        if _Work.left is not None:
            if name == "format":
                _check_format(arguments[0])
            if name == "sum" and not isinstance(_start_of_sum(arguments, named), int | float):
                raise LimitError("sum is of numbers")
            _charge(name, None, (*arguments, *named.values()), wide=name in _WIDE)
        return function(*arguments, **named)

    return charged


def _start_of_sum(arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """Jinja gives it (environment, items, attribute, start)."""
    return named.get("start", arguments[3] if len(arguments) > 3 else 0)


def _charge(name: str, of: object, arguments: tuple[Any, ...], *, wide: bool) -> None:
    """Count what ``name`` may take, by the two largest of what it is given."""
    sizes = [1, 1]
    for one in (of, *arguments):
        if isinstance(one, Sized) and not isinstance(one, _NOT_COUNTED):
            sizes.append(len(one))
        elif wide and isinstance(one, int):
            if one > MAX_PRODUCT:
                raise LimitError(f"{name} makes too much")
            sizes.append(one)
    *_, second, first = sorted(sizes)
    if _Work.left is not None:
        _Work.left -= first * max(second, 1) * (_SORTED_COST if name in _SORTED else 1)
        if _Work.left < 0:
            raise LimitError(f"{name} and what was before go through too much")


def _check_format(text: Any) -> None:
    """Refuse widths and precisions that make much of nothing, and those that arguments say."""
    for number in _NUMBER.findall(str(text)):
        if number == "*" or len(number) > 7 or int(number) > MAX_PRODUCT:
            raise LimitError("a format of too many columns")


def _result_size(operator: str, left: Any, right: Any) -> int:
    """Bits of a number, items of anything else."""
    if isinstance(left, int) and isinstance(right, int):
        bits = left.bit_length()
        return bits * right if operator == "**" else bits + right.bit_length()
    if operator == "*" and isinstance(right, int) and hasattr(left, "__len__"):
        return len(left) * right
    if operator == "*" and isinstance(left, int) and hasattr(right, "__len__"):
        return left * len(right)
    return 0


@contextmanager
def limited() -> Iterator[None]:
    """Raise LimitError or MemoryError when what is rendered within costs too much."""
    steps, started, most = 0, process_time(), limits()[STEPS]

    def count(frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal steps
        if not frame.f_code.co_filename.endswith(".j2"):
            return None
        steps += 1
        if steps > most:
            raise LimitError(f"more than {most:,} steps")
        if process_time() - started > MAX_SECONDS:
            raise LimitError(f"more than {MAX_SECONDS:g} seconds")
        return count

    before = sys.gettrace()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    if soft == resource.RLIM_INFINITY or used + MAX_GROWTH < soft:
        resource.setrlimit(resource.RLIMIT_AS, (used + MAX_GROWTH, hard))
    _Work.left = MAX_WORK
    sys.settrace(count)
    try:
        yield
    finally:
        sys.settrace(before)
        _Work.left = None
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
