"""Values of expressions: a number, or a symbol (perhaps minus another) plus an offset."""

from __future__ import annotations

from typing import NamedTuple

from relokit.codegen.base.errors import AssemblyError
from relokit.codegen.gas.instructions.arithmetic import (
    INTEGERS,
    AsmBinary,
    AsmUnary,
    Expr,
    Sym,
    left_spine,
    prefixed,
    wrap,
)
from relokit.codegen.object import Binding

DEPTH_LIMIT = 150
"""Recursion of one evaluation, through ``.set`` symbols defined by one another."""
STEP_LIMIT = 20000
"""Sub-expressions one evaluation may visit."""


class Value(NamedTuple):
    """``plus - minus + offset``; at least one symbol is there (else a plain int is used)."""

    plus: Sym | None
    minus: Sym | None
    offset: int


_COMPARISONS = frozenset(("==", "!=", "<>", "<", "<=", ">", ">="))


def evaluate(expr: Expr, *, linked: bool = False, now: bool = False) -> int | Value:
    """The value of a bound expression, with what is known now.

    A number, or a symbol (perhaps minus another) plus an offset. ``linked``: a symbol that others
    see stays one, also if it is a number, since it may be defined anew where it is linked. ``now``:
    what lies on two sides of an alignment has no distance yet, as in GNU as. Raises AssemblyError
    when it is neither, and on ``.set`` loops.
    """
    if isinstance(expr, int):
        return expr
    if isinstance(expr, Sym) and expr.value is None:
        return Value(expr, None, 0)
    return _Evaluation(linked, now).value(expr)


class _Evaluation:
    """One evaluation: its depth and its number of steps are bounded."""

    def __init__(self, linked: bool = False, now: bool = False) -> None:
        self.linked = linked
        self.now = now
        self.known: dict[Sym, int | Value] = {}
        self.depth = 0
        self.steps = 0

    def value(self, expr: Expr) -> int | Value:
        if isinstance(expr, int):
            return expr
        self.depth += 1
        self.steps += 1
        if self.depth > DEPTH_LIMIT or self.steps > STEP_LIMIT:
            raise AssemblyError(
                "expression too complicated, or a symbol that is defined by itself",
                hint="follow its .set definitions",
            )
        if isinstance(expr, Sym):
            result = self.symbol(expr)
        elif isinstance(expr, AsmUnary):
            result = self.unary(expr)
        else:
            assert isinstance(expr, AsmBinary), expr
            result = self.binary(expr)
        self.depth -= 1
        return result

    def symbol(self, sym: Sym) -> int | Value:
        if sym.section is not None or sym.value is None:
            return Value(sym, None, 0)
        # Once in an evaluation: of a chain of symbols each may name the one before several times.
        if sym not in self.known:
            self.known[sym] = self.value(sym.value)
        value = self.known[sym]
        if sym.binding is Binding.LOCAL:
            return value
        if isinstance(value, int):
            return Value(sym, None, 0) if self.linked else value
        if value.minus is None and value.plus is not None and value.plus.section is not None:
            # A global alias of a place keeps its name in relocations, as a label would.
            return Value(sym, None, 0)
        return value

    def unary(self, expr: AsmUnary) -> int | Value:
        value = self.value(expr.operand)
        if isinstance(value, int):
            return prefixed(expr.op, value)
        if expr.op == "-":
            return _negative(value)
        raise AssemblyError(f"`{expr.op}' needs a number, not {describe(value)}")

    def binary(self, expr: AsmBinary) -> int | Value:
        # A chain leans to the left, and may be long: it takes no depth.
        spine, first = left_spine(expr)
        self.steps += len(spine)
        left = self.value(first)
        for node in reversed(spine):
            left = self.operation(node.op, left, self.value(node.right))
        return left

    def operation(self, op: str, left: int | Value, right: int | Value) -> int | Value:
        if isinstance(left, int) and isinstance(right, int):
            return INTEGERS[op](left, right)
        if op == "+":
            return self.sum(left, right)
        if op == "-":
            return self.sum(left, _negative(right))
        if op in _COMPARISONS:
            distance = self.sum(left, _negative(right))
            if isinstance(distance, int):
                return INTEGERS[op](distance, 0)
        wrong = right if isinstance(left, int) else left
        raise AssemblyError(f"`{op}' needs numbers, not {describe(wrong)}")

    def sum(self, left: int | Value, right: int | Value) -> int | Value:
        """Add; symbols that cancel, or lie in one section, become a number."""
        plus: list[Sym] = []
        minus: list[Sym] = []
        offset = 0
        for value in (left, right):
            if isinstance(value, int):
                offset += value
                continue
            offset += value.offset
            if value.plus is not None:
                plus.append(value.plus)
            if value.minus is not None:
                minus.append(value.minus)
        for add in list(plus):
            for sub in minus:
                distance = self.distance(add, sub)
                if distance is not None:
                    plus.remove(add)
                    minus.remove(sub)
                    offset += distance
                    break
        if len(plus) > 1 or len(minus) > 1:
            names = " and ".join(f"`{s.name}'" for s in (plus if len(plus) > 1 else minus))
            raise AssemblyError(f"no relocation can express {names} together")
        offset = wrap(offset)
        if not plus and not minus:
            return offset
        return Value(plus[0] if plus else None, minus[0] if minus else None, offset)

    def distance(self, add: Sym, sub: Sym) -> int | None:
        if add is sub:
            return 0
        at, origin = self.place(add), self.place(sub)
        if at is None or origin is None or at[0] != origin[0]:
            return None
        if self.now and at[2] != origin[2]:
            return None
        return at[1] - origin[1]

    def place(self, sym: Sym) -> tuple[int, int, int] | None:
        """Section, offset and stretch of a label, or of an alias of one."""
        if sym.section is not None:
            return sym.section, sym.offset, sym.stretch
        if sym.value is None:
            return None
        value = self.value(sym.value)
        if isinstance(value, int) or value.plus is None or value.minus is not None:
            return None
        inner = self.place(value.plus)
        return inner and (inner[0], inner[1] + value.offset, inner[2])


