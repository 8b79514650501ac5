"""The assembler: rendered GNU as text to an Object; instructions are encoded by an Encoder."""

from __future__ import annotations

from relokit.codegen.base.budget import FIXED, STEPS, budgeted, limits, spend, twice
from relokit.codegen.base.errors import AssemblyError, BudgetError
from relokit.codegen.gas.directives import directive, move_to
from relokit.codegen.gas.emit import Encode, finish, located
from relokit.codegen.gas.expansion import LANGUAGE, Expansion
from relokit.codegen.gas.includes import Includes
from relokit.codegen.gas.instructions.arithmetic import parse
from relokit.codegen.gas.lexer import (
    Statement,
    StatementKind,
    lines_of,
    parse_line,
    without_block_comments,
)
from relokit.codegen.gas.unit import UnitState
from relokit.codegen.object import Object, SourceLine
from relokit.codegen.source import Unit

TEXT_LIMIT = 16 << 20
"""Characters in one unit."""
STATEMENT_BYTES = 400
"""Of memory, for what is kept of a statement until the unit is complete."""
GRANT = 256
"""Statements that are asked of the budget at a time."""


@budgeted()
def assemble(unit: Unit, encode: Encode, includes: Includes | None = None) -> Object:
    """Assemble ``unit``; ``encode`` turns a list of instructions into 4 bytes each, or a message.
    It may read no other files than those of ``includes``.

    The text is GNU as syntax: sections, labels, alignment, data, symbols, expressions, relocation
    operators, macros and conditionals. A statement that is not understood is
    an AssemblyError naming the template and line it came from; nothing is dropped. Raises
    NativeCrashError if the encoder dies.
    """
    if len(unit.text) > TEXT_LIMIT:
        raise AssemblyError(
            f"{unit.name} is longer than {TEXT_LIMIT >> 20} MiB",
            hint=f"{FIXED}: give it in several files, and bytes by .incbin",
        )
    text = without_block_comments(unit.text, unit.name)
    spend(2 * len(text), "assembly text", unit.name)
    state = UnitState(includes)
    lines = lines_of(unit.name, text, unit.origins)
    expansion = Expansion(state) if LANGUAGE.search(text) else None
    if expansion is not None:
        lines = expansion.statements(lines)
    count = granted = 0
    for line, origin in lines:
        source = None
        try:
            for statement in parse_line(line):
                count += 1
                state.source = source = SourceLine(origin.file, origin.line, statement.text)
                _carry_out(state, statement)
        except AssemblyError as error:
            if expansion is not None:
                error.message += expansion.context
            where = source or SourceLine(origin.file, origin.line, line)
            raise located(error, where) from None
        if count > granted:
            granted = count + _grant(count, unit.name)
    try:
        for symbol in state.undefined_locals():
            raise AssemblyError(f"no label `{symbol.name[:-1]}:' for `{symbol.name}'")
        if state.frame_open:
            raise AssemblyError("the last .cfi_startproc has no .cfi_endproc")
        return finish(state, unit.name, encode)
    except AssemblyError as error:
        if error.where is not None:
            if includes is not None:
                error.message += includes.came_from(error.where.rpartition(":")[0])
            raise
        raise AssemblyError(
            error.message, where=unit.name, text=error.text, hint=error.hint
        ) from None


def _grant(count: int, where: str) -> int:
    """How many statements may come behind ``count`` of them, until this is asked again."""
    most = limits()[STEPS]
    if count > most:
        raise BudgetError(
            f"more than {most:,} statements",
            where=where,
            hint=f"--limit {twice(STEPS)} allows more",
        )
    more = min(GRANT, most - count)
    spend((more + 1) * STATEMENT_BYTES, "assembly statements", where)
    return more


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
