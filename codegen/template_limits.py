"""Bounds on what a template from elsewhere may cost: steps, memory, the size of numbers.

Jinja's sandbox keeps a template from reaching out; it does not keep it from never ending.
"""

from __future__ import annotations

import re
import resource
import sys
from collections.abc import (
    Callable,
    ItemsView,
    Iterable,
    Iterator,
    KeysView,
    Mapping,
    Sized,
    ValuesView,
)
from contextlib import contextmanager
from functools import wraps
from itertools import chain
from pathlib import Path
from time import process_time
from types import FrameType
from typing import Any

from jinja2 import Environment, Undefined, nodes
from jinja2.compiler import CodeGenerator, Frame, operators
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from relokit.codegen.base.budget import FIXED, STEPS, limits, twice
from relokit.codegen.base.told_to_end import start_last_clock

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
sizes are given, their product, which is what stripping or counting one in the other may take; and
each item as often as it is in what is compared, sorted or looked up by, at any depth."""
MAX_NESTED = 100
"""Lists in lists: Python hashes a tuple on the stack of the process, which has an end."""
_SORTED = "sort", "dictsort", "groupby", "unique", "min", "max", "pprint"
"""What compares items with one another, or goes through them over and over."""
_SORTED_COST, _SORTED_WEIGHT = 400, 40
"""What that is of going through them, and through what is in them."""
_WIDE = ("center", "indent", "batch", "slice", "tojson", "round")
"""Filters that make as much as a number says."""
_NUMBER = re.compile(r"[0-9]+|\*")


class _Work:
    """What is left of MAX_WORK in the rendering under way; nothing counts where none is limited."""

    left: int | None = None


_NOT_COUNTED = (Environment, Context, Undefined)
"""What has no size, or none that may be asked for."""
_VIEWS = KeysView, ValuesView, ItemsView
LOOP = f"look for a loop that does not end: this is {FIXED}"
_NESTING = list, tuple, dict, set, frozenset, *_VIEWS
"""What a template can put anything into, and the same a second time."""


class LimitError(Exception):
    """A template went over one of the limits: a bound that is fixed, unless ``hint`` says how to
    set it.
    """

    def __init__(self, message: str, hint: str = LOOP) -> None:
        super().__init__(message)
        self.hint = hint


class _Weighing(CodeGenerator):
    """What Python compares and hashes by itself goes by the environment first."""

    def visit_Compare(self, node: nodes.Compare, frame: Frame) -> None:  # noqa: N802
        self.write("(")
        self._weighed(node.expr, frame)
        for one in node.ops:
            self.visit(one, frame)
        self.write(")")

    def visit_Operand(self, node: nodes.Operand, frame: Frame) -> None:  # noqa: N802
        self.write(f" {operators[node.op]} ")
        self._weighed(node.expr, frame)

    def visit_Dict(self, node: nodes.Dict, frame: Frame) -> None:  # noqa: N802
        self.write("{")
        for item in node.items:
            self._weighed(item.key, frame)
            self.write(": ")
            self.visit(item.value, frame)
            self.write(", ")
        self.write("}")

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802
        self.write("str_join((")
        for one in node.nodes:
            self._weighed(one, frame)
            self.write(", ")
        self.write("))")

    def _weighed(self, node: nodes.Expr, frame: Frame) -> None:
        before, behind = ("environment.weighed(", ")")
        if isinstance(node, nodes.Const):
            before, behind = "", ""
        self.write(before)
        self.visit(node, frame)
        self.write(behind)


class LimitedEnvironment(ImmutableSandboxedEnvironment):
    """The sandbox, where each step costs what it builds and goes through.

    Jinja's filters run in one step, however long; products, powers and formats make much of little.
    """

    code_generator_class = _Weighing
    intercepted_binops = frozenset(["*", "**", "%"])

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, finalize=self.weighed)
        for name in LEFT_OUT:
            del self.filters[name]
        del self.globals["lipsum"]
        tables: tuple[dict[str, Any], ...] = self.filters, self.tests
        for table in tables:
            for name, function in table.items():
                table[name] = _charged(name, function)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Compute ``left operator right`` unless the result would be huge."""
        self.weighed(right)
        if operator == "%" and isinstance(left, str):
            _check_format(left)
        elif _result_size(operator, left, right) > MAX_PRODUCT:
            raise LimitError(f"the result of {operator} is too large")
        return super().call_binop(context, operator, left, right)

    def weighed(self, value: Any) -> Any:
        """``value``, charged for what it takes to compare, to hash or to tell it."""
        if isinstance(value, _NESTING):
            _spend("lists in lists", _weight(value))
        return value

    def getitem(self, obj: Any, argument: Any) -> Any:
        """As the sandbox's."""
        return super().getitem(obj, self.weighed(argument))

    def call(self, context: Any, function: Any, *arguments: Any, **named: Any) -> Any:
        """Call ``function``; a method of a text or a list is charged as a filter is."""
        of = getattr(function, "__self__", None)
        for one in (of, *arguments, *named.values()):
            self.weighed(one)
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
        made = function(*arguments, **named)
        if _Work.left is not None and isinstance(made, Iterator):
            return _Lazy(made, max(map(_size, (*arguments, *named.values()))))
        return made

    return charged


