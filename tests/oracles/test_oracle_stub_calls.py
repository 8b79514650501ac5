"""The EL2 stubs, shipped kernels' and ours, run side by side, and their callers.

One table says what every stub call does; ours, 6.1's and 5.10's are held to it. What differs
between them is a row of its own. Source: ARM DDI 0487 for what finalise-EL2 has to leave behind.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pytest

from relokit.building import build
from relokit.codegen.facts import HVC_STUB_ERR, SCTLR_EL1_MMU_OFF, SCTLR_EL2_MMU_OFF
from relokit.codegen.target import Target
from relokit.linker.image import Image
from relokit.linker.kernel.kernel_file import open_kernel
from relokit.linker.kernel.shipped import shipped_image
from relokit.runtime.arch import descriptors as d
from relokit.runtime.arch.exceptions import ExceptionClass
from relokit.runtime.arch.geometry import granule_of, tcr_el1, tcr_el2
from relokit.runtime.engine.cpu import Cpu
from relokit.runtime.guest.ledger import PageAllocator
from relokit.runtime.guest.memory import GuestMemory
from relokit.runtime.guest.owner import destination
from relokit.runtime.kexec.pagetables import PageTables
from relokit.runtime.record.stop import Stop, StopReason

pytestmark = pytest.mark.oracle

RAM, RAM_SIZE = 0x4000_0000, 64 << 20
CODE = RAM + RAM_SIZE - 0x1_0000
"""Where the caller's HVC is."""
ELSEWHERE = CODE + 0x1000
"""Where a soft restart is sent."""
TABLES = RAM + RAM_SIZE - 0x20_0000
HVC0, NOP, SPIN = 0xD4000002, 0xD503201F, 0x14000000
MASK64 = (1 << 64) - 1

SET_VECTORS, SOFT_RESTART, RESET_VECTORS, FINALISE = range(4)
# No stub knows these: one past the last, large, negative, and right only in their low half.
UNKNOWN = (5, 6, 0x7FFF_FFFF, HVC_STUB_ERR, 1 << 32, 1 << 32 | 1, MASK64, MASK64 - 1, 1 << 63)


@dataclass(frozen=True)
class Stubs:
    """An Image with EL2 vectors; ``known`` are the calls the main table answers."""

    name: str
    image: Image
    known: frozenset[int]
    from_el2: bool

    @property
    def base(self) -> int:
        """VA that goes to the start of RAM."""
        return min(section.va for section in self.image.sections if section.va) & -0x20_0000

    def pa(self, symbol: str) -> int:
        return self.image.symbol(symbol) - self.base + RAM


@lru_cache
def _stubs(name: str, kernel: Path | None) -> Stubs:
    image = build(Target()).image if kernel is None else shipped_image(open_kernel(kernel))
    old = name == "5.10"
    return Stubs(
        name,
        image,
        frozenset({SET_VECTORS, SOFT_RESTART, RESET_VECTORS} | (set() if old else {FINALISE})),
        from_el2=not old,
    )


@pytest.fixture(params=["ours", "6.1", "5.10"])
def stubs(request: pytest.FixtureRequest) -> Stubs:
    """Whose code runs."""
    name: str = request.param
    fixture = f"kernel_{name.replace('.', '_')}"
    return _stubs(name, None if name == "ours" else request.getfixturevalue(fixture))


@dataclass
class Room:
    """A CPU with a kernel's stubs in RAM at the right distance from each other."""

    stubs: Stubs
    memory: GuestMemory
    cpu: Cpu

    def call(self, function: int, *, el: int, vectors: str, until: int = CODE + 4) -> Stop:
        """HVC #0 from ``el`` with a recognisable value in every register."""
        for number in range(31):
            self.cpu.set_x(number, 0x1111_0000_0000 + number)
        self.cpu.set_x(0, function)
        if function == SOFT_RESTART:
            self.cpu.set_x(1, ELSEWHERE)
        self.cpu.write("VBAR_EL2", self.stubs.pa(vectors))
        self.cpu.set_el(el)
        self.cpu.set_sp(0x5550)
        return self.cpu.run(CODE, until=until, max_instructions=1_000_000, timeout_s=10)


