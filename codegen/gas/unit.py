"""A unit while it is being assembled: its sections, its symbols, what is to be filled in later."""

from __future__ import annotations

from relokit.codegen.base.errors import AssemblyError
from relokit.codegen.gas.arithmetic import (
    AsmBinary,
    AsmDot,
    AsmName,
    AsmUnary,
    Expr,
    Local,
    Sym,
    left_spine,
)
from relokit.codegen.gas.insn import AsmInstruction, parse_instruction
from relokit.codegen.gas.open_section import (
    Fixup,
    Literal,
    SectionState,
    data_bytes,
    usual_attributes,
)
from relokit.codegen.gas.operands import split_operands
from relokit.codegen.gas.values import evaluate
from relokit.codegen.object import SectionFlag, SectionType, SourceLine, SymbolType

SECTION_LIMIT = 64 << 20
"""Bytes in one section."""
UNIT_LIMIT = 128 << 20
"""Bytes in all sections of a unit, NOBITS aside."""
SECTION_COUNT = 1024
"""Sections in one unit."""
SYMBOL_COUNT = 200_000
"""Symbols in one unit."""
ALIGN_LIMIT = 1 << 30
"""Bytes an ``.align`` may ask for (the section limit still holds for the padding)."""

MAX_SUBSECTION = 8192
"""Highest number of a subsection (GNU as)."""

NOP = bytes.fromhex("1f2003d5")


