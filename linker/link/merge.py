"""Several Objects into one, as ``ld -r`` does: sections of one name joined, nothing relocated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field, replace

from relokit.codegen.base.errors import LinkError
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.object import (
    ABSOLUTE,
    UNDEFINED,
    Binding,
    Object,
    Relocation,
    Section,
    SectionType,
    SourceLine,
    SourceLines,
    Symbol,
    SymbolType,
)


@dataclass(slots=True)
class _Joined:
    """An output section under way, sizes in bytes."""

    first: Section
    align: int = 1
    size: int = 0
    data: bytearray = field(default_factory=bytearray)
    relocations: list[Relocation] = field(default_factory=list)
    lines: SourceLines = field(default_factory=SourceLines)

    def append(self, section: Section, name: str) -> int:
        """Take over contents and line map; returns the offset they got."""
        base = (self.size + section.align - 1) // section.align * section.align
        self.align = max(self.align, section.align)
        self.size = base + section.size
        if section.type is not SectionType.NOBITS:
            self.data += bytes(base - len(self.data))
            self.data += section.data
        if section.lines:
            self.lines.extend(section.lines, base)
        elif self.lines and section.size:
            self.lines.append(base, SourceLine(name, 0, ""))
        return base


def merge_objects(objects: Sequence[Object], name: str) -> Object:
    """Join ``objects`` into one called ``name``.

    Sections of one name, type, flags and entry size are joined in order, each aligned as it
    asks. Local symbols all stay, global ones become one each. Raises LinkError for a symbol
    defined twice.
    """
    joined: dict[object, _Joined] = {}
    numbers: dict[object, int] = {}
    places: list[list[tuple[int, int]]] = []
    for item in objects:
        row = []
        for section in item.sections:
            key = (section.name, section.type, section.flags, section.entsize)
            if key not in joined:
                numbers[key] = len(joined)
                joined[key] = _Joined(section)
            row.append((numbers[key], joined[key].append(section, item.name)))
        places.append(row)
    symbols, renumbered = _join_symbols(objects, places)
    targets = list(joined.values())
    for unit, item in enumerate(objects):
        for section, (number, base) in zip(item.sections, places[unit], strict=True):
            for relocation in section.relocations:
                if not 0 <= relocation.symbol < len(item.symbols):
                    raise LinkError(
                        f"a relocation of {section.name} names symbol {relocation.symbol}, "
                        "which does not exist",
                        where=item.name,
                    )
                symbol, shift = renumbered[unit][relocation.symbol]
                targets[number].relocations.append(
                    Relocation(
                        base + relocation.offset,
                        relocation.type,
                        symbol,
                        relocation.addend + shift,
                    )
                )
    sections = tuple(
        replace(
            part.first,
            align=part.align,
            data=bytes(part.data),
            size=part.size,
            relocations=tuple(part.relocations),
            lines=part.lines,
        )
        for part in targets
    )
    return Object(name, sections, tuple(symbols))


def _join_symbols(
    objects: Sequence[Object], places: Sequence[Sequence[tuple[int, int]]]
) -> tuple[list[Symbol], list[list[tuple[int, int]]]]:
    """The joined table, and for each old symbol its new number and what addends grow by."""
    local: list[Symbol] = []
    section_symbols: dict[int, int] = {}
    shared: dict[str, Symbol] = {}
    owners: dict[str, str] = {}
    renumbered: list[list[tuple[int, int]]] = []
    late: list[tuple[int, int, str]] = []
    for unit, item in enumerate(objects):
        row: list[tuple[int, int]] = []
        for index, symbol in enumerate(item.symbols):
            moved, base = _moved(item, symbol, places[unit])
            if symbol.type is SymbolType.SECTION and moved.section >= 0:
                if moved.section not in section_symbols:
                    section_symbols[moved.section] = len(local)
                    local.append(replace(moved, value=0))
                row.append((section_symbols[moved.section], base))
            elif symbol.binding is Binding.LOCAL:
                row.append((len(local), 0))
                local.append(moved)
            else:
                late.append((unit, index, symbol.name))
                row.append((-1, 0))
                _join_global(shared, owners, item, moved)
        renumbered.append(row)
    numbers = {name: len(local) + at for at, name in enumerate(shared)}
    for unit, index, name in late:
        renumbered[unit][index] = (numbers[name], 0)
    return local + list(shared.values()), renumbered


def _moved(item: Object, symbol: Symbol, places: Sequence[tuple[int, int]]) -> tuple[Symbol, int]:
    if symbol.section in (UNDEFINED, ABSOLUTE):
        return symbol, 0
    if not 0 <= symbol.section < len(places):
        raise LinkError(
            f"symbol {symbol.name} is in section number {symbol.section}, which does not exist",
            where=item.name,
        )
    number, base = places[symbol.section]
    return replace(symbol, section=number, value=symbol.value + base), base


def _join_global(
    shared: dict[str, Symbol], owners: dict[str, str], item: Object, symbol: Symbol
) -> None:
    name = symbol.name
    other = shared.get(name)
    if other is None:
        shared[name] = symbol
        owners[name] = item.name
        return
    hidden = other.hidden or symbol.hidden
    chosen = other
    if symbol.section == UNDEFINED:
        if other.section == UNDEFINED and symbol.binding is Binding.GLOBAL:
            chosen = symbol
    elif other.section == UNDEFINED:
        chosen = symbol
    elif symbol.binding is Binding.GLOBAL and other.binding is Binding.GLOBAL:
        raise LinkError(
            f"symbol {name} is defined twice",
            where=item.name,
            hint=f"also defined in {owners[name]}",
        )
    elif symbol.binding is Binding.GLOBAL:
        chosen = symbol
    if chosen is symbol:
        owners[name] = item.name
    shared[name] = replace(chosen, hidden=hidden)
