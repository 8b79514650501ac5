"""Macros of GNU as (its manual, "Macro"): heads, arguments of a call, what a body becomes."""

from __future__ import annotations

import re
from collections.abc import Mapping

from relokit.codegen.base.errors import AssemblyError
from relokit.codegen.base.nouns import dataclass

_NAME = re.compile(r"[A-Za-z_.$][\w.$]*", re.ASCII)
_KEYWORD = re.compile(r"(?P<name>[A-Za-z_.$][\w.$]*)=(?!=)", re.ASCII)
_QUALIFIER = re.compile(r":(req|vararg)", re.ASCII)
_REFERENCE = re.compile(
    r"\\(?:(?P<empty>\(\))|(?P<count>@)|(?P<name>[A-Za-z_.$][\w.$]*)'?)"
    r"|&(?P<joined>[A-Za-z_.$][\w.$]*)&?",
    re.ASCII,
)
# A constant of one character, if it is in no string.
_CHARACTER = re.compile(
    r'"(?:\\.|[^"\\])*"?|\'(?:\\(?P<escaped>[ -~])|(?P<plain>[ -\[\]-~]))\'?', re.ASCII
)
_ESCAPED = {"b": 8, "t": 9, "n": 10, "f": 12, "r": 13}
_GAP = re.compile(r'"(?:\\.|[^"\\])*"?|[ \t]+', re.ASCII)
_WORD_CHARACTERS = frozenset('abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.$\\"')
_OPENERS = {"(": ")", "[": "]"}
MAX_FORMALS = 64


@dataclass(frozen=True, slots=True)
class Formal:
    """A parameter; ``required`` ones have no default, a ``rest`` one takes what is left."""

    name: str
    default: str = ""
    required: bool = False
    rest: bool = False


@dataclass(frozen=True, slots=True)
class Macro:
    """A definition: ``body`` is its statements as they stand, ``line`` where it began."""

    name: str
    formals: tuple[Formal, ...]
    body: tuple[str, ...]
    line: str


def squeezed(text: str) -> str:
    """``text`` with the blanks that separate words, and no others; strings stay as they are.

    GNU as has done so before it looks for arguments: ``a + b`` is one, ``a b`` are two.
    """

    def gap(match: re.Match[str]) -> str:
        if match[0][0] == '"':
            return match[0]
        before, after = text[match.start() - 1 : match.start()], text[match.end() : match.end() + 1]
        return " " if before in _WORD_CHARACTERS and after in _WORD_CHARACTERS else ""

    text = text.strip(" \t")
    return _GAP.sub(gap, text)


def parse_head(rest: str) -> tuple[str, tuple[Formal, ...]]:
    """Name and parameters of ``.macro name a, b=1, c:req, d:vararg``. Raises AssemblyError."""
    text = squeezed(rest)
    name = _NAME.match(text)
    if name is None:
        raise AssemblyError(".macro wants a name")
    at = _past_comma(text, name.end())
    formals: list[Formal] = []
    while at < len(text):
        match = _NAME.match(text, at)
        if match is None:
            raise AssemblyError(f"`{text[at:]}' is no parameter of a macro")
        at = match.end()
        qualifier = _QUALIFIER.match(text, at)
        if qualifier is not None:
            at = qualifier.end()
        default = ""
        if text.startswith("=", at):
            default, at = _argument(text, at + 1)
        kind = qualifier[1] if qualifier else ""
        formals.append(Formal(match[0], default, kind == "req", kind == "vararg"))
        at = _past_comma(text, at)
    names = [formal.name for formal in formals]
    if len(set(names)) != len(names):
        raise AssemblyError(f"macro {name[0]} has two parameters of one name")
    if len(names) > MAX_FORMALS:
        raise AssemblyError(f"macro {name[0]} has more than {MAX_FORMALS} parameters")
    if any(formal.rest for formal in formals[:-1]):
        raise AssemblyError(f"a parameter of macro {name[0]} follows the one that takes the rest")
    return name[0].lower(), tuple(formals)


