"""From the grammar's productions to the statements of :mod:`relokit.linker.script.statements`.

Imported only when a script is parsed: it needs lark.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from lark import Token, Transformer

from relokit.codegen.base.bits import MASK64
from relokit.linker.script.expression import (
    MAX_DEPTH,
    Absolute,
    AlignHere,
    Assert,
    Defined,
    Dot,
    Expression,
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
from relokit.linker.script.statements import (
    DISCARD,
    SEGMENT_TYPES,
    Assertion,
    Assignment,
    BodyItem,
    Data,
    Fill,
    Header,
    InputSections,
    MemoryRegion,
    OutputSection,
    Pattern,
    Script,
    ScriptError,
    Statement,
)

MAX_PATTERN = 256

ARCHITECTURES = frozenset({"aarch64", "aarch64:armv8-r", "arm64"})
FORMATS = frozenset({"elf64-littleaarch64", "elf64-bigaarch64"})

DATA_WIDTHS = {"BYTE": 1, "SHORT": 2, "LONG": 4, "QUAD": 8, "SQUAD": 8}
SUFFIXES = {"k": 1024, "m": 1024 * 1024}

Children = list[Any]


class _Entry(str):
    """The name given to ENTRY."""


class Builder(Transformer[Token, Any]):
    """One method a production, called as the parser reduces it: nothing here recurses."""

    # The script as a whole

    def start(self, items: Children) -> Script:
        statements: list[Statement] = []
        regions: list[MemoryRegion] = []
        headers: list[Header] = []
        entry: str | None = None
        for item in _flatten(items):
            if isinstance(item, MemoryRegion):
                regions.append(item)
            elif isinstance(item, Header):
                headers.append(item)
            elif isinstance(item, _Entry):
                entry = str(item)
            elif item is not None:
                statements.append(item)
        _refuse_twice(regions, "memory region")
        _refuse_twice(headers, "program header")
        assignments = [item for item in _all_items(statements) if isinstance(item, Assignment)]
        return Script(
            tuple(statements),
            tuple(regions),
            tuple(headers),
            entry,
            frozenset(item.name for item in assignments if not item.provide and item.name != "."),
            frozenset(item.name for item in assignments if item.provide),
            _names_read(statements),
        )

    def nothing(self, _: Children) -> None:
        return None

    def sections(self, items: Children) -> Children:
        return items

    memory = sections
    headers = sections

    def output_arch(self, items: Children) -> None:
        if str(items[0]) not in ARCHITECTURES:
            raise ScriptError(items[0].line, f"no architecture {items[0]}", hint="aarch64 is")

    def output_format(self, items: Children) -> None:
        # With three names GNU ld takes the first unless -EB or -EL is given.
        if _unquote(items[0]) != "elf64-littleaarch64":
            raise ScriptError(
                items[0].line, f"no output format {items[0]}", hint="elf64-littleaarch64 is"
            )

    def entry(self, items: Children) -> _Entry:
        return _Entry(items[0])

    def assign_op(self, items: Children) -> str:
        return str(items[0])

    def assign(self, items: Children) -> Assignment:
        name, operator, value = items
        target = _symbol(name)
        if operator != "=":
            value = _within(name.line, binary, operator[:-1], _name(target), value)
        return Assignment(name.line, target, value, _alias(value))

    def provide_kind(self, items: Children) -> str:
        return str(items[0])

    def provide(self, items: Children) -> Assignment:
        kind, name, value = items
        return Assignment(
            name.line,
            _symbol(name),
            value,
            _alias(value),
            provide=kind.startswith("PROVIDE"),
            hidden=kind.endswith("HIDDEN"),
        )

    def assertion(self, items: Children) -> Assertion:
        return Assertion(items[0].line, self.assert_value(items))

    # MEMORY and PHDRS

    def region(self, items: Children) -> MemoryRegion:
        name, attributes, origin, length = items
        return MemoryRegion(name.line, str(name), str(attributes or ""), origin, length)

    def phdr_flags(self, items: Children) -> Expression:
        value: Expression = items[0]
        return value

    def phdr_refused(self, items: Children) -> None:
        raise ScriptError(
            items[0].line,
            f"{items[0]} in PHDRS is not supported",
            hint="the file's own headers are never loaded",
        )

    def phdr(self, items: Children) -> Header:
        name, kind, *options = items
        if str(kind) not in SEGMENT_TYPES:
            raise ScriptError(
                kind.line, f"no segment type {kind}", hint=f"known: {', '.join(SEGMENT_TYPES)}"
            )
        if len(options) > 1:
            raise ScriptError(name.line, f"program header {name} has FLAGS twice")
        return Header(name.line, str(name), SEGMENT_TYPES[kind], options[0] if options else None)

    # Output sections

    def output_section(self, items: Children) -> OutputSection:
        name, (address, noload), load, align, body, into, load_into, phdrs, fill = items
        return OutputSection(
            name.line,
            str(name),
            body,
            address,
            noload,
            load,
            align,
            into,
            load_into,
            phdrs,
            _fill(fill, name.line) if fill else None,
        )

    def discard(self, items: Children) -> OutputSection:
        token, body = items
        for item in body:
            if not isinstance(item, InputSections):
                raise ScriptError(item.line, f"{DISCARD} takes input sections only")
        return OutputSection(token.line, DISCARD, body)

    def body(self, items: Children) -> tuple[BodyItem, ...]:
        return tuple(item for item in items if item is not None)

    def absent(self, _: Children) -> tuple[None, bool]:
        return None, False

    def noload(self, _: Children) -> bool:
        return True

    def address(self, items: Children) -> tuple[Expression | None, bool]:
        expressions = [item for item in items if isinstance(item, Expression)]
        return (expressions[0] if expressions else None), True in items

    def at(self, items: Children) -> Expression | None:
        return items[-1] if items else None

    align = at
    fill = at

    def into(self, items: Children) -> str | None:
        return str(items[0]) if items else None

    load_into = into

    def phdrs(self, items: Children) -> tuple[str, ...]:
        return tuple(str(item) for item in items)

    def fill_statement(self, items: Children) -> Fill:
        return _fill(items[1], items[0].line)

    def data_width(self, items: Children) -> Token:
        token: Token = items[0]
        return token

    def data(self, items: Children) -> Data:
        return Data(items[0].line, DATA_WIDTHS[items[0]], items[1])

    def exclude(self, items: Children) -> tuple[str, ...]:
        return tuple(_pattern(item) for item in items)

    def pattern(self, items: Children) -> tuple[Pattern, bool]:
        exclude, word = items
        return Pattern(_pattern(word), exclude or ()), False

    def sorted_pattern(self, items: Children) -> tuple[Pattern, bool]:
        return self.pattern(items)[0], True

    def patterns(self, items: Children) -> Children:
        return items

    def input(self, items: Children) -> InputSections:
        exclude, word, patterns = items
        ordered = any(flag for _, flag in patterns)
        if ordered and len(patterns) > 1:
            raise ScriptError(
                word.line,
                "SORT beside other patterns",
                hint="give SORT(...) an input statement of its own",
            )
        # In front of the file it holds for every pattern.
        found = tuple(Pattern(one.section, (*one.exclude, *(exclude or ()))) for one, _ in patterns)
        return InputSections(word.line, _pattern(word), found, ordered)

    # Expressions

    def number(self, items: Children) -> Number:
        return _number(items[0])

    def name(self, items: Children) -> Expression:
        return _name(str(items[0]))

    def operand(self, items: Children) -> Expression:
        *signs, value = items
        for sign in reversed(signs):
            value = _within(sign.line, _unary, sign, value)
        result: Expression = value
        return result

    def expr(self, items: Children) -> Expression:
        if len(items) == 1:
            only: Expression = items[0]
            return only
        return _within(items[1].line, chain, items)

    def ternary(self, items: Children) -> Expression:
        *condition, question, yes, no = items
        line = question.line
        test = _within(line, chain, condition)
        return _within(line, lambda: Ternary(test, yes, no, *node_shape(test, yes, no)))

    def align_to(self, items: Children) -> Expression:
        token, *operands = items
        if len(operands) == 2:
            return _within(token.line, binary, "ALIGN", *operands)
        return _within(token.line, lambda: AlignHere(operands[0], *node_shape(operands[0])))

    def extreme(self, items: Children) -> Expression:
        which, left, right = items
        return _within(which.line, binary, str(which), left, right)

    def absolute(self, items: Children) -> Expression:
        token, operand = items
        return _within(token.line, lambda: Absolute(operand, *node_shape(operand)))

    def section_fact(self, items: Children) -> Expression:
        return SectionFact(str(items[0]), str(items[1]))

    def region_fact(self, items: Children) -> Expression:
        return RegionFact(str(items[0]), str(items[1]))

    def defined(self, items: Children) -> Expression:
        return Defined(str(items[0]))

    def assert_value(self, items: Children) -> Assert:
        token, operand, message = items
        result = _within(
            token.line,
            lambda: Assert(operand, _unquote(message) or "assertion failed", *node_shape(operand)),
        )
        assert isinstance(result, Assert)
        return result


def _unary(operator: Token, operand: Expression) -> Expression:
    return Unary(str(operator), operand, *node_shape(operand))


def _within(line: int, build: Any, *arguments: Any) -> Expression:
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


def _flatten(items: Children) -> Children:
    return [part for item in items for part in (item if isinstance(item, list) else [item])]


def _all_items(statements: Sequence[Statement]) -> Iterator[Statement | BodyItem]:
    for statement in statements:
        yield statement
        if isinstance(statement, OutputSection):
            yield from statement.body


def _names_read(statements: Sequence[Statement]) -> frozenset[str]:
    names: set[str] = set()
    for item in _all_items(statements):
        if isinstance(item, OutputSection):
            for part in (item.address, item.load_address, item.align):
                if part is not None:
                    names |= part.names
        elif isinstance(item, Assertion):
            names |= item.check.names
        elif isinstance(item, Assignment | Data):
            names |= item.value.names
    return frozenset(names)


def _refuse_twice(items: Sequence[MemoryRegion] | Sequence[Header], what: str) -> None:
    seen: set[str] = set()
    for item in items:
        if item.name in seen:
            raise ScriptError(item.line, f"{what} {item.name} is described twice")
        seen.add(item.name)


def _name(text: str) -> Expression:
    return Dot() if text == "." else Name(text, frozenset((text,)))


def _symbol(token: Token) -> str:
    text = str(token)
    if any(c in "*?[]!^+-~/" for c in text) or text[:1].isdigit():
        raise ScriptError(
            token.line,
            f"{text!r} is no symbol name",
            hint="put spaces around the assignment operator",
        )
    return text


def _alias(value: Expression) -> str | None:
    return value.name if isinstance(value, Name) else None


def _pattern(token: Token) -> str:
    text = str(token)
    if len(text) > MAX_PATTERN:
        raise ScriptError(token.line, f"a pattern of {len(text)} characters")
    return text


def _unquote(token: Token) -> str:
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


def _fill(value: Expression, line: int) -> Fill:
    if isinstance(value, Number) and value.hex_digits:
        return Fill(line, value.value.to_bytes((value.hex_digits + 1) // 2, "big"))
    return Fill(line, b"", value)