def _room(stubs: Stubs, model: str = "a72") -> Room:
    memory = GuestMemory(RAM, RAM_SIZE)
    for section in stubs.image.sections:
        if section.va and section.data:
            memory.write(section.va - stubs.base + RAM, section.data)
    memory.write(CODE, struct.pack("<III", HVC0, NOP, SPIN))
    memory.write(ELSEWHERE, struct.pack("<II", NOP, SPIN))
    cpu = Cpu(model, memory)
    cpu.write("SCTLR_EL1", SCTLR_EL1_MMU_OFF)
    cpu.write("SCTLR_EL2", SCTLR_EL2_MMU_OFF)
    return Room(stubs, memory, cpu)


def _others(room: Room, changed: tuple[int, ...]) -> list[int]:
    return [
        number
        for number in range(31)
        if number not in changed and room.cpu.x(number) != 0x1111_0000_0000 + number
    ]


MAIN, COPY = "__hyp_stub_vectors", "trans_pgd_stub_vectors"


def _known(stubs: Stubs, vectors: str) -> frozenset[int]:
    return stubs.known if vectors == MAIN else frozenset({SET_VECTORS, SOFT_RESTART})


def _has(stubs: Stubs, vectors: str) -> bool:
    """5.10 has no copy for kexec: that its name is absent is what is to be seen there."""
    if stubs.image.has_symbol(vectors):
        return True
    assert (stubs.name, vectors) == ("5.10", COPY)
    return False


@pytest.mark.parametrize("vectors", [MAIN, COPY])
@pytest.mark.parametrize("el", [1, 2])
@pytest.mark.parametrize(
    "function", [SET_VECTORS, SOFT_RESTART, RESET_VECTORS, FINALISE, 4, *UNKNOWN]
)
def test_every_call(stubs: Stubs, vectors: str, el: int, function: int) -> None:
    if not _has(stubs, vectors):
        return
    room = _room(stubs)
    cpu = room.cpu
    restart = function == SOFT_RESTART
    stop = room.call(function, el=el, vectors=vectors, until=ELSEWHERE if restart else CODE + 4)
    if el == 2 and not (stubs.from_el2 and vectors == MAIN):
        # Slot 0x200 has nothing to say.
        assert stop.reason is StopReason.SPIN
        assert cpu.read("VBAR_EL2") == stubs.pa(vectors)
        return
    assert stop.reason is StopReason.REACHED, stop
    assert stop.exceptions == 1
    assert stop.event is not None
    assert stop.event.exception_class == ExceptionClass.HVC64
    assert cpu.sp == 0x5550 if stop.el == el else cpu.read(f"SP_EL{el}") == 0x5550
    if restart:
        assert stop.el == 2
        assert [cpu.x(n) for n in (0, 1, 2, 4)] == [
            0x1111_0000_0002,
            0x1111_0000_0003,
            0x1111_0000_0004,
            ELSEWHERE,
        ]
        assert _others(room, (0, 1, 2, 4)) == []
        return
    assert stop.el == el
    # A Cortex-A72 has no VHE: finalise-EL2 says no there, too.
    fine = function in _known(stubs, vectors) and function != FINALISE
    assert cpu.x(0) == (0 if fine else HVC_STUB_ERR)
    # Shipped finalise-EL2 reads its overrides through x1 and x2 before it gives up.
    scratch = (0, 1, 2, 3) if function == FINALISE and vectors == MAIN else (0,)
    assert _others(room, scratch) == []
    moved = 0x1111_0000_0001 if function == SET_VECTORS else stubs.pa(vectors)
    assert cpu.read("VBAR_EL2") == moved & ~0x7FF


@pytest.mark.parametrize("vectors", [MAIN, COPY])
def test_every_other_slot_spins(stubs: Stubs, vectors: str) -> None:
    if not _has(stubs, vectors):
        return
    room = _room(stubs)
    handled = {0x400} | ({0x200} if vectors == MAIN and stubs.from_el2 else set())
    spinning = set()
    for slot in range(0, 0x800, 0x80):
        room.cpu.set_el(2)
        room.cpu.set_x(0, RESET_VECTORS)
        room.cpu.write("ELR_EL2", ELSEWHERE)
        room.cpu.write("SPSR_EL2", 0x3C9)
        stop = room.cpu.run(
            stubs.pa(vectors) + slot, until=ELSEWHERE, max_instructions=1_000_000, timeout_s=10
        )
        if stop.reason is StopReason.SPIN:
            spinning.add(slot)
    assert spinning == set(range(0, 0x800, 0x80)) - handled


