"""A finished unit to an Object: encodings, fields, relocations, the symbol table."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice, pairwise

from relokit.codegen.aarch64_elf import RelocationType as R
from relokit.codegen.base.bits import MASK64, signed
from relokit.codegen.base.errors import AssemblyError
from relokit.codegen.gas.instructions.arithmetic import Sym
from relokit.codegen.gas.instructions.encoder import BATCH
from relokit.codegen.gas.instructions.fields import (
    LO12,
    AbsoluteField,
    Field,
    fill_absolute,
    lo12_relocation,
)
from relokit.codegen.gas.instructions.insn import AsmInstruction
from relokit.codegen.gas.open_section import Fixup, SectionState, data_bytes
from relokit.codegen.gas.unit import UnitState, resolved
from relokit.codegen.gas.values import Value, describe, evaluate, place
from relokit.codegen.object import (
    ABSOLUTE,
    UNDEFINED,
    Binding,
    Object,
    Relocation,
    Section,
    SectionFlag,
    SourceLine,
    Symbol,
    SymbolType,
)

Encode = Callable[[Sequence[str]], list[bytes | str]]

_ABSOLUTE_DATA = {2: R.ABS16, 4: R.ABS32, 8: R.ABS64}
_RELATIVE_DATA = {2: R.PREL16, 4: R.PREL32, 8: R.PREL64}

_ELSEWHERE = "assemble the file with GNU as and give the .o, or write the word as .inst"
_SCALABLE = re.compile(r"(?i:\b(?:z[0-9]+(?:\.[bhsdq])?|p[0-9]+\.[bhsd]|za[0-9]*[hv]?\.[bhsdq])\b)")
"""Registers that only SVE and SME have, where a symbol could be."""


def located(error: AssemblyError, source: SourceLine) -> AssemblyError:
    """``error`` with the place it lacks."""
    return AssemblyError(
        error.message,
        where=error.where or str(source),
        text=error.text or source.text,
        hint=error.hint,
    )


def finish(unit: UnitState, name: str, encode: Encode) -> Object:
    """Encode, fill in, relocate. Raises AssemblyError naming the statement."""
    for section in unit.sections:
        if section.literals:
            unit.current = section
            source = section.literals[-1].source
            try:
                unit.place_literals()
            except AssemblyError as error:
                raise located(error, source) from None
    unit.join_subsections()
    _encode(unit.sections, encode)
    return _Output(unit).object(name)


def _encode(sections: list[SectionState], encode: Encode) -> None:
    """Ask for the encodings of the unit, BATCH at a time, and put them in place."""
    resolved = [_resolved(section) for section in sections]
    asked = (
        (section, offset, text)
        for section, known in zip(sections, resolved, strict=True)
        for offset, waiting in section.texts
        if (text := waiting or known.get(offset))
    )
    while batch := [*islice(asked, BATCH)]:
        words = encode([text for _, _, text in batch])
        for (section, offset, text), word in zip(batch, words, strict=True):
            if isinstance(word, str):
                error = AssemblyError(f"cannot encode `{text}': {word}", hint=_ELSEWHERE)
                raise located(error, source_at(section, offset))
            section.data[offset : offset + 4] = word


def _resolved(section: SectionState) -> dict[int, str]:
    """What has waited for its numbers: as text by offset, or in place if its word is known."""
    texts = {}
    for offset, waiting in section.waiting:
        try:
            instruction = _resolve(waiting)
        except AssemblyError as error:
            raise located(error, source_at(section, offset)) from None
        if instruction.word is None:
            texts[offset] = instruction.text
        else:
            struct.pack_into("<I", section.data, offset, instruction.word)
    return texts


def source_at(section: SectionState, offset: int) -> SourceLine:
    """Where what is at ``offset`` is from, which is something."""
    source = section.lines.at(offset)
    assert source is not None
    return source


def _resolve(instruction: AsmInstruction) -> AsmInstruction:
    """Immediates that had to wait for their symbols."""
    pieces: list[str | int] = []
    for piece in instruction.pieces:
        value = piece if isinstance(piece, str) else evaluate(piece)
        if isinstance(value, Value):
            if _SCALABLE.search(describe(value)):
                raise AssemblyError("SVE and SME are not encoded", hint=_ELSEWHERE)
            raise AssemblyError(f"an immediate must be a number, not {describe(value)}")
        pieces.append(value)
    if instruction.late:
        raise AssemblyError(
            f"the number behind `{instruction.late}' has to be known there",
            hint="define its symbols before, with no alignment between them",
        )
    return resolved(AsmInstruction(pieces=tuple(pieces)))


def _finish_alias(sym: Sym) -> None:
    """Type and size of what it was set to, where that had no place yet and nothing is added."""
    chain = [sym]
    while not chain[-1].settled and (alias := chain[-1].alias) is not None and not alias[1]:
        chain.append(alias[0])
    for of, to in pairwise(reversed(chain)):
        to.take_over(of)


class _Output:
    """Symbol numbers are given as relocations ask for them."""

    def __init__(self, unit: UnitState) -> None:
        self.unit = unit
        self.kept: list[SectionState] = []
        self.number: dict[int, int] = {}
        self.section_symbols: set[int] = set()
        self.named: set[Sym] = set()
        self.relocations: list[list[tuple[int, R, Sym | int, int]]] = [[] for _ in unit.sections]

    def object(self, name: str) -> Object:
        for section in self.unit.sections:
            for fixup in section.fixups:
                try:
                    if isinstance(fixup.kind, int):
                        self._datum(section, fixup, fixup.kind)
                    else:
                        self._field(section, fixup, fixup.kind)
                except AssemblyError as error:
                    raise located(error, source_at(section, fixup.offset)) from None
        # Only now: a symbol that is defined by itself is told where it is used.
        named = {at[0] for sym in self.unit.symbols.values() if (at := place(sym)) is not None}
        self.kept = [s for s in self.unit.sections if s.explicit or s.size or s.index in named]
        self.number = {section.index: at for at, section in enumerate(self.kept)}
        symbols, index = self._symbols()
        return Object(name, tuple(self._section(s, index) for s in self.kept), symbols)

    # Fixups.

    def _datum(self, section: SectionState, fixup: Fixup, size: int) -> None:
        value = evaluate(fixup.expr, linked=True)
        if isinstance(value, int):
            section.data[fixup.offset : fixup.offset + size] = data_bytes(value, size)
            return
        if value.plus is None:
            raise AssemblyError(f"no relocation can express {describe(value)}")
        addend = value.offset
        kinds = _ABSOLUTE_DATA
        if value.minus is not None:
            origin = place(value.minus)
            if origin is None or origin[0] != section.index:
                raise AssemblyError(
                    f"no relocation can express {describe(value)}",
                    hint="what is subtracted must lie in the section of the datum",
                )
            kinds = _RELATIVE_DATA
            addend += fixup.offset - origin[1]
        if size not in kinds:
            raise AssemblyError(f"{describe(value)} does not fit in {size} byte")
        whole = value.offset or value.minus is not None
        self._relocate(section, fixup.offset, kinds[size], value.plus, addend, bool(whole))

    def _field(self, section: SectionState, fixup: Fixup, field: Field | AbsoluteField) -> None:
        value = evaluate(fixup.expr, linked=True)
        offset = fixup.offset
        (word,) = struct.unpack_from("<I", section.data, offset)
        if isinstance(value, int):
            if isinstance(field, Field) and not isinstance(fixup.expr, int):
                # GNU as makes an address of what it could not take for a distance at once.
                raise AssemblyError(
                    f"the target {value} was no number yet, and now is an address",
                    hint="define it before this line for a distance in bytes",
                )
            # GNU as: a number is a distance in bytes for a PC-relative field, else an address.
            fill = field.fill if isinstance(field, Field) else partial(fill_absolute, field)
            word = fill(word, value)
            struct.pack_into("<I", section.data, offset, word)
            return
        if value.plus is None or value.minus is not None:
            raise AssemblyError(f"no relocation can express {describe(value)}")
        symbol = value.plus
        if isinstance(field, Field) and self._fixed(symbol) and symbol.section == section.index:
            word = field.fill(word, symbol.offset + value.offset - offset)
            struct.pack_into("<I", section.data, offset, word)
            return
        kind = field.relocation
        if field is LO12:
            kind = lo12_relocation(word)
        self._relocate(section, offset, kind, symbol, value.offset, bool(value.offset))

    @staticmethod
    def _fixed(symbol: Sym) -> bool:
        """Whether nothing outside this object can change what the name means."""
        return symbol.binding is Binding.LOCAL and symbol.section is not None

    def _relocate(
        self,
        section: SectionState,
        offset: int,
        kind: R,
        symbol: Sym,
        addend: int,
        computed: bool,
    ) -> None:
        """``computed`` says that the datum is more than the symbol: an offset, or a difference.

        Strings that are merged move apart, so that only their own symbol leads to one of them then.
        """
        against: Sym | int = symbol
        if self._fixed(symbol):
            assert symbol.section is not None
            target = self.unit.sections[symbol.section]
            if not (target.flags & SectionFlag.MERGE and computed):
                against, addend = target.index, addend + symbol.offset
        elif not symbol.defined and (symbol.name.startswith(".L") or symbol.name[0].isdigit()):
            raise AssemblyError(f"label `{symbol.name}' is not defined")
        elif not symbol.defined and symbol.bound and symbol.binding is Binding.LOCAL:
            raise AssemblyError(f"`{symbol.name}' is .local, but not defined")
        if isinstance(against, Sym):
            self.named.add(against)
        else:
            self.section_symbols.add(against)
        self.relocations[section.index].append((offset, kind, against, signed(addend)))

    # The symbol table: sections, mapping symbols, other locals, then the rest.

    def _symbols(self) -> tuple[tuple[Symbol, ...], dict[Sym | int, int]]:
        """The table, and the place in it of each Sym, and of each section by its index."""
        table: list[Symbol] = []
        index: dict[Sym | int, int] = {}
        for at, section in enumerate(self.kept):
            if section.index in self.section_symbols:
                index[section.index] = len(table)
                table.append(Symbol(section.name, at, 0, type=SymbolType.SECTION))
        for at, section in enumerate(self.kept):
            for offset, code in section.mapping:
                if offset < section.size:
                    table.append(Symbol("$x" if code else "$d", at, offset))
        numeric = sorted(
            (sym for sym in self.named if sym.instance), key=lambda sym: (sym.name, sym.instance)
        )
        listed = (*self.unit.symbols.values(), *numeric)
        entries = [(sym, self._symbol(sym)) for sym in listed]
        for local in (True, False):
            for sym, symbol in entries:
                if symbol is not None and (symbol.binding is Binding.LOCAL) is local:
                    index[sym] = len(table)
                    table.append(symbol)
        return tuple(table), index

    def _symbol(self, sym: Sym) -> Symbol | None:
        """The table entry of a symbol; None if it needs none."""
        binding, wanted = sym.binding, sym in self.named
        if sym.name.startswith(".L") and not wanted and binding is Binding.LOCAL:
            return None
        _finish_alias(sym)
        if not sym.defined:
            if binding is Binding.WEAK and not wanted and not sym.pinned:
                return None
            section, offset = UNDEFINED, 0
            binding = max(binding, Binding.GLOBAL)
        else:
            section, offset = self._value(sym)
            if section == UNDEFINED:
                return None
        name = sym.name
        if sym.instance:
            # As GNU as calls them; the name in messages is the number.
            name = f".L{name.rstrip('f')}\x02{sym.instance}"
        return Symbol(name, section, offset, self._size(sym), binding, sym.type, sym.hidden)

    def _value(self, sym: Sym) -> tuple[int, int]:
        """Section number (or ABSOLUTE) and value; UNDEFINED for an alias of an undefined symbol."""
        if sym.section is not None:
            return self.number[sym.section], sym.offset
        assert sym.value is not None
        value = evaluate(sym.value)
        if isinstance(value, int):
            return ABSOLUTE, value & MASK64
        if value.plus is None or value.minus is not None:
            raise AssemblyError(f"`{sym.name}' is set to {describe(value)}, which is no address")
        at = place(sym)
        if at is not None:
            return self.number[at[0]], at[1] & MASK64
        if sym.binding is not Binding.LOCAL:
            raise AssemblyError(f"`{sym.name}' is set to `{value.plus.name}', which is not defined")
        return UNDEFINED, 0

    def _size(self, sym: Sym) -> int:
        size = evaluate(sym.size)
        if not isinstance(size, int) or size < 0:
            shown = size if isinstance(size, int) else describe(size)
            raise AssemblyError(f"the .size of `{sym.name}' is {shown}")
        return size

    def _section(self, section: SectionState, index: dict[Sym | int, int]) -> Section:
        relocations = tuple(
            Relocation(offset, kind, index[to], addend)
            for offset, kind, to, addend in self.relocations[section.index]
        )
        return Section(
            section.name,
            section.type,
            section.flags,
            section.align,
            bytes(section.data),
            section.size,
            relocations,
            section.lines,
            section.entsize,
        )
