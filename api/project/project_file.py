"""``relokit.toml``: a project's options, severities, thresholds, and findings that it accepts."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import field
from datetime import date
from itertools import starmap
from pathlib import Path
from typing import Any

from relokit.codegen.base.errors import FormatError
from relokit.codegen.base.host_file import read_small
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.base.suggestion import meant
from relokit.runtime.judge.rules.severity import Severity

NAME = "relokit.toml"
MAX_FILE = 1 << 18
"""Bytes of such a file."""
EVERY_COMMAND = "options"
"""The table of options for every command that has them."""
THRESHOLDS = {
    "instructions": "of a relocation, from the jump to the new kernel: run, matrix, judge, kexec",
    "changed": "instructions, of --all functions, that differ: diff",
    "survivors": "mutants that are not killed: mutate",
}
"""Most there may be, of what, and the commands that look at it."""
_KEYS = ("rule", "reason", "until", "place")

EXAMPLE = """\
# What relokit does in this directory when it is not told otherwise (docs/projects.md).
# What is on the command line comes before what is here.

[options]                       # for every command that has them
# code-from = ["relocate_kernel.o"]
# kernel = "vmlinuz"

[run]
# page-size = "64k"
# el = "vhe"

[matrix]                        # targets and paths
# series = "15"
# el = "nvhe,vhe"
# path = "normal,crash"

[thresholds]
# instructions = 70000          # of a relocation, from the jump to the new kernel
# changed = 10                  # differences of 'relokit diff'
# survivors = 3                 # of 'relokit mutate'

[severities]                    # error, warning or note, in place of the book's
# "caches.optional" = "note"

# [[suppress]]                  # a finding that is known, and until when it is accepted
# rule = "handoff.x1"
# place = "relocate_kernel.S.j2:131"
# reason = "harmless today; to be mended with the next series"
# until = 2027-01-31
"""


@dataclass(frozen=True, slots=True)
class Suppression:
    """Findings of ``rule`` that are accepted for a ``reason`` up to and with the day ``until``.

    ``place`` is a file and line or a symbol, None for every place; ``where`` is where it stands.
    """

    rule: str
    reason: str
    until: date
    place: str | None = None
    where: str = ""


@dataclass(frozen=True, slots=True)
class ProjectFile:
    """What is in such a file. ``options`` are by command and, within, as on the command line
    without the dashes. ``thresholds`` are by what they bound, of THRESHOLDS.
    """

    where: str
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    severities: Mapping[str, Severity] = field(default_factory=dict)
    suppressions: tuple[Suppression, ...] = ()
    thresholds: Mapping[str, int] = field(default_factory=dict)
    text: str = field(default="", repr=False)

    def at(self, table: str, key: str) -> str:
        """Where a key of a table stands: the file, and the line if it is found."""
        line = line_of(self.text, table, key)
        return self.where if line is None else f"{self.where}:{line}"


def read_project(
    path: Path, commands: frozenset[str], rules: Callable[[], Collection[str]]
) -> ProjectFile:
    """The project in the file ``path``; ``commands`` are those that a table may be called as, and
    ``rules`` names what may be found, if that is asked for.

    Raises FormatError for a file that is not one, naming what in it is wrong, and its line.
    """
    import tomllib

    where = str(path)
    data = read_small(path, what="a relokit.toml ('relokit init' makes one)", limit=MAX_FILE)
    try:
        text = data.decode()
        tables = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"is no TOML: {error}", where=where) from None
    return _TomlReader(where, text, rules).project(tables, commands)


def line_of(text: str, table: str, key: str | None = None, number: int = 0) -> int | None:
    """The line, from 1, of a ``key`` of a ``table`` of TOML, or of its head; of an array of tables
    that of table ``number``. None where it is not written as a line of its own.
    """
    inside, seen = table == "", -1
    for line, content in enumerate(text.splitlines(), start=1):
        head = _HEAD.match(content)
        if head:
            inside = _unquoted(head[1]) == table
            seen += inside
            if inside and key is None and seen == number:
                return line
        elif key is not None and inside and seen in (number, -1):
            assigned = _KEY.match(content)
            if assigned and _unquoted(assigned[1]) == key:
                return line
    return None


_HEAD = re.compile(r"\s*\[\[?\s*([^\]]+?)\s*\]")
_KEY = re.compile(r"""\s*("[^"]*"|'[^']*'|[\w.-]+)\s*=""")


def _unquoted(name: str) -> str:
    return name[1:-1] if name[:1] in ("'", '"') else name


