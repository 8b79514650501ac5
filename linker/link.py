"""Link: Objects and a script in, an Image out.

``link`` resolves symbols, lays the sections out by the script, fills the relocated fields and
cuts segments. Every error is a LinkError that names object and place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from relokit.codegen.errors import LinkError
from relokit.codegen.object import (
    ABSOLUTE,
    UNDEFINED,
    Binding,
    Object,
    Relocation,
    SectionFlag,
    SectionType,
    SourceLine,
    Symbol,
    SymbolType,
)
from relokit.codegen.source import Unit
from relokit.linker.image import Image, ImageSymbol, PlacedSection
from relokit.linker.layout import MAX_GAP, MAX_SECTION, MAX_SECTION_ALIGN, Layout, Output, Piece
from relokit.linker.matching import distribute
from relokit.linker.relocate import RelocationError, relocate
from relokit.linker.script import Script, parse_script, place, script_error
from relokit.linker.segments import build_segments

MASK = (1 << 64) - 1
MAX_OBJECTS = 4096
MAX_NOTE = 64 * 1024
NOTE_SECTION = ".note.relokit"

_Definition = tuple[int, Symbol]


def link(
    objects: Sequence[Object],
    script: Unit,
    *,
    name: str,
    defines: Mapping[str, int] | None = None,
    note: bytes | None = None,
) -> Image:
    """Link ``objects`` by ``script`` into an Image called ``name``.

    ``defines`` are absolute symbols from outside (GNU ld's ``--defsym``); ``note`` is the raw
    content of an ELF note, put into ``.note.relokit``. Raises LinkError.
    """
    return _Link(objects, script, name, defines or {}, note).run()


class _Link:
    def __init__(
        self,
        objects: Sequence[Object],
        source: Unit,
        name: str,
        defines: Mapping[str, int],
        note: bytes | None,
    ) -> None:
        if len(objects) > MAX_OBJECTS:
            raise LinkError(f"{len(objects)} objects", hint=f"at most {MAX_OBJECTS} are linked")
        if note is not None and len(note) > MAX_NOTE:
            raise LinkError(f"a build note of {len(note)} bytes", hint=f"at most {MAX_NOTE}")
        self.objects = objects
        self.source = source
        self.name = name
        self.note = note
        self.script: Script = parse_script(source)
        self.pieces = [
            [Piece(unit, section) for section in item.sections] for unit, item in enumerate(objects)
        ]
        for pieces in self.pieces:
            for piece in pieces:
                self._check_section(piece)
        self.defines = {key: value & MASK for key, value in defines.items()}
        self.globals: dict[str, _Definition] = {}
        self.wanted: set[str] = set()
        self._collect()
        self.undefined: dict[str, str] = {}
        self.addresses: list[dict[int, int | None]] = [{} for _ in objects]

    def run(self) -> Image:
        outputs = distribute(
            self.objects, [p for unit in self.pieces for p in unit], self.script, self.source
        )
        self.outputs = outputs
        known = self.globals.keys() | self.defines.keys()
        provided = frozenset(
            name
            for name in self.script.provided
            if name not in known
            and name not in self.script.assigned
            and (name in self.wanted or name in self.script.read)
        )
        definitions: dict[str, tuple[Piece | None, int]] = {
            name: (None, value) for name, value in self.defines.items()
        }
        for name, (unit, symbol) in self.globals.items():
            definitions[name] = self._where(unit, symbol), symbol.value
        self.layout = Layout(self.script, self.source, outputs, definitions, provided)
        self.layout.run()
        kept = [index for index, output in enumerate(outputs) if output.size]
        self.kept = {index: at for at, index in enumerate(kept)}
        _refuse_overlaps(self.source, [outputs[index] for index in kept])
        sections = [self._compose(outputs[index]) for index in kept]
        if self.undefined:
            self._report_undefined()
        if self.note is not None:
            if any(section.name == NOTE_SECTION for section in sections):
                raise LinkError(f"{NOTE_SECTION} is in the script and a note is given too")
            sections.append(
                PlacedSection(
                    NOTE_SECTION,
                    0,
                    0,
                    len(self.note),
                    4,
                    SectionType.NOTE,
                    SectionFlag(0),
                    self.note,
                )
            )
        segments = build_segments(
            self.layout, self.source, [outputs[index] for index in kept], sections
        )
        return Image(self.name, tuple(sections), segments, self._symbols(), self._entry())

    # Symbols

    def _check_section(self, piece: Piece) -> None:
        section = piece.section
        stored = 0 if section.type is SectionType.NOBITS else section.size
        if section.align < 1 or section.align & (section.align - 1):
            problem = f"alignment {section.align}, no power of two"
        elif section.align > MAX_SECTION_ALIGN or not 0 <= section.size <= MAX_SECTION:
            problem = f"alignment {section.align} and size {section.size}, out of bounds"
        elif len(section.data) != stored:
            problem = f"{len(section.data)} bytes of data, {stored} are announced"
        else:
            return
        raise LinkError(
            f"section {section.name} has {problem}", where=self.objects[piece.unit].name
        )

    def _where(self, unit: int, symbol: Symbol) -> Piece | None:
        if symbol.section == ABSOLUTE:
            return None
        if not 0 <= symbol.section < len(self.pieces[unit]):
            raise LinkError(
                f"symbol {symbol.name} is in section number {symbol.section}, which does not exist",
                where=self.objects[unit].name,
            )
        return self.pieces[unit][symbol.section]

    def _collect(self) -> None:
        for unit, item in enumerate(self.objects):
            for symbol in item.symbols:
                if symbol.binding is Binding.LOCAL:
                    continue
                name = symbol.name
                if symbol.section == UNDEFINED:
                    self.wanted.add(name)
                    continue
                if name in self.defines:
                    raise LinkError(
                        f"symbol {name} is defined twice",
                        where=item.name,
                        hint="once here, once from outside (defines)",
                    )
                other = self.globals.get(name)
                if other is None or (
                    other[1].binding is Binding.WEAK and symbol.binding is Binding.GLOBAL
                ):
                    self.globals[name] = unit, symbol
                elif symbol.binding is Binding.GLOBAL and other[1].binding is Binding.GLOBAL:
                    raise LinkError(
                        f"symbol {name} is defined twice",
                        where=self._symbol_place(unit, symbol),
                        hint=f"also defined at {self._symbol_place(*other)}",
                    )

    def _symbol_place(self, unit: int, symbol: Symbol) -> str:
        piece = self._where(unit, symbol)
        return self._place(piece, symbol.value) if piece else self.objects[unit].name

    def _address(self, unit: int, index: int) -> int | None:
        """VA of a unit's symbol; None for a weak one that nobody defines."""
        known = self.addresses[unit]
        if index in known:
            return known[index]
        symbol = self.objects[unit].symbols[index]
        address: int | None
        if symbol.binding is Binding.LOCAL:
            address = self._defined_at(unit, symbol)
        else:
            address = self._global(symbol.name)
            if address is None and symbol.binding is not Binding.WEAK:
                raise KeyError(symbol.name)
        known[index] = address
        return address

    def _global(self, name: str) -> int | None:
        value = self.layout.values.get(name)
        if value is not None:
            section, offset = value
            return (offset + self.outputs[section].vma) & MASK if section >= 0 else offset
        if name in self.globals:
            return self._defined_at(*self.globals[name])
        return self.defines.get(name)

    def _defined_at(self, unit: int, symbol: Symbol) -> int:
        if symbol.section == UNDEFINED:
            raise KeyError(symbol.name)
        piece = self._where(unit, symbol)
        if piece is None:
            return symbol.value & MASK
        if piece.output < 0:
            raise LinkError(
                f"reference to {symbol.name or piece.section.name} in section "
                f"{piece.section.name} of {self.objects[unit].name}, which is not in the image",
                hint="it is discarded, or not placed, by the script",
            )
        return (self.outputs[piece.output].vma + piece.offset + symbol.value) & MASK

    # Contents

    def _compose(self, output: Output) -> PlacedSection:
        statement = output.statement
        pieces = output.pieces
        data: bytes | bytearray = b""
        if output.type is not SectionType.NOBITS:
            filled = sum(len(piece.section.data) for piece in pieces)
            if output.size - filled > MAX_GAP + sum(len(d) for _, d in output.data):
                raise LinkError(
                    f"section {statement.name} would hold {output.size - filled} bytes of fill",
                    where=place(self.source, statement.line),
                    hint=f"at most {MAX_GAP}",
                )
            data = self._bytes(output, pieces)
        align = output.align
        if output.vma & (align - 1):
            align = output.vma & -output.vma
        return PlacedSection(
            statement.name,
            output.vma,
            output.lma if output.flags & SectionFlag.ALLOC else 0,
            output.size,
            align,
            output.type,
            output.flags,
            bytes(data),
            _lines(self.objects, pieces),
        )

    def _bytes(self, output: Output, pieces: Sequence[Piece]) -> bytes | bytearray:
        if len(pieces) == 1 and not pieces[0].section.relocations:
            section = pieces[0].section
            if len(section.data) == output.size:
                return section.data
        data = bytearray(output.size)
        for start, end, pattern in output.gaps:
            data[start:end] = (pattern * ((end - start) // len(pattern) + 1))[: end - start]
        for piece in pieces:
            if piece.section.data:
                data[piece.offset : piece.offset + piece.section.size] = piece.section.data
        for at, value in output.data:
            data[at : at + len(value)] = value
        for piece in pieces:
            for relocation in piece.section.relocations:
                self._relocate(data, output, piece, relocation)
        return data

    def _relocate(
        self, data: bytearray, output: Output, piece: Piece, relocation: Relocation
    ) -> None:
        unit = piece.unit
        at = piece.offset + relocation.offset
        try:
            address = self._address(unit, relocation.symbol)
            relocate(data, at, relocation.type, address, relocation.addend, output.vma + at)
        except KeyError as error:
            self.undefined.setdefault(error.args[0], self._place(piece, relocation.offset))
        except IndexError:
            raise LinkError(
                f"a relocation names symbol {relocation.symbol}, which does not exist",
                where=self._place(piece, relocation.offset),
            ) from None
        except RelocationError as fault:
            symbol = self.objects[unit].symbols[relocation.symbol]
            raise LinkError(
                f"{fault} (symbol {symbol.name or 'of a section'})",
                where=self._place(piece, relocation.offset),
                text=self._text(piece, relocation.offset),
            ) from None
        except LinkError as error:
            raise LinkError(
                error.message,
                where=self._place(piece, relocation.offset),
                text=self._text(piece, relocation.offset),
                hint=error.hint,
            ) from None

    def _line(self, piece: Piece, offset: int) -> SourceLine | None:
        found = None
        for start, line in piece.section.lines:
            if start > offset:
                break
            found = line
        return found

    def _place(self, piece: Piece, offset: int) -> str:
        line = self._line(piece, offset)
        if line is not None:
            return str(line)
        return f"{self.objects[piece.unit].name}:({piece.section.name}+{offset:#x})"

    def _text(self, piece: Piece, offset: int) -> str | None:
        line = self._line(piece, offset)
        return line.text if line else None

    def _report_undefined(self) -> None:
        (first, where), *others = self.undefined.items()
        raise LinkError(
            f"undefined symbol {first}",
            where=where,
            hint="also undefined: " + ", ".join(f"{n} ({w})" for n, w in others[:10])
            if others
            else "define it in an object or in the script",
        )

    # What the Image says of it all

    def _entry(self) -> int:
        entry = self.script.entry
        if entry is not None:
            address = self._global(entry)
            if address is None:
                raise LinkError(
                    f"entry symbol {entry} is not defined",
                    where=self.source.name,
                    hint="ENTRY names a global symbol",
                )
            return address
        # GNU ld, "Entry Point": the symbol start, then the first byte of .text.
        address = self._global("start")
        if address is not None:
            return address
        code = [o for o in self.outputs if o.size and o.flags & SectionFlag.EXEC]
        named = [o for o in code if o.statement.name == ".text"]
        return (named + code)[0].vma if code else 0

    def _number(self, index: int, address: int) -> int:
        """Number in the Image of output ``index`` for a symbol at ``address``.

        A symbol that lies outside its section (or whose section was left out) goes to the
        allocated section that holds it or ends there, else it is absolute.
        """
        if index in self.kept:
            output = self.outputs[index]
            if output.vma <= address <= output.vma + output.size:
                return self.kept[index]
        for other, number in self.kept.items():
            output = self.outputs[other]
            if (
                output.flags & SectionFlag.ALLOC
                and output.vma <= address <= output.vma + output.size
            ):
                return number
        return ABSOLUTE

    def _symbols(self) -> tuple[ImageSymbol, ...]:
        local: list[ImageSymbol] = []
        shared: list[ImageSymbol] = []
        values = self.layout.values
        for unit, item in enumerate(self.objects):
            for symbol in item.symbols:
                if symbol.section == UNDEFINED or not symbol.name:
                    continue
                if symbol.binding is not Binding.LOCAL:
                    if symbol.name in values or self.globals[symbol.name][1] is not symbol:
                        continue
                elif symbol.type in (SymbolType.SECTION, SymbolType.FILE):
                    continue
                piece = self._where(unit, symbol)
                if piece is not None and piece.output < 0:
                    continue
                self._add(local, shared, unit, symbol, piece)
        for name, (section, offset) in values.items():
            self._add_assigned(local, shared, name, section, offset)
        for name, value in self.defines.items():
            if name not in values:
                shared.append(
                    ImageSymbol(name, value, 0, Binding.GLOBAL, SymbolType.NOTYPE, ABSOLUTE)
                )
        return tuple(local + shared)

    def _add(
        self,
        local: list[ImageSymbol],
        shared: list[ImageSymbol],
        unit: int,
        symbol: Symbol,
        piece: Piece | None,
    ) -> None:
        address = self._defined_at(unit, symbol)
        number = self._number(piece.output, address) if piece else ABSOLUTE
        (local if symbol.binding is Binding.LOCAL else shared).append(
            ImageSymbol(symbol.name, address, symbol.size, symbol.binding, symbol.type, number)
        )

    def _add_assigned(
        self,
        local: list[ImageSymbol],
        shared: list[ImageSymbol],
        name: str,
        section: int,
        offset: int,
    ) -> None:
        layout = self.layout
        address = offset
        number = ABSOLUTE
        if section >= 0:
            address = (offset + self.outputs[section].vma) & MASK
            number = self._number(section, address)
        elif name in layout.near:
            number = self._number(layout.near[name], address)
        source = self.globals.get(layout.aliases.get(name, ""))
        kind = source[1].type if source else SymbolType.NOTYPE
        binding = Binding.LOCAL if name in layout.hidden else Binding.GLOBAL
        (local if binding is Binding.LOCAL else shared).append(
            ImageSymbol(name, address, 0, binding, kind, number)
        )


def _refuse_overlaps(source: Unit, outputs: Sequence[Output]) -> None:
    allocated = [output for output in outputs if output.flags & SectionFlag.ALLOC]
    stored = [output for output in allocated if output.type is not SectionType.NOBITS]
    ranges = {
        "address": [(o.vma, o.size, o.statement) for o in allocated],
        "load address": [(o.lma, o.size, o.statement) for o in stored],
    }
    for what, spans in ranges.items():
        spans.sort(key=lambda span: span[0])
        for (first, size, one), (second, _, other) in pairwise(spans):
            if second < first + size:
                raise script_error(
                    source,
                    other.line,
                    f"sections {one.name} and {other.name} overlap in {what}, at {second:#x}",
                    "one of them needs another address, or AT()",
                )


def _lines(
    objects: Sequence[Object], pieces: Sequence[Piece]
) -> tuple[tuple[int, SourceLine], ...]:
    """The pieces' line maps, shifted. A piece without one gets its object's name, line 0."""
    lines: list[tuple[int, SourceLine]] = []
    for piece in pieces:
        base = piece.offset
        if piece.section.lines:
            lines += [(base + offset, line) for offset, line in piece.section.lines]
        elif lines and piece.section.size:
            lines.append((base, SourceLine(objects[piece.unit].name, 0, "")))
    return tuple(lines)
