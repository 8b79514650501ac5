"""The statements of a unit once its macros, loops and conditionals are carried out.

They are a stream: a condition may ask for a symbol that an earlier statement has set. GNU as's own
macro language, without its alternate mode; what it may cost is bounded, whatever it says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from relokit.codegen.base.budget import STEPS, limits, twice
from relokit.codegen.base.errors import AssemblyError, BudgetError
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.gas.conditions import CONDITIONS, Conditions
from relokit.codegen.gas.includes import Included, file_and_rest, included_by
from relokit.codegen.gas.instructions.arithmetic import parse
from relokit.codegen.gas.instructions.operands import register
from relokit.codegen.gas.lexer import LABELS, LINE_LIMIT, cut, lines_of, without_block_comments
from relokit.codegen.gas.macros import (
    Macro,
    bind_arguments,
    parse_head,
    split_arguments,
    squeezed,
    substituted,
)
from relokit.codegen.gas.unit import UnitState
from relokit.codegen.source import Origin

MAX_DEPTH = 100
"""Macros and loops within one another."""
MAX_NAMED = 8
"""Files that a message names as those which include one another."""
MAX_MACROS = 10_000
MAX_CHARACTERS = 16 << 20
"""Characters that expansion may make."""
STEPS_A_STATEMENT = 4
"""Of the budget, for each of a unit that has macros, those that a condition leaves out, too."""

LANGUAGE = re.compile(
    r"\.(?:macro|rept|irpc?|if|req|purgem|error|warning|endm|endr|else|exitm|include)",
    re.IGNORECASE,
)
"""In a text that has none of these there is nothing to expand."""

_WORD = re.compile(
    r"(?P<word>[A-Za-z_.$][\w.$]*)(?:[ \t]+(?P<rest>.*)|(?P<glued>[^\w.$ \t].*))?",
    re.ASCII | re.DOTALL,
)
_ASSIGNMENT = re.compile(r"[A-Za-z_.$][\w.$]*[ \t]*=(?!=)", re.ASCII)
_ALIAS = re.compile(
    r"(?P<name>[A-Za-z_.$][\w.$]*)[ \t]+\.req[ \t]+(?P<register>\S+)", re.ASCII | re.IGNORECASE
)
_QUOTED = re.compile(r'"(?:\\.|[^"\\])*"')
_TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|[A-Za-z_.$][\w.$]*', re.ASCII)

Item = tuple[str, Origin]


@dataclass(slots=True)
class _Frame:
    """Where statements come from: the unit, a macro's body, a loop, a file included at a place."""

    items: Iterator[Item]
    depth: int
    conditions: int
    name: str = ""
    file: Included | None = None
    place: str = ""


