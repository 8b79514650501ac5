"""Expressions: values by hand, symbols, limits, and errors instead of exceptions."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relokit.codegen.base.bits import signed
from relokit.codegen.base.errors import AssemblyError
from relokit.codegen.gas.instructions.arithmetic import (
    TOKEN_LIMIT,
    AsmBinary,
    AsmName,
    AsmUnary,
    Expr,
    Sym,
    left_spine,
    parse,
)
from relokit.codegen.gas.values import Value, describe, evaluate, place

# Values from the GNU as manual's rules ("Infix Operators"), worked out by hand.
VALUES = {
    "2 + 3 * 4": 14,
    "1 | 2 + 4": 7,
    "2 * 3 | 8": 14,
    "6 & 3 + 1": 3,
    "1 << 2 + 1": 5,
    "10 - 4 - 3": 3,
    "1 == 1": -1,
    "1 != 1": 0,
    "2 <> 3": -1,
    "-1 < 1": -1,
    "0xffffffffffffffff < 1": -1,
    "1 && 0 || 2": 1,
    "!7": 0,
    "!0": 1,
    "5 ! 2": -3,
    "~0": -1,
    "-7 / 2": -3,
    "7 / -2": -3,
    "-7 % 3": -1,
    "-1 >> 60": 15,
    "1 << 63": 1 << 63,
    "(1 << 63) << 1": 0,
    "0xffffffffffffffff": (1 << 64) - 1,
    "0xffffffffffffffff + 1": 0,
    "0x7fffffffffffffff * 2": (1 << 64) - 2,
    "-9223372036854775808 - 1": (1 << 63) - 1,
    "017 + 0b11 + 0XfF": 15 + 3 + 255,
    "[1 + 2] * (3)": 9,
    "'a": 97,
    "'a' + 1": 98,
    "'\\n": 10,
    "'\\''": 39,
    "- - 3": 3,
    "+5": 5,
}


@pytest.mark.parametrize("text", VALUES)
def test_constants(text: str) -> None:
    assert parse(text) == VALUES[text]


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "1 +", "* 2", "(1", "1)", "[1)", "08", "0x", "0b2", "1x", "1.5", "0xg", "1 2",
        "1 / 0", "1 % 0", "1 << 64", "1 >> -1", "0x10000000000000000", "9" * 30, "1" * 5000,
        "0x" + "0" * 100, "'", "'\\q", "a @ b", '"a"', "a, b", "é", "'é", "5 ! !0", "1b2", "1$",
        "a b", "\0", "a\n+b", "٣",
    ],
)  # fmt: skip
def test_malformed_expressions_are_errors(text: str) -> None:
    with pytest.raises(AssemblyError):
        parse(text)


def test_depth_and_length_are_bounded() -> None:
    assert parse("+".join(["1"] * 100)) == 100
    for text in (
        "(" * 10_000 + "1" + ")" * 10_000,
        "-" * 10_000 + "1",
        "+".join(["a"] * 10_000),
        "1||1&&1==1+1|1*" * 200 + "1",
        "~(" * 5000,
    ):
        with pytest.raises(AssemblyError):
            parse(text)
    assert TOKEN_LIMIT >= 256


def test_the_deepest_expression_that_parses_also_evaluates() -> None:
    label = Sym("l", 0, 8)

    def bind(expr: Expr) -> Expr:
        if isinstance(expr, AsmName):
            return label
        if isinstance(expr, AsmUnary):
            return AsmUnary(expr.op, bind(expr.operand))
        if isinstance(expr, AsmBinary):
            spine, first = left_spine(expr)
            bound = bind(first)
            for node in reversed(spine):
                bound = AsmBinary(node.op, bound, bind(node.right))
            return bound
        return expr

    terms = TOKEN_LIMIT // 4
    assert evaluate(bind(parse("+".join(["(l - l + 1)"] * (terms // 3))))) == terms // 3
    assert evaluate(bind(parse("-" * 40 + "(l-l+7)"))) == 7
    assert evaluate(bind(parse("l" + "-l+l" * (TOKEN_LIMIT // 4 - 1)))) == Value(label, None, 0)


def label(name: str, section: int, offset: int) -> Sym:
    return Sym(name, section, offset)


def test_distances_fold_within_a_section_only() -> None:
    a, b, c = label("a", 0, 4), label("b", 0, 20), label("c", 1, 0)
    assert evaluate(AsmBinary("-", b, a)) == 16
    assert evaluate(AsmBinary("<", a, b)) == -1
    assert evaluate(AsmBinary("-", b, c)) == Value(b, c, 0)
    assert evaluate(AsmBinary("+", AsmBinary("-", a, c), 3)) == Value(a, c, 3)
    assert evaluate(AsmBinary("+", AsmBinary("-", a, c), c)) == Value(a, None, 0)
    assert evaluate(AsmBinary("-", 5, AsmBinary("-", a, b))) == 21
    undefined = Sym("u")
    assert evaluate(AsmBinary("-", undefined, undefined)) == 0
    assert evaluate(AsmUnary("-", AsmBinary("-", undefined, a))) == Value(a, undefined, 0)


@pytest.mark.parametrize(
    "expr",
    [
        AsmBinary("*", Sym("u"), 2),
        AsmBinary("+", Sym("u"), Sym("v")),
        AsmBinary("-", AsmUnary("-", Sym("u")), Sym("v")),
        AsmUnary("~", Sym("u")),
        AsmUnary("!", Sym("l", 0, 0)),
        AsmBinary("<", Sym("l", 0, 0), Sym("m", 1, 0)),
        AsmBinary("&&", 1, Sym("u")),
    ],
)
def test_what_no_relocation_expresses_is_an_error(expr: Expr) -> None:
    with pytest.raises(AssemblyError, match="`"):
        evaluate(expr)


def test_set_symbols_follow_their_definition() -> None:
    a = label("a", 2, 8)
    alias = Sym("alias", value=AsmBinary("+", a, 4))
    assert evaluate(alias) == Value(a, None, 4)
    assert place(alias) == (2, 12)
    assert evaluate(AsmBinary("-", alias, a)) == 4
    assert evaluate(Sym("n", value=AsmBinary("-", alias, a))) == 4
    outside = Sym("outside", value=AsmBinary("+", Sym("ext"), 4))
    assert place(outside) is None
    assert place(Sym("n", value=5)) is None


def test_loops_and_towers_of_definitions_end_in_an_error() -> None:
    a, b = Sym("a"), Sym("b")
    a.value, b.value = AsmBinary("+", b, 1), a
    with pytest.raises(AssemblyError, match="defined by itself"):
        evaluate(a)
    # Each level mentions the one below twice: 2**60 steps without a bound.
    tower: Expr = Sym("bottom", 0, 0)
    for level in range(60):
        tower = Sym(f"s{level}", value=AsmBinary("-", tower, AsmUnary("-", tower)))
    with pytest.raises(AssemblyError):
        evaluate(tower)


def test_describe_names_the_symbols() -> None:
    assert describe(Value(Sym("a"), Sym("b"), 4)) == "`a' - `b' + 4"
    assert describe(Value(None, Sym("b"), 0)) == "0 - `b'"
    assert describe(7) == "7"


@given(st.text(max_size=60))
def test_any_text_parses_or_is_an_error(text: str) -> None:
    with suppress(AssemblyError):
        parse(text)


@given(st.text("0123456789abfx+-*/%<>|&^!~()[]' .L", max_size=80))
def test_any_operator_soup_parses_or_is_an_error(text: str) -> None:
    try:
        value = parse(text)
    except AssemblyError:
        return
    if isinstance(value, int):
        assert -(1 << 63) <= value < 1 << 64


@given(st.integers())
def test_signed_is_the_low_64_bits(value: int) -> None:
    assert -(1 << 63) <= signed(value) < 1 << 63
    assert (signed(value) - value) % (1 << 64) == 0