def test_the_table_copied_anywhere_still_works(stubs: Stubs) -> None:
    """All of 0x800 bytes is the handler: kexec moves it to a page of its own."""
    if not _has(stubs, COPY):
        return
    room = _room(stubs)
    away = RAM + 0x300_0000
    room.memory.write(away, stubs.image.read(stubs.image.symbol(COPY), 0x800))
    for section in stubs.image.sections:
        if section.va:
            room.memory.write(section.va - stubs.base + RAM, bytes(section.size))
    cpu = room.cpu
    cpu.write("VBAR_EL2", away)
    cpu.set_x(0, SET_VECTORS)
    cpu.set_x(1, 0x4000_0800)
    stop = cpu.run(CODE, until=CODE + 4, max_instructions=100, timeout_s=10)
    assert stop.reason is StopReason.REACHED
    assert cpu.x(0) == 0
    assert cpu.read("VBAR_EL2") == 0x4000_0800


# finalise-EL2 -----------------------------------------------------------------------------------

SCTLR_ON = SCTLR_EL1_MMU_OFF | 1 | 1 << 2 | 1 << 12
HIGH = MASK64 + 1 - (1 << 48)
VHE = 1 << 34 | 1 << 31 | 1 << 27
EL1_STATE = {
    "CPACR_EL1": 3 << 20,
    "VBAR_EL1": HIGH + 0x1800,
    "MAIR_EL1": d.MAIR,
    "TPIDR_EL1": 0x1234_5678_9ABC_DEF0,
}
HANDED_OVER = {
    "SCTLR_EL1": "SCTLR_EL2",
    "TCR_EL1": "TCR_EL2",
    "TTBR0_EL1": "TTBR0_EL2",
    "TTBR1_EL1": "TTBR1_EL2",
    "MAIR_EL1": "MAIR_EL2",
    "VBAR_EL1": "VBAR_EL2",
    "CPACR_EL1": "CPTR_EL2",
}


def _el1_translation(room: Room) -> dict[str, int]:
    """EL1's tables, live: RAM mapped to itself below, and once more above."""
    allocator = PageAllocator(room.memory, 4096)
    allocator.reserve(destination(0, "all but the tables"), RAM, TABLES - RAM)
    granule = granule_of(4096)
    low = PageTables(room.memory, allocator, granule, 48, upper=False, owner=destination(0, "low"))
    low.map(RAM, RAM, RAM_SIZE, d.KERNEL_RW & ~d.PXN)
    high = PageTables(room.memory, allocator, granule, 48, upper=True, owner=destination(0, "high"))
    high.map(HIGH, RAM, RAM_SIZE, d.KERNEL_RW)
    state = EL1_STATE | {
        "TCR_EL1": tcr_el1(granule, t0_bits=48, t1_bits=48, pa_bits=44),
        "TTBR0_EL1": low.root,
        "TTBR1_EL1": high.root,
        "SCTLR_EL1": SCTLR_ON,
    }
    for name, value in state.items():
        room.cpu.write(name, value)
    return state


def test_finalise_takes_a_running_kernel_up_to_el2(stubs: Stubs) -> None:
    if FINALISE not in stubs.known:
        assert stubs.name == "5.10"
        return
    room = _room(stubs, "max")
    cpu = room.cpu
    cpu.write("HCR_EL2", 1 << 31)
    state = _el1_translation(room)
    # After the call: the EL1 names reach EL2 now, and memory is read through the upper map.
    reads = (0xD5381003, 0xD53D1004, 0xF94000C5)  # mrs x3, sctlr_el1; x4, sctlr_el12; ldr x5, [x6]
    room.memory.write(CODE + 4, struct.pack("<IIII", *reads, SPIN))
    stop = room.call(FINALISE, el=1, vectors=MAIN)
    assert stop.reason is StopReason.REACHED, stop
    assert stop.el == 2
    assert cpu.pstate & 0xF == 0b1001
    assert cpu.pstate & 0x3C0 == 0x3C0
    assert cpu.x(0) == 0
    assert _others(room, (0, 1, 2, 3)) == []
    assert cpu.sp == 0x5550
    assert cpu.read("HCR_EL2") == VHE
    assert {name: cpu.read(to) for name, to in HANDED_OVER.items()} == {
        name: state[name] for name in HANDED_OVER
    }
    assert cpu.read("TPIDR_EL2") == state["TPIDR_EL1"]
    # What EL1 keeps is a level whose MMU is off.
    assert cpu.read("SCTLR_EL1") == SCTLR_EL1_MMU_OFF
    cpu.set_x(6, HIGH + 0x10_0000)
    room.memory.write_u64(RAM + 0x10_0000, 0xFEED)
    stop = cpu.run(CODE + 4, until=CODE + 16, max_instructions=100, timeout_s=10)
    assert stop.reason is StopReason.REACHED, stop
    assert [cpu.x(n) for n in (3, 4, 5)] == [SCTLR_ON, SCTLR_EL1_MMU_OFF, 0xFEED]