def is_number(expr: Expr) -> bool:
    """Whether a bound expression is a number now."""
    try:
        return isinstance(evaluate(expr, now=True), int)
    except AssemblyError:
        return False


def is_simple(expr: Expr) -> bool:
    """Whether a bound expression is a number now, or a symbol and a number."""
    try:
        value = evaluate(expr, now=True)
    except AssemblyError:
        return False
    return isinstance(value, int) or value.minus is None


def place(sym: Sym) -> tuple[int, int] | None:
    """Section index and offset of a label, or of an alias of one; None for anything else."""
    found = _Evaluation().place(sym)
    return found and found[:2]


def behind(expr: Expr) -> int | tuple[Sym, int] | None:
    """A bound expression as a number, or as the one symbol it names and a number behind it.

    Aliases are not followed, and nothing is awaited: None is what GNU as keeps as an expression.
    """
    if isinstance(expr, int):
        return expr
    if isinstance(expr, Sym):
        return expr, 0
    if not isinstance(expr, AsmBinary):
        return None
    spine, first = left_spine(expr)
    total = behind(first) if isinstance(first, int | Sym) else None
    for node in reversed(spine):
        right = behind(node.right)
        if node.op not in "+-" or total is None or right is None:
            return None
        sign = 1 if node.op == "+" else -1
        if isinstance(right, int):
            total = total + sign * right if isinstance(total, int) else _moved(total, sign * right)
        elif isinstance(total, int):
            total = _moved(right, total) if sign > 0 else None
        elif sign < 0 and total[0] is right[0]:
            total = total[1] - right[1]
        else:
            return None
    return total


def _moved(named: tuple[Sym, int], by: int) -> tuple[Sym, int]:
    return named[0], wrap(named[1] + by)


def _negative(value: int | Value) -> int | Value:
    if isinstance(value, int):
        return wrap(-value)
    return Value(value.minus, value.plus, wrap(-value.offset))


def describe(value: int | Value) -> str:
    """``foo - bar + 4``, for messages."""
    if isinstance(value, int):
        return str(value)
    text = f"`{value.plus.name}'" if value.plus else "0"
    if value.minus:
        text += f" - `{value.minus.name}'"
    return f"{text} + {value.offset}" if value.offset else text
