"""An Object as a Side: its sections far apart, its relocations what code and data refer to."""

from __future__ import annotations

from itertools import chain

from relokit.codegen.aarch64_elf import RelocationType
from relokit.codegen.object import (
    ABSOLUTE,
    Binding,
    Object,
    Section,
    SectionFlag,
    SectionType,
    SymbolType,
)
from relokit.diffing.read.data import Area, Pointer, SideData
from relokit.diffing.read.extents import (
    ByOffset,
    by_routine,
    is_named,
    is_writable,
    reaches,
    sized,
    type_hashes,
    with_unnamed,
)
from relokit.diffing.read.routine import Extent, Names, Routine, Side
from relokit.diffing.read.untyped import (
    DataRuns,
    Place,
    branch_targets,
    distinct,
    untyped_routines,
)

SECTION_GAP = 1 << 36
"""Distance of the VAs that the sections of an object are compared at: no reference spans it."""

# What the value of a relocated field is the address of.
_REFERRING = frozenset(
    {
        RelocationType.LD_PREL_LO19,
        RelocationType.ADR_PREL_LO21,
        RelocationType.ADR_PREL_PG_HI21,
        RelocationType.ADR_PREL_PG_HI21_NC,
        RelocationType.ADD_ABS_LO12_NC,
        RelocationType.TSTBR14,
        RelocationType.CONDBR19,
        RelocationType.JUMP26,
        RelocationType.CALL26,
        RelocationType.LDST8_ABS_LO12_NC,
        RelocationType.LDST16_ABS_LO12_NC,
        RelocationType.LDST32_ABS_LO12_NC,
        RelocationType.LDST64_ABS_LO12_NC,
        RelocationType.LDST128_ABS_LO12_NC,
    }
)


def object_side(unit: Object, name: str, *, wanted: str | None = None) -> Side:
    """The routines of ``unit`` (where nothing is declared one, its labels), or what is ``wanted``.

    Sections are SECTION_GAP apart, and what other units define has addresses beyond them all.
    """
    marked = {n for n, one in enumerate(unit.sections) if one.flags & SectionFlag.EXEC}
    # A function is code, whatever its section is.
    executable = marked | {one.section for one in unit.symbols if one.type is SymbolType.FUNC}
    bases = [SECTION_GAP * (index + 1) for index in range(len(unit.sections))]
    beyond = SECTION_GAP * (len(bases) + 1)
    addresses: list[int] = []
    named: list[tuple[int, str]] = []
    functions: list[Place] = []
    labels: list[Place] = []
    referred: set[int] = set()
    things: list[tuple[int, int, str]] = []
    runs = DataRuns(
        (one.section, bases[one.section] + one.value, one.name)
        for one in unit.symbols
        if 0 <= one.section < len(bases)
    )
    for number, symbol in enumerate(unit.symbols):
        inside = 0 <= symbol.section < len(bases)
        address = bases[symbol.section] + symbol.value if inside else beyond + number * SECTION_GAP
        addresses.append(address)
        if symbol.section == ABSOLUTE:
            # A number is what it is, whatever it is called.
            named.append((address, f"{symbol.name or 'number'} = {symbol.value:#x}"))
            continue
        if not is_named(symbol.name) or symbol.type in (SymbolType.SECTION, SymbolType.FILE):
            continue
        named.append((address, symbol.name))
        if inside:
            place = symbol.section, address, symbol.size, symbol.name
            if symbol.type is SymbolType.FUNC:
                functions.append(place)
            elif (
                symbol.type is SymbolType.OBJECT
                or symbol.section not in executable
                or runs.covers(place[:2])
            ):
                things.append((address, symbol.size, symbol.name))
            elif symbol.type is SymbolType.NOTYPE:
                labels.append(place)
                if symbol.binding is not Binding.LOCAL:
                    referred.add(address)
    ends = {index: base + unit.sections[index].size for index, base in enumerate(bases)}
    fixups = [ByOffset(_fixups(section, addresses)) for section in unit.sections]
    pointers = [ByOffset(_pointers(section, addresses)) for section in unit.sections]
    relocated = [ByOffset(_relocated(section, addresses)) for section in unit.sections]
    places = labels
    if functions or any(size for _, _, size, _ in labels):
        for section, base, own in zip(unit.sections, bases, fixups, strict=True):
            if section.flags & SectionFlag.EXEC:
                referred |= branch_targets(section.data, base) | set(own.values())
        places = functions + untyped_routines(functions, labels, referred)
    routines: dict[str, Routine] = {}
    hashes = type_hashes(places, runs)
    code_areas = [(n, bases[n], unit.sections[n].data, unit.sections[n].name) for n in marked]
    places = distinct(with_unnamed(places, ends, code_areas, runs, hashes))
    for index, address, size, symbol_name in sized(places, ends, wanted, hashes):
        section = unit.sections[index]
        start = address - bases[index]
        code = section.data[start : start + size]
        if index not in executable or not code or len(code) != size:
            continue
        found = Routine(
            symbol_name,
            address,
            bytes(code),
            fixups[index].within(start, size),
            {at: (to.address, to.size) for at, to in pointers[index].within(start, size).items()},
            relocated[index].within(start, size),
            section=section.name,
            lines=section.lines.within(start, size),
        )
        routines.setdefault(symbol_name, found)
    extents = [
        Extent(section.name, base, section.size)
        for section, base in zip(unit.sections, bases, strict=True)
        if section.flags & SectionFlag.EXEC
    ]

    # Of the object itself, lines and relocations and all, nothing is kept.
    contents = [section.data for section in unit.sections]

    def content(address: int, size: int) -> bytes:
        number, start = divmod(address - SECTION_GAP, SECTION_GAP)
        return contents[number][start : start + size] if 0 <= number < len(contents) else b""

    own_data = SideData(
        [
            Area(
                section.name,
                base,
                section.size,
                section.data,
                is_writable(section.flags, section.name),
                bool(section.flags & SectionFlag.EXEC),
                own,
            )
            for section, base, own in zip(unit.sections, bases, pointers, strict=True)
        ],
        things + [(at, size, label) for _, at, size, label in set(labels).difference(places)],
        reaches(places, ends, hashes),
        lambda: chain(
            *(own.values() for own in fixups),
            (to.address for own in pointers for to in own.values()),
        ),
        whole=True,
    )
    names = Names(
        named,
        content,
        own_data,
        gap=SECTION_GAP,
        sections={base: one.name for base, one in zip(bases, unit.sections, strict=True)},
    )
    return Side(
        name,
        routines,
        names,
        part=True,
        sections=tuple(extents),
        hashes=by_routine(places, hashes),
        tables=tuple(
            Extent(section.name, base, section.size)
            for section, base in zip(unit.sections, bases, strict=True)
            if wanted is None and _is_table(section)
        ),
    )


