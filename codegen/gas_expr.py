"""Expressions of GNU as: parsed once, evaluated when their symbols are known.

Precedence and meaning follow the GNU as manual ("Infix Operators", "Prefix Operators") and what
binutils 2.40 does: 64-bit two's complement, C division, logical right shift, comparisons give -1.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from relokit.codegen.errors import AssemblyError
from relokit.codegen.object import Binding, SymbolType

TOKEN_LIMIT = 256
"""Tokens in one expression."""
NESTING_LIMIT = 48
"""Parentheses and prefix operators inside one another."""
DEPTH_LIMIT = 150
"""Recursion of one evaluation, through ``.set`` symbols defined by one another."""
STEP_LIMIT = 20000
"""Sub-expressions one evaluation may visit."""

MASK64 = (1 << 64) - 1


@dataclass(slots=True, eq=False)
class Sym:
    """A symbol while its unit is being assembled.

    A label has ``section`` (an index) and ``offset``; a ``.set`` symbol has ``value``; an
    undefined one has neither. ``pinned``: an expression that is evaluated later refers to it.
    """

    name: str
    section: int | None = None
    offset: int = 0
    value: Expr | None = None
    binding: Binding = Binding.LOCAL
    bound: bool = False
    type: SymbolType = SymbolType.NOTYPE
    size: Expr = 0
    hidden: bool = False
    pinned: bool = False
    mentioned: bool = False

    @property
    def defined(self) -> bool:
        return self.section is not None or self.value is not None


class Name(NamedTuple):
    """A symbol by name."""

    name: str


class Local(NamedTuple):
    """``1b`` or ``1f``."""

    number: int
    forward: bool


class Dot(NamedTuple):
    """``.``, the place of the statement (or of the datum in a list)."""


class Unary(NamedTuple):
    op: str
    operand: Expr


class Binary(NamedTuple):
    op: str
    left: Expr
    right: Expr


Expr = int | Name | Local | Dot | Unary | Binary | Sym
"""What parsing gives; ``Sym`` appears after binding only."""


class Value(NamedTuple):
    """``plus - minus + offset``; at least one symbol is there (else a plain int is used)."""

    plus: Sym | None
    minus: Sym | None
    offset: int


_TOKEN = re.compile(
    r"""[ \t]*(?:
      (?P<num>0[xX][0-9a-fA-F]+|0[bB][01]+|[0-9]+)(?P<tail>[A-Za-z0-9_.$]*)
    | (?P<name>[A-Za-z_.$][A-Za-z0-9_.$]*)
    | '(?P<char>\\.|[^\\'])'?
    | (?P<op><<|>>|<=|>=|==|!=|<>|&&|\|\||[-+*/%<>|&^!~()\[\]])
    )""",
    re.ASCII | re.VERBOSE,
)
_CHARACTERS = {"n": 10, "t": 9, "r": 13, "b": 8, "f": 12, "\\": 92, '"': 34, "'": 39}

_PRECEDENCE = {
    "||": 1, "&&": 2,
    "==": 3, "!=": 3, "<>": 3, "<": 3, "<=": 3, ">": 3, ">=": 3,
    "+": 4, "-": 4,
    "|": 5, "!": 5, "^": 5, "&": 5,
    "*": 6, "/": 6, "%": 6, "<<": 6, ">>": 6,
}  # fmt: skip
_PREFIX = "-~!+"


@lru_cache(maxsize=8192)
def parse(text: str) -> Expr:
    """Parse a whole operand; constant parts are folded. Raises AssemblyError."""
    tokens = _tokens(text)
    if not tokens:
        raise AssemblyError("missing expression")
    parser = _Parser(tokens, text)
    expr = parser.binary(1, 0)
    if parser.at != len(tokens):
        raise AssemblyError(f"unexpected {_show(tokens[parser.at])} in expression `{text.strip()}'")
    return expr


def _tokens(text: str) -> list[str | Expr]:
    """Operators as str, everything else as an expression."""
    tokens: list[str | Expr] = []
    text, at = text.strip(" \t"), 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise AssemblyError(f"unexpected character {text[at]!r} in expression `{text}'")
        kind = match.lastgroup
        if kind == "op":
            tokens.append(match["op"])
        elif kind == "tail":
            tokens.append(_number(match["num"], match["tail"]))
        elif kind == "name":
            tokens.append(Dot() if match["name"] == "." else Name(match["name"]))
        else:
            tokens.append(_character(match["char"]))
        at = match.end()
        if len(tokens) > TOKEN_LIMIT:
            raise AssemblyError(f"expression of more than {TOKEN_LIMIT} parts")
    return tokens


def _number(digits: str, tail: str) -> Expr:
    if tail in ("b", "f") and digits.isdigit() and len(digits) <= 9:
        return Local(int(digits), tail == "f")
    if tail:
        raise AssemblyError(f"malformed number `{digits}{tail}'")
    octal = digits.isdigit() and digits[0] == "0"
    try:
        value = int(digits, 8 if octal else 0) if len(digits) <= 80 else MASK64 + 1
    except ValueError:
        raise AssemblyError(f"malformed number `{digits}'") from None
    if value > MASK64:
        raise AssemblyError(f"number `{digits[:40]}' does not fit in 64 bits")
    return value


def _character(char: str) -> int:
    if char[0] != "\\":
        if not char.isascii():
            raise AssemblyError(f"character constant {char!r} is not ASCII")
        return ord(char)
    if char[1] not in _CHARACTERS:
        raise AssemblyError(f"unknown escape `{char}' in character constant")
    return _CHARACTERS[char[1]]


class _Parser:
    """Precedence climbing over one token list."""

    def __init__(self, tokens: list[str | Expr], text: str) -> None:
        self.tokens = tokens
        self.text = text
        self.at = 0

    def binary(self, lowest: int, depth: int) -> Expr:
        left = self.prefix(depth)
        while self.at < len(self.tokens):
            op = self.tokens[self.at]
            rank = _PRECEDENCE.get(op, 0) if isinstance(op, str) else 0
            if rank < lowest:
                break
            assert isinstance(op, str)
            self.at += 1
            if op == "!" and self.tokens[self.at : self.at + 1] == ["!"]:
                raise AssemblyError("`! !' means nothing to GNU as", hint="use parentheses")
            right = self.binary(rank + 1, depth + 1)
            if isinstance(left, int) and isinstance(right, int):
                left = _INTEGERS[op](left, right)
            else:
                left = Binary(op, left, right)
        return left

    def prefix(self, depth: int) -> Expr:
        if depth > NESTING_LIMIT:
            raise AssemblyError(f"expression nested deeper than {NESTING_LIMIT}")
        if self.at == len(self.tokens):
            raise AssemblyError(f"expression `{self.text.strip()}' ends too soon")
        token = self.tokens[self.at]
        self.at += 1
        if not isinstance(token, str):
            return token
        if token in "([":
            expr = self.binary(1, depth + 1)
            close = ")" if token == "(" else "]"
            if self.at == len(self.tokens) or self.tokens[self.at] != close:
                raise AssemblyError(f"missing `{close}' in expression `{self.text.strip()}'")
            self.at += 1
            return expr
        if token not in _PREFIX:
            raise AssemblyError(f"unexpected `{token}' in expression `{self.text.strip()}'")
        operand = self.prefix(depth + 1)
        if isinstance(operand, int):
            return _prefixed(token, operand)
        return operand if token == "+" else Unary(token, operand)


def _show(token: str | Expr) -> str:
    if isinstance(token, str):
        return f"`{token}'"
    if isinstance(token, Name):
        return f"`{token.name}'"
    return f"`{token}'" if isinstance(token, int) else "operand"


def wrap(value: int) -> int:
    """Keep a result within 64 bits: unchanged if it fits signed or unsigned, else signed."""
    if -(1 << 63) <= value <= MASK64:
        return value
    return signed(value)


def signed(value: int) -> int:
    """The low 64 bits as a two's complement number."""
    value &= MASK64
    return value - (1 << 64) if value >> 63 else value


