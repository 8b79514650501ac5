"""A unit while it is being assembled: its sections, its symbols, what is to be filled in later."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from relokit.codegen.base.budget import FIXED, spend
from relokit.codegen.base.errors import AssemblyError
from relokit.codegen.gas.includes import Includes
from relokit.codegen.gas.instructions.arithmetic import (
    AsmBinary,
    AsmDot,
    AsmName,
    AsmUnary,
    Expr,
    Local,
    Sym,
    left_spine,
)
from relokit.codegen.gas.instructions.insn import AsmInstruction, parse_instruction
from relokit.codegen.gas.instructions.operands import may_wait, split_operands
from relokit.codegen.gas.open_section import Literal, data_bytes
from relokit.codegen.gas.unit_sections import UnitSections
from relokit.codegen.gas.values import behind, evaluate, is_number, is_simple
from relokit.codegen.object import SectionFlag, SectionType, SourceLine

SECTION_LIMIT = 1 << 30
"""Bytes in one section, as the linker has it: below that, the budget says how many."""
GRANT = 1 << 16
"""Bytes of sections that are asked of the budget at a time."""
SYMBOL_COUNT = 200_000
"""Symbols in one unit."""
ALIGN_LIMIT = 1 << 30
"""Bytes an ``.align`` may ask for (the section limit still holds for the padding)."""

NOP = bytes.fromhex("1f2003d5")


class UnitState(UnitSections):
    """What the statements of one unit have built so far; ``includes`` are the files that it may
    read, if any.
    """

    def __init__(self, includes: Includes | None = None) -> None:
        super().__init__()
        self.includes = includes
        self.source = SourceLine("", 0, "")
        self.stored = self._granted = 0
        self.frame_open = False
        self.dwarf5 = False
        self._backward: dict[int, Sym] = {}
        self._forward: dict[int, Sym] = {}
        self._instances: dict[int, int] = {}

    # Symbols.

    def symbol(self, name: str) -> Sym:
        """The symbol called ``name``, created on first mention."""
        symbol = self.symbols.get(name)
        if symbol is None:
            if len(self.symbols) >= SYMBOL_COUNT:
                raise AssemblyError(f"more than {SYMBOL_COUNT} symbols")
            if name in self.named_sections:
                raise AssemblyError(
                    f"`{name}' is the name of a section",
                    hint="put a label at its start, and use that",
                )
            symbol = self.symbols[name] = Sym(name)
        return symbol

    def label(self, name: str) -> None:
        """Define ``name`` here."""
        symbol = self.symbol(name)
        if symbol.section is not None or symbol.value is not None:
            raise AssemblyError(f"symbol `{name}' is already defined")
        self.place(symbol)

    def local_label(self, number: int) -> None:
        """Define ``number:`` here."""
        symbol = self._forward.pop(number, None) or Sym(f"{number}")
        self._instances[number] = symbol.instance = self._instances.get(number, 0) + 1
        self._backward[number] = self.place(symbol)

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
        if symbol.value is not None:
            # GNU as makes a new symbol of its name, binding and type; only a size it awaits stays.
            symbol.hidden = False
            if isinstance(symbol.size, int):
                symbol.size = 0
        bound = self.bind(expr)
        if not isinstance(bound, int):
            try:
                value = evaluate(bound, now=True)
            except AssemblyError:
                value = None  # forward references; judged when all is known
            if isinstance(value, int):
                bound = value
        symbol.alias, symbol.settled = None, False
        named = behind(bound)
        if isinstance(named, tuple) and named[0] is not symbol:
            target = named[0]
            symbol.alias = named
            symbol.settled = target.section is not None or target.settled
            symbol.take_over(target)
        symbol.value = bound

    def undefined_locals(self) -> list[Sym]:
        """``1f`` labels that never came."""
        return list(self._forward.values())

    # Expressions.

    def here(self) -> Sym:
        """``.``"""
        return self.place(Sym("."))

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

    def number(self, expr: Expr, what: str, *, now: bool = True) -> int:
        """The value of ``expr``, which has to be a number already (``now``: also to GNU as)."""
        value = evaluate(self.bind(expr), now=now)
        if not isinstance(value, int):
            raise AssemblyError(
                f"{what} must be a number that is known here",
                hint="define its symbols before, with no alignment between them",
            )
        return value

    # Bytes.

    def grow(self, count: int) -> None:
        """Account for ``count`` more bytes here; raises AssemblyError past the limits."""
        section = self.current
        if section.size + count > SECTION_LIMIT:
            raise AssemblyError(
                f"section {section.name} would grow past {SECTION_LIMIT >> 20} MiB",
                hint=f"{FIXED}: so much has a linked section; the ld script makes room, too",
            )
        section.size += count
        if section.type is not SectionType.NOBITS:
            self.stored += count
            if self.stored > self._granted:
                self._grant(self.stored - self._granted)

    def _grant(self, wanted: int) -> None:
        """Have at least so many bytes more of the budget."""
        wanted = -(-wanted // GRANT) * GRANT
        spend(wanted, "assembled sections", str(self.source))
        self._granted += wanted

    def mark(self) -> None:
        """What comes next in this section is from the current source line."""
        section = self.current
        section.lines.mark(section.size, self.source)

    def emit(self, data: bytes, count: int = 1, *, padding: bool = False) -> None:
        """Append data bytes ``count`` times; ``padding`` is neither code nor data."""
        section = self.current
        self.mark()
        if not padding:
            section.map(False)
        self.grow(len(data) * count)
        if section.type is not SectionType.NOBITS:
            section.data += data if count == 1 else data * count
        elif any(data):
            raise AssemblyError(f"section {section.name} is NOBITS: it holds zeros only")

    def fill(self, count: int, pattern: bytes, *, padding: bool = False) -> None:
        """Append ``pattern`` ``count`` times."""
        size = count * len(pattern)
        if size > SECTION_LIMIT or (self.current.type is SectionType.NOBITS and not any(pattern)):
            self.mark()
            self.grow(size)
        else:
            self.emit(pattern, count, padding=padding)

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
        section.fixups.append(offset, bound, size)

    def align(self, size: int, fill: int | None, most: int) -> None:
        """Pad to a multiple of ``size`` bytes, unless that takes more than ``most`` (0: any).

        Without ``fill``, code is padded as GNU as does: zeros to a whole instruction, then NOPs.
        """
        section = self.current
        section.align = max(section.align, size)
        section.stretch += size > 1
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
        if instruction.field is not None:
            # Bound before the section grows: "." is this instruction's own address.
            if instruction.pool:
                target: Expr = self._literal(instruction)
            else:
                target = self.bind(instruction.target)
            section.fixups.append(offset, target, instruction.field)
        if instruction.pieces:
            pieces = tuple(p if isinstance(p, str) else self.bind(p) for p in instruction.pieces)
            instruction = AsmInstruction(pieces=pieces)
            if all(isinstance(piece, str | int) for piece in pieces):
                instruction = resolved(instruction)
            else:
                instruction = AsmInstruction(pieces=pieces, late=too_late(pieces))
        if section.align < 4:
            section.align = 4
        self.mark()
        if not section.mapping or not section.mapping[-1][1]:
            section.map(True)
        self.grow(4)
        if instruction.word is not None:
            section.data += instruction.word.to_bytes(4, "little")
            return
        section.data += b"\0\0\0\0"
        section.texts.append(offset, instruction.text)
        if instruction.pieces:
            section.waiting.append((offset, instruction))

    # Literal pools.

    def _literal(self, instruction: AsmInstruction) -> Sym:
        """The place of the literal in the pool to come; equal ones share it."""
        expr, size = self.bind(instruction.target), instruction.pool
        section = self.current
        keys: list[object] = [(size, expr)] if isinstance(expr, Sym) else []
        if not keys and not is_simple(expr):
            raise AssemblyError(
                "a literal is a number, or a symbol and a number, that is known here",
                hint="define its symbols before, with no alignment between them, or use .quad",
            )
        # What is too much to be evaluated now is a literal of its own, and told where it is put.
        with suppress(AssemblyError):
            keys.append((size, evaluate(expr)))
        known = next((section.pool[key] for key in keys if key in section.pool), None)
        if known is not None:
            return known
        if len(section.literals) >= 4096:
            raise AssemblyError("more than 4096 literals in one pool", hint="put .ltorg between")
        label = Sym(".", None)
        section.literals.append(Literal(expr, size, label, self.source))
        section.pool |= dict.fromkeys(keys, label)
        return label

    def place_literals(self) -> None:
        """``.ltorg``: put the current section's pool here, the small literals first."""
        section = self.current
        literals, section.literals = section.literals, []
        section.pool = {}
        for size in (4, 8, 16):
            sized = [literal for literal in literals if literal.size == size]
            if sized:
                self.align(size, 0, 0)
            for literal in sized:
                self.source = literal.source
                self.place(literal.label)
                if size == 16:
                    if not isinstance(literal.expr, int):
                        raise AssemblyError("a 16-byte literal is a number")
                    self.emit(data_bytes(literal.expr, 16))
                else:
                    self.datum(literal.expr, size)


def too_late(pieces: Sequence[str | Expr]) -> str:
    """The text before a number that GNU as has to know at once, and that is not known; or none."""
    before = ""
    for piece in pieces:
        if not isinstance(piece, str) and not may_wait(before) and not is_number(piece):
            return before
        before += piece if isinstance(piece, str) else "0"
    return ""


def resolved(instruction: AsmInstruction) -> AsmInstruction:
    """What ``pieces``, all of them known, spell; its field is on record already."""
    text = "".join(piece if isinstance(piece, str) else str(piece) for piece in instruction.pieces)
    mnemonic, _, operands = text.partition(" ")
    return parse_instruction(mnemonic, split_operands(operands))
