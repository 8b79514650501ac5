"""``relokit.toml``: a project's options, severities, thresholds, and findings that it accepts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from datetime import date
from pathlib import Path
from typing import Any

from relokit.codegen.base.errors import FormatError
from relokit.codegen.base.nouns import dataclass
from relokit.runtime.judge.rules.severity import Severity

NAME = "relokit.toml"
MAX_FILE = 1 << 18
"""Bytes of such a file."""
EVERY_COMMAND = "options"
"""The table of options for every command that has them."""
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

    ``place`` is a file and line or a symbol, None for every place.
    """

    rule: str
    reason: str
    until: date
    place: str | None = None


@dataclass(frozen=True, slots=True)
class ProjectFile:
    """What is in such a file. ``options`` are by command and, within, as on the command line
    without the dashes. ``most_instructions`` is the threshold of a relocation's.
    """

    where: str
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    severities: Mapping[str, Severity] = field(default_factory=dict)
    suppressions: tuple[Suppression, ...] = ()
    most_instructions: int | None = None


def read_project(path: Path, commands: frozenset[str]) -> ProjectFile:
    """The project in the file ``path``; ``commands`` are those that a table may be called as.

    Raises FormatError for a file that is not one, naming what in it is wrong.
    """
    import tomllib

    where = str(path)
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_FILE + 1)
    except OSError as error:
        raise FormatError(f"cannot be read: {error.strerror or error}", where=where) from None
    if len(data) > MAX_FILE:
        raise FormatError(f"has more than {MAX_FILE:,} bytes", where=where)
    try:
        tables = tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise FormatError(f"is no TOML: {error}", where=where) from None
    return _TomlReader(where).project(tables, commands)


@dataclass(frozen=True, slots=True)
class _TomlReader:
    where: str

    def project(self, tables: Mapping[str, Any], commands: frozenset[str]) -> ProjectFile:
        """All tables; each that is unknown is refused, so that nothing is without effect."""
        known = {EVERY_COMMAND, "severities", "suppress", "thresholds", *commands}
        for name, table in tables.items():
            if name not in known:
                raise self.wrong(f"there is no table [{name[:40]}]", f"those are {_and(known)}")
            kind = list if name == "suppress" else dict
            if not isinstance(table, kind):
                raise self.wrong(f"{name} is no table", "see 'relokit init --print'")
        thresholds = tables.get("thresholds", {})
        self.only(thresholds, ("instructions",), "thresholds")
        return ProjectFile(
            self.where,
            {name: tables[name] for name in (EVERY_COMMAND, *sorted(commands)) if name in tables},
            {
                rule: self.one_of(Severity, text, f"severities.{rule}")
                for rule, text in tables.get("severities", {}).items()
            },
            tuple(map(self.suppression, tables.get("suppress", ()))),
            self.typed(thresholds, "instructions", int, "thresholds", None),
        )

    def suppression(self, table: Any) -> Suppression:
        """One of those that have a reason and an end."""
        if not isinstance(table, dict):
            raise self.wrong("suppress is no array of tables", "write [[suppress]]")
        self.only(table, _KEYS, "suppress")
        until = self.typed(table, "until", date, "suppress")
        if type(until) is not date:
            raise self.wrong("suppress.until has a time of day", "give a date: 2027-01-31")
        reason = self.typed(table, "reason", str, "suppress")
        if not reason.strip():
            raise self.wrong("suppress.reason is empty", "say why it is accepted")
        rule = self.typed(table, "rule", str, "suppress")
        return Suppression(rule, reason, until, self.typed(table, "place", str, "suppress", None))

    def typed(
        self, table: Mapping[str, Any], key: str, kind: type, name: str, *default: Any
    ) -> Any:
        """The value of a key, which has this type."""
        if key not in table:
            if default:
                return default[0]
            raise self.wrong(f"{name} has no {key}", f"it needs one: {kind.__name__}")
        value = table[key]
        if not isinstance(value, kind) or isinstance(value, bool):
            raise self.wrong(f"{name}.{key} is {value!r:.60}", f"it has to be {kind.__name__}")
        return value

    def only(self, table: Mapping[str, Any], keys: tuple[str, ...], name: str) -> None:
        """Refuse any other key."""
        for key in table:
            if key not in keys:
                raise self.wrong(f"{name} has no {key[:40]!r}", f"it has {_and(keys)}")

    def one_of(self, kind: Callable[[Any], Severity], text: Any, name: str) -> Severity:
        """A severity by name."""
        try:
            return kind(text)
        except ValueError:
            said = f"{name} is {text!r:.60}"
            raise self.wrong(said, f"it has to be {_and(Severity)}") from None

    def wrong(self, message: str, hint: str) -> FormatError:
        """What is wrong in the file."""
        return FormatError(message, where=self.where, hint=hint)


def _and(names: Any) -> str:
    return ", ".join(sorted(map(str, names)))