def _prefixed(op: str, value: int) -> int:
    if op == "-":
        return wrap(-value)
    if op == "~":
        return signed(~value)
    if op == "!":
        return int(value == 0)
    return value


def _divide(left: int, right: int) -> int:
    left, right = signed(left), signed(right)
    if right == 0:
        raise AssemblyError("division by zero")
    quotient = abs(left) // abs(right)
    return quotient if (left < 0) == (right < 0) else -quotient


def _remainder(left: int, right: int) -> int:
    return signed(left) - _divide(left, right) * signed(right)


def _shift(value: int, count: int, left: bool) -> int:
    if not 0 <= count < 64:
        raise AssemblyError(f"shift by {count}, outside 0 to 63")
    return (value << count) & MASK64 if left else (value & MASK64) >> count


_INTEGERS: dict[str, Callable[[int, int], int]] = {
    "+": lambda a, b: wrap(a + b),
    "-": lambda a, b: wrap(a - b),
    "*": lambda a, b: wrap(a * b),
    "/": _divide,
    "%": _remainder,
    "<<": lambda a, b: _shift(a, b, True),
    ">>": lambda a, b: _shift(a, b, False),
    "|": lambda a, b: wrap(a | b),
    "&": lambda a, b: wrap(a & b),
    "^": lambda a, b: wrap(a ^ b),
    "!": lambda a, b: wrap(a | ~b),
    "==": lambda a, b: -int(signed(a) == signed(b)),
    "!=": lambda a, b: -int(signed(a) != signed(b)),
    "<>": lambda a, b: -int(signed(a) != signed(b)),
    "<": lambda a, b: -int(signed(a) < signed(b)),
    "<=": lambda a, b: -int(signed(a) <= signed(b)),
    ">": lambda a, b: -int(signed(a) > signed(b)),
    ">=": lambda a, b: -int(signed(a) >= signed(b)),
    "&&": lambda a, b: int(a != 0 and b != 0),
    "||": lambda a, b: int(a != 0 or b != 0),
}
_COMPARISONS = frozenset(("==", "!=", "<>", "<", "<=", ">", ">="))


