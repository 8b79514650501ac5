"""Bounds on what a template from elsewhere may cost: steps, memory, the size of numbers.

Jinja's sandbox keeps a template from reaching out; it does not keep it from never ending.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import process_time
from types import FrameType
from typing import Any

from jinja2.sandbox import ImmutableSandboxedEnvironment

MAX_STEPS = 1_000_000
"""Lines of compiled template that one rendering may run through."""
MAX_GROWTH = 256 << 20
"""Bytes of address space that one rendering may add."""
MAX_SECONDS = 30.0
"""CPU time of this process: a safety net for steps that are costly, each for itself."""
SLOW_FILTERS = ("wordwrap",)
"""Filters whose one step costs more than what they are given: seconds for a megabyte."""
MAX_PRODUCT = 1 << 20
"""Bits of a product or a power, characters of a repeated text."""


class LimitError(Exception):
    """A template went over one of the limits."""


class LimitedEnvironment(ImmutableSandboxedEnvironment):
    """The sandbox, with products and powers that stay small: they cost time in one step."""

    intercepted_binops = frozenset(["*", "**"])

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        for name in SLOW_FILTERS:
            del self.filters[name]

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Compute ``left operator right`` unless the result would be huge."""
        if _result_size(operator, left, right) > MAX_PRODUCT:
            raise LimitError(f"the result of {operator} is too large")
        return super().call_binop(context, operator, left, right)


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
    steps, started = 0, process_time()

    def count(frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal steps
        if not frame.f_code.co_filename.endswith(".j2"):
            return None
        steps += 1
        if steps > MAX_STEPS:
            raise LimitError(f"more than {MAX_STEPS} steps")
        if process_time() - started > MAX_SECONDS:
            raise LimitError(f"more than {MAX_SECONDS:g} seconds")
        return count

    before = sys.gettrace()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    if soft == resource.RLIM_INFINITY or used + MAX_GROWTH < soft:
        resource.setrlimit(resource.RLIMIT_AS, (used + MAX_GROWTH, hard))
    sys.settrace(count)
    try:
        yield
    finally:
        sys.settrace(before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