class UnitState:
    """What the statements of one unit have built so far."""

    def __init__(self) -> None:
        self.sections: list[SectionState] = []
        self.symbols: dict[str, Sym] = {}
        self.current = self._create(".text", *usual_attributes(".text"), explicit=False)
        self.previous: SectionState | None = None
        self.stack: list[tuple[SectionState, SectionState | None]] = []
        self.source = SourceLine("", 0, "")
        self.stored = 0
        self._backward: dict[int, Sym] = {}
        self._forward: dict[int, Sym] = {}
        self._instances: dict[int, int] = {}
        self._placed: list[Sym] = []

    # Sections.

    def _create(
        self,
        name: str,
        kind: SectionType,
        flags: SectionFlag,
        entsize: int = 0,
        explicit: bool = True,
    ) -> SectionState:
        if len(self.sections) >= SECTION_COUNT:
            raise AssemblyError(f"more than {SECTION_COUNT} sections")
        section = SectionState(len(self.sections), name, kind, flags, entsize, explicit)
        self.sections.append(section)
        return section

    def switch(
        self,
        name: str,
        flags: SectionFlag | None = None,
        kind: SectionType | None = None,
        entsize: int = 0,
    ) -> None:
        """Make ``name`` the current section; attributes not given are the usual or known ones."""
        section = self._find(name, 0)
        if section is None:
            usual_kind, usual_flags = usual_attributes(name)
            section = self._create(
                name,
                usual_kind if kind is None else kind,
                usual_flags if flags is None else flags,
                entsize,
            )
        elif (
            (flags is not None and (flags, entsize) != (section.flags, section.entsize))
            or (kind is not None and kind is not section.type)
        ):  # fmt: skip
            raise AssemblyError(
                f"section {name} had other attributes before", hint="give them once, or alike"
            )
        section.explicit = True
        self.previous, self.current = self.current, section

    def _find(self, name: str, subsection: int) -> SectionState | None:
        wanted = name, subsection
        return next((s for s in self.sections if (s.name, s.subsection) == wanted), None)

    def switch_subsection(self, number: int) -> None:
        """``.subsection``: what stands behind all lower ones of the current section at the end."""
        if not 0 <= number <= MAX_SUBSECTION:
            raise AssemblyError(f"subsection {number} is not within 0 to {MAX_SUBSECTION}")
        current = self.current
        section = self._find(current.name, number)
        if section is None:
            section = self._create(current.name, current.type, current.flags, current.entsize)
            section.subsection = number
        self.previous, self.current = current, section

    def join_subsections(self) -> None:
        """Put every subsection behind the lower ones of its section, symbols and all."""
        moved: dict[int, tuple[SectionState, int]] = {}
        for section in sorted(self.sections, key=lambda one: one.subsection):
            if not section.subsection:
                continue
            first = self._find(section.name, 0)
            assert first is not None
            if first.size % section.align:
                raise AssemblyError(
                    f"subsection {section.subsection} of {section.name} wants an alignment of "
                    f"{section.align}, and begins at offset {first.size:#x}",
                    hint="align the end of what is before it",
                )
            moved[section.index] = first, first.size
            first.append(section)
        if not moved:
            return
        kept = [section for section in self.sections if not section.subsection]
        places = {section.index: (at, 0) for at, section in enumerate(kept)}
        numbers = {section.index: at for at, section in enumerate(kept)}
        places |= {index: (numbers[first.index], base) for index, (first, base) in moved.items()}
        for symbol in self._placed:
            assert symbol.section is not None
            symbol.section, base = places[symbol.section]
            symbol.offset += base
        for at, section in enumerate(kept):
            section.index = at
        self.sections = kept

    def push(self) -> None:
        """``.pushsection``: remember the current and the previous section."""
        if len(self.stack) >= 64:
            raise AssemblyError("more than 64 .pushsection inside one another")
        self.stack.append((self.current, self.previous))

    def pop(self) -> None:
        """``.popsection``."""
        if not self.stack:
            raise AssemblyError(".popsection without .pushsection")
        self.current, self.previous = self.stack.pop()

    def swap(self) -> None:
        """``.previous``."""
        if self.previous is None:
            raise AssemblyError(".previous without a section before this one")
        self.previous, self.current = self.current, self.previous

    # Symbols.

    def symbol(self, name: str) -> Sym:
        """The symbol called ``name``, created on first mention."""
        symbol = self.symbols.get(name)
        if symbol is None:
            if len(self.symbols) >= SYMBOL_COUNT:
                raise AssemblyError(f"more than {SYMBOL_COUNT} symbols")
            symbol = self.symbols[name] = Sym(name)
        return symbol

    def label(self, name: str) -> None:
        """Define ``name`` here."""
        symbol = self.symbol(name)
        if symbol.section is not None or symbol.value is not None:
            raise AssemblyError(f"symbol `{name}' is already defined")
        self._place(symbol)

    def _place(self, symbol: Sym) -> Sym:
        symbol.section, symbol.offset = self.current.index, self.current.size
        self._placed.append(symbol)
        return symbol

    def local_label(self, number: int) -> None:
        """Define ``number:`` here."""
        symbol = self._forward.pop(number, None) or Sym(f"{number}")
        self._instances[number] = symbol.instance = self._instances.get(number, 0) + 1
        self._backward[number] = self._place(symbol)

    def assign(self, name: str, expr: Expr, once: bool = False) -> None:
        """``.set``: ``expr`` is bound here, evaluated where the symbol is used.

        ``once`` is ``.equiv``, which neither takes the place of another definition nor lets one.
        """
        symbol = self.symbol(name)
        if symbol.section is not None or (symbol.value is not None and (once or symbol.final)):
            raise AssemblyError(f"symbol `{name}' is already defined")
        symbol.final = once
        if symbol.value is not None and symbol.pinned:
            raise AssemblyError(
                f"`{name}' is set again, but its former value is still to be used",
                hint="use another name",
            )
        bound = self.bind(expr)
        if not isinstance(bound, int):
            try:
                value = evaluate(bound)
            except AssemblyError:
                value = None  # forward references; judged when all is known
            if isinstance(value, int):
                bound = value
            elif value is not None and value.plus is not None and value.plus.section is not None:
                symbol.settled = True
                if symbol.type is SymbolType.NOTYPE:
                    symbol.type = value.plus.type
                if not symbol.sized:
                    symbol.size = value.plus.size
        symbol.value = bound

    def undefined_locals(self) -> list[Sym]:
        """``1f`` labels that never came."""
        return list(self._forward.values())

    # Expressions.

    def here(self) -> Sym:
        """``.``"""
        return self._place(Sym("."))

    def bind(self, expr: Expr) -> Expr:
        """Replace names by symbols, ``.`` by this place, known constants by their value."""
        if isinstance(expr, int | Sym):
            return expr
        if isinstance(expr, AsmName):
            symbol = self.symbol(expr.name)
            if isinstance(symbol.value, int):
                return symbol.value
            symbol.pinned = True
            return symbol
        if isinstance(expr, AsmDot):
            return self.here()
        if isinstance(expr, Local):
            return self._local(expr)
        if isinstance(expr, AsmUnary):
            return AsmUnary(expr.op, self.bind(expr.operand))
        spine, first = left_spine(expr)
        bound = self.bind(first)
        for node in reversed(spine):
            bound = AsmBinary(node.op, bound, self.bind(node.right))
        return bound

    def _local(self, local: Local) -> Sym:
        if not local.forward:
            symbol = self._backward.get(local.number)
            if symbol is None:
                raise AssemblyError(f"no label `{local.number}:' before this line")
            return symbol
        symbol = self._forward.get(local.number)
        if symbol is None:
            symbol = self._forward[local.number] = Sym(f"{local.number}f")
        return symbol

    def number(self, expr: Expr, what: str) -> int:
        """The value of ``expr``, which has to be a number already."""
        value = evaluate(self.bind(expr))
        if not isinstance(value, int):
            raise AssemblyError(
                f"{what} must be a number that is known here", hint="define its symbols before"
            )
        return value

    # Bytes.

    def grow(self, count: int) -> None:
        """Account for ``count`` more bytes here; raises AssemblyError past the limits."""
        section = self.current
        if section.size + count > SECTION_LIMIT:
            raise AssemblyError(
                f"section {section.name} would grow past {SECTION_LIMIT >> 20} MiB",
                hint="place large zeroed areas with the linker script",
            )
        section.size += count
        if section.type is not SectionType.NOBITS:
            self.stored += count
            if self.stored > UNIT_LIMIT:
                raise AssemblyError(f"more than {UNIT_LIMIT >> 20} MiB in one unit")

    def mark(self) -> None:
        """What comes next in this section is from the current source line."""
        section = self.current
        lines = section.lines
        if not lines or lines[-1][1] is not self.source:
            lines.append((section.size, self.source))

    def emit(self, data: bytes, *, padding: bool = False) -> None:
        """Append data bytes; ``padding`` is neither code nor data."""
        section = self.current
        self.mark()
        if not padding:
            section.map(False)
        self.grow(len(data))
        if section.type is not SectionType.NOBITS:
            section.data += data
        elif any(data):
            raise AssemblyError(f"section {section.name} is NOBITS: it holds zeros only")

    def fill(self, count: int, pattern: bytes, *, padding: bool = False) -> None:
        """Append ``pattern`` ``count`` times."""
        size = count * len(pattern)
        if size > SECTION_LIMIT or (self.current.type is SectionType.NOBITS and not any(pattern)):
            self.mark()
            self.grow(size)
        else:
            self.emit(pattern * count, padding=padding)

    def datum(self, expr: Expr, size: int) -> None:
        """Append ``size`` bytes that hold ``expr``."""
        if isinstance(expr, int):
            self.emit(data_bytes(expr, size))
            return
        bound = self.bind(expr)
        section = self.current
        if section.type is SectionType.NOBITS:
            raise AssemblyError(f"section {section.name} is NOBITS: it holds zeros only")
        offset = section.size
        self.emit(bytes(size))
        section.fixups.append(Fixup(offset, bound, self.source, size))

    def align(self, size: int, fill: int | None, most: int) -> None:
        """Pad to a multiple of ``size`` bytes, unless that takes more than ``most`` (0: any).

        Without ``fill``, code is padded as GNU as does: zeros to a whole instruction, then NOPs.
        """
        section = self.current
        section.align = max(section.align, size)
        pad = -section.size % size
        if not pad or (most and pad > most):
            return
        if section.type is SectionType.NOBITS or fill is not None:
            self.fill(pad, bytes([fill or 0]), padding=True)
        elif not section.flags & SectionFlag.EXEC:
            self.fill(pad, b"\0", padding=True)
        else:
            if pad & 3:
                self.emit(bytes(pad & 3))
            if pad > 3:
                self.mark()
                section.map(True)
                self.grow(pad & ~3)
                section.data += NOP * (pad >> 2)

    def instruction(self, instruction: AsmInstruction) -> None:
        """Append an instruction; it is encoded when the unit is complete."""
        section = self.current
        if section.type is SectionType.NOBITS:
            raise AssemblyError(f"section {section.name} is NOBITS: it holds no instructions")
        offset = section.size
        if offset & 3:
            raise AssemblyError(
                f"instruction at offset {offset:#x}, which is not a multiple of 4",
                hint="put .balign 4 after the data (and before the label)",
            )
        source = self.source
        if instruction.field is not None:
            # Bound before the section grows: "." is this instruction's own address.
            if instruction.pool:
                target: Expr = self._literal(instruction)
            else:
                target = self.bind(instruction.target)
            section.fixups.append(Fixup(offset, target, source, field=instruction.field))
        if instruction.pieces:
            pieces = tuple(p if isinstance(p, str) else self.bind(p) for p in instruction.pieces)
            instruction = AsmInstruction(pieces=pieces)
            if all(isinstance(piece, str | int) for piece in pieces):
                instruction = resolved(instruction)
        if section.align < 4:
            section.align = 4
        self.mark()
        if not section.mapping or not section.mapping[-1][1]:
            section.map(True)
        self.grow(4)
        section.data += b"\0\0\0\0"
        section.pending.append((offset, instruction, source))

    # Literal pools.

    def _literal(self, instruction: AsmInstruction) -> Sym:
        """The place of the literal in the pool to come; equal ones share it."""
        expr = self.bind(instruction.target)
        literals = self.current.literals
        for literal in literals:
            if literal.size == instruction.pool and _same(literal.expr, expr):
                return literal.label
        if len(literals) >= 4096:
            raise AssemblyError("more than 4096 literals in one pool", hint="put .ltorg between")
        label = Sym(".", None)
        literals.append(Literal(expr, instruction.pool, label, self.source))
        return label

    def place_literals(self) -> None:
        """``.ltorg``: put the current section's pool here, the small literals first."""
        section = self.current
        literals, section.literals = section.literals, []
        for size in (4, 8, 16):
            sized = [literal for literal in literals if literal.size == size]
            if sized:
                self.align(size, 0, 0)
            for literal in sized:
                self.source = literal.source
                self._place(literal.label)
                if size == 16:
                    if not isinstance(literal.expr, int):
                        raise AssemblyError("a 16-byte literal is a number")
                    self.emit(data_bytes(literal.expr, 16))
                else:
                    self.datum(literal.expr, size)


def _same(one: Expr, other: Expr) -> bool:
    """Whether two bound literals are the same: numbers, symbols, symbols with an offset."""
    if one is other:
        return True
    if isinstance(one, int) or isinstance(other, int):
        return isinstance(one, int) and one == other
    left, right = evaluate(one), evaluate(other)
    return left == right


def resolved(instruction: AsmInstruction) -> AsmInstruction:
    """What ``pieces``, all of them known, spell; its field is on record already."""
    text = "".join(piece if isinstance(piece, str) else str(piece) for piece in instruction.pieces)
    mnemonic, _, operands = text.partition(" ")
    return parse_instruction(mnemonic, split_operands(operands))
