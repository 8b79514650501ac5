"""Expressions of the linker script: what they are and what they come to.

Values follow GNU ld ("Expression Section" in its manual): a value is a plain number, an absolute
address, or an offset into an output section, and an operator works on offsets as long as both
sides agree on the section. Outside an output section a number is an absolute address. All
arithmetic is unsigned modulo 2**64, except that ``/`` and ``%`` are signed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Protocol

from relokit.codegen.base.bits import MASK64, signed
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.object import ABSOLUTE

SIGN_BIT = 1 << 63

NUMBER = -3
"""Section of a value that is no address at all."""

Value = tuple[int, int]
"""(section, value): an output section's index with an offset, ABSOLUTE or NUMBER."""

MAX_DEPTH = 64
MAX_ALIGN = 1 << 32


class Scope(Protocol):
    """What an expression can ask of the layout while it is evaluated."""

    section: int
    """Output section being laid out, or ABSOLUTE between them."""
    dot: int
    """The location counter, as an address."""
    dot_used: bool
    """Set by an expression that reads the location counter."""

    def base(self, section: int) -> int:
        """VA of an output section by index."""

    def symbol(self, name: str) -> Value:
        """Value of a symbol."""

    def defined(self, name: str) -> bool:
        """DEFINED(name)."""

    def section_fact(self, fact: str, name: str) -> Value:
        """ADDR, LOADADDR, SIZEOF or ALIGNOF of an output section."""

    def region_fact(self, fact: str, name: str) -> int:
        """ORIGIN or LENGTH of a memory region."""

    def headers_size(self) -> int:
        """SIZEOF_HEADERS, in bytes."""

    def fault(self, message: str) -> None:
        """Note an error; it stands if the layout settles with it."""


def absolute(scope: Scope, value: Value) -> int:
    """Return the address (or number) that ``value`` stands for."""
    section, offset = value
    return (offset + scope.base(section)) & MASK64 if section >= 0 else offset


def align_up(value: int, align: int) -> int:
    """``value`` rounded up to a multiple of ``align``, as ALIGN() does for any number."""
    return (value + align - 1) // align * align & MASK64 if align > 1 else value


class Expression(ABC):
    """A node. ``depth`` is the height of the tree, ``names`` the symbols it reads."""

    __slots__ = ()
    depth: int
    names: frozenset[str]

    @abstractmethod
    def evaluate(self, scope: Scope) -> Value:
        """Return the value in ``scope``."""


@dataclass(frozen=True, slots=True)
class Number(Expression):
    """A literal; ``hex_digits`` counts those of a plain hexadecimal one (a fill pattern)."""

    value: int
    hex_digits: int = 0
    depth: int = 0
    names: frozenset[str] = frozenset()

    def evaluate(self, scope: Scope) -> Value:
        return (ABSOLUTE if scope.section == ABSOLUTE else NUMBER, self.value)


@dataclass(frozen=True, slots=True)
class Dot(Expression):
    """The location counter."""

    depth: int = 0
    names: frozenset[str] = frozenset()

    def evaluate(self, scope: Scope) -> Value:
        return _relative_to_here(scope, scope.dot)


@dataclass(frozen=True, slots=True)
class Name(Expression):
    """A symbol."""

    name: str
    names: frozenset[str]
    depth: int = 0

    def evaluate(self, scope: Scope) -> Value:
        value = scope.symbol(self.name)
        if value[0] == ABSOLUTE and scope.section != ABSOLUTE:
            return (NUMBER, value[1])
        return value


@dataclass(frozen=True, slots=True)
class Unary(Expression):
    """``-``, ``+``, ``~`` or ``!``."""

    operator: str
    operand: Expression
    depth: int
    names: frozenset[str]

    def evaluate(self, scope: Scope) -> Value:
        section, value = self.operand.evaluate(scope)
        if self.operator == "-":
            return (section, -value & MASK64)
        if self.operator == "~":
            return (section, ~value & MASK64)
        if self.operator == "!":
            return (NUMBER, int(not value))
        return (section, value)


