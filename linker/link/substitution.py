"""Foreign routines in place of ours: both lists of objects, ready to be linked as the kernel is.

A foreign section takes the name of ours that it replaces, so that the script places it there. What
else is in the file stays out, but for sections that the routines refer to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from relokit.codegen.base.errors import LinkError
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.object import (
    ABSOLUTE,
    NO_LINES,
    UNDEFINED,
    Binding,
    Object,
    Relocation,
    Section,
    SectionFlag,
    Symbol,
)

MAX_CODE = 1 << 20
"""Bytes that are linked of a foreign object; the routines of a kexec have some 10 thousand."""
WHOLE = frozenset({".kexec_relocate.text", ".hibernate_exit.text"})
"""Sections that a kernel copies and runs as they are."""
UDF = bytes(4)
"""UDF #0: what never runs, since what it needs is not there."""


@dataclass(frozen=True, slots=True)
class Replacement:
    """``unit`` has ``routines``, by symbol; ``digest`` tells it from every other file."""

    unit: Object
    routines: frozenset[str]
    digest: str


def substituted(
    ours: Sequence[Object], theirs: Replacement, scripted: frozenset[str]
) -> tuple[Object, ...]:
    """``ours`` without the routines that ``theirs`` has, and those.

    ``scripted`` are the symbols that the script defines. Raises LinkError for a routine that refers
    to what is nowhere.
    """
    homes = _homes(ours)
    unit = theirs.unit
    wanted = {
        symbol.name: symbol
        for symbol in unit.symbols
        if symbol.name in theirs.routines and symbol.name in homes and symbol.section >= 0
    }
    _refuse_halves(ours, frozenset(wanted), unit.name)
    names = {symbol.section: homes[name][1] for name, symbol in wanted.items()}
    chosen = _closure(unit, names)
    kept = tuple(_without(one, frozenset(wanted)) for one in ours)
    known = frozenset(homes) | scripted
    return (*kept, _part(unit, chosen, names, wanted, known, scripted))


def _homes(ours: Sequence[Object]) -> dict[str, tuple[int, str]]:
    """Unit and section name of every global symbol that ours define."""
    return {
        symbol.name: (number, unit.sections[symbol.section].name)
        for number, unit in enumerate(ours)
        for symbol in unit.symbols
        if symbol.section >= 0 and symbol.binding is not Binding.LOCAL
    }


def _global(symbol: Symbol) -> bool:
    return symbol.binding is not Binding.LOCAL


def _refuse_halves(ours: Sequence[Object], names: frozenset[str], where: str) -> None:
    """Raise LinkError if ``names`` are a part of what is copied as one."""
    for unit in ours:
        for number, section in enumerate(unit.sections):
            if section.name in WHOLE:
                found = {one.name for one in unit.symbols if one.section == number and _global(one)}
                if found & names and found - names:
                    raise LinkError(
                        f"has {', '.join(sorted(found & names))} without "
                        f"{', '.join(sorted(found - names))}, which is copied with it",
                        where=where,
                        hint="give what has both, or --series: in later states they are apart",
                    )


def _without(unit: Object, names: frozenset[str]) -> Object:
    """``unit`` with ``names`` left to others; sections that have nothing else are emptied."""
    globals_in: dict[int, set[str]] = {}
    for symbol in unit.symbols:
        if symbol.section >= 0 and symbol.binding is not Binding.LOCAL:
            globals_in.setdefault(symbol.section, set()).add(symbol.name)
    gone = {number for number, found in globals_in.items() if found <= names}
    if not any(found & names for found in globals_in.values()):
        return unit
    for number, section in enumerate(unit.sections):
        if number not in gone:
            gone -= {
                symbol.section
                for one in section.relocations
                if (symbol := unit.symbols[one.symbol]).binding is Binding.LOCAL
            }
    sections = tuple(
        replace(section, data=b"", size=0, relocations=(), lines=NO_LINES)
        if number in gone
        else section
        for number, section in enumerate(unit.sections)
    )
    return _renumbered(replace(unit, sections=sections), gone, names)