@dataclass(frozen=True, slots=True)
class _TomlReader:
    where: str
    text: str
    rules: Callable[[], Collection[str]]

    def project(self, tables: Mapping[str, Any], commands: frozenset[str]) -> ProjectFile:
        """All tables; each that is unknown is refused, so that nothing is without effect."""
        known = {EVERY_COMMAND, "severities", "suppress", "thresholds", *commands}
        for name, table in tables.items():
            if name not in known:
                said = f"there is no table [{name[:40]}]"
                raise self.unknown(said, name, known, name, None)
            kind = list if name == "suppress" else dict
            if not isinstance(table, kind):
                raise self.wrong(f"{name} is no table", "see 'relokit init --print'", "", name)
        thresholds = tables.get("thresholds", {})
        self.only(thresholds, tuple(THRESHOLDS), "thresholds")
        severities = tables.get("severities", {})
        for rule in severities:
            self.rule(rule, "severities", rule)
        return ProjectFile(
            self.where,
            {name: tables[name] for name in (EVERY_COMMAND, *sorted(commands)) if name in tables},
            {rule: self.severity(text, rule) for rule, text in severities.items()},
            tuple(starmap(self.suppression, enumerate(tables.get("suppress", ())))),
            {name: self.threshold(thresholds, name) for name in thresholds},
            self.text,
        )

    def suppression(self, number: int, table: Any) -> Suppression:
        """One of those that have a reason and an end."""
        if not isinstance(table, dict):
            raise self.wrong("suppress is no array of tables", "write [[suppress]]", "", "suppress")
        self.only(table, _KEYS, "suppress", number)
        until = self.typed(table, "until", date, "suppress", number)
        if type(until) is not date:
            hint = "give a date: 2027-01-31"
            raise self.wrong("suppress.until has a time of day", hint, "suppress", "until", number)
        reason = self.typed(table, "reason", str, "suppress", number)
        if not reason.strip():
            hint = "say why it is accepted"
            raise self.wrong("suppress.reason is empty", hint, "suppress", "reason", number)
        rule = self.typed(table, "rule", str, "suppress", number)
        self.rule(rule, "suppress", "rule", number)
        place = self.typed(table, "place", str, "suppress", number) if "place" in table else None
        return Suppression(rule, reason, until, place, self.at("suppress", None, number))

    def threshold(self, thresholds: Mapping[str, Any], name: str) -> int:
        """How many of ``name`` there may be."""
        most: int = self.typed(thresholds, name, int, "thresholds")
        if most < 0:
            said = f"thresholds.{name} is {most!r:.60}"
            raise self.wrong(said, "give 0 for none of them", "thresholds", name)
        return most

    def typed(
        self, table: Mapping[str, Any], key: str, kind: type, name: str, number: int = 0
    ) -> Any:
        """The value of a key, which has this type."""
        if key not in table:
            hint = f"it needs one: {kind.__name__}"
            raise self.wrong(f"{name} has no {key}", hint, name, None, number)
        value = table[key]
        if not isinstance(value, kind) or isinstance(value, bool):
            hint = f"it has to be {kind.__name__}"
            raise self.wrong(f"{name}.{key} is {value!r:.60}", hint, name, key, number)
        return value

    def only(
        self, table: Mapping[str, Any], keys: tuple[str, ...], name: str, number: int = 0
    ) -> None:
        """Refuse any other key."""
        for key in table:
            if key not in keys:
                raise self.unknown(f"{name} has no {key[:40]!r}", key, keys, name, key, number)

    def rule(self, rule: str, table: str, key: str, number: int = 0) -> None:
        """Refuse the name of a rule that nothing is found by."""
        known = self.rules()
        if rule not in known:
            hint = f"{meant(rule, known)}'relokit explain' lists all rules"
            raise self.wrong(f"there is no rule {rule[:60]!r}", hint, table, key, number)

    def severity(self, text: Any, rule: str) -> Severity:
        """A severity by name."""
        try:
            return Severity(text)
        except ValueError:
            said = f"severities.{rule} is {text!r:.60}"
            hint = f"it has to be {_and(Severity)}"
            raise self.wrong(said, hint, "severities", rule) from None

    def unknown(
        self,
        message: str,
        word: str,
        known: Collection[str],
        table: str,
        key: str | None,
        number: int = 0,
    ) -> FormatError:
        """A ``word`` that is none of those that are ``known``."""
        return self.wrong(
            message, f"{meant(word, known)}there are {_and(known)}", table, key, number
        )

    def at(self, table: str, key: str | None, number: int = 0) -> str:
        """The file, and the line if it is found."""
        line = line_of(self.text, table, key, number)
        return self.where if line is None else f"{self.where}:{line}"

    def wrong(
        self, message: str, hint: str, table: str, key: str | None = None, number: int = 0
    ) -> FormatError:
        """What is wrong in the file, and where."""
        return FormatError(message, where=self.at(table, key, number), hint=hint)


def _and(names: Any) -> str:
    return ", ".join(sorted(map(str, names)))
