"""Link: Objects and a script in, an Image out.

``link`` has the sections matched and laid out, the symbols resolved and the segments cut; what it
does itself is to fill the sections, relocated fields included. Every error is a LinkError that
names object and place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from relokit.codegen.base.budget import budgeted, spend
from relokit.codegen.base.errors import LinkError
from relokit.codegen.object import (
    UNDEFINED,
    Binding,
    Object,
    Relocation,
    Section,
    SectionFlag,
    SectionType,
    SourceLine,
    SourceLines,
)
from relokit.codegen.source import Unit
from relokit.linker.image import Image, PlacedSection
from relokit.linker.link.constants import merge_constants
from relokit.linker.link.headers import stack_headers
from relokit.linker.link.layout import Layout
from relokit.linker.link.matching import distribute
from relokit.linker.link.relocate import RelocationError, relocate
from relokit.linker.link.sections import (
    MAX_SECTION,
    MAX_SECTION_ALIGN,
    Output,
    Piece,
    place_of,
)
from relokit.linker.link.segments import build_segments
from relokit.linker.link.symbols import Definitions, Symbols
from relokit.linker.script.parser import parse_script
from relokit.linker.script.statements import Script, place, script_error

MAX_OBJECTS = 4096
_ALWAYS = (
    (".text", SectionType.PROGBITS, SectionFlag.ALLOC | SectionFlag.EXEC),
    (".data", SectionType.PROGBITS, SectionFlag.ALLOC | SectionFlag.WRITE),
    (".bss", SectionType.NOBITS, SectionFlag.ALLOC | SectionFlag.WRITE),
)


@budgeted()
def link(objects: Sequence[Object], script: Unit, *, name: str) -> Image:
    """Link ``objects`` by ``script`` into an Image called ``name``; raises LinkError."""
    return _Link(objects, script, name).run()


class _Link:
    def __init__(self, objects: Sequence[Object], source: Unit, name: str) -> None:
        if len(objects) > MAX_OBJECTS:
            raise LinkError(f"{len(objects)} objects", hint=f"at most {MAX_OBJECTS} are linked")
        self.objects = objects
        self.source = source
        self.name = name
        self.script: Script = parse_script(source)
        self.pieces = [
            [Piece(unit, section) for section in item.sections] for unit, item in enumerate(objects)
        ]
        for pieces in self.pieces:
            for piece in pieces:
                self._check_section(piece)
        self.definitions = Definitions(objects, self.pieces)
        self.outputs: list[Output] = []
        self.apart: dict[str, frozenset[str]] = {}
        for _, names in self.script.apart:
            for one in names:
                self.apart[one] = self.apart.get(one, frozenset()) | frozenset(names)
        self.undefined: dict[str, str] = {}

    def run(self) -> Image:
        statements, outputs = distribute(
            self.objects,
            [piece for unit in range(len(self.objects)) for piece in self._as_gnu_has(unit)],
            self.script,
            self.source,
        )
        self.outputs = outputs
        for output in outputs:
            if output.statement.name == ".text":
                # GNU ld's own rule, for which orphans come too early: it is never written.
                output.flags &= ~SectionFlag.WRITE
        merge_constants(self.pieces)
        layout = Layout(
            replace(self.script, statements=statements),
            self.source,
            outputs,
            self.definitions.placed(),
            self.definitions.provided(self.script),
            stack_headers(self.objects),
        )
        layout.run()
        kept = [index for index, output in enumerate(outputs) if output.size]
        numbers = {index: at for at, index in enumerate(kept)}
        self.symbols = Symbols(self.definitions, layout, numbers)
        filled = [outputs[index] for index in kept]
        _refuse_overlaps(self.source, filled)
        self._ask_for(filled)
        sections = [self._compose(output) for output in filled]
        if self.undefined:
            self._report_undefined()
        segments = build_segments(layout, self.source, filled, sections)
        return Image(
            self.name, tuple(sections), segments, self.symbols.listed(), self._entry(outputs)
        )

    def _as_gnu_has(self, unit: int) -> list[Piece]:
        """The pieces of an object; those that GNU as starts with first, be they empty.

        Where orphans go, and where ``.text`` begins, depends on these, too.
        """
        pieces = self.pieces[unit]
        first = [
            next(
                (one for one in pieces if one.section.name == name),
                Piece(unit, Section(name, kind, flags, 1, b"", 0)),
            )
            for name, kind, flags in _ALWAYS
        ]
        return first + [piece for piece in pieces if piece not in first]

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

    def _ask_for(self, outputs: Sequence[Output]) -> None:
        """Count the bytes that all ``outputs`` will have, before any has; raises BudgetError."""
        stored = [one for one in outputs if one.type is not SectionType.NOBITS]
        given = [sum(len(piece.section.data) for piece in one.pieces) for one in stored]
        fill = [one.size - size for one, size in zip(stored, given, strict=True)]
        for sizes, what in ((given, "linked sections"), (fill, "fill in linked sections")):
            largest = max(range(len(sizes)), key=sizes.__getitem__, default=None)
            if largest is not None:
                statement = stored[largest].statement
                spend(sum(sizes), what, f"{place(self.source, statement.line)}: {statement.name}")

    def _compose(self, output: Output) -> PlacedSection:
        statement = output.statement
        pieces = output.pieces
        data: bytes | bytearray = b""
        if output.type is not SectionType.NOBITS:
            data = self._bytes(output, pieces)
        align = output.align
        if output.vma & (align - 1):
            align = output.vma & -output.vma
        return PlacedSection(
            statement.name,
            output.vma if output.flags & SectionFlag.ALLOC else 0,
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
        at = piece.offset + relocation.offset
        self._refuse_crossing(output, piece, relocation)
        try:
            address = self.symbols.address(piece.unit, relocation.symbol, relocation.addend)
            relocate(data, at, relocation.type, address, relocation.addend, output.vma + at)
        except KeyError as error:
            self.undefined.setdefault(error.args[0], self._place(piece, relocation))
        except IndexError:
            raise LinkError(
                f"a relocation names symbol {relocation.symbol}, which does not exist",
                where=self._place(piece, relocation),
            ) from None
        except RelocationError as fault:
            symbol = self.objects[piece.unit].symbols[relocation.symbol]
            raise LinkError(
                f"{fault} (symbol {symbol.name or 'of a section'})",
                where=self._place(piece, relocation),
                text=_text(piece, relocation),
            ) from None
        except LinkError as error:
            raise LinkError(
                error.message,
                where=self._place(piece, relocation),
                text=_text(piece, relocation),
                hint=error.hint,
            ) from None

    def _refuse_crossing(self, output: Output, piece: Piece, relocation: Relocation) -> None:
        """NOCROSSREFS: ``output`` may not refer to another section of a list that it is in."""
        name = output.statement.name
        if name not in self.apart:
            return
        symbol = self.objects[piece.unit].symbols[relocation.symbol]
        defined = self.definitions.globals.get(symbol.name, (piece.unit, symbol))
        if symbol.binding is Binding.LOCAL:
            defined = piece.unit, symbol
        if defined[1].section == UNDEFINED:
            return
        target = self.definitions.piece_of(*defined)
        to = None if target is None or target.output < 0 else self.outputs[target.output]
        if to is not None and to is not output and to.statement.name in self.apart[name]:
            raise LinkError(
                f"{name} refers to {symbol.name or to.statement.name} in {to.statement.name}, "
                "which NOCROSSREFS forbids",
                where=self._place(piece, relocation),
                text=_text(piece, relocation),
            )

    def _place(self, piece: Piece, relocation: Relocation) -> str:
        return place_of(self.objects, piece, relocation.offset)

    def _report_undefined(self) -> None:
        (first, where), *others = self.undefined.items()
        raise LinkError(
            f"undefined symbol {first}",
            where=where,
            hint="also undefined: " + ", ".join(f"{n} ({w})" for n, w in others[:10])
            if others
            else "define it in an object or in the script",
        )

    def _entry(self, outputs: Sequence[Output]) -> int:
        entry = self.script.entry
        if entry is not None:
            address = self.symbols.named(entry)
            if address is None:
                raise LinkError(
                    f"entry symbol {entry} is not defined",
                    where=self.source.name,
                    hint="ENTRY names a global symbol",
                )
            return address
        # GNU ld, "Entry Point": the symbol start, then where .text begins, be it empty; else 0.
        address = self.symbols.named("start")
        if address is not None:
            return address
        return next((one.vma for one in outputs if one.statement.name == ".text" and one.items), 0)


def _text(piece: Piece, relocation: Relocation) -> str | None:
    line = piece.line_at(relocation.offset)
    return line.text if line else None


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


def _lines(objects: Sequence[Object], pieces: Sequence[Piece]) -> SourceLines:
    """The pieces' line maps, shifted. A piece without one gets its object's name, line 0."""
    lines = SourceLines()
    for piece in pieces:
        base = piece.offset
        if piece.section.lines:
            lines.extend(piece.section.lines, base)
        elif lines and piece.section.size:
            lines.append(base, SourceLine(objects[piece.unit].name, 0, ""))
    return lines