def evaluate(expr: Expr) -> int | Value:
    """The value of a bound expression, with what is known now.

    A number, or a symbol (perhaps minus another) plus an offset. Raises AssemblyError when it is
    neither, and on ``.set`` loops.
    """
    if isinstance(expr, int):
        return expr
    if isinstance(expr, Sym) and expr.value is None:
        return Value(expr, None, 0)
    return _Evaluation().value(expr)


class _Evaluation:
    """One evaluation: its depth and its number of steps are bounded."""

    def __init__(self) -> None:
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
        elif isinstance(expr, Unary):
            result = self.unary(expr)
        else:
            assert isinstance(expr, Binary), expr
            result = self.binary(expr)
        self.depth -= 1
        return result

    def symbol(self, sym: Sym) -> int | Value:
        if sym.section is not None or sym.value is None:
            return Value(sym, None, 0)
        value = self.value(sym.value)
        if (
            isinstance(value, Value)
            and value.minus is None
            and value.plus is not None
            and value.plus.section is not None
            and sym.binding is not Binding.LOCAL
        ):
            # A global alias of a place keeps its name in relocations, as a label would.
            return Value(sym, None, 0)
        return value

    def unary(self, expr: Unary) -> int | Value:
        value = self.value(expr.operand)
        if isinstance(value, int):
            return _prefixed(expr.op, value)
        if expr.op == "-":
            return _negative(value)
        raise AssemblyError(f"`{expr.op}' needs a number, not {describe(value)}")

    def binary(self, expr: Binary) -> int | Value:
        left, right = self.value(expr.left), self.value(expr.right)
        if isinstance(left, int) and isinstance(right, int):
            return _INTEGERS[expr.op](left, right)
        if expr.op == "+":
            return self.sum(left, right)
        if expr.op == "-":
            return self.sum(left, _negative(right))
        if expr.op in _COMPARISONS:
            distance = self.sum(left, _negative(right))
            if isinstance(distance, int):
                return _INTEGERS[expr.op](distance, 0)
        wrong = right if isinstance(left, int) else left
        raise AssemblyError(f"`{expr.op}' needs numbers, not {describe(wrong)}")

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
        return at[1] - origin[1]

    def place(self, sym: Sym) -> tuple[int, int] | None:
        """Section and offset of a label, or of an alias of one."""
        if sym.section is not None:
            return sym.section, sym.offset
        if sym.value is None:
            return None
        value = self.value(sym.value)
        if isinstance(value, int) or value.plus is None or value.minus is not None:
            return None
        inner = self.place(value.plus)
        return inner and (inner[0], inner[1] + value.offset)


def place(sym: Sym) -> tuple[int, int] | None:
    """Section index and offset of a label, or of an alias of one; None for anything else."""
    return _Evaluation().place(sym)


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
