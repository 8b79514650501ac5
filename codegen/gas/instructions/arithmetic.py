"""Expressions of GNU as: what they look like, how they are parsed, arithmetic on numbers.

Precedence and meaning follow the GNU as manual ("Infix Operators", "Prefix Operators") and what
binutils 2.40 does: 64-bit two's complement, C division, logical right shift, comparisons give -1.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from relokit.codegen.base.bits import MASK64, signed
from relokit.codegen.base.errors import AssemblyError
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.object import Binding, SymbolType

TOKEN_LIMIT = 2048
"""Tokens in one expression."""
NESTING_LIMIT = 48
"""Parentheses and prefix operators inside one another."""


@dataclass(slots=True, eq=False)
class Sym:
    """A symbol while its unit is being assembled.

    A label has ``section`` (an index) and ``offset``; a ``.set`` symbol has ``value``; an
    undefined one has neither. ``pinned``: an expression that is evaluated later refers to it.
    ``final``: it may not be set again. ``instance``: of a numeric label, the how manieth of its
    number it is. ``stretch``: in which part of its section, between what GNU as knows the size
    of in the end only. ``alias``: the symbol that it was set to, and the number behind that.
    ``settled``: that symbol had a place then.
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
    final: bool = False
    alias: tuple[Sym, int] | None = None
    settled: bool = False
    instance: int = 0
    stretch: int = 0

    @property
    def defined(self) -> bool:
        return self.section is not None or self.value is not None

    def take_over(self, other: Sym) -> None:
        """Become what ``other`` is, as an alias of it: a function before an object, a size once."""
        if self.type is not SymbolType.FUNC and other.type is not SymbolType.NOTYPE:
            self.type = other.type
        if self.size == 0:
            self.size = other.size


class AsmName(NamedTuple):
    """A symbol by name."""

    name: str


class Local(NamedTuple):
    """``1b`` or ``1f``."""

    number: int
    forward: bool


class AsmDot(NamedTuple):
    """``.``, the place of the statement (or of the datum in a list)."""


class AsmUnary(NamedTuple):
    op: str
    operand: Expr


class AsmBinary(NamedTuple):
    op: str
    left: Expr
    right: Expr


Expr = int | AsmName | Local | AsmDot | AsmUnary | AsmBinary | Sym
"""What parsing gives; ``Sym`` appears after binding only."""


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


@lru_cache(maxsize=2048)
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
            tokens.append(AsmDot() if match["name"] == "." else AsmName(match["name"]))
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
                left = INTEGERS[op](left, right)
            else:
                left = AsmBinary(op, left, right)
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
            return prefixed(token, operand)
        return operand if token == "+" else AsmUnary(token, operand)


def _show(token: str | Expr) -> str:
    if isinstance(token, str):
        return f"`{token}'"
    if isinstance(token, AsmName):
        return f"`{token.name}'"
    return f"`{token}'" if isinstance(token, int) else "operand"


def wrap(value: int) -> int:
    """Keep a result within 64 bits: unchanged if it fits signed or unsigned, else signed."""
    if -(1 << 63) <= value <= MASK64:
        return value
    return signed(value)


def prefixed(op: str, value: int) -> int:
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


INTEGERS: dict[str, Callable[[int, int], int]] = {
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


def left_spine(expr: AsmBinary) -> tuple[list[AsmBinary], Expr]:
    """The operators of ``a + b - c ...`` from the last to the first, and the first operand."""
    spine: list[AsmBinary] = []
    node: Expr = expr
    while isinstance(node, AsmBinary):
        spine.append(node)
        node = node.left
    return spine, node
