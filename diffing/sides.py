"""What a person names, read as a Side: a target, assembly, an object, an ELF file, a kernel."""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from relokit.codegen.aarch64_elf import RelocationType
from relokit.codegen.encoder import Encoder
from relokit.codegen.errors import FormatError, TargetError
from relokit.codegen.layouts import KimageLayout, layout_named
from relokit.codegen.object import Object, Section, SectionFlag, SourceLine, SymbolType
from relokit.codegen.series import COMPLETE, Feature, parse_state
from relokit.codegen.target import Regime, Target, parse_page_size
from relokit.diffing.routine import (
    MAX_ROUTINE,
    MAX_ROUTINES,
    DiffError,
    Extent,
    Names,
    Routine,
    Side,
)
from relokit.linker.host_file import map_file
from relokit.linker.image import Image

PREFIX = "series:"
MAX_FILE = 1 << 30
ELF_MAGIC = b"\x7fELF"
ET_REL = 1
RELOCATION = "arm64_relocate_new_kernel"
GETS_KIMAGE = frozenset({RELOCATION, "machine_kexec", "machine_kexec_post_load"})
"""Routines whose first argument is a struct kimage."""

MAX_TOTAL = 1 << 24
"""Bytes of all routines of one side; overlapping ones count each."""
_NAME_ONE = "name one of them: FILE:symbol"

SECTION_GAP = 1 << 32
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


@dataclass(frozen=True, slots=True)
class Operand:
    """``text`` is a target or a path, ``symbol`` the routine asked for, if one was."""

    text: str
    symbol: str | None


def parse_operand(text: str) -> Operand:
    """Split ``WHAT[:symbol]``; a file that has a colon in its name is taken as a whole."""
    prefix = PREFIX if text.startswith(PREFIX) else ""
    what, colon, symbol = text[len(prefix) :].rpartition(":")
    if not colon or (not prefix and Path(text).exists()):
        return Operand(text, None)
    if not what or not symbol:
        raise DiffError(f"{text!r} names no routine", hint="give WHAT or WHAT:symbol")
    return Operand(prefix + what, symbol)


def parse_target(text: str) -> Target:
    """Read ``series:12,page=16k,el=vhe,va=48,layout=6.1``; raises TargetError."""
    state, _, settings = text.removeprefix(PREFIX).partition(",")
    number = parse_state(state)
    return replace(parse_settings(settings), series=number)


def parse_settings(text: str) -> Target:
    """Read ``page=16k,el=vhe,va=48,layout=6.1``, any of them or none; raises TargetError."""
    values: dict[str, object] = {}
    for setting in text.split(",") if text else ():
        name, _, value = setting.partition("=")
        if name not in _SETTINGS:
            raise TargetError(
                f"no {name!r} in a target", where=text, hint=f"known: {', '.join(_SETTINGS)}"
            )
        field, read = _SETTINGS[name]
        if field in values:
            raise TargetError(f"{name} is given twice", where=text)
        values[field] = read(value)
    return Target(**values)  # type: ignore[arg-type]


def _regime(text: str) -> Regime:
    try:
        return Regime(text)
    except ValueError:
        known = ", ".join(Regime)
        raise TargetError(f"no regime {text!r}", hint=f"choose {known}") from None


