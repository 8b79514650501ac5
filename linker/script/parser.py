"""Script text to :class:`~relokit.linker.script.statements.Script` (grammar: ``ldscript.lark``)."""

from __future__ import annotations

from functools import lru_cache
from re import findall, search, split
from typing import TYPE_CHECKING

from relokit.codegen.base.errors import LinkError
from relokit.codegen.source import Unit
from relokit.linker.script.statements import DISCARD, Script, ScriptError, line_text, place
from relokit.linker.script.words import NO_PART, NOT_CARRIED_OUT, WHERE_LISTED

if TYPE_CHECKING:
    from lark.exceptions import UnexpectedInput

MAX_TEXT = 256 * 1024
GLUED = r"\A[\w.$~?-]+(?:[-+*/&|<>]*[=:,][\w.$]*|/\*)"
"""A name and an operator, a comma or a comment, with no space between."""


def parse_script(script: Unit) -> Script:
    """Parse a script; the same text is parsed once a process.

    Raises LinkError with file, line and column, the line itself and what could have stood there.
    """
    if len(script.text) > MAX_TEXT:
        raise LinkError(
            f"a linker script of {len(script.text)} bytes",
            where=script.name,
            hint=f"at most {MAX_TEXT} bytes are read",
        )
    try:
        return _parse(script.text)
    except ScriptError as fault:
        column = f":{fault.column}" if fault.column else ""
        raise LinkError(
            fault.message,
            where=place(script, fault.line) + column,
            text=line_text(script, fault.line),
            hint=fault.hint,
        ) from None


@lru_cache(maxsize=64)
def _parse(text: str) -> Script:
    from lark.exceptions import UnexpectedInput, VisitError

    from relokit.linker.script.grammar import parser

    try:
        statements = parser().parse(text)
    except UnexpectedInput as error:
        raise _syntax_fault(text, error) from None
    except VisitError as error:
        raise error.orig_exc from None
    assert isinstance(statements, Script)
    return statements


def _syntax_fault(text: str, error: UnexpectedInput) -> ScriptError:
    position = error.pos_in_stream
    ended = getattr(getattr(error, "token", None), "type", "") == "$END"
    at = len(text.rstrip()) if ended or position is None else position
    line = text.count("\n", 0, at) + 1
    column = at - (text.rfind("\n", 0, at) + 1) + 1
    here = search(r"\A\w*", text[at : at + 80])
    statement = split(r"[;{}]", text[max(0, at - 200) : at])[-1] + (here[0] if here else "")
    for word in findall(r"\w+", statement):
        if word in NOT_CARRIED_OUT:
            return ScriptError(line, f"{word} {NO_PART}", column=column, hint=WHERE_LISTED)
    if text.startswith("/*", at):
        return ScriptError(line, "a comment that does not end", column=column)
    if glued := search(GLUED, text[at : at + 80]):
        return ScriptError(
            line,
            f"{glued[0]!r} is one name to GNU ld",
            column=column,
            hint="put a space between",
        )
    if at >= len(text.rstrip()):
        got = "the end of the script"
    else:
        shown = search(r"\A(?:[\w.$]+|\S)", text[at : at + 40])
        got = repr(shown[0]) if shown else repr(text[at])
    names = (
        getattr(error, "accepts", None)
        or getattr(error, "expected", None)
        or getattr(error, "allowed", None)
    )
    # What it may be before the words it may be.
    readable = sorted(
        (_readable(name) for name in names or ()), key=lambda one: (one[0] == "'", one)
    )
    wanted = ", ".join(readable[:12])
    return ScriptError(
        line,
        f"syntax error at {got}",
        column=column,
        hint=f"expected {wanted}" if wanted else None,
    )


_TERMINALS = {
    "$END": "the end",
    "NAME": "a name",
    "OUTNAME": "a section or symbol name",
    "WORD": "a file pattern or symbol name",
    "NUMBER": "a number",
    "STRING": "a quoted string",
    "OPERATOR": "an operator",
    "SIGN": "a sign",
    "EXTREME": "MIN, MAX",
    "SECTION_FACT": "ADDR, LOADADDR, SIZEOF, ALIGNOF",
    "REGION_FACT": "ORIGIN, LENGTH",
    "_ORIGIN": "ORIGIN",
    "_LENGTH": "LENGTH",
    "_COMMA": "','",
    "ASSIGN_WITHIN": "an assignment operator with a space behind it",
    "ATTRIBUTES": "region attributes",
    "SORT": "SORT",
    "DISCARD": DISCARD,
    "REFUSED_OPTION": "FLAGS",
}


def _readable(terminal: str) -> str:
    if terminal in _TERMINALS:
        return _TERMINALS[terminal]
    from relokit.linker.script.grammar import parser

    pattern = parser().get_terminal(terminal).pattern
    return f"{pattern.value!r}" if pattern.type == "str" else terminal