def _is_table(section: Section) -> bool:
    """Whether it is loaded, as data; merged constants are compared where they are taken."""
    flags = section.flags
    other = flags & (SectionFlag.EXEC | SectionFlag.MERGE)
    return bool(flags & SectionFlag.ALLOC and not other and section.type is SectionType.PROGBITS)


# Bytes of the data that holds an address, or the distance to it.
_POINTERS: dict[int, int] = {
    RelocationType.ABS64: 8,
    RelocationType.ABS32: 4,
    RelocationType.PREL64: 8,
    RelocationType.PREL32: 4,
}


_DISTANCES = (RelocationType.PREL64, RelocationType.PREL32)


def _pointers(section: Section, addresses: list[int]) -> dict[int, Pointer]:
    """What relocations say of data, by offset; of a kind that is not known here, by its number."""
    return {
        one.offset: Pointer(
            addresses[one.symbol] + one.addend,
            _POINTERS.get(one.type, 0),
            one.type in (RelocationType.PREL64, RelocationType.PREL32, RelocationType.PREL16),
            int(one.type),
        )
        for one in section.relocations
        if one.type not in _REFERRING and 0 <= one.symbol < len(addresses)
    }


def _relocated(section: Section, addresses: list[int]) -> dict[int, tuple[int, int]]:
    """What other relocations say, by offset: their number, and what place it is about."""
    return {
        one.offset: (int(one.type), addresses[one.symbol] + one.addend)
        for one in section.relocations
        if one.type not in _POINTERS
        and one.type not in _REFERRING
        and 0 <= one.symbol < len(addresses)
    }


def _fixups(section: Section, addresses: list[int]) -> dict[int, int]:
    return {
        one.offset: addresses[one.symbol] + one.addend
        for one in section.relocations
        if one.type in _REFERRING and 0 <= one.symbol < len(addresses)
    }