@dataclass(frozen=True, slots=True)
class Binary(Expression):
    """Two operands and the operator between them."""

    operator: str
    left: Expression
    right: Expression
    depth: int
    names: frozenset[str]

    def evaluate(self, scope: Scope) -> Value:
        return combine(scope, self.operator, self.left.evaluate(scope), self.right.evaluate(scope))


@dataclass(frozen=True, slots=True)
class Ternary(Expression):
    """``condition ? yes : no``."""

    condition: Expression
    yes: Expression
    no: Expression
    depth: int
    names: frozenset[str]

    def evaluate(self, scope: Scope) -> Value:
        return (self.yes if self.condition.evaluate(scope)[1] else self.no).evaluate(scope)


@dataclass(frozen=True, slots=True)
class AlignHere(Expression):
    """``ALIGN(x)``: the location counter rounded up."""

    to: Expression
    depth: int
    names: frozenset[str]

    def evaluate(self, scope: Scope) -> Value:
        align = absolute(scope, self.to.evaluate(scope))
        if align > MAX_ALIGN:
            scope.fault(f"alignment {align:#x} is out of bounds")
            align = 1
        return _relative_to_here(scope, align_up(scope.dot, align))


@dataclass(frozen=True, slots=True)
class Absolute(Expression):
    """``ABSOLUTE(x)``."""

    operand: Expression
    depth: int
    names: frozenset[str]

    def evaluate(self, scope: Scope) -> Value:
        value = absolute(scope, self.operand.evaluate(scope))
        scope.dot_used = False
        return (ABSOLUTE, value)


@dataclass(frozen=True, slots=True)
class HeadersSize(Expression):
    """``SIZEOF_HEADERS``."""

    depth: int = 0
    names: frozenset[str] = frozenset()

    def evaluate(self, scope: Scope) -> Value:
        return (NUMBER, scope.headers_size())


@dataclass(frozen=True, slots=True)
class Log2Ceil(Expression):
    """``LOG2CEIL(x)``: the power of two that is x or the next above; 0 of 0."""

    operand: Expression
    depth: int
    names: frozenset[str]

    def evaluate(self, scope: Scope) -> Value:
        section, value = self.operand.evaluate(scope)
        return (section, (value - 1).bit_length() if value else 0)


@dataclass(frozen=True, slots=True)
class Defined(Expression):
    """``DEFINED(name)``; not a reference, so it does not pull in a PROVIDE."""

    name: str
    depth: int = 0
    names: frozenset[str] = frozenset()

    def evaluate(self, scope: Scope) -> Value:
        return (NUMBER, int(scope.defined(self.name)))


@dataclass(frozen=True, slots=True)
class SectionFact(Expression):
    """``ADDR``, ``LOADADDR``, ``SIZEOF`` or ``ALIGNOF`` of an output section."""

    fact: str
    name: str
    depth: int = 0
    names: frozenset[str] = frozenset()

    def evaluate(self, scope: Scope) -> Value:
        return scope.section_fact(self.fact, self.name)


@dataclass(frozen=True, slots=True)
class RegionFact(Expression):
    """``ORIGIN`` or ``LENGTH`` of a memory region."""

    fact: str
    name: str
    depth: int = 0
    names: frozenset[str] = frozenset()

    def evaluate(self, scope: Scope) -> Value:
        value = scope.region_fact(self.fact, self.name)
        # An origin is an address, a length is a number.
        return _relative_to_here(scope, value) if self.fact == "ORIGIN" else (NUMBER, value)


@dataclass(frozen=True, slots=True)
class Assert(Expression):
    """``ASSERT(x, "message")``: x, and a broken link where x is 0."""

    operand: Expression
    message: str
    depth: int
    names: frozenset[str]

    def evaluate(self, scope: Scope) -> Value:
        value = self.operand.evaluate(scope)
        if not value[1]:
            scope.fault(self.message)
        return value


def _relative_to_here(scope: Scope, address: int) -> Value:
    scope.dot_used = True
    section = scope.section
    return (section, (address - scope.base(section)) & MASK64 if section >= 0 else address)


