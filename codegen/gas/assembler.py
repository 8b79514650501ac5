"""The assembler: rendered GNU as text to an Object; instructions are encoded by an Encoder."""

from __future__ import annotations

from functools import lru_cache

from relokit.codegen.base.errors import AssemblyError
from relokit.codegen.gas.arithmetic import parse
from relokit.codegen.gas.directives import directive, move_to
from relokit.codegen.gas.emit import Encode, finish, located
from relokit.codegen.gas.lexer import Statement, StatementKind, parse_line, without_block_comments
from relokit.codegen.gas.unit import UnitState
from relokit.codegen.object import Object, SourceLine
from relokit.codegen.source import Origin, Unit

TEXT_LIMIT = 16 << 20
"""Characters in one unit."""
STATEMENT_LIMIT = 1_000_000
"""Statements in one unit."""


def assemble(unit: Unit, encode: Encode) -> Object:
    """Assemble ``unit``; ``encode`` turns a list of instructions into 4 bytes each, or a message.

    The text is GNU as syntax: sections, labels, alignment, data, symbols, expressions and
    relocation operators, without macros and conditionals. A statement that is not understood is
    an AssemblyError naming the template and line it came from; nothing is dropped. Raises
    NativeCrashError if the encoder dies.
    """
    if len(unit.text) > TEXT_LIMIT:
        raise AssemblyError(f"{unit.name} is longer than {TEXT_LIMIT >> 20} MiB")
    try:
        text = without_block_comments(unit.text)
    except AssemblyError as error:
        raise AssemblyError(error.message, where=unit.name) from None
    state = UnitState()
    count = 0
    origins = unit.origins
    for number, line in enumerate(text.split("\n")):
        origin = origins[number] if number < len(origins) else Origin(unit.name, number + 1)
        source = None
        try:
            for statement in parse_line(line):
                count += 1
                state.source = source = _source(origin.file, origin.line, statement.text)
                _carry_out(state, statement)
        except AssemblyError as error:
            raise located(error, source or _source(origin.file, origin.line, line)) from None
        if count > STATEMENT_LIMIT:
            raise AssemblyError(f"more than {STATEMENT_LIMIT} statements", where=unit.name)
    try:
        if state.stack:
            raise AssemblyError(".pushsection without .popsection")
        for symbol in state.undefined_locals():
            raise AssemblyError(f"no label `{symbol.name[:-1]}:' for `{symbol.name}'")
        return finish(state, unit.name, encode)
    except AssemblyError as error:
        if error.where is not None:
            raise
        raise AssemblyError(
            error.message, where=unit.name, text=error.text, hint=error.hint
        ) from None


@lru_cache(maxsize=16384)
def _source(file: str, line: int, text: str) -> SourceLine:
    return SourceLine(file, line, text)


def _carry_out(state: UnitState, statement: Statement) -> None:
    kind = statement.kind
    if kind is StatementKind.INSTRUCTION:
        assert statement.instruction is not None
        state.instruction(statement.instruction)
    elif kind is StatementKind.DIRECTIVE:
        directive(state, statement.head, statement.rest)
    elif kind is StatementKind.LABEL:
        state.label(statement.head)
    elif kind is StatementKind.LOCAL:
        state.local_label(int(statement.head))
    elif statement.head == ".":
        move_to(state, statement.rest)
    else:
        state.assign(statement.head, parse(statement.rest))
