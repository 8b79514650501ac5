"""Symbols of a link: which definition counts, which address it has, how the Image lists it.

``Definitions`` stand before the layout, which reads them; ``Symbols`` are what it made of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from relokit.codegen.base.bits import MASK64
from relokit.codegen.base.errors import LinkError
from relokit.codegen.object import (
    ABSOLUTE,
    UNDEFINED,
    Binding,
    Object,
    SectionFlag,
    SectionType,
    Symbol,
    SymbolType,
)
from relokit.linker.image import ImageSymbol
from relokit.linker.link.layout import Layout
from relokit.linker.link.sections import Output, Piece, now_at, place_of, stays_empty
from relokit.linker.script.statements import Script


class Definitions:
    """The shared symbols of all objects, by name.

    ``globals`` has the definition that counts, as (unit, symbol).
    """

    def __init__(self, objects: Sequence[Object], pieces: Sequence[Sequence[Piece]]) -> None:
        """``pieces`` are the sections of each object. Raises LinkError for a second definition."""
        self.objects = objects
        self.pieces = pieces
        self.globals: dict[str, tuple[int, Symbol]] = {}
        self._wanted: set[str] = set()
        for unit, item in enumerate(objects):
            for symbol in item.symbols:
                if symbol.section == UNDEFINED and symbol.binding is not Binding.LOCAL:
                    self._wanted.add(symbol.name)
                elif symbol.binding is not Binding.LOCAL:
                    self._define(unit, symbol)

    def _define(self, unit: int, symbol: Symbol) -> None:
        name = symbol.name
        other = self.globals.get(name)
        if other is None or (other[1].binding is Binding.WEAK and symbol.binding is Binding.GLOBAL):
            self.globals[name] = unit, symbol
        elif symbol.binding is Binding.GLOBAL and other[1].binding is Binding.GLOBAL:
            raise LinkError(
                f"symbol {name} is defined twice",
                where=self._place(unit, symbol),
                hint=f"also defined at {self._place(*other)}",
            )

    def _place(self, unit: int, symbol: Symbol) -> str:
        piece = self.piece_of(unit, symbol)
        return place_of(self.objects, piece, symbol.value) if piece else self.objects[unit].name

    def piece_of(self, unit: int, symbol: Symbol) -> Piece | None:
        """The input section a defined symbol is in, None if it is absolute. Raises LinkError."""
        if symbol.section == ABSOLUTE:
            return None
        if not 0 <= symbol.section < len(self.pieces[unit]):
            raise LinkError(
                f"symbol {symbol.name} is in section number {symbol.section}, which does not exist",
                where=self.objects[unit].name,
            )
        return self.pieces[unit][symbol.section]

    def placed(self) -> dict[str, tuple[Piece | None, int]]:
        """Every definition as its input section, None for an absolute one, and its value there."""
        found: dict[str, tuple[Piece | None, int]] = {}
        for name, (unit, symbol) in self.globals.items():
            piece = self.piece_of(unit, symbol)
            found[name] = (None, symbol.value) if piece is None else now_at(piece, symbol.value)
        return found

    def provided(self, script: Script) -> frozenset[str]:
        """The PROVIDEs that are wanted, and defined by nobody else.

        That is read by an object, by the script, or by one that is wanted.
        """
        free = script.provided.keys() - self.globals.keys() - script.assigned
        found: set[str] = set()
        wanted = free & (self._wanted | script.read)
        while wanted:
            found |= wanted
            read = frozenset().union(*(script.provided[name] for name in wanted))
            wanted = (free & read) - found
        return frozenset(found)


class Symbols:
    """The symbols of one link with their addresses, once the layout has run."""

    def __init__(
        self, definitions: Definitions, layout: Layout, numbers: Mapping[int, int]
    ) -> None:
        """``numbers``: number in the Image of each output section that goes there, by index."""
        self._definitions = definitions
        self._objects = definitions.objects
        self._layout = layout
        self._outputs = layout.outputs
        self._numbers = numbers
        self._addresses: list[dict[int, int | None]] = [{} for _ in definitions.objects]

    def address(self, unit: int, index: int, addend: int) -> int | None:
        """VA of an object's symbol by index; None for a weak one that nobody defines.

        That of a section that was merged is where the byte at ``addend`` went, less that. Raises
        KeyError with the name of an undefined one, IndexError for an index that is out of bounds,
        LinkError for a symbol whose section is not in the image.
        """
        known = self._addresses[unit]
        if index in known:
            return known[index]
        symbol = self._objects[unit].symbols[index]
        address: int | None
        if symbol.type is SymbolType.SECTION and symbol.section != UNDEFINED:
            piece = self._definitions.piece_of(unit, symbol)
            if piece is not None and piece.moved is not None:
                return self._defined_at(unit, replace(symbol, value=symbol.value + addend)) - addend
        if symbol.binding is Binding.LOCAL:
            address = self._defined_at(unit, symbol)
        else:
            address = self.named(symbol.name)
            if address is None and symbol.binding is not Binding.WEAK:
                raise KeyError(symbol.name)
        known[index] = address
        return address

    def named(self, name: str) -> int | None:
        """VA of a shared symbol: the script's own first, then the objects'."""
        value = self._layout.values.get(name)
        if value is not None:
            section, offset = value
            return (offset + self._outputs[section].vma) & MASK64 if section >= 0 else offset
        definition = self._definitions.globals.get(name)
        return None if definition is None else self._defined_at(*definition)

    def _defined_at(self, unit: int, symbol: Symbol) -> int:
        if symbol.section == UNDEFINED:
            raise KeyError(symbol.name)
        piece = self._definitions.piece_of(unit, symbol)
        if piece is None:
            return symbol.value & MASK64
        if piece.output < 0:
            raise LinkError(
                f"reference to {symbol.name or piece.section.name} in section "
                f"{piece.section.name} of {self._objects[unit].name}, which is not in the image",
                hint="it is discarded, or not placed, by the script",
            )
        piece, offset = now_at(piece, symbol.value)
        return (self._outputs[piece.output].vma + piece.offset + offset) & MASK64

    def listed(self) -> tuple[ImageSymbol, ...]:
        """The symbol table of the Image, local symbols first."""
        local: list[ImageSymbol] = []
        shared: list[ImageSymbol] = []
        values = self._layout.values
        for unit, item in enumerate(self._objects):
            for symbol in item.symbols:
                if symbol.section == UNDEFINED or not symbol.name:
                    continue
                if symbol.binding is not Binding.LOCAL:
                    if (
                        symbol.name in values
                        or self._definitions.globals[symbol.name][1] is not symbol
                    ):
                        continue
                elif symbol.type in (SymbolType.SECTION, SymbolType.FILE):
                    continue
                piece = self._definitions.piece_of(unit, symbol)
                if piece is not None and (piece.output < 0 or _is_dropped(symbol, piece)):
                    continue
                entry = self._defined(unit, symbol, piece)
                (local if entry.binding is Binding.LOCAL else shared).append(entry)
        for name, (section, offset) in values.items():
            entry = self._assigned(name, section, offset)
            (local if entry.binding is Binding.LOCAL else shared).append(entry)
        return tuple(local + shared)

    def _defined(self, unit: int, symbol: Symbol, piece: Piece | None) -> ImageSymbol:
        address = self._defined_at(unit, symbol)
        number = self._number(piece.output, address) if piece else ABSOLUTE
        hidden = symbol.binding is not Binding.LOCAL and symbol.name in self._layout.hidden
        binding = Binding.LOCAL if hidden else symbol.binding
        return ImageSymbol(symbol.name, address, symbol.size, binding, symbol.type, number)

    def _assigned(self, name: str, section: int, offset: int) -> ImageSymbol:
        layout = self._layout
        address = offset
        number = ABSOLUTE
        if section >= 0:
            address = (offset + self._outputs[section].vma) & MASK64
            if self._outputs[section].alloc:
                number = self._number(section, address)
        elif name in layout.near:
            number = self._beside(*layout.near[name], address)
        own = self._definitions.globals.get(name)
        source = self._definitions.globals.get(layout.aliases.get(name, "")) or own
        kind = source[1].type if source else SymbolType.NOTYPE
        size = own[1].size if own else 0
        binding = Binding.LOCAL if name in layout.hidden else Binding.GLOBAL
        return ImageSymbol(name, address, size, binding, kind, number)

    def _beside(self, last: int, following: int | None, address: int) -> int:
        """Number in the Image of the section that a place outside of any counts to, as in GNU ld.

        It is ``last``, or where the location counter was assigned since, what is ``following``.
        """
        behind = [
            index
            for index, output in enumerate(self._outputs)
            if output.alloc and index > last and (output.size or stays_empty(output))
        ]
        if following is None:
            chosen = last if last >= 0 else next(iter(behind), None)
        else:
            chosen = next((index for index in behind if index >= following), last)
        return ABSOLUTE if chosen is None or chosen < 0 else self._number(chosen, address)

    def _number(self, index: int, address: int) -> int:
        """Number in the Image of output ``index``, or of the one that stands in for it.

        A symbol of a section that is left out goes to a neighbour, as GNU ld has it: to the one
        that is more like it, by what would put it into the same segment. ABSOLUTE if there is none.
        """
        if index in self._numbers:
            return self._numbers[index]
        before = max((one for one in self._numbers if one < index), default=None)
        after = min((one for one in self._numbers if one > index), default=None)
        if before is None or after is None:
            one = before if after is None else after
            return ABSOLUTE if one is None else self._numbers[one]
        own, low, high = (self._outputs[one] for one in (index, before, after))
        if (loaded(low), low.alloc) != (loaded(high), high.alloc):
            other = high.alloc != own.alloc or (loaded(low) and not loaded(high))
        else:
            differing = next(
                (
                    flag
                    for flag in (SectionFlag.WRITE, SectionFlag.EXEC)
                    if (low.flags ^ high.flags) & flag
                ),
                None,
            )
            if differing is None:
                # Alike: the one behind, if the symbol does not lie before it.
                other = address < high.vma
            else:
                other = bool((high.flags ^ own.flags) & differing)
        return self._numbers[before if other else after]


def _is_dropped(symbol: Symbol, piece: Piece) -> bool:
    """Whether GNU ld leaves it out: a local label (``.L``) of constants that may be merged."""
    mergeable = bool(piece.section.flags & SectionFlag.MERGE)
    return mergeable and symbol.binding is Binding.LOCAL and symbol.name.startswith(".L")


def loaded(output: Output) -> bool:
    """Whether its bytes are loaded from the file."""
    return output.alloc and output.type is not SectionType.NOBITS
