"""The routines of a linked program as an Object: they keep their bytes, and can be linked anew.

What is copied or runs by its PA has no references that go out of it but to what a kexec never runs,
so that nothing is lost with the addresses.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from relokit.codegen.base.errors import FormatError
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.facts import RELOCATION, VECTOR_TABLE_SIZE
from relokit.codegen.instruction_forms import ADRP, target_of
from relokit.codegen.kexec_routines import (
    BESIDE,
    HIBERNATE_EXIT,
    HIBERNATE_VECTORS,
    HYP_VECTORS,
    KEXEC_VECTORS,
    NAMES,
    RELOCATION_SIZE,
)
from relokit.codegen.object import (
    Binding,
    Object,
    Section,
    SectionFlag,
    SectionType,
    Symbol,
    SymbolType,
)
from relokit.linker.image import Image, ImageSymbol
from relokit.linker.kernel.shipped import RELOCATION_END, RELOCATION_START, STUB_SIZE

EXIT_START, EXIT_END = "__hibernate_exit_text_start", "__hibernate_exit_text_end"
SIZES = {
    HYP_VECTORS: STUB_SIZE,
    KEXEC_VECTORS: VECTOR_TABLE_SIZE,
    HIBERNATE_VECTORS: VECTOR_TABLE_SIZE,
}
"""Bytes of those whose symbol has no size of all that belongs to it."""
WITHIN = {RELOCATION_SIZE: RELOCATION, HIBERNATE_VECTORS: HIBERNATE_EXIT}
"""What is cut together with a routine that it stands behind."""
MIN_ALIGN = 8
HIDDEN = frozenset({RELOCATION_START, RELOCATION_END, EXIT_START, EXIT_END})
"""Bounds, which the script has of its own."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """``va`` up to ``end`` is the routine ``symbol``."""

    symbol: ImageSymbol
    va: int
    end: int


def cut(image: Image, name: str) -> Object:
    """An Object called ``name`` with a section for each routine of a kexec that ``image`` has.

    Raises FormatError for a file of which only the symbols are left, or that has two of one, and
    for a routine that refers to what is not linked with it.
    """
    found = _by_name(image)
    pieces = [
        piece
        for name_ in (*NAMES, *BESIDE)
        if name_ in found and name_ not in WITHIN
        if (piece := _piece(image, found, name_)) is not None
    ]
    sections, symbols = [], []
    for number, piece in enumerate(pieces):
        own = list(_symbols(image, piece, number))
        align = VECTOR_TABLE_SIZE if any(one.name in SIZES for one in own) else MIN_ALIGN
        data = image.read(piece.va, piece.end - piece.va)
        if piece.symbol.name in NAMES and piece.symbol.name != HYP_VECTORS:
            _refuse_outside(image, piece, data)
        flags = SectionFlag.ALLOC | SectionFlag.EXEC
        sections.append(
            Section(
                f".text.{piece.symbol.name}", SectionType.PROGBITS, flags, align, data, len(data)
            )
        )
        symbols += own
    return Object(name, tuple(sections), tuple(symbols))


def _by_name(image: Image) -> dict[str, ImageSymbol]:
    """What is defined, by name; a local symbol only where no other one is so called."""
    found: dict[str, ImageSymbol] = {}
    for one in image.symbols:
        if one.section < 0:
            continue
        other = found.get(one.name)
        local = one.binding is Binding.LOCAL
        if other is None or (other.binding is Binding.LOCAL and not local):
            found[one.name] = one
        elif (
            one.name in NAMES
            and one.value != other.value
            and local == (other.binding is Binding.LOCAL)
        ):
            raise FormatError(
                f"has two routines {one.name}, at {other.value:#x} and {one.value:#x}",
                where=image.name,
                hint="give the object of the one that runs",
            )
    return found


def _piece(image: Image, found: dict[str, ImageSymbol], name: str) -> _Piece | None:
    symbol = found[name]
    section = image.sections[symbol.section]
    last = section.va + section.size
    start, end = symbol.value, symbol.value + SIZES.get(name, symbol.size)
    if name == RELOCATION and RELOCATION_SIZE in found:
        end = found[RELOCATION_SIZE].value + 8
    elif name == RELOCATION and RELOCATION_START in found and RELOCATION_END in found:
        start, end = found[RELOCATION_START].value, found[RELOCATION_END].value
    elif name == HIBERNATE_EXIT and HIBERNATE_VECTORS in found:
        end = found[HIBERNATE_VECTORS].value + VECTOR_TABLE_SIZE
    elif name == HIBERNATE_EXIT and EXIT_START in found and EXIT_END in found:
        start, end = found[EXIT_START].value, found[EXIT_END].value
    if end <= symbol.value:
        following = (one.value for one in found.values() if one.value > symbol.value)
        end = min(following, default=last)
    end = min(end, last)
    if section.type is SectionType.NOBITS:
        raise FormatError(
            f"its section {section.name} has no bytes: only symbols are left of it",
            where=image.name,
            hint="give the file that this one has the debug information of",
        )
    whole = section.va <= start <= symbol.value < end and start % 4 == 0
    return _Piece(symbol, start, end) if whole else None


def _refuse_outside(image: Image, piece: _Piece, data: bytes) -> None:
    """What is at a distance in the program is elsewhere once the routine is copied, or linked anew.

    Of the EL2 stub only parts run in a kexec, and which is not known by its symbol.
    """
    for at, (word,) in enumerate(struct.iter_unpack("<I", data[: len(data) & ~3])):
        here = piece.va + 4 * at
        to = target_of(word, here)
        # Where the page of an ADRP is, its low half is not: that it is copied is never certain.
        if to is None or (piece.va <= to < piece.end and not ADRP.holds(word)):
            continue
        below = [
            one
            for one in image.symbols
            if one.section >= 0 and one.value <= to and one.name[:1] != "$"
        ]
        nearest = max(below, key=lambda one: one.value, default=None)
        name = f"{to:#x}" if nearest is None else f"{nearest.name}+{to - nearest.value:#x}"
        raise FormatError(
            f"{piece.symbol.name}+{here - piece.symbol.value:#x} refers to {name}, which is not "
            "linked with it",
            where=image.name,
            hint="what is copied has to be complete in itself",
        )


def _symbols(image: Image, piece: _Piece, section: int) -> Iterator[Symbol]:
    """What is called something within a piece; only the routine itself is for others."""
    for one in image.symbols:
        own = one == piece.symbol
        beside = WITHIN.get(one.name) == piece.symbol.name
        if one.section < 0 or not piece.va <= one.value < piece.end or one.name in HIDDEN:
            continue
        if not own and not beside and (one.name in NAMES or one.name in BESIDE):
            continue
        if one.name.startswith("$"):
            continue
        rest = piece.end - one.value
        whole = own and (one.name == RELOCATION or not one.size)
        size = rest if whole else min(SIZES.get(one.name, one.size), rest)
        yield Symbol(
            one.name,
            section,
            one.value - piece.va,
            size,
            Binding.GLOBAL if own or beside else Binding.LOCAL,
            SymbolType.FUNC if own else SymbolType.NOTYPE,
        )