class _Lazy:
    """What a filter makes one by one, of at most so many: whatever is done with it costs that."""

    def __init__(self, items: Iterator[Any], most: int) -> None:
        self._items, self.most = items, most

    def __iter__(self) -> Iterator[Any]:
        return self._items


def _size(one: object) -> int:
    """Items, or characters; 0 of what has none, or none that may be asked for."""
    if isinstance(one, _Lazy):
        return one.most
    return len(one) if isinstance(one, Sized) and not isinstance(one, _NOT_COUNTED) else 0


def _start_of_sum(arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """Jinja gives it (environment, items, attribute, start)."""
    return named.get("start", arguments[3] if len(arguments) > 3 else 0)


def _charge(name: str, of: object, arguments: tuple[Any, ...], *, wide: bool) -> None:
    """Count what ``name`` may take, by the two largest of what it is given, and all in them."""
    sizes, weight = [1, 1], 0
    for one in (of, *arguments):
        if size := _size(one):
            sizes.append(size)
            weight += _weight(one) if isinstance(one, _NESTING) else 0
        elif wide and isinstance(one, int):
            if one > MAX_PRODUCT:
                raise LimitError(f"{name} makes too much")
            sizes.append(one)
    *_, second, first = sorted(sizes)
    each, inside = (_SORTED_COST, _SORTED_WEIGHT) if name in _SORTED else (1, 1)
    _spend(name, first * max(second, 1) * each + weight * inside)


def _spend(name: str, work: int) -> None:
    if _Work.left is not None:
        _Work.left -= work
        if _Work.left < 0:
            raise LimitError(f"{name}, and what was before, goes through too much")


def _weight(value: Any) -> int:
    """Items in ``value``, at any depth, as often as they are in there; LimitError where that is
    too deep. It takes a look at each container, not at each place that it is in.
    """
    known: dict[int, tuple[int, int]] = {}
    waiting = [value]
    while waiting:
        one = waiting[-1]
        kinds = tuple(kind for kind in set(map(type, _items(one))) if issubclass(kind, _NESTING))
        inside = [other for other in _items(one) if isinstance(other, kinds)] if kinds else ()
        unknown = [other for other in inside if id(other) not in known]
        if unknown:
            waiting += unknown
            continue
        below = [known[id(other)] for other in inside]
        depth = 1 + max((depth for _, depth in below), default=0)
        if depth > MAX_NESTED:
            raise LimitError(f"lists are nested more than {MAX_NESTED} deep")
        known[id(one)] = len(one) + sum(weight for weight, _ in below), depth
        waiting.pop()
    return known[id(value)][0]


def _items(one: Any) -> Iterable[Any]:
    """All that is in a container; of a dictionary, and of what shows one, keys and values."""
    found = getattr(one, "mapping", one) if isinstance(one, _VIEWS) else one
    return chain(found, found.values()) if isinstance(found, Mapping) else found


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
        if process_time() - started > MAX_SECONDS:
            raise LimitError(f"more than {MAX_SECONDS:g} seconds")
        if not frame.f_code.co_filename.endswith(".j2"):
            return None
        steps += 1
        if steps > most:
            raise LimitError(
                f"more than {most:,} steps",
                f"look for a loop that does not end, or give --limit {twice(STEPS)}",
            )
        return count

    before = sys.gettrace()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    if soft == resource.RLIM_INFINITY or used + MAX_GROWTH < soft:
        resource.setrlimit(resource.RLIMIT_AS, (used + MAX_GROWTH, hard))
    _Work.left = MAX_WORK
    start_last_clock()
    sys.settrace(count)
    try:
        yield
    finally:
        sys.settrace(before)
        _Work.left = None
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
