"""Machine to CodeShown and VectorsShown: what is copied for the move, a routine, vectors."""

from __future__ import annotations

from collections.abc import Iterator

from relokit.codegen.base.errors import MachineError
from relokit.codegen.facts import VECTOR_TABLE_SIZE
from relokit.codegen.target import Regime
from relokit.runtime.arch.exceptions import VECTOR_SLOT_SIZE, slot_name
from relokit.runtime.engine.cpu import Cpu
from relokit.runtime.guest.owner import OwnerKind
from relokit.runtime.judge.rules.disassembly import disassemble
from relokit.runtime.kexec.hibernate import Resume
from relokit.runtime.kexec.job import Job
from relokit.runtime.kexec.machine import Machine
from relokit.runtime.show.at_moment import cpu_at
from relokit.runtime.show.shown.code_shown import (
    CodePiece,
    CodeShown,
    CodeWord,
    VectorSlot,
    VectorsShown,
    VectorTable,
)
from relokit.runtime.show.shown.question import Question

MOST = 1 << 12
"""Instructions of a routine that are shown."""
USUAL = 64
"""Instructions from an address on."""
SLOT_SHOWN = 4
"""Instructions of a vector that are shown."""
WORD = 4


def code_shown(machine: Machine | Resume, question: Question, job: Job) -> CodeShown:
    """What is copied to safe pages, or the code at the place that ``question`` names."""
    cpu = cpu_at(machine, question.moment, job)
    if question.place is None:
        pieces = tuple(_copied(machine))
    else:
        pieces = (_at(machine, cpu, question.place),)
    return CodeShown(machine.target.name, question.moment, pieces)


def _copied(machine: Machine | Resume) -> Iterator[CodePiece]:
    if isinstance(machine, Resume):
        kind, code, vectors = OwnerKind.EXIT_CODE, machine.exit_code, VECTOR_TABLE_SIZE
        at = machine.jump & -machine.target.page_size
    else:
        kind, code = OwnerKind.CONTROL_PAGE, machine.routines.relocation
        vectors, at = len(machine.routines.vectors or b""), machine.kimage.control_page
    yield _piece(machine, kind.value, at, at, machine.memory.read(at, len(code)))
    for region in machine.allocator.regions:
        if region.owner.kind is OwnerKind.EL2_VECTORS and vectors:
            held = machine.memory.read(region.base, min(region.size, vectors))
            yield _piece(machine, str(region.owner), region.base, region.base, held)


def _at(machine: Machine | Resume, cpu: Cpu, place: int | str) -> CodePiece:
    """A routine by name, or what is from an address on, as the CPU would fetch it now."""
    address, count, name = place, USUAL, ""
    if isinstance(address, str):
        name = address
        symbols = [one for one in machine.old.image.symbols if one.name == name]
        if not symbols:
            raise MachineError(
                f"no symbol {name!r} in the kernel that is left", hint="give an address with 0x"
            )
        address = symbols[0].value
        count = min(max(symbols[0].size // WORD, 1) if symbols[0].size else USUAL, MOST)
    if address % WORD:
        raise MachineError(f"{address:#x} is no address of code", hint="give a multiple of 4")
    words = bytearray()
    for number in range(count):
        word = cpu.read_virtual(address + number * WORD, WORD)
        if word is None:
            break
        words += word
    if not words:
        raise MachineError(
            f"nothing can be fetched from {address:#x} at EL{cpu.el}, MMU "
            f"{'on' if cpu.walk_registers().sctlr & 1 else 'off'}",
            hint="'relokit show tables ADDRESS' says why; --at may be another moment",
        )
    return _piece(machine, name or f"{address:#x}", address, address, bytes(words))


def _piece(machine: Machine | Resume, name: str, address: int, at: int, held: bytes) -> CodePiece:
    return CodePiece(name, address, tuple(code_lines(machine, at, held)))


def code_lines(machine: Machine | Resume, address: int, held: bytes) -> Iterator[CodeWord]:
    """The words ``held`` from ``address`` on, with symbols and lines where they are known."""
    for offset in range(0, len(held) - WORD + 1, WORD):
        at = address + offset
        word = int.from_bytes(held[offset : offset + WORD], "little")
        located = machine.locate(at)
        symbol = source = None
        if located is not None:
            image, va = located
            named, line = image.symbol_at(va), image.line_at(va)
            symbol = named[0] if named and named[1] == 0 else None
            source = str(line) if line else None
        yield CodeWord(at, word, disassemble(word, at), symbol, source)


def vectors_shown(machine: Machine | Resume, question: Question, job: Job) -> VectorsShown:
    """The vectors of each exception level that takes exceptions."""
    cpu = cpu_at(machine, question.moment, job)
    current = max(cpu.el, 1)
    levels = [current] if machine.target.regime is Regime.EL1 else [current, 3 - current]
    tables = tuple(_vectors(machine, cpu, el) for el in levels)
    return VectorsShown(machine.target.name, question.moment, cpu.el, tables)


def _vectors(machine: Machine | Resume, cpu: Cpu, el: int) -> VectorTable:
    register = f"VBAR_EL{el}"
    va = cpu.read(register)
    found = cpu.walk(va, el)
    if found.pa is None:
        return VectorTable(register, va, None, (), problem=str(found.fault))
    region = machine.allocator.owner(found.pa)
    owner = str(region.owner) if region else None
    if not machine.memory.contains(found.pa, VECTOR_TABLE_SIZE):
        return VectorTable(register, va, found.pa, (), owner, "they are not RAM")
    held = machine.memory.read(found.pa, VECTOR_TABLE_SIZE)
    return VectorTable(register, va, found.pa, tuple(_slots(machine, va, held)), owner)


def _slots(machine: Machine | Resume, va: int, held: bytes) -> Iterator[VectorSlot]:
    seen: dict[bytes, int] = {}
    for offset in range(0, VECTOR_TABLE_SIZE, VECTOR_SLOT_SIZE):
        code = held[offset : offset + VECTOR_SLOT_SIZE]
        name = slot_name(offset)
        same = seen.setdefault(code, offset)
        if same != offset:
            yield VectorSlot(offset, name, (), same)
            continue
        lines = tuple(code_lines(machine, va + offset, code[: SLOT_SHOWN * WORD]))
        yield VectorSlot(offset, name, lines)
