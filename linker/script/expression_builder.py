"""From the grammar's productions to the expressions of :mod:`relokit.linker.script.expression`.

Imported only when a script is parsed: it needs lark.
"""

from __future__ import annotations

from re import fullmatch
from typing import Any

from lark import Token, Transformer

from relokit.codegen.base.bits import MASK64
from relokit.linker.elf_format import PAGE
from relokit.linker.script.expression import (
    MAX_DEPTH,
    Absolute,
    AlignHere,
    Assert,
    Defined,
    Dot,
    Expression,
    HeadersSize,
    Log2Ceil,
    Name,
    Number,
    RegionFact,
    SectionFact,
    Ternary,
    TooDeepError,
    Unary,
    binary,
    chain,
    node_shape,
)
from relokit.linker.script.statements import ScriptError
from relokit.linker.script.words import (
    LIKE_A_NUMBER,
    NO_PART,
    NOT_CARRIED_OUT,
    WHERE_LISTED,
    WORDS,
    WORDS_OF_BODIES,
)

CONSTANTS = {"MAXPAGESIZE": PAGE, "COMMONPAGESIZE": PAGE}
SUFFIXES = {"k": 1024, "m": 1024 * 1024}

Children = list[Any]


class ExpressionBuilder(Transformer[Token, Any]):
    """One method a production of an expression; names come without their quotes."""

    def _name(self, token: Token) -> Token:
        return _named(token, WORDS)

    def _word(self, token: Token) -> Token:
        return _named(token, WORDS_OF_BODIES)

    # Called by the names of the grammar's terminals.
    NAME = OUTNAME = _name
    WORD = _word

    def number(self, items: Children) -> Number:
        return _number(items[0])

    def name(self, items: Children) -> Expression:
        return expression_named(str(items[0]))

    def operand(self, items: Children) -> Expression:
        *signs, value = items
        for sign in reversed(signs):
            value = within(sign.line, _unary, sign, value)
        result: Expression = value
        return result

    def expr(self, items: Children) -> Expression:
        if len(items) == 1:
            only: Expression = items[0]
            return only
        return within(items[1].line, chain, items)

    def ternary(self, items: Children) -> Expression:
        *condition, question, yes, no = items
        line = question.line
        test = within(line, chain, condition)
        return within(line, lambda: Ternary(test, yes, no, *node_shape(test, yes, no)))

    def align_to(self, items: Children) -> Expression:
        token, *operands = items
        if len(operands) == 2:
            return within(token.line, binary, "ALIGN", *operands)
        return within(token.line, lambda: AlignHere(operands[0], *node_shape(operands[0])))

    def extreme(self, items: Children) -> Expression:
        which, left, right = items
        return within(which.line, binary, str(which), left, right)

    def absolute(self, items: Children) -> Expression:
        token, operand = items
        return within(token.line, lambda: Absolute(operand, *node_shape(operand)))

    def section_fact(self, items: Children) -> Expression:
        return SectionFact(str(items[0]), str(items[1]))

    def region_fact(self, items: Children) -> Expression:
        return RegionFact(str(items[0]), str(items[1]))

    def sizeof_headers(self, _: Children) -> Expression:
        return HeadersSize()

    def constant(self, items: Children) -> Expression:
        name = items[0]
        if str(name) not in CONSTANTS:
            known = ", ".join(CONSTANTS)
            raise ScriptError(name.line, f"no CONSTANT({name})", hint=f"there are {known}")
        return Number(CONSTANTS[name])

    def log2ceil(self, items: Children) -> Expression:
        token, operand = items
        return within(token.line, lambda: Log2Ceil(operand, *node_shape(operand)))

    def defined(self, items: Children) -> Expression:
        return Defined(str(items[0]))

    def assert_value(self, items: Children) -> Assert:
        token, operand, message = items
        result = within(
            token.line,
            lambda: Assert(operand, unquoted(message) or "assertion failed", *node_shape(operand)),
        )
        assert isinstance(result, Assert)
        return result


def _unary(operator: Token, operand: Expression) -> Expression:
    return Unary(str(operator), operand, *node_shape(operand))


def within(line: int, build: Any, *arguments: Any) -> Expression:
    """Build a node; an expression too deep becomes an error at ``line``."""
    try:
        result: Expression = build(*arguments)
    except TooDeepError:
        raise ScriptError(
            line,
            f"an expression more than {MAX_DEPTH} levels deep",
            hint="give parts of it names of their own",
        ) from None
    return result


def expression_named(text: str) -> Expression:
    return Dot() if text == "." else Name(text, frozenset((text,)))


def _named(token: Token, reserved: frozenset[str]) -> Token:
    """The token without its quotes; one that has none is no word or number of GNU ld's."""
    text = str(token)
    hint = f'if it is a name, put it in quotes: "{text}"'
    if text in reserved and text in NOT_CARRIED_OUT:
        raise ScriptError(token.line, f"{text} {NO_PART}", hint=f"{hint}; {WHERE_LISTED}")
    if text in reserved:
        raise ScriptError(token.line, f"{text} is a word of the script language", hint=hint)
    if reserved is WORDS and fullmatch(LIKE_A_NUMBER, text):
        raise ScriptError(token.line, f"GNU ld may read {text} as a number", hint=hint)
    return token.update(value=unquoted(token))


def unquoted(token: Token) -> str:
    return str(token).strip('"')


def _number(token: Token) -> Number:
    text = str(token)
    scale = SUFFIXES.get(text[-1].lower(), 1)
    digits = text if scale == 1 else text[:-1]
    octal = len(digits) > 1 and digits[0] == "0" and digits[1:].isdigit()
    try:
        value = int(digits, 8 if octal else 0) if len(digits) < 64 else MASK64 + 1
    except ValueError:
        raise ScriptError(token.line, f"{text} is no number") from None
    if value * scale > MASK64:
        raise ScriptError(token.line, f"{text[:64]} does not fit 64 bits")
    hex_digits = len(text) - 2 if text[:2] in ("0x", "0X") and scale == 1 else 0
    return Number(value * scale, hex_digits=hex_digits)
