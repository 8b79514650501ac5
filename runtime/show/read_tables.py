"""Machine to TablesShown: the tables of each regime, or the walk of one address."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from relokit.codegen.base.errors import MachineError
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.target import Regime
from relokit.runtime.arch.descriptors import LPA2, PLAIN, AddressFormat
from relokit.runtime.arch.geometry import ENTRY_SIZE
from relokit.runtime.arch.table_tree import Read, TableTree, TooManyTablesError, table_tree
from relokit.runtime.arch.translation import (
    SCTLR_M,
    TableRange,
    WalkRegisters,
    table_range,
    two_ranges,
)
from relokit.runtime.arch.walker import HALF, permissions, walk
from relokit.runtime.engine.cpu import Cpu
from relokit.runtime.guest.memory import GuestMemory, Words
from relokit.runtime.kexec.hibernate import Resume
from relokit.runtime.kexec.job import Job
from relokit.runtime.kexec.machine import Machine
from relokit.runtime.record.tables import Leaves
from relokit.runtime.run.tables_kept import leaves_of
from relokit.runtime.show.at_moment import cpu_at
from relokit.runtime.show.descriptor_words import descriptor_words, leaf_words
from relokit.runtime.show.shown.question import Question
from relokit.runtime.show.shown.tables_shown import (
    MappedRange,
    TableLevel,
    TablesOfRange,
    TablesShown,
    WalkedStep,
    WalkShown,
)

MAX_TABLES_TOLD = 1 << 10
"""Tables of a level that are told one by one."""


@dataclass(frozen=True, slots=True)
class _Level:
    """Exception level ``el`` of a CPU, and what a walk reads there."""

    el: int
    registers: WalkRegisters

    @property
    def two(self) -> bool:
        return two_ranges(self.registers, self.el)

    @property
    def regime(self) -> str:
        return f"EL{self.el}&0" if self.two else f"EL{self.el}"

    @property
    def on(self) -> bool:
        return bool(self.registers.sctlr & SCTLR_M)

    @property
    def uppers(self) -> tuple[bool, ...]:
        return (False, True) if self.two else (False,)

    def register(self, upper: bool) -> str:
        return f"TTBR{upper:d}_EL{self.el}"

    def value(self, upper: bool) -> int:
        return self.registers.ttbr1 if upper else self.registers.ttbr0


def tables_shown(machine: Machine | Resume, question: Question, job: Job) -> TablesShown:
    """The tree, or the walk of the address in ``question``; raises MachineError for a name."""
    va = question.place
    cpu = cpu_at(machine, question.moment, job)
    if isinstance(va, str):
        va = symbol_va(machine, va)
    levels = tuple(_levels(machine, cpu))
    registers = {
        name: value for level in levels for name, value in _registers(cpu, level.el).items()
    }
    if va is None:
        ranges = tuple(_ranges(machine, levels))
        return TablesShown(machine.target.name, question.moment, cpu.el, registers, ranges)
    walks = tuple(_walk(machine, level, va) for level in levels)
    return TablesShown(machine.target.name, question.moment, cpu.el, registers, walks=walks)


def walks_of(machine: Machine | Resume, cpu: Cpu, va: int) -> tuple[WalkShown, ...]:
    """How ``va`` translates in each regime of ``cpu`` as it is, the current one first."""
    return tuple(_walk(machine, level, va) for level in _levels(machine, cpu))


def symbol_va(machine: Machine | Resume, name: str) -> int:
    """VA of a symbol of the kernel that is left; raises MachineError if it has none."""
    image = machine.old.image
    if not image.has_symbol(name):
        raise MachineError(
            f"no symbol {name!r} in the kernel that is left", hint="give an address with 0x"
        )
    return image.symbol(name)


def _levels(machine: Machine | Resume, cpu: Cpu) -> Iterator[_Level]:
    """The current level first; EL2 only where there is one."""
    has_el2 = machine.target.regime is not Regime.EL1
    current = max(cpu.el, 1)
    for el in (current, 3 - current):
        if el == 1 or has_el2:
            yield _Level(el, cpu.walk_registers(el))


def _registers(cpu: Cpu, el: int) -> dict[str, int]:
    names = ["SCTLR", "TCR", "TTBR0", "MAIR"]
    if two_ranges(cpu.walk_registers(el), el):
        names.insert(3, "TTBR1")
    found = {f"{name}_EL{el}": cpu.read(f"{name}_EL{el}") for name in names}
    return found | ({"HCR_EL2": cpu.read("HCR_EL2")} if el == 2 else {})


def _ranges(machine: Machine | Resume, levels: Iterable[_Level]) -> Iterator[TablesOfRange]:
    for level in levels:
        for upper in level.uppers:
            r = table_range(level.registers, level.el, upper)
            walked = level.on and r.enabled
            tree: TableTree | None = None
            problem: str | None = None
            if walked:
                try:
                    tree = table_tree(_reading(machine.memory), r, r.root_table)
                except TooManyTablesError:
                    problem = "there are more tables than are looked at"
            leaves = None if tree is None else leaves_of(tree)
            if tree is not None and leaves is None:
                problem = "they map more ranges than are told"
            yield TablesOfRange(
                register=level.register(upper),
                value=level.value(upper),
                regime=level.regime,
                walked=walked,
                root=r.root_table,
                va_bits=r.va_bits,
                pa_bits=r.pa_bits,
                page_size=r.granule.page_size,
                format=format_name(r.output),
                levels=() if tree is None else tuple(_table_levels(r, tree)),
                maps=tuple(_mapped(machine, level, r, leaves or ())),
                missing=tree.missing if tree else None,
                problem=problem,
            )


def format_name(output: AddressFormat) -> str:
    """How descriptors have their output address: ``48-bit``, ``LPA`` or ``LPA2``."""
    if output is PLAIN:
        return "48-bit"
    return "LPA2" if output is LPA2 else "LPA"


def _table_levels(r: TableRange, tree: TableTree) -> Iterator[TableLevel]:
    for level, (pas, size) in enumerate(tree.tables, r.start):
        told = pas[:MAX_TABLES_TOLD].tolist()
        yield TableLevel(level, len(pas), size // ENTRY_SIZE, tuple(told))


def _mapped(
    machine: Machine | Resume, level: _Level, r: TableRange, leaves: Iterable[Leaves]
) -> Iterator[MappedRange]:
    for one in leaves:
        bits = np.array([one.bits], np.uint64)
        writable, executable = permissions(bits, level.registers, level.el)
        region = machine.allocator.owner(one.pa)
        yield MappedRange(
            va=one.va,
            pa=one.pa,
            bytes=one.size,
            level=one.level,
            writable=bool(writable[0]),
            executable=bool(executable[0]),
            attributes=leaf_words(one.bits, r.output, two=level.two, mair=level.registers.mair),
            owner=str(region.owner) if region else None,
        )


def _reading(memory: GuestMemory) -> Read:
    def read(tables: Words, count: int) -> tuple[Words, NDArray[np.bool_]]:
        there: NDArray[np.bool_] = ~memory.absent(tables, count * ENTRY_SIZE)
        found = tables[there]
        slots = ((found - np.uint64(memory.base)) // np.uint64(ENTRY_SIZE)).astype(np.intp)
        return memory.words[slots[:, None] + np.arange(count)], there

    return read


def _walk(machine: Machine | Resume, level: _Level, va: int) -> WalkShown:
    found = walk(machine.memory, level.registers, va, el=level.el)
    upper = level.two and bool(va & HALF)
    mair = level.registers.mair
    steps = tuple(
        WalkedStep(
            level=step.level,
            table=step.table,
            index=(step.entry - step.table) // ENTRY_SIZE,
            entry=step.entry,
            descriptor=step.descriptor,
            words=descriptor_words(
                step.descriptor, step.level, step.output, two=level.two, mair=mair
            ),
            owner=_owner(machine, step.table),
        )
        for step in found.trail
    )
    return WalkShown(
        regime=level.regime,
        register=level.register(upper) if level.on else None,
        va=va,
        pa=found.pa,
        fault=str(found.fault) if found.fault else None,
        writable=found.writable,
        executable=found.executable,
        steps=steps,
        owner=None if found.pa is None else _owner(machine, found.pa),
    )


def _owner(machine: Machine | Resume, pa: int) -> str | None:
    region = machine.allocator.owner(pa)
    return str(region.owner) if region else None
