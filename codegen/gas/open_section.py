"""A section while it is being filled, and what is to be filled into it later."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator
from dataclasses import field
from itertools import chain
from typing import NamedTuple

from relokit.codegen.base.errors import AssemblyError
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.gas.instructions.arithmetic import Expr, Sym
from relokit.codegen.gas.instructions.fields import AbsoluteField, Field
from relokit.codegen.gas.instructions.insn import AsmInstruction
from relokit.codegen.object import SectionFlag, SectionType, SourceLine, SourceLines

PACKED = 256
"""Texts of instructions that are put together."""

_CODE = SectionType.PROGBITS, SectionFlag.ALLOC | SectionFlag.EXEC
_DATA = SectionType.PROGBITS, SectionFlag.ALLOC | SectionFlag.WRITE
_ZEROS = SectionType.NOBITS, SectionFlag.ALLOC | SectionFlag.WRITE
_CONSTANTS = SectionType.PROGBITS, SectionFlag.ALLOC
# Type and flags of a section that comes without (GNU as; gABI, "Special Sections"): those of a name
# and of name.anything, and those of a name only.
_KNOWN = {
    ".text": _CODE,
    ".data": _DATA,
    ".bss": _ZEROS,
    ".rodata": _CONSTANTS,
    ".noinit": _ZEROS,
    ".persistent": _DATA,
    ".gnu.linkonce.b": _ZEROS,
    ".gnu.linkonce.n": _ZEROS,
    ".gnu.linkonce.p": _DATA,
}
_EXACT = {
    ".init": _CODE,
    ".fini": _CODE,
    ".plt": _CODE,
    ".got": _DATA,
    ".data1": _DATA,
    ".rodata1": _CONSTANTS,
    ".persistent.bss": _ZEROS,
    ".note.GNU-stack": (SectionType.PROGBITS, SectionFlag(0)),
}
_REWRITTEN = frozenset((".eh_frame", ".debug_frame"))
# GNU as gives these types or flags that an Object does not have.
_OTHER = re.compile(
    r"\.(?:(?:preinit|init|fini)_array|tdata|tbss|rela?)(?:\..*)?"
    r"|\.(?:dynamic|hash|symtab|strtab|stab|stabstr|gnu\.lto_.*)",
    re.DOTALL,
)


class Fixup(NamedTuple):
    """Bytes to be filled in at the end: a field of an instruction, or a datum of so many bytes."""

    offset: int
    expr: Expr
    kind: Field | AbsoluteField | int


class Fixups:
    """Those of a section, as columns."""

    __slots__ = ("_exprs", "_kinds", "_offsets")

    def __init__(self) -> None:
        self._offsets = array("I")
        self._exprs: list[Expr] = []
        self._kinds: list[Field | AbsoluteField | int] = []

    def append(self, offset: int, expr: Expr, kind: Field | AbsoluteField | int) -> None:
        self._offsets.append(offset)
        self._exprs.append(expr)
        self._kinds.append(kind)

    def __iter__(self) -> Iterator[Fixup]:
        return map(Fixup, self._offsets, self._exprs, self._kinds)


class Texts:
    """Instructions of a section that the encoder is asked for: what they are by their offset, of
    those that wait for symbols an empty text. Most of them are as bytes.
    """

    __slots__ = ("_last", "_offsets", "_packed")

    def __init__(self) -> None:
        self._offsets = array("I")
        self._packed: list[bytes] = []
        self._last: list[str] = []

    def append(self, offset: int, text: str) -> None:
        self._offsets.append(offset)
        self._last.append(text)
        if len(self._last) == PACKED:
            self._packed.append("\n".join(self._last).encode())
            self._last.clear()

    def __iter__(self) -> Iterator[tuple[int, str]]:
        packed = (text for block in self._packed for text in block.decode().split("\n"))
        return zip(self._offsets, chain(packed, self._last), strict=True)


@dataclass(slots=True, eq=False)
class Literal:
    """An entry of the literal pool; ``label`` is where it will lie."""

    expr: Expr
    size: int
    label: Sym
    source: SourceLine


@dataclass(slots=True, eq=False)
class SectionState:
    """A section being filled. ``data`` stays empty for NOBITS; ``size`` always counts.

    A ``subsection`` is filled as a section of its own until the unit is complete.
    """

    index: int
    name: str
    type: SectionType
    flags: SectionFlag
    entsize: int = 0
    explicit: bool = True
    subsection: int = 0
    align: int = 1
    size: int = 0
    stretch: int = 0
    """How often its size was not known at once to GNU as: at alignments and ``.org``."""
    data: bytearray = field(default_factory=bytearray)
    lines: SourceLines = field(default_factory=SourceLines)
    fixups: Fixups = field(default_factory=Fixups)
    texts: Texts = field(default_factory=Texts)
    waiting: list[tuple[int, AsmInstruction]] = field(default_factory=list)
    """Instructions with numbers that are not known yet, by their offset."""
    literals: list[Literal] = field(default_factory=list)
    pool: dict[object, Sym] = field(default_factory=dict)
    """By size and value, where a literal that is in ``literals`` will lie."""
    mapping: list[tuple[int, bool]] = field(default_factory=list)

    def map(self, code: bool) -> None:
        """From here on: instructions, or data (AAELF64, "Mapping symbols")."""
        mapping = self.mapping
        if mapping and mapping[-1][1] == code:
            return
        if not mapping and not self.flags & SectionFlag.EXEC:
            if not code:
                return
            if self.size:
                mapping.append((0, False))
        if mapping and mapping[-1][0] == self.size:
            mapping.pop()
        mapping.append((self.size, code))

    def append(self, other: SectionState) -> None:
        """Put all of ``other`` behind what is there, which must be aligned for it."""
        base = self.size
        self.align = max(self.align, other.align)
        self.data += other.data
        self.size += other.size
        self.lines.extend(other.lines, base)
        for offset, expr, kind in other.fixups:
            self.fixups.append(base + offset, expr, kind)
        for offset, text in other.texts:
            self.texts.append(base + offset, text)
        self.waiting += [(base + offset, one) for offset, one in other.waiting]
        self.mapping += [(base + offset, code) for offset, code in other.mapping]


def data_bytes(value: int, size: int) -> bytes:
    """``value`` in ``size`` little-endian bytes, signed or unsigned; AssemblyError if too big."""
    bits = 8 * size
    if not -(1 << (bits - 1)) <= value < 1 << bits:
        raise AssemblyError(f"{value} does not fit in {size} byte{'s' if size > 1 else ''}")
    return (value & ((1 << bits) - 1)).to_bytes(size, "little")


def usual_attributes(name: str) -> tuple[SectionType, SectionFlag]:
    """Type and flags of a section that comes without: by its name, as GNU as does.

    Raises AssemblyError for a name that stands for a type which relokit does not write.
    """
    if name in _REWRITTEN:
        raise AssemblyError(f"GNU as rewrites what is in {name}", hint="use the .cfi directives")
    if _OTHER.fullmatch(name):
        raise AssemblyError(f"{name} is a section of a type that relokit does not write")
    if name in _EXACT:
        return _EXACT[name]
    for known, attributes in _KNOWN.items():
        if name == known or name.startswith(known + "."):
            return attributes
    if name.startswith(".note"):
        return SectionType.NOTE, SectionFlag(0)
    return SectionType.PROGBITS, SectionFlag(0)
