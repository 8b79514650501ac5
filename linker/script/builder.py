"""From the grammar's productions to the statements of :mod:`relokit.linker.script.statements`.

Imported only when a script is parsed: it needs lark.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from lark import Token

from relokit.codegen.base.nouns import dataclass
from relokit.linker.elf_format import PT_LOAD, PT_NOTE, PT_PHDR
from relokit.linker.script.expression import Expression, Name, Number, binary
from relokit.linker.script.expression_builder import (
    Children,
    ExpressionBuilder,
    expression_named,
    unquoted,
    within,
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
    SortKey,
    Statement,
)

MAX_PATTERN = 256

ARCHITECTURES = frozenset({"aarch64", "aarch64:armv8-r", "arm64"})
FORMATS = frozenset({"elf64-littleaarch64", "elf64-bigaarch64"})

DATA_WIDTHS = {"BYTE": 1, "SHORT": 2, "LONG": 4, "QUAD": 8, "SQUAD": 8}
_SORTS = {
    "SORT": SortKey.NAME,
    "SORT_NONE": None,
    **{key.value: key for key in SortKey},
}


_WITHIN = {SortKey.NAME, SortKey.ALIGNMENT}
"""What may be sorted within another."""


class _Entry(str):
    """The name given to ENTRY."""


@dataclass(frozen=True, slots=True)
class _Apart:
    """The sections given to NOCROSSREFS."""

    line: int
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Alignment:
    """What stands between the colon of an output section and its body."""

    section: Expression | None = None
    input: Expression | None = None
    load: bool = False


class Builder(ExpressionBuilder):
    """One method a production, called as the parser reduces it: nothing here recurses."""

    # The script as a whole

    def start(self, items: Children) -> Script:
        statements: list[Statement] = []
        regions: list[MemoryRegion] = []
        headers: list[Header] = []
        entry: str | None = None
        apart: list[tuple[int, tuple[str, ...]]] = []
        for item in _flatten(items):
            if isinstance(item, MemoryRegion):
                regions.append(item)
            elif isinstance(item, Header):
                headers.append(item)
            elif isinstance(item, _Entry):
                entry = str(item)
            elif isinstance(item, _Apart):
                apart.append((item.line, item.names))
            elif item is not None:
                statements.append(item)
        _refuse_twice(regions, "memory region")
        _refuse_twice(headers, "program header")
        _refuse_late(headers)
        assignments = [item for item in _all_items(statements) if isinstance(item, Assignment)]
        return Script(
            tuple(statements),
            tuple(regions),
            tuple(headers),
            entry,
            tuple(apart),
            frozenset(item.name for item in assignments if not item.provide and item.name != "."),
            _provided(assignments),
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
        if unquoted(items[0]) != "elf64-littleaarch64":
            raise ScriptError(
                items[0].line, f"no output format {items[0]}", hint="elf64-littleaarch64 is"
            )

    def entry(self, items: Children) -> _Entry:
        return _Entry(items[0])

    def apart(self, items: Children) -> _Apart:
        return _Apart(items[0].line, tuple(str(name) for name in items))

    def assign_op(self, items: Children) -> str:
        return str(items[0])

    def assign(self, items: Children) -> Assignment:
        name, operator, value = items
        target = _symbol(name)
        operator = str(operator)
        if operator != "=":
            value = within(name.line, binary, operator[:-1], expression_named(target), value)
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

    def phdr_flags(self, items: Children) -> tuple[str, Expression]:
        return "FLAGS", items[0]

    def phdr_at(self, items: Children) -> tuple[str, Expression]:
        return "AT", items[-1]

    def phdr_holds(self, items: Children) -> tuple[str, bool]:
        return str(items[0]), True

    def phdr(self, items: Children) -> Header:
        name, kind, *options = items
        if str(kind) not in SEGMENT_TYPES:
            raise ScriptError(
                kind.line, f"no segment type {kind}", hint=f"known: {', '.join(SEGMENT_TYPES)}"
            )
        given = dict(options)
        if len(given) < len(options):
            twice = next(one for one in given if [key for key, _ in options].count(one) > 1)
            raise ScriptError(name.line, f"program header {name} has {twice} twice")
        header = Header(
            name.line,
            str(name),
            SEGMENT_TYPES[kind],
            given.get("FLAGS"),
            given.get("AT"),
            "FILEHDR" in given,
            "PHDRS" in given,
        )
        _check_held(header, str(kind))
        return header

    # Output sections

    def output_section(self, items: Children) -> OutputSection:
        name, (address, noload), load, align, body, into, load_into, phdrs, fill = items
        if align.load and align.section is not None:
            raise ScriptError(name.line, f"{name} has ALIGN and ALIGN_WITH_INPUT", hint="use one")
        return OutputSection(
            name.line,
            str(name),
            body,
            address,
            noload,
            load,
            align.section,
            align.input,
            align.load,
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

    fill = at

    def align(self, items: Children) -> _Alignment:
        alignment = _Alignment()
        for item in items:
            if isinstance(item, _Alignment):
                alignment = replace(
                    alignment, input=item.input or alignment.input, load=item.load or alignment.load
                )
            elif isinstance(item, Expression):
                alignment = replace(alignment, section=item)
        return alignment

    def align_part(self, items: Children) -> Expression:
        value: Expression = items[-1]
        return value

    def align_with_input(self, _: Children) -> _Alignment:
        return _Alignment(load=True)

    def subalign(self, items: Children) -> _Alignment:
        return _Alignment(input=items[0])

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

    def pattern(self, items: Children) -> tuple[Pattern, tuple[SortKey, ...]]:
        *sorts, exclude, word = items
        if len(sorts) > 1 and not {_SORTS[one] for one in sorts} <= _WITHIN:
            raise ScriptError(word.line, f"{sorts[1]} within {sorts[0]}", hint="use one of them")
        keys = (_SORTS[sort] for sort in sorts)
        order = tuple(dict.fromkeys(key for key in keys if key is not None))
        return Pattern(_pattern(word), exclude or ()), order

    sorted_pattern = pattern
    sorted_twice = pattern

    def patterns(self, items: Children) -> Children:
        return items

    def input(self, items: Children) -> InputSections:
        exclude, word, patterns = items
        order = next((keys for _, keys in patterns if keys), ())
        if order and len(patterns) > 1:
            raise ScriptError(
                word.line,
                "SORT beside other patterns",
                hint="give SORT(...) an input statement of its own",
            )
        # In front of the file it holds for every pattern.
        found = tuple(Pattern(one.section, (*one.exclude, *(exclude or ()))) for one, _ in patterns)
        return InputSections(word.line, _pattern(word), found, order)

    def kept(self, items: Children) -> InputSections:
        return replace(self.input(items), keep=True)


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
            for part in (item.address, item.load_address, item.align, item.input_align):
                if part is not None:
                    names |= part.names
        elif isinstance(item, Assertion):
            names |= item.check.names
        elif isinstance(item, Data) or (isinstance(item, Assignment) and not item.provide):
            names |= item.value.names
    return frozenset(names)


def _provided(assignments: Sequence[Assignment]) -> dict[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    for item in assignments:
        if item.provide:
            found[item.name] = found.get(item.name, frozenset()) | item.value.names
    return found


def _refuse_twice(items: Sequence[MemoryRegion] | Sequence[Header], what: str) -> None:
    seen: set[str] = set()
    for item in items:
        if item.name in seen:
            raise ScriptError(item.line, f"{what} {item.name} is described twice")
        seen.add(item.name)


def _check_held(header: Header, kind: str) -> None:
    """That the headers in ``header`` are where they can be."""
    if header.type == PT_NOTE and (header.elf or header.table):
        raise ScriptError(header.line, f"headers of the file in {header.name}, a {kind}")
    if header.type == PT_PHDR and (header.elf or not header.table or header.load_address):
        raise ScriptError(
            header.line, f"{header.name} is PT_PHDR", hint="it has PHDRS, and no FILEHDR or AT()"
        )


def _refuse_late(headers: Sequence[Header]) -> None:
    """They are where the file begins: only the first PT_LOAD can hold them."""
    loads = [one for one in headers if one.type == PT_LOAD]
    for one in loads[1:]:
        if one.holds_headers:
            raise ScriptError(
                one.line,
                f"headers of the file in {one.name}, behind another PT_LOAD",
                hint="FILEHDR and PHDRS are of the first PT_LOAD",
            )


def _symbol(token: Token) -> str:
    text = str(token)
    quoted = token.end_pos is not None and token.end_pos - (token.start_pos or 0) > len(text)
    if not quoted and (text[:1].isdigit() or any(c in "*?[]!^+-~/" for c in text)):
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


def _fill(value: Expression, line: int) -> Fill:
    if isinstance(value, Number) and value.hex_digits:
        return Fill(line, value.value.to_bytes((value.hex_digits + 1) // 2, "big"))
    if value.names:
        raise ScriptError(line, "a fill has to be a number", hint="GNU ld reads no symbol there")
    return Fill(line, b"", value)