class Expansion:
    """One unit's; ``unit`` knows the symbols that conditions ask for."""

    def __init__(self, unit: UnitState) -> None:
        self._unit = unit
        self._macros: dict[str, Macro] = {}
        self._aliases: dict[str, str] = {}
        self._conditions = Conditions(unit)
        self._frames: list[_Frame] = []
        self._count, self._most = 0, limits()[STEPS] // STEPS_A_STATEMENT
        self._calls = 0
        self._characters = 0

    def statements(self, lines: Iterable[tuple[str, Origin]]) -> Iterator[Item]:
        """Every statement that counts, with where it is from: of an expansion, where the call is.

        Raises AssemblyError, with the place but for what the statement itself is to blame for.
        """
        base = ((text, origin) for line, origin in lines for text in _texts(line, origin))
        self._frames = [_Frame(base, 0, 0)]
        text, origin = "", None
        try:
            while self._frames:
                item = next(self._frames[-1].items, None)
                if item is None:
                    self._leave()
                    continue
                text, origin = item
                for part in self._statement(text, origin):
                    yield part, origin
        except AssemblyError as error:
            raise AssemblyError(
                error.message + self.context,
                where=error.where or (f"{origin.file}:{origin.line}" if origin else None),
                text=error.text or text,
                hint=error.hint,
            ) from None
        except BudgetError as error:
            error.where = error.where or (f"{origin.file}:{origin.line}" if origin else None)
            raise

    @property
    def context(self) -> str:
        """Of the statement that came last: what made it and included it, for a message."""
        inside = [frame.name for frame in self._frames if frame.name]
        told = f", in {' in '.join(reversed(inside[-3:]))}" if inside else ""
        places = [frame.place for frame in reversed(self._frames) if frame.file is not None]
        if len(places) > MAX_NAMED:
            places[MAX_NAMED:] = ["..."]
        return told + "".join(f", included from {place}" for place in places)

    def _leave(self) -> None:
        if self._conditions.count > self._conditions.floor:
            raise AssemblyError(".if without .endif")
        self._pop()

    def _pop(self) -> None:
        self._frames.pop()
        self._conditions.floor = self._frames[-1].conditions if self._frames else 0

    def _charge(self, text: str) -> None:
        self._count += 1
        self._characters += len(text)
        if self._count > self._most:
            raise BudgetError(
                f"macros make more than {self._most:,} statements",
                hint=f"--limit {twice(STEPS)} allows more",
            )
        if len(text) > LINE_LIMIT or self._characters > MAX_CHARACTERS:
            raise AssemblyError(
                f"macros make more text than {LINE_LIMIT} characters a statement, or "
                f"{MAX_CHARACTERS >> 20} MiB in all"
            )

    def _statement(self, text: str, origin: Origin) -> Iterator[str]:
        """What becomes of one statement: itself, nothing, or its labels."""
        self._charge(text)
        labels = LABELS.match(text)
        rest = text[labels.end() :] if labels else text
        word = _WORD.fullmatch(rest)
        name = word["word"].lower() if word else ""
        operands = ((word["rest"] or word["glued"] or "") if word else "").strip(" \t")
        condition = CONDITIONS.get(name)
        if condition is not None:
            if labels and not self._conditions.skipping:
                yield text[: labels.end()]
            condition(self._conditions, operands)
            return
        if self._conditions.skipping:
            return
        own = _DIRECTIVES.get(name)
        macro = None
        if own is None and name in self._macros and not _ASSIGNMENT.match(rest):
            macro = self._macros[name]
        if own is None and macro is None:
            yield from self._plain(text, rest)
            return
        if labels and name in _MACRO:
            raise AssemblyError(
                "a label in front of .macro", hint="it would be the macro's name to GNU as"
            )
        if labels:
            yield text[: labels.end()]
        if own is not None:
            own(self, operands, origin)
        else:
            assert macro is not None
            self._call(macro, operands, origin)

    def _plain(self, text: str, rest: str) -> Iterator[str]:
        alias = _ALIAS.fullmatch(rest)
        if alias is not None:
            canonical = register(self._renamed(alias["register"]))
            if canonical is None:
                raise AssemblyError(f"`{alias['register']}' is no register")
            if len(self._aliases) >= MAX_MACROS:
                raise AssemblyError(f"more than {MAX_MACROS} names for registers")
            # As it stands, and in one case throughout.
            name = alias["name"]
            self._aliases |= dict.fromkeys((name, name.lower(), name.upper()), canonical)
            return
        yield self._renamed(text) if self._aliases and not rest.startswith(".") else text

    def _renamed(self, text: str) -> str:
        """``text`` with registers in place of the names that .req gave them."""
        aliases = self._aliases
        return _TOKEN.sub(lambda match: aliases.get(match[0], match[0]), text)

    # Macros and loops

    def _call(self, macro: Macro, operands: str, origin: Origin) -> None:
        values = bind_arguments(macro, operands)
        count, self._calls = self._calls, self._calls + 1
        expanded = (substituted(one, values, count) for one in macro.body)
        self._enter(_cut_all(expanded, origin), f"macro {macro.name} ({macro.line})")

    def _enter(self, items: Iterator[Item], name: str = "") -> None:
        depth = self._frames[-1].depth + 1
        if depth > MAX_DEPTH:
            raise AssemblyError(f"more than {MAX_DEPTH} macros, loops and files within one another")
        self._conditions.floor = self._conditions.count
        self._frames.append(_Frame(items, depth, self._conditions.floor, name))

    def _body(self, opens: frozenset[str], closes: frozenset[str]) -> tuple[str, ...]:
        """The statements up to the one that closes what was opened."""
        found: list[str] = []
        depth = 1
        for text, _ in self._frames[-1].items:
            self._charge(text)
            labels = LABELS.match(text)
            word = _WORD.match(text, labels.end() if labels else 0)
            name = word["word"].lower() if word else ""
            depth += (name in opens) - (name in closes)
            if not depth:
                return tuple(found)
            found.append(text)
        raise AssemblyError(f"{min(closes)} is missing")

    def _define(self, operands: str, origin: Origin) -> None:
        name, formals = parse_head(operands)
        if name in self._macros:
            raise AssemblyError(f"macro {name} is defined twice", hint=".purgem comes between")
        if len(self._macros) >= MAX_MACROS:
            raise AssemblyError(f"more than {MAX_MACROS} macros")
        body = tuple(_kept(text) for text in self._body(_MACRO, _ENDM))
        self._macros[name] = Macro(name, formals, body, self._place(origin))

    def _place(self, origin: Origin) -> str:
        """Where a macro begins, for a message: in a file that is included, of that file."""
        named = any(frame.file is not None for frame in self._frames)
        return f"{origin.file}:{origin.line}" if named else f"line {origin.line}"

    def _purge(self, operands: str, origin: Origin) -> None:
        for name in split_arguments(operands):
            if self._macros.pop(name.lower(), None) is None:
                raise AssemblyError(f"there is no macro {name}")

    def _repeat(self, operands: str, origin: Origin) -> None:
        count = self._unit.number(parse(operands), ".rept")
        body = self._body(_LOOPS, _ENDR)
        if count < 0:
            raise AssemblyError(f".rept {count}")
        if body:
            texts = (text for _ in range(count) for text in body)
            self._enter(_cut_all(texts, origin), ".rept")

    def _each(self, operands: str, origin: Origin, *, characters: bool = False) -> None:
        name, *values = split_arguments(operands) or [""]
        if not name:
            raise AssemblyError("a loop wants the name of its variable")
        if characters:
            values = list("".join(values))
        body = self._body(_LOOPS, _ENDR)
        texts = (
            substituted(text, {name: value}, self._calls)
            for value in values or [""]
            for text in body
        )
        self._enter(_cut_all(texts, origin), ".irpc" if characters else ".irp")

    def _each_character(self, operands: str, origin: Origin) -> None:
        self._each(operands, origin, characters=True)

    def _exit(self, operands: str, origin: Origin) -> None:
        """``.exitm``: leave the macro or loop, and the conditions opened in it."""
        if not self._frames[-1].name:
            raise AssemblyError(".exitm outside of a macro")
        self._conditions.close_own()
        self._pop()

    def _stray(self, operands: str, origin: Origin) -> None:
        raise AssemblyError("an end without its beginning")

    def _unalias(self, operands: str, origin: Origin) -> None:
        name = operands.strip()
        if name not in self._aliases:
            raise AssemblyError(f"`{operands}' names no register")
        for one in (name, name.lower(), name.upper()):
            self._aliases.pop(one, None)

    def _include(self, operands: str, origin: Origin) -> None:
        includes = included_by(self._unit.includes, ".include")
        name, rest = file_and_rest(operands)
        if rest:
            raise AssemblyError("wants one file")
        place = f"{origin.file}:{origin.line}"
        file, text = includes.text(name, place)
        if any(one.file is not None and one.file.key == file.key for one in self._frames):
            raise AssemblyError(f"`{name}' includes itself")
        lines = lines_of(file.where, without_block_comments(text, file.where))
        self._enter((text, at) for line, at in lines for text in _texts(line, at))
        self._frames[-1].file, self._frames[-1].place = file, place

    def _error(self, operands: str, origin: Origin) -> None:
        raise AssemblyError(operands.strip('"') or ".error")

    def _warn(self, operands: str, origin: Origin) -> None:
        if operands.strip(" \t"):
            self._say(operands, origin)

    def _say(self, operands: str, origin: Origin) -> None:
        """.print, as .warning, says something to whoever assembles, and changes nothing."""
        if not _QUOTED.fullmatch(operands.strip(" \t")):
            raise AssemblyError("wants a string in double quotes")


