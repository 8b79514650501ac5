"""What is read out of the RAM of a machine that others have filled: struct kimage and its list,
tables, what firmware and an interrupt controller have there.

A case is words in RAM that are others than in a machine that was built here: which place of those
that are read, how far behind it, and what is there.
"""

from __future__ import annotations

import atexit
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from random import Random

from fuzz.door import Door, WrongError
from fuzz.mutations import ODD
from relokit.codegen.base.errors import MachineError
from relokit.codegen.base.host_file import HostFile, open_file
from relokit.codegen.target import MIB, Regime, Target
from relokit.linker.kernel.kallsyms import Kallsyms
from relokit.linker.kernel.kernel_file import ImageHeader, KernelFile
from relokit.runtime.arch.translation import table_range
from relokit.runtime.found.found_ledger import ledger, tables_of
from relokit.runtime.found.living_state import LivingKernel, State
from relokit.runtime.found.loaded_image import read_kimage
from relokit.runtime.guest.memory import GuestMemory
from relokit.runtime.kexec.job import Job
from relokit.runtime.kexec.kimage import IND_DESTINATION, IND_DONE, IND_INDIRECTION, IND_SOURCE
from relokit.runtime.kexec.machine import Machine
from relokit.runtime.live.around_reading import surroundings
from relokit.runtime.live.firmware_reading import FirmwareReader
from relokit.runtime.live.old_tree import reserved, tree_at
from relokit.runtime.run.prepare import open_cpu
from relokit.runtime.snapshot.snapshot import (
    CpuSnapshot,
    Devices,
    Its,
    KernelNamed,
    Power,
    Redistributor,
    Snapshot,
)
from support.device_trees import Board
from support.firmware import BASE, PLACES, SIZE, TREE, machine
from support.machines import prepared

EDIT = struct.Struct("<BHQ")
PAGE, WORD, MASK = 4096, 8, (1 << 64) - 1
JOB = Job(size=256 << 10, memory=160 * MIB)
TARGETS = (Target(regime=Regime.EL1), Target(regime=Regime.VHE))
"""Of both pages are of 4 KiB, and addresses of 48 bits."""


class Held:
    """A machine before its jump, and the places of it that are read."""

    def __init__(self, machine: Machine) -> None:
        system = dict(machine.state.sysregs) | {"HCR_EL2": 0}
        cpu = open_cpu(machine)
        for name in ("SCTLR", "TCR", "TTBR0", "TTBR1", "MAIR"):
            system[f"{name}_EL{cpu.el}"] = cpu.read(f"{name}_EL{cpu.el}")
        system["HCR_EL2"] = cpu.read("HCR_EL2")
        self.machine = machine
        self.state = State(
            machine.memory, machine.target.regime, "max", machine.state.pc, machine.state.x,
            system, machine.target.cpu_bits, 64,
        )  # fmt: skip
        header = ImageHeader(0, 0, 0, machine.old.region.size, 1 << 1, 0)
        empty = HostFile(os.memfd_create("built"), 0, "built")
        self.kernel = LivingKernel(
            KernelFile(Path("built"), "none", header, empty), Kallsyms.of((), 0),
            machine.target.layout, machine.old.region.base, machine.old.va,
        )  # fmt: skip
        kimage = machine.kimage
        lists = [one.base for one in kimage.list_pages]
        self.tables = [low for low, _ in self._tables()]
        self.places = [kimage.pa, kimage.pa, *lists, *lists, *self.tables]

    def _tables(self) -> list[tuple[int, int]]:
        return tables_of(self.state.memory, self.state.translation, self.state.el, upper=True)

    def look(self) -> object:
        """As a run of a snapshot does; with list and tables, as they are followed here."""
        memory = self.state.memory
        try:
            spans = self._tables()
        except MachineError:
            spans = []
        if spans and {low for low, _ in spans} != self.followed():
            raise WrongError("other tables than lead to one another")
        found = read_kimage(self.state, self.kernel, self.machine.kimage.va)
        pairs = list(zip(found.targets.tolist(), found.sources.tolist(), strict=True))
        if pairs != listed(memory, found.kimage.head):
            raise WrongError("another list than there is")
        content = [found.content(memory, one) for one in found.kimage.segments]
        owners = ledger(self.state, self.kernel, found, self.machine.target,
                        self.machine.inputs.ram)  # fmt: skip
        return len(content), owners.owner(found.kimage.pa)

    def followed(self) -> set[int]:
        """The tables of the upper half, word by word."""
        memory, registers = self.state.memory, self.state.translation
        root = table_range(registers, self.state.el, upper=True).root_table
        found: set[int] = set()
        at = {root}
        for level in range(4):
            found |= {table for table in at if memory.contains(table, PAGE)}
            below = set()
            for table in at if level < 3 else ():
                if memory.contains(table, PAGE):
                    words = struct.unpack("<512Q", memory.read(table, PAGE))
                    below |= {word & 0xFFFF_FFFF_F000 for word in words if word & 3 == 3}
            at = below
        return found


def listed(memory: GuestMemory, head: int) -> list[tuple[int, int]]:
    """A list, word by word, as the routine goes through it."""
    found, at, to, word = [], 0, None, head
    while not word & IND_DONE:
        if word & IND_INDIRECTION:
            at = word & -PAGE
        elif word & IND_DESTINATION:
            to = word & -PAGE
        elif word & IND_SOURCE:
            assert to is not None
            found.append((to, word & -PAGE))
            to += PAGE
        word = memory.read_u64(at)
        at += WORD
    return found