def _divide(left: int, right: int) -> int:
    quotient = abs(signed(left)) // abs(signed(right))
    return quotient if (left ^ right) & SIGN_BIT == 0 else -quotient


def _remainder(left: int, right: int) -> int:
    return signed(left) - _divide(left, right) * signed(right)


# Operators whose result stays an address if exactly one side is one.
ARITHMETIC: dict[str, Callable[[int, int], int]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": _divide,
    "%": _remainder,
    "<<": lambda a, b: a << b,
    ">>": lambda a, b: a >> b,
    "&": lambda a, b: a & b,
    "|": lambda a, b: a | b,
}

# Operators whose result is a plain number.
LOGICAL: dict[str, Callable[[int, int], bool]] = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    ">": lambda a, b: a > b,
    "<=": lambda a, b: a <= b,
    ">=": lambda a, b: a >= b,
    "&&": lambda a, b: bool(a and b),
    "||": lambda a, b: bool(a or b),
}

# Operators that return one side, or a rounded one, and keep its section.
SELECTING: dict[str, Callable[[int, int], int]] = {
    "MIN": min,
    "MAX": max,
    "ALIGN": align_up,
}


def combine(scope: Scope, operator: str, left: Value, right: Value) -> Value:
    """Apply a binary operator to two values, by GNU ld's rules for their sections."""
    section, a = left
    other, b = right
    same = section == other
    if not same:
        if section == NUMBER:
            section = other
        elif other != NUMBER:
            a, b = absolute(scope, left), absolute(scope, right)
            section, same = ABSOLUTE, True
            # A place among others is one no more.
            scope.dot_used = False
    if operator in LOGICAL:
        return (NUMBER, int(LOGICAL[operator](a, b)))
    if operator in SELECTING:
        if operator == "ALIGN" and b > MAX_ALIGN:
            scope.fault(f"alignment {b:#x} is out of bounds")
            return (section, a)
        return (section, SELECTING[operator](a, b))
    if operator in "/%" and not b:
        scope.fault("division by zero")
        return (section, 0)
    if operator in ("<<", ">>") and b > 63:
        # C does not say what GNU ld makes of that.
        scope.fault(f"a shift by {b} bits: a value has 64")
        return (section, 0)
    if same:
        section = ABSOLUTE if scope.section == ABSOLUTE else NUMBER
    return (section, ARITHMETIC[operator](a, b) & MASK64)


# C's precedence, loosest first.
PRECEDENCE = {
    operator: level
    for level, operators in enumerate(
        (
            ("||",),
            ("&&",),
            ("|",),
            ("&",),
            ("==", "!="),
            ("<", ">", "<=", ">="),
            ("<<", ">>"),
            ("+", "-"),
            ("*", "/", "%"),
        )
    )
    for operator in operators
}


class TooDeepError(Exception):
    """An expression nested past MAX_DEPTH."""


def node_shape(*parts: Expression) -> tuple[int, frozenset[str]]:
    """Return (depth, names) of a node over ``parts``; raises TooDeepError."""
    depth = 1 + max(part.depth for part in parts)
    if depth > MAX_DEPTH:
        raise TooDeepError
    return depth, frozenset().union(*(part.names for part in parts))


def binary(operator: str, left: Expression, right: Expression) -> Expression:
    """A Binary node."""
    return Binary(operator, left, right, *node_shape(left, right))


def chain(items: Sequence[Expression | str]) -> Expression:
    """Build the tree of ``operand operator operand ...`` by precedence, left to right."""
    operands: list[Expression] = []
    operators: list[str] = []

    def reduce() -> None:
        right = operands.pop()
        operands.append(binary(operators.pop(), operands.pop(), right))

    for item in items:
        if isinstance(item, Expression):
            operands.append(item)
            continue
        operator = str(item)
        while operators and PRECEDENCE[operators[-1]] >= PRECEDENCE[operator]:
            reduce()
        operators.append(operator)
    while operators:
        reduce()
    return operands[0]