def _texts(line: str, origin: Origin) -> Iterator[str]:
    try:
        yield from cut(line)
    except AssemblyError as error:
        raise AssemblyError(
            error.message, where=f"{origin.file}:{origin.line}", text=line, hint=error.hint
        ) from None


def _cut_all(texts: Iterable[str], origin: Origin) -> Iterator[Item]:
    """What is between the separators: an argument may have brought some."""
    for text in texts:
        if len(text) > LINE_LIMIT:
            raise AssemblyError(
                f"a macro makes a statement of more than {LINE_LIMIT} characters",
                where=f"{origin.file}:{origin.line}",
            )
        for one in cut(text):
            yield one, origin


def _kept(text: str) -> str:
    """A statement as GNU as keeps it in a body: without blanks beside operators."""
    labels = LABELS.match(text)
    start = labels.end() if labels else 0
    word = _WORD.fullmatch(text, start)
    if word is None or word["rest"] is None:
        return text
    return f"{text[:start]}{word['word']} {squeezed(word['rest'])}"


_DIRECTIVES: dict[str, Callable[[Expansion, str, Origin], None]] = {
    ".macro": Expansion._define,
    ".purgem": Expansion._purge,
    ".rept": Expansion._repeat,
    ".rep": Expansion._repeat,
    ".irp": Expansion._each,
    ".irpc": Expansion._each_character,
    ".exitm": Expansion._exit,
    ".endm": Expansion._stray,
    ".endr": Expansion._stray,
    ".unreq": Expansion._unalias,
    ".error": Expansion._error,
    ".err": Expansion._error,
    ".warning": Expansion._warn,
    ".print": Expansion._say,
    ".include": Expansion._include,
}
_MACRO, _ENDM = frozenset((".macro",)), frozenset((".endm",))
_LOOPS, _ENDR = frozenset((".rept", ".rep", ".irp", ".irpc")), frozenset((".endr",))
