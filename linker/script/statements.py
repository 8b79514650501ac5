"""The linker script as data; :mod:`relokit.linker.script.parser` makes it.

``docs/ldscript.md`` documents the language. A statement knows its 1-based line in the script's
text; :func:`place` turns that into the template and line it was rendered from.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from relokit.codegen.base.errors import LinkError
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.source import Unit
from relokit.linker.elf_format import PT_LOAD, PT_NOTE, PT_PHDR
from relokit.linker.script.expression import Assert, Expression

SEGMENT_TYPES = {"PT_LOAD": PT_LOAD, "PT_NOTE": PT_NOTE, "PT_PHDR": PT_PHDR}
DISCARD = "/DISCARD/"


@dataclass(frozen=True, slots=True)
class Assignment:
    """``name = value`` (``.`` too). ``provide``: only if wanted; ``hidden``: local afterwards.

    ``alias`` is the other symbol's name where the value is nothing but that symbol.
    """

    line: int
    name: str
    value: Expression
    alias: str | None = None
    provide: bool = False
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class Assertion:
    """``ASSERT(x, "message")`` as a statement."""

    line: int
    check: Assert


class SortKey(Enum):
    """What SORT_BY_* goes by."""

    NAME = "SORT_BY_NAME"
    ALIGNMENT = "SORT_BY_ALIGNMENT"
    PRIORITY = "SORT_BY_INIT_PRIORITY"


@dataclass(frozen=True, slots=True)
class Pattern:
    """One section pattern of an input statement, with the files it leaves out."""

    section: str
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class InputSections:
    """``file(patterns)``; ``order`` is what a single pattern's find is sorted by, first key first.

    Without keys sections come as they are found. ``keep``: GNU ld keeps an empty one, too.
    """

    line: int
    file: str
    patterns: tuple[Pattern, ...]
    order: tuple[SortKey, ...] = ()
    keep: bool = False


@dataclass(frozen=True, slots=True)
class Data:
    """BYTE, SHORT, LONG or QUAD: ``width`` bytes, little-endian."""

    line: int
    width: int
    value: Expression


@dataclass(frozen=True, slots=True)
class Fill:
    """What gaps hold. ``pattern`` if a literal says it byte for byte, else ``value``'s 4 bytes."""

    line: int
    pattern: bytes
    value: Expression | None = None


BodyItem = Assignment | Assertion | InputSections | Data | Fill


@dataclass(frozen=True, slots=True)
class OutputSection:
    """An output section description; the name DISCARD throws its input away.

    ``input_align`` (SUBALIGN) takes the place of every input section's alignment; ``load_aligned``
    (ALIGN_WITH_INPUT) has the load address aligned as the address.
    """

    line: int
    name: str
    body: tuple[BodyItem, ...]
    address: Expression | None = None
    noload: bool = False
    load_address: Expression | None = None
    align: Expression | None = None
    input_align: Expression | None = None
    load_aligned: bool = False
    region: str | None = None
    load_region: str | None = None
    headers: tuple[str, ...] = ()
    fill: Fill | None = None


@dataclass(frozen=True, slots=True)
class MemoryRegion:
    """A MEMORY region; ``attributes`` are for the reader, sections name their region."""

    line: int
    name: str
    attributes: str
    origin: Expression
    length: Expression


@dataclass(frozen=True, slots=True)
class Header:
    """A PHDRS entry: PT_LOAD, PT_NOTE or PT_PHDR, with its FLAGS and AT() if given.

    ``elf`` (FILEHDR) and ``table`` (PHDRS) say that it holds the file's own headers.
    """

    line: int
    name: str
    type: int
    flags: Expression | None = None
    load_address: Expression | None = None
    elf: bool = False
    table: bool = False

    @property
    def holds_headers(self) -> bool:
        """Whether it is loaded with headers of the file in front of its sections."""
        return self.type == PT_LOAD and (self.elf or self.table)


Statement = Assignment | Assertion | OutputSection


@dataclass(frozen=True, slots=True)
class Script:
    """A parsed script, statements in order.

    ``apart`` are lists of output sections that may not refer to one another (NOCROSSREFS), with
    their lines. ``assigned`` are symbols it defines, ``provided`` those that it does if they are
    wanted, with what each then reads; ``read`` are those that it reads in any case.
    """

    statements: tuple[Statement, ...]
    regions: tuple[MemoryRegion, ...]
    headers: tuple[Header, ...]
    entry: str | None
    apart: tuple[tuple[int, tuple[str, ...]], ...]
    assigned: frozenset[str]
    provided: Mapping[str, frozenset[str]]
    read: frozenset[str]


class ScriptError(Exception):
    """An error at a line of the script text, before the origin of that line is known."""

    def __init__(self, line: int | None, message: str, *, column: int = 0, hint: str | None = None):
        super().__init__(message)
        self.line = line or 0
        self.message = message
        self.column = column
        self.hint = hint


def place(script: Unit, line: int) -> str:
    """Return ``file:line`` of a line of the script's text."""
    origins = script.origins
    if not origins:
        return f"{script.name}:{line}"
    origin = origins[min(max(line, 1), len(origins)) - 1]
    return f"{origin.file}:{origin.line}"


def line_text(script: Unit, line: int) -> str | None:
    """Return a line of the script's text, cut to what a message can show."""
    lines = script.text.splitlines()
    return lines[line - 1][:200] if 0 < line <= len(lines) else None


def script_error(script: Unit, line: int, message: str, hint: str | None = None) -> LinkError:
    """A LinkError at a line of the script."""
    return LinkError(message, where=place(script, line), text=line_text(script, line), hint=hint)