def _renumbered(unit: Object, gone: set[int], names: frozenset[str]) -> Object:
    """Without local symbols of the sections that are ``gone``; ``names`` are undefined."""
    numbers: dict[int, int] = {}
    symbols: list[Symbol] = []
    for number, symbol in enumerate(unit.symbols):
        if symbol.section in gone and symbol.name not in names:
            continue
        numbers[number] = len(symbols)
        if symbol.section >= 0 and symbol.name in names:
            symbol = replace(symbol, section=UNDEFINED, value=0, size=0)
        symbols.append(symbol)
    sections = tuple(
        replace(
            section,
            relocations=tuple(
                replace(one, symbol=numbers[one.symbol]) for one in section.relocations
            ),
        )
        for section in unit.sections
    )
    return replace(unit, sections=sections, symbols=tuple(symbols))


def _closure(unit: Object, first: Mapping[int, str]) -> tuple[int, ...]:
    """The sections ``first``, and the code and constants that they refer to, and so on."""
    chosen = set(first)
    todo = sorted(chosen)
    total = 0
    while todo:
        section = unit.sections[todo.pop()]
        total += section.size
        if total > MAX_CODE:
            raise LinkError(
                f"section {section.name} and what belongs to it have more than {MAX_CODE} bytes",
                where=unit.name,
                hint="give the object of the routine's own file (relocate_kernel.o), or vmlinux",
            )
        for one in section.relocations:
            to = unit.symbols[one.symbol].section
            if to >= 0 and to not in chosen and _constant(unit.sections[to]):
                chosen.add(to)
                todo.append(to)
    return tuple(sorted(chosen))


def _constant(section: Section) -> bool:
    flags = section.flags
    return bool(flags & SectionFlag.EXEC) or (
        bool(flags & SectionFlag.ALLOC) and not flags & SectionFlag.WRITE
    )


def _part(
    unit: Object,
    chosen: tuple[int, ...],
    names: Mapping[int, str],
    wanted: Mapping[str, Symbol],
    known: frozenset[str],
    scripted: frozenset[str],
) -> Object:
    """The ``chosen`` sections of ``unit``, with the symbols that are in them or that they need."""
    places = {number: at for at, number in enumerate(chosen)}
    numbers: dict[int, int] = {}
    symbols: list[Symbol] = []
    for number, symbol in enumerate(unit.symbols):
        if symbol.section >= 0:
            if symbol.section not in places:
                continue
            if symbol.name in scripted:
                symbol = Symbol(symbol.name, UNDEFINED, 0, binding=Binding.GLOBAL)
            else:
                binding = Binding.GLOBAL if symbol.name in wanted else Binding.LOCAL
                symbol = replace(symbol, section=places[symbol.section], binding=binding)
        elif symbol.section == UNDEFINED:
            weak = symbol.binding is Binding.WEAK
            if not weak and symbol.name not in known:
                continue
        elif symbol.section == ABSOLUTE:
            symbol = replace(symbol, binding=Binding.LOCAL)
        numbers[number] = len(symbols)
        symbols.append(symbol)
    sections = []
    for number in chosen:
        section = unit.sections[number]
        found = [one for one in section.relocations if one.symbol in numbers]
        missing = [one for one in section.relocations if one.symbol not in numbers]
        _refuse_needed(unit, section, missing, tuple(_spans(section, number, wanted)))
        sections.append(
            replace(
                section,
                name=names.get(number, section.name),
                data=_with_undefined(section.data, missing),
                relocations=tuple(replace(one, symbol=numbers[one.symbol]) for one in found),
            )
        )
    return Object(unit.name, tuple(sections), tuple(symbols))


def _spans(section: Section, number: int, wanted: Mapping[str, Symbol]) -> Iterator[range]:
    """The bytes of ``section`` that run: its routines, all of it where a kernel copies it all."""
    if section.name in WHOLE:
        yield range(section.size)
    for symbol in wanted.values():
        if symbol.section == number:
            end = symbol.value + symbol.size if symbol.size else section.size
            yield range(symbol.value, end)


def _refuse_needed(
    unit: Object, section: Section, missing: Sequence[Relocation], spans: tuple[range, ...]
) -> None:
    for one in missing:
        if any(one.offset in span for span in spans):
            symbol = unit.symbols[one.symbol].name or "another section"
            raise LinkError(
                f"it refers to {symbol}, which neither it nor what it is linked with defines",
                where=f"{unit.name}:({section.name}+{one.offset:#x})",
                hint="what is copied has to be complete in itself; link it with what defines that "
                "(ld -r), or give the vmlinux",
            )


def _with_undefined(data: bytes, missing: Sequence[Relocation]) -> bytes:
    if not missing:
        return data
    changed = bytearray(data)
    for one in missing:
        at = one.offset & ~3
        changed[at : at + 4] = UDF
    return bytes(changed[: len(data)])