def _bits(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 3:
        raise TargetError(f"{text!r} is no number of bits")
    return int(text)


_SETTINGS: Mapping[str, tuple[str, Callable[[str], object]]] = {
    "page": ("page_size", parse_page_size),
    "va": ("va_bits", _bits),
    "el": ("regime", _regime),
    "layout": ("layout", layout_named),
}


def read_sides(left: str, right: str, encoder: Callable[[], Encoder]) -> tuple[Side, Side]:
    """Read both operands; a symbol that only one of them names is meant for both.

    ``encoder`` is asked for when there is something to assemble. Raises RelokitError.
    """
    operands = parse_operand(left), parse_operand(right)
    symbols = [one.symbol or other.symbol for one, other in (operands, (operands[1], operands[0]))]
    first = read_side(operands[0].text, symbols[0], encoder)
    return first, read_side(operands[1].text, symbols[1], encoder)


def read_side(text: str, symbol: str | None, encoder: Callable[[], Encoder]) -> Side:
    """Read one operand: all its routines, or the one called ``symbol``; raises RelokitError."""
    if text.startswith(PREFIX):
        side = _target_side(parse_target(text), encoder())
    else:
        content = map_file(text, what="assembly, an ELF file or a kernel", limit=MAX_FILE)
        if text.endswith((".S", ".s")):
            side = _source_side(text, content, encoder())
        elif content[:4] == ELF_MAGIC:
            side = _elf_side(text, content, symbol)
        else:
            side = _kernel_side(text, symbol)
    return _chosen(side, symbol)


def _chosen(side: Side, symbol: str | None) -> Side:
    if symbol is None:
        if not side.routines:
            raise DiffError("has no routine to compare", where=side.name)
        return side
    if symbol not in side.routines:
        some = ", ".join(list(side.routines)[:8])
        raise DiffError(
            f"no routine {symbol!r}",
            where=side.name,
            hint=f"it has {some}{' ...' if len(side.routines) > 8 else ''}" if some else None,
        )
    return replace(side, name=f"{side.name}:{symbol}", routines={symbol: side.routines[symbol]})


def _target_side(target: Target, encoder: Encoder) -> Side:
    from relokit.codegen.build import KERNEL
    from relokit.linker.program import build_program

    return built_side(build_program(KERNEL, target, encoder).image, target)


def built_side(image: Image, target: Target, *, data: bool = False) -> Side:
    """The routines of ``image``, which was built for ``target``; its sized data too if ``data``."""
    readers = GETS_KIMAGE
    if not target.has(Feature.KIMAGE_ARGUMENT):
        readers -= {RELOCATION}
    return image_side(image, target.name, layout=target.layout, readers=readers, data=data)


def _source_side(path: str, content: memoryview, encoder: Encoder) -> Side:
    from relokit.codegen.assembler import TEXT_LIMIT, assemble
    from relokit.codegen.source import Unit

    if len(content) > TEXT_LIMIT:
        raise FormatError(f"longer than {TEXT_LIMIT >> 20} MiB", where=path)
    try:
        text = bytes(content).decode()
    except UnicodeDecodeError as error:
        raise FormatError(f"not UTF-8 text: byte {error.start}", where=path) from None
    return object_side(assemble(Unit.from_text(path, text), encoder.encode), path)


def _elf_side(path: str, content: memoryview, symbol: str | None) -> Side:
    from relokit.linker.elf_reader import read_image, read_object

    kind = struct.unpack_from("<H", content, 16)[0] if len(content) >= 18 else None
    if kind == ET_REL:
        return object_side(read_object(content, path), path, wanted=symbol)
    return image_side(read_image(content, path), path, wanted=symbol)


def _kernel_side(path: str, symbol: str | None) -> Side:
    from relokit.linker.btf import kimage_layout_from
    from relokit.linker.kallsyms import read_kallsyms
    from relokit.linker.kernel_file import open_kernel
    from relokit.linker.shipped import (
        HYP_VECTORS,
        KEXEC_VECTORS,
        shipped_image,
        shipped_series,
    )

    kernel = open_kernel(path)
    symbols = read_kallsyms(kernel.image, where=path)
    layout: KimageLayout | None
    try:
        layout = kimage_layout_from(kernel.image, where=path)
    except FormatError:
        layout = None  # Without BTF fields are shown as numbers; all else can be compared.
    base = symbols.link_base
    # Those that are cut out by what is known of them: kallsyms has no sizes.
    known = (RELOCATION, HYP_VECTORS, KEXEC_VECTORS)
    if symbol is not None and symbol in symbols and symbol not in known:
        names = Names(zip((base + at for at in symbols.offsets), symbols.names, strict=True))
        at = symbols.offset(symbol)
        size = min(symbols.end(at) - at, MAX_ROUTINE) & ~3
        code = bytes(kernel.image[at : at + size]) if at >= 0 else b""
        if not code or len(code) % 4:
            raise FormatError(f"{symbol} is not in the Image", where=path)
        only = Routine(symbol, base + at, code, kimage_argument=symbol in GETS_KIMAGE)
        return Side(path, {symbol: only}, names, layout)
    image = shipped_image(kernel, symbols)
    readers = GETS_KIMAGE
    if shipped_series(image) != COMPLETE:
        readers -= {RELOCATION}
    named = [(base + at, name) for at, name in zip(symbols.offsets, symbols.names, strict=True)]
    return image_side(image, path, layout=layout, readers=readers, named=named)


def image_side(
    image: Image,
    name: str,
    *,
    layout: KimageLayout | None = None,
    readers: frozenset[str] = frozenset(),
    named: Iterable[tuple[int, str]] = (),
    wanted: str | None = None,
    data: bool = False,
) -> Side:
    """The functions of ``image``, or the one that is ``wanted``; its sized objects if ``data``.

    ``readers`` get a struct kimage, ``named`` are more addresses with names.
    """
    places: list[tuple[int, int, int, str]] = []
    objects: set[str] = set()
    addresses = list(named)
    for symbol in image.symbols:
        if symbol.section < 0 or not _is_name(symbol.name):
            continue
        if symbol.type is SymbolType.FUNC or symbol.type is SymbolType.OBJECT:
            addresses.append((symbol.value, symbol.name))
        is_data = data and symbol.type is SymbolType.OBJECT and symbol.size >= 4
        if is_data:
            objects.add(symbol.name)
        if symbol.type is SymbolType.FUNC or is_data:
            places.append((symbol.section, symbol.value, symbol.size, symbol.name))
    routines: dict[str, Routine] = {}
    for index, address, size, symbol_name in _extents(
        places, {i: s.va + s.size for i, s in enumerate(image.sections)}, wanted
    ):
        section = image.sections[index]
        start = address - section.va
        executable = section.flags & SectionFlag.EXEC or symbol_name in objects
        if not executable or start < 0:
            continue
        code = bytes(section.data[start : start + size])
        if code and len(code) == size:
            found = Routine(
                symbol_name,
                address,
                code,
                kimage_argument=symbol_name in readers,
                section=section.name,
                lines=_lines(section.lines, start, size),
                data=symbol_name in objects,
            )
            routines.setdefault(symbol_name, found)
    extents = [
        Extent(section.name, section.va, section.size)
        for section in image.sections
        if section.flags & SectionFlag.EXEC
    ]
    return Side(name, routines, Names(addresses), layout, sections=tuple(extents))


def object_side(unit: Object, name: str, *, wanted: str | None = None) -> Side:
    """The functions of ``unit`` (where none is declared one, its labels), or what is ``wanted``.

    Sections are SECTION_GAP apart, and what other units define has addresses beyond them all.
    """
    bases = [SECTION_GAP * (index + 1) for index in range(len(unit.sections))]
    beyond = SECTION_GAP * (len(bases) + 1)
    addresses: list[int] = []
    named: list[tuple[int, str]] = []
    kinds: dict[SymbolType, list[tuple[int, int, int, str]]] = {}
    for number, symbol in enumerate(unit.symbols):
        inside = 0 <= symbol.section < len(bases)
        address = bases[symbol.section] + symbol.value if inside else beyond + number * SECTION_GAP
        addresses.append(address)
        if not _is_name(symbol.name):
            continue
        named.append((address, symbol.name))
        if inside:
            place = symbol.section, address, symbol.size, symbol.name
            kinds.setdefault(symbol.type, []).append(place)
    places = kinds.get(SymbolType.FUNC) or kinds.get(SymbolType.NOTYPE, [])
    ends = {index: base + unit.sections[index].size for index, base in enumerate(bases)}
    fixups = [_fixups(section, addresses) for section in unit.sections]
    routines: dict[str, Routine] = {}
    for index, address, size, symbol_name in _extents(places, ends, wanted):
        section = unit.sections[index]
        start = address - bases[index]
        code = section.data[start : start + size]
        if not section.flags & SectionFlag.EXEC or not code or len(code) != size:
            continue
        own = {at - start: to for at, to in fixups[index].items() if start <= at < start + size}
        found = Routine(
            symbol_name,
            address,
            bytes(code),
            own,
            section=section.name,
            lines=_lines(section.lines, start, size),
        )
        routines.setdefault(symbol_name, found)
    extents = [
        Extent(section.name, base, section.size)
        for section, base in zip(unit.sections, bases, strict=True)
        if section.flags & SectionFlag.EXEC
    ]
    return Side(name, routines, Names(named), part=True, sections=tuple(extents))


def _lines(
    lines: tuple[tuple[int, SourceLine], ...], start: int, size: int
) -> tuple[tuple[int, SourceLine], ...]:
    """Those of a section's ``lines`` that are within a routine, by offset in it."""
    first = max(bisect_right(lines, start, key=lambda entry: entry[0]) - 1, 0)
    last = bisect_right(lines, start + size - 1, key=lambda entry: entry[0])
    return tuple((max(offset - start, 0), line) for offset, line in lines[first:last])


def _fixups(section: Section, addresses: list[int]) -> dict[int, int]:
    return {
        one.offset: addresses[one.symbol] + one.addend
        for one in section.relocations
        if one.type in _REFERRING and 0 <= one.symbol < len(addresses)
    }


def _extents(
    places: list[tuple[int, int, int, str]], ends: Mapping[int, int], wanted: str | None
) -> Iterator[tuple[int, int, int, str]]:
    """(section, address, size, name) with whole words and a size for what has none: to the next."""
    starts = sorted({(section, address) for section, address, _, _ in places})
    if wanted is not None:
        places = [place for place in places if place[3] == wanted]
    if len(places) > MAX_ROUTINES:
        raise DiffError(
            f"{len(places)} routines, more than the {MAX_ROUTINES} compared at once", hint=_NAME_ONE
        )
    total = 0
    for section, address, size, name in places:
        if not size:
            at = bisect_right(starts, (section, address))
            following = starts[at] if at < len(starts) else None
            here = following is not None and following[0] == section
            size = (following[1] if here and following else ends[section]) - address
        size = min(size, MAX_ROUTINE) & ~3
        total += max(size, 0)
        if total > MAX_TOTAL:
            raise DiffError(f"routines of more than {MAX_TOTAL} bytes", hint=_NAME_ONE)
        if address % 4 == 0 and size > 0:
            yield section, address, size, name


def _is_name(name: str) -> bool:
    """Whether this is more than a mapping symbol (AAELF64) or a local label."""
    return bool(name) and not name.startswith(("$", ".L"))