def bind_arguments(macro: Macro, rest: str) -> dict[str, str]:
    """What each parameter of ``macro`` is in a call with ``rest`` behind its name."""
    text, at = squeezed(rest), 0
    values: dict[str, str] = {}
    names = {formal.name for formal in macro.formals}
    free, named = iter(macro.formals), False
    while at < len(text):
        keyword = _KEYWORD.match(text, at)
        if keyword is not None and macro.formals:
            name, named = keyword["name"], True
            if name not in names:
                raise AssemblyError(f"macro {macro.name} has no parameter {name}")
            if name in values:
                raise AssemblyError(f"parameter {name} of macro {macro.name} is given twice")
            values[name], at = _argument(text, keyword.end())
        else:
            formal = next(free, None)
            if named:
                raise AssemblyError(f"an argument by place behind one by name: `{text[at:]}'")
            if formal is None:
                raise AssemblyError(f"too many arguments for macro {macro.name}: `{text[at:]}'")
            if formal.rest:
                values[formal.name], at = text[at:], len(text)
            else:
                values[formal.name], at = _argument(text, at)
        at = _past_comma(text, at)
    for formal in macro.formals:
        if not values.get(formal.name):
            if formal.required:
                raise AssemblyError(f"macro {macro.name} needs its parameter {formal.name}")
            values[formal.name] = formal.default
    return values


def substituted(body: str, values: Mapping[str, str], count: int) -> str:
    """A statement of a body with ``\\name``, ``&name&``, ``\\()`` and ``\\@`` replaced.

    A constant like ``'\\n'`` is a number to GNU as before it looks for parameters, and a quote
    right behind one is taken for its end.
    """

    def number(match: re.Match[str]) -> str:
        escaped, plain = match["escaped"], match["plain"]
        if escaped is None and plain is None:
            return match[0]
        return str(_ESCAPED.get(escaped) or ord(escaped or plain))

    def replace(match: re.Match[str]) -> str:
        if match["empty"]:
            return ""
        if match["count"]:
            return str(count)
        return values.get(match["name"] or match["joined"], match[0])

    if "'" in body:
        body = _CHARACTER.sub(number, body)
    return _REFERENCE.sub(replace, body)


def split_arguments(text: str) -> list[str]:
    """The values of ``.irp``: apart by commas or blanks."""
    text, at = squeezed(text), 0
    found = []
    while at < len(text):
        value, at = _argument(text, at)
        found.append(value)
        at = _past_comma(text, at)
    return found


def _argument(text: str, at: int) -> tuple[str, int]:
    """One argument from ``at`` on, without the quotes of a string, and where it ends."""
    if text.startswith('"', at):
        return _string(text, at)
    open_: list[str] = []
    start = at
    while at < len(text) and text[at] != "," and (open_ or text[at] not in " \t"):
        character = text[at]
        if character in "\"'":
            end = text.find(character, at + 1)
            if end < 0:
                return text[start:], len(text)
            at = end
        elif character in _OPENERS:
            open_.append(_OPENERS[character])
        elif open_ and character == open_[-1]:
            open_.pop()
        at += 1
    return text[start:at], at


def _string(text: str, at: int) -> tuple[str, int]:
    """The inside of the string at ``at``: two quotes are one, a backslash keeps what it stops."""
    found, at = "", at + 1
    while at < len(text):
        if text[at] == "\\":
            found += text[at : at + 2]
            at += 2
        elif text[at] != '"':
            found += text[at]
            at += 1
        elif text.startswith('""', at):
            found += '"'
            at += 2
        else:
            return found, at + 1
    raise AssemblyError("a string that does not end")


def _past_comma(text: str, at: int) -> int:
    """Past blanks, and one comma among them."""
    while at < len(text) and text[at] in " \t":
        at += 1
    if text.startswith(",", at):
        at += 1
        while at < len(text) and text[at] in " \t":
            at += 1
    return at