@cache
def _held(number: int) -> Held:
    return Held(_kept.enter_context(prepared(TARGETS[number], JOB)))


_kept = ExitStack()
atexit.register(_kept.close)


@contextmanager
def edited(memory: GuestMemory, places: Sequence[int], case: bytes) -> Iterator[None]:
    """``memory`` with the words of ``case``, and as it was again behind that."""
    old = []
    try:
        for at in range(0, len(case) - EDIT.size + 1, EDIT.size):
            place, offset, value = EDIT.unpack_from(case, at)
            pa = places[place % len(places)] + offset % PAGE // WORD * WORD
            if memory.contains(pa, WORD):
                old.append((pa, memory.read(pa, WORD)))
                memory.write(pa, value.to_bytes(WORD, "little"))
        yield
    finally:
        for pa, data in reversed(old):
            memory.write(pa, data)


def _words(
    memory: Callable[[int], tuple[GuestMemory, Sequence[int]]], ways: int, deep: int
) -> Callable[[Random, Sequence[bytes]], bytes]:
    """Words near those that are there; most lie within ``deep`` bytes of a place."""

    def mutate(random: Random, seeds: Sequence[bytes]) -> bytes:
        way = random.randrange(ways)
        ram, places = memory(way)
        found = bytes([way])
        for _ in range(1 << random.randrange(4)):
            number = random.randrange(len(places))
            offset = random.randrange(deep if random.random() < 0.8 else PAGE) // WORD * WORD
            pa = places[number] + offset
            old = int.from_bytes(ram.read(pa, WORD), "little") if ram.contains(pa, WORD) else 0
            kind = random.randrange(6)
            if kind == 0:
                new = random.choice(ODD)
            elif kind == 1:
                new = random.choice(places) & -PAGE | random.randrange(16)
            elif kind == 2:
                new = old + random.choice((-PAGE, -WORD, -1, 1, WORD, PAGE)) & MASK
            elif kind == 3:
                new = old ^ 1 << random.randrange(16)
            elif kind == 4:
                new = old ^ 1 << random.randrange(64)
            else:
                new = random.getrandbits(64)
            found += EDIT.pack(number % 256, offset, new)
        return found

    return mutate


def _found(case: bytes) -> object:
    held = _held((case[0] if case else 0) % len(TARGETS))
    with edited(held.state.memory, held.places, case[1:]):
        return held.look()


def _of_machine(number: int) -> tuple[GuestMemory, Sequence[int]]:
    held = _held(number)
    return held.state.memory, held.places


def _machines() -> Sequence[bytes]:
    for number in range(len(TARGETS)):
        _held(number)
    return [bytes([number]) for number in range(len(TARGETS))]


ITS = BASE + 0x8_0000
"""Memory of an interrupt controller, of two levels."""
DEVICES = Devices(
    (Redistributor(3, ITS | 0x78F, ITS + 0x1_0000 | 0x780),),
    (Its(1 << 31 | 1, (0xF907_0000_0000_0600 | ITS + 0x2_0000, 1 << 63 | 1 << 62 | ITS + 0x3_0000),
         1 << 63 | ITS + 0x4_0000, 0x40, 0x20),),
)  # fmt: skip


@cache
def _firmware() -> tuple[GuestMemory, bytes, Snapshot]:
    memory = _kept.enter_context(GuestMemory(BASE, SIZE))
    tree = machine(memory)
    memory.write(TREE, Board(memory=((BASE, SIZE),), reservations=((TREE, 4096),)).blob())
    memory.write(ITS + 0x3_0000, (1 << 63 | ITS + 0x5_0000).to_bytes(8, "little"))
    named = KernelNamed("vmlinuz", "0" * 64, included=False)
    ram = open_file(__file__, what="a file", limit=1 << 20)
    cpus = (CpuSnapshot(Power.ON, {}), CpuSnapshot(Power.HALTED, {"PC": BASE, "TTBR1_EL1": ITS}))
    return memory, tree, Snapshot(((BASE, SIZE),), (), ram, named, 0, cpus, devices=DEVICES)


READ = (*PLACES, TREE, TREE, ITS + 0x3_0000)


def _of_firmware(_number: int) -> tuple[GuestMemory, Sequence[int]]:
    return _firmware()[0], READ


def _held_by_firmware(case: bytes) -> object:
    memory, tree, snapshot = _firmware()
    with edited(memory, READ, case[1:]):
        reader = FirmwareReader(memory, tree)
        held = [*reader.held(), *reader.named()]
        if len(held) > 1 << 13 or not all(one.size > 0 for one in held):
            raise WrongError("memory of no size, or more of it than a machine has")
        around = surroundings(snapshot, memory, TREE, tree)
        found = tree_at(memory, TREE)
        return held, around, found and [*reserved(found, TREE)]


DOORS = (
    Door("kimage", "what kexec_load has left in RAM, and the tables there", _machines,
         _words(_of_machine, len(TARGETS), 256), _found, 3.0, memory=4096),
    Door("firmware", "what firmware, a boot loader and a GIC have in RAM",
         lambda: [b"\0", b"\0" + EDIT.pack(0, 0, 0)], _words(_of_firmware, 1, 160),
         _held_by_firmware, 0.5),
)  # fmt: skip
