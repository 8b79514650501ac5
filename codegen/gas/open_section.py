"""A section while it is being filled, and what is to be filled into it later."""

from __future__ import annotations

import re
from dataclasses import field

from relokit.codegen.base.errors import AssemblyError
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.gas.instructions.arithmetic import Expr, Sym
from relokit.codegen.gas.instructions.fields import AbsoluteField, Field
from relokit.codegen.gas.instructions.insn import AsmInstruction
from relokit.codegen.object import SectionFlag, SectionType, SourceLine

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


@dataclass(slots=True, eq=False)
class Fixup:
    """Bytes to be filled in at the end: a datum of ``size``, or a field of an instruction."""

    offset: int
    expr: Expr
    source: SourceLine
    size: int = 0
    field: Field | AbsoluteField | None = None


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
    lines: list[tuple[int, SourceLine]] = field(default_factory=list)
    fixups: list[Fixup] = field(default_factory=list)
    pending: list[tuple[int, AsmInstruction, SourceLine]] = field(default_factory=list)
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
        self.lines += [(base + offset, line) for offset, line in other.lines]
        for fixup in other.fixups:
            fixup.offset += base
        self.fixups += other.fixups
        self.pending += [(base + offset, one, source) for offset, one, source in other.pending]
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