def test_finalise_is_refused_with_el2s_mmu_on(stubs: Stubs) -> None:
    """It would pull the translation away from under its own feet."""
    room = _room(stubs, "max")
    allocator = PageAllocator(room.memory, 4096)
    allocator.reserve(destination(0, "all but the tables"), RAM, TABLES - RAM)
    tables = PageTables(
        room.memory, allocator, granule_of(4096), 48, upper=False, owner=destination(0, "el2")
    )
    tables.map(RAM, RAM, RAM_SIZE, d.KERNEL_RW & ~(d.PXN | d.UXN))
    room.cpu.write("TTBR0_EL2", tables.root)
    room.cpu.write("TCR_EL2", tcr_el2(granule_of(4096), va_bits=48, pa_bits=44))
    room.cpu.write("MAIR_EL2", d.MAIR)
    room.cpu.write("SCTLR_EL2", SCTLR_EL2_MMU_OFF | 1)
    before = room.cpu.read("HCR_EL2")
    stop = room.call(FINALISE, el=1, vectors=MAIN)
    assert stop.reason is StopReason.REACHED, stop
    assert (stop.el, room.cpu.x(0)) == (1, HVC_STUB_ERR)
    assert room.cpu.read("HCR_EL2") == before


# The kernel's side ------------------------------------------------------------------------------


def _runs(stubs: Stubs, symbol: str, arguments: dict[int, int], el: int = 1) -> Room:
    room = _room(stubs)
    cpu = room.cpu
    cpu.write("VBAR_EL2", stubs.pa(MAIN))
    cpu.set_el(el)
    for number in range(31):
        cpu.set_x(number, 0x1111_0000_0000 + number)
    for number, value in arguments.items():
        cpu.set_x(number, value)
    cpu.set_x(30, ELSEWHERE)
    stop = cpu.run(stubs.pa(symbol), until=ELSEWHERE, max_instructions=1000, timeout_s=10)
    assert stop.reason is StopReason.REACHED, stop
    return room


def test_callers_of_the_stub(stubs: Stubs) -> None:
    room = _runs(stubs, "__hyp_set_vectors", {0: RAM + 0x800})
    assert (room.cpu.read("VBAR_EL2"), room.cpu.x(0), room.cpu.el) == (RAM + 0x800, 0, 1)
    room = _runs(stubs, "__hyp_reset_vectors", {})
    assert (room.cpu.read("VBAR_EL2"), room.cpu.x(0), room.cpu.el) == (stubs.pa(MAIN), 0, 1)


@pytest.mark.parametrize(
    ("boot_mode", "el", "asks"), [(0xE12, 1, True), (0xE11, 1, False), (0xE12, 2, False)]
)
def test_finalise_el2_asks_only_a_stub_that_is_there(
    stubs: Stubs, boot_mode: int, el: int, asks: bool
) -> None:
    """On a CPU without VHE the stub, if it is asked, says no."""
    if not stubs.image.has_symbol("finalise_el2"):
        assert stubs.name == "5.10"
        return
    room = _runs(stubs, "finalise_el2", {0: boot_mode}, el)
    assert (room.cpu.x(0) == HVC_STUB_ERR) is asks
    assert room.cpu.read("ESR_EL2") >> 26 == (ExceptionClass.HVC64 if asks else 0)
    assert room.cpu.el == el


@pytest.mark.parametrize(("switch", "el"), [(0, 1), (1, 2)])
def test_soft_restart_leaves_at_the_level_it_is_told(stubs: Stubs, switch: int, el: int) -> None:
    name = "__cpu_soft_restart" if stubs.name == "5.10" else "cpu_soft_restart"
    room = _runs(stubs, name, {0: switch, 1: ELSEWHERE, 2: 0xA, 3: 0xB, 4: 0xC})
    assert room.cpu.el == el
    assert [room.cpu.x(n) for n in range(3)] == [0xA, 0xB, 0xC]
    assert room.cpu.read("SCTLR_EL1") & ~SCTLR_EL1_MMU_OFF == 0


# Relocation -------------------------------------------------------------------------------------
