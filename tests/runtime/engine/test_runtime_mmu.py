"""Our MMU: each kind of abort by its syndrome, address and PC, at each level; maintenance; AT."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import process_time
from typing import Any

import numpy as np
import pytest

from relokit.codegen.base.errors import MachineError
from relokit.runtime.arch import descriptors as d
from relokit.runtime.arch.exceptions import DELIVER, PSTATE_PAN
from relokit.runtime.arch.geometry import granule_of, tcr_el1, tcr_el2
from relokit.runtime.arch.walker import Access
from relokit.runtime.board.devices import Pl011, attach
from relokit.runtime.engine import engine_fault
from relokit.runtime.engine.cpu import Cpu
from relokit.runtime.engine.native_hooks import ENCODINGS
from relokit.runtime.guest.ledger import PageAllocator
from relokit.runtime.guest.memory import GuestMemory
from relokit.runtime.guest.owner import destination
from relokit.runtime.kexec.pagetables import PageTables
from relokit.runtime.record.stop import StopReason

RAM, CODE, VECTORS = 0x4000_0000, 0x4010_0000, 0x4020_0000
PAGES = 0x1_0000_0000
GOOD, UNMAPPED, READ_ONLY, NO_AF, TOO_BIG, NEVER_X, USER, DEVICE, FOR_EL0, NOWHERE = (
    PAGES + 0x1000 * index for index in range(10)
)
BAD_TABLE = PAGES + 0x4000_0000
BEHIND = RAM + 0x8_0000
SCTLR = 0x3050_1801 | 1 << 23  # MMU on, SPAN
RX = d.NORMAL << 2 | d.SH_INNER | d.AF | d.AP_READ_ONLY | d.AP_EL0
HCR_RW, HCR_E2H, HCR_TGE = 1 << 31, 1 << 34, 1 << 27
UAO = 1 << 23
SET_PAN, LDADD = ".long 0xd500419f", ".long 0xf8220003"  # MSR PAN, #1; LDADD X2, X3, [X0]
IL, WNR, CM = 1 << 25, 1 << 6, 1 << 8
MakeBench = Callable[..., Any]


@dataclass(frozen=True)
class Where:
    """A level, the regime it translates by, and the level and vector that aborts go to."""

    el: int
    hcr: int
    target: int
    vector: int

    @property
    def lower(self) -> bool:
        return self.el < self.target


HOST = HCR_RW | HCR_E2H | HCR_TGE
LEVELS = {
    "EL1": Where(1, HCR_RW, 1, 0x200),
    "EL2": Where(2, HCR_RW, 2, 0x200),
    "EL2&0": Where(2, HOST, 2, 0x200),
    "EL0": Where(0, HCR_RW, 1, 0x400),
    "EL0 of a host": Where(0, HOST, 2, 0x400),
}
each_level = pytest.mark.parametrize("where", LEVELS.values(), ids=LEVELS)


def _bench(bench: MakeBench, where: Where) -> Any:
    b = bench("max")
    b.cpu.policy = DELIVER
    allocator = PageAllocator(b.memory, 4096)
    for name, base in (("data", RAM), ("code", CODE), ("vectors", VECTORS)):
        allocator.reserve(destination(0, name), base, 0x10_0000)
    owner = destination(0, "tables")
    tables = PageTables(b.memory, allocator, granule_of(4096), 48, upper=False, owner=owner)
    tables.map(CODE, CODE, 0x1_0000, RX, blocks=False)
    tables.map(VECTORS, VECTORS, 0x1000, RX, blocks=False)
    # Above EL0 data is privileged; there, EL0 has it.
    el0 = d.AP_EL0 if where.el == 0 else 0
    kernel = d.KERNEL_RW | el0
    tables.map(GOOD, BEHIND, 0xA000, kernel, blocks=False)
    tables.map(BAD_TABLE, BEHIND, 0x1000, kernel, blocks=False)
    b.cpu.write("HCR_EL2", where.hcr)
    regime = where.target
    if where.hcr == HCR_RW and where.el == 2:
        tcr = tcr_el2(granule_of(4096), va_bits=48, pa_bits=40)
    else:
        tcr = tcr_el1(granule_of(4096), t0_bits=48, t1_bits=48, pa_bits=40)
    for name, value in (
        ("TCR", tcr),
        ("TTBR0", tables.root),
        ("MAIR", d.MAIR),
        ("VBAR", VECTORS),
        ("SCTLR", SCTLR),
    ):
        b.cpu.write(f"{name}_EL{regime}", value)
    for va, change in (
        (UNMAPPED, lambda word: 0),
        (READ_ONLY, lambda word: word | d.AP_READ_ONLY),
        (NO_AF, lambda word: word & ~d.AF),
        (TOO_BIG, lambda word: word | 1 << 41),
        (USER, lambda word: word | d.AP_EL0),
        (DEVICE, lambda word: word | d.DEVICE_NGNRE << 2),
        (FOR_EL0, lambda word: RX | word & ~0xFFF & (1 << 48) - 1 | 3),
        (NOWHERE, lambda word: word & ~((1 << 48) - 1 ^ 0xFFF) | 0x7000_0000),
    ):
        _leaf(b, va, regime, change)
    entry = b.cpu.walk(BAD_TABLE, regime).trail[-2].entry
    b.memory.write_u64(entry, 0x9000_0000 | 3)
    for offset in range(0, 0x800, 0x80):
        b.load("wfi", VECTORS + offset)
    b.cpu.set_el(where.el)
    return b


def _leaf(b: Any, va: int, el: int, change: Callable[[int], int]) -> None:
    step = b.cpu.walk(va, el).trail[-1]
    b.memory.write_u64(step.entry, change(step.descriptor))


def _aborted(b: Any, where: Where, esr: int, far: int, elr: int, completed: int) -> None:
    """The abort was delivered exactly, and its handler entered."""
    cpu, el = b.cpu, where.target
    assert hex(cpu.read(f"ESR_EL{el}")) == hex(esr)
    assert hex(cpu.read(f"FAR_EL{el}")) == hex(far)
    assert hex(cpu.read(f"ELR_EL{el}")) == hex(elr)
    assert cpu.read(f"SPSR_EL{el}") & 0xF == (where.el << 2 | (where.el > 0))
    assert (cpu.pc, cpu.el) == (VECTORS + where.vector + 4, el)
    assert b.stop.instructions == completed + 1  # the handler's WFI
    assert (b.stop.reason, b.stop.exceptions) == (StopReason.HALTED, 1)


def _run(b: Any, text: str, **x: int) -> None:
    for name, value in x.items():
        b.cpu.set_x(int(name[1:]), value)
    b.stop = b.run(text)


DATA = [
    ("ldr x2, [x0]", UNMAPPED, 0x07),
    ("ldr x2, [x0]", NO_AF, 0x0B),
    ("ldr x2, [x0]", TOO_BIG, 0x03),
    ("ldr x2, [x0]", BAD_TABLE, 0x17),
    ("ldr x2, [x0]", 1 << 50, 0x04),
    ("ldrb w2, [x0]", UNMAPPED, 0x07),
    ("ldp x2, x3, [x0, #-8]!", UNMAPPED + 16, 0x07),
    ("ldr q2, [x0]", UNMAPPED, 0x07),
    ("ldxr x2, [x0]", UNMAPPED, 0x07),
    (LDADD, UNMAPPED, 0x07),
    ("str x2, [x0]", UNMAPPED, 0x07 | WNR),
    ("str x2, [x0], #8", READ_ONLY, 0x0F | WNR),
    ("str x2, [x0]", NO_AF, 0x0B | WNR),
    ("str x2, [x0]", TOO_BIG, 0x03 | WNR),
    ("str x2, [x0]", BAD_TABLE, 0x17 | WNR),
    ("stp x2, x3, [x0]", READ_ONLY, 0x0F | WNR),
    ("dc zva, x0", READ_ONLY, 0x0F | WNR),
    ("dc zva, x0", UNMAPPED, 0x07 | WNR),
]


@each_level
@pytest.mark.parametrize(("text", "page", "iss"), DATA)
def test_a_data_abort_is_exact(
    bench: MakeBench, where: Where, text: str, page: int, iss: int
) -> None:
    b = _bench(bench, where)
    at = page + 0x18
    b.cpu.write(f"SCTLR_EL{where.target}", SCTLR | 1 << 14)  # DZE
    _run(b, f"nop\nmov x5, #5\n{text}\nmov x5, #6", x0=at)
    far = at - 8 if text.startswith("ldp") else at
    _aborted(b, where, (0x24 if where.lower else 0x25) << 26 | IL | iss, far, CODE + 8, 2)
    assert (b.cpu.x(0), b.cpu.x(5)) == (at, 5)


@each_level
@pytest.mark.parametrize(
    ("page", "code"),
    [(UNMAPPED, 0x07), (NO_AF, 0x0B), (TOO_BIG, 0x03), (BAD_TABLE, 0x17), (NEVER_X, 0x0F)],
)
def test_an_instruction_abort_is_exact(
    bench: MakeBench, where: Where, page: int, code: int
) -> None:
    b = _bench(bench, where)
    _run(b, "nop\nbr x0", x0=page + 0x20)
    at = page + 0x20
    _aborted(b, where, (0x20 if where.lower else 0x21) << 26 | IL | code, at, at, 2)


def test_an_access_over_the_end_of_a_page_faults_where_the_next_begins(bench: MakeBench) -> None:
    for text, iss in (("ldr x2, [x0]", 0x07), ("str x2, [x0]", 0x07 | WNR)):
        b = _bench(bench, LEVELS["EL1"])
        _run(b, text, x0=UNMAPPED - 4)
        _aborted(b, LEVELS["EL1"], 0x25 << 26 | IL | iss, UNMAPPED, CODE, 0)


def test_a_handler_may_map_the_page_and_return(bench: MakeBench) -> None:
    b = _bench(bench, LEVELS["EL1"])
    entry = b.cpu.walk(UNMAPPED, 1).trail[-1].entry
    b.load("str x4, [x3]\ndsb sy\nadd x9, x9, #1\neret", VECTORS + 0x200)
    window = PAGES + 0x20_5000
    _map_one(b, window, entry & ~0xFFF)
    good = b.memory.read_u64(b.cpu.walk(GOOD, 1).trail[-1].entry)
    b.memory.write_u64(BEHIND + 0x18, 77)
    _run(b, "ldr x2, [x0]\nnop", x0=UNMAPPED + 0x18, x3=window | entry & 0xFFF, x4=good, x9=0)
    assert (b.stop.reason, b.stop.instructions) == (StopReason.REACHED, 2 + 4)
    assert (b.cpu.x(2), b.cpu.x(9), b.stop.exceptions) == (77, 1, 1)


def _map_one(b: Any, va: int, pa: int) -> None:
    """Map ``va``, whose level 2 table entry is free, by a table made in the data."""
    table = RAM + 0xF_0000
    entry = b.cpu.walk(va, 1).trail[-1].entry
    b.memory.write_u64(entry, table | 3)
    b.memory.write_u64(table + 8 * (va >> 12 & 511), pa | d.KERNEL_RW | 3)


# Unprivileged accesses and PAN ------------------------------------------------------------------

HOSTS = [LEVELS["EL1"], LEVELS["EL2&0"]]


@pytest.mark.parametrize("where", HOSTS)
@pytest.mark.parametrize(
    ("text", "page", "iss"),
    [
        ("ldtr x2, [x0]", GOOD, 0x0F),
        ("sttr x2, [x0]", GOOD, 0x0F | WNR),
        ("ldtrsb x2, [x0]", GOOD, 0x0F),
        ("sttrh w2, [x0]", FOR_EL0, 0x0F | WNR),
        ("ldtr x2, [x0]", USER, None),
        ("sttr x2, [x0]", USER, None),
        ("ldtr w2, [x0]", FOR_EL0, None),
    ],
)
def test_unprivileged_accesses_have_the_rights_of_el0(
    bench: MakeBench, where: Where, text: str, page: int, iss: int | None
) -> None:
    b = _bench(bench, where)
    # What the privileged level may do is in the TLB already.
    _run(b, f"ldr x3, [x0]\n{text}", x0=page)
    if iss is None:
        assert b.stop.reason is StopReason.REACHED
    else:
        _aborted(b, where, 0x25 << 26 | IL | iss, page, CODE + 4, 1)


def test_uao_makes_unprivileged_accesses_ordinary(bench: MakeBench) -> None:
    b = _bench(bench, LEVELS["EL1"])
    b.cpu.set_pstate(b.cpu.pstate | UAO)
    _run(b, "ldtr x2, [x0]\nsttr x2, [x0]", x0=GOOD)
    assert b.stop.reason is StopReason.REACHED


def test_el2_without_a_host_has_no_unprivileged_accesses(bench: MakeBench) -> None:
    b = _bench(bench, LEVELS["EL2"])
    _run(b, "ldtr x2, [x0]", x0=GOOD)
    assert b.stop.reason is StopReason.REACHED


@pytest.mark.parametrize("where", HOSTS)
@pytest.mark.parametrize(("text", "iss"), [("ldr x2, [x0]", 0x0F), ("str x2, [x0]", 0x4F)])
def test_pan_keeps_the_privileged_level_from_what_el0_may_access(
    bench: MakeBench, where: Where, text: str, iss: int
) -> None:
    b = _bench(bench, where)
    # Neither what was allowed before nor what LDTR may do lets it through.
    _run(b, f"{text}\n{SET_PAN}\nldtr x3, [x0]\n{text}", x0=USER)
    _aborted(b, where, 0x25 << 26 | IL | iss, USER, CODE + 12, 3)
    assert b.cpu.pstate & PSTATE_PAN


# The end of a run -------------------------------------------------------------------------------


def test_an_end_that_is_not_mapped_is_an_abort_there(bench: MakeBench) -> None:
    for at in (UNMAPPED, UNMAPPED + 0x10):
        b = _bench(bench, LEVELS["EL1"])
        b.cpu.set_x(0, at)
        b.load("nop\nbr x0")
        b.stop = b.cpu.run(CODE, until=UNMAPPED + 0x10, max_instructions=100, timeout_s=5)
        _aborted(b, LEVELS["EL1"], 0x21 << 26 | IL | 0x07, at, at, 2)


def test_an_end_that_is_not_mapped_does_not_disturb(bench: MakeBench) -> None:
    b = _bench(bench, LEVELS["EL1"])
    b.load("ldr x2, [x0]\nldr x3, [x1]\nwfi")
    b.load(
        "add x9, x9, #1\nmrs x8, elr_el1\nadd x8, x8, #4\nmsr elr_el1, x8\neret", VECTORS + 0x200
    )
    for number, value in ((0, UNMAPPED), (1, UNMAPPED + 8), (9, 0)):
        b.cpu.set_x(number, value)
    stop = b.cpu.run(CODE, until=UNMAPPED, max_instructions=100, timeout_s=5)
    assert (stop.reason, stop.pc, b.cpu.x(9)) == (StopReason.HALTED, CODE + 12, 2)
    assert stop.instructions == 1 + 2 * 5
    # What the engine was told of the end's page is not there for the guest.
    b.stop = b.cpu.run(CODE, until=UNMAPPED, max_instructions=100, timeout_s=5)
    assert b.stop.exceptions == 2


def test_a_run_may_end_where_nothing_is(bench: MakeBench) -> None:
    b = bench()
    b.cpu.set_x(0, 0x9000_0000)
    b.load("br x0")
    stop = b.cpu.run(CODE, until=0x9000_0000, max_instructions=100, timeout_s=5)
    assert (stop.reason, stop.pc, stop.instructions) == (StopReason.REACHED, 0x9000_0000, 1)
    stop = b.cpu.run(CODE, until=CODE + 4, max_instructions=100, timeout_s=5)
    assert (stop.reason, stop.pc) == (StopReason.UNMAPPED, 0x9000_0000)


# What answers on the bus ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kind", "size", "value"),
    [
        ("ldr w2, [x0]", "read", 4, 0),
        ("strh w2, [x0]", "write", 2, 0x3344),
        ("str x2, [x0]", "write", 8, 0x11223344),
    ],
)
def test_an_access_to_nothing_ends_the_run_before_it(
    bench: MakeBench, text: str, kind: str, size: int, value: int
) -> None:
    b = _bench(bench, LEVELS["EL1"])
    _run(b, f"nop\n{text}\nmov x5, #6", x0=NOWHERE + 8, x2=0x11223344, x5=5)
    stop = b.stop
    assert (stop.reason, stop.pc, stop.instructions) == (StopReason.UNMAPPED, CODE + 4, 1)
    access = (stop.access.kind, stop.access.pa, stop.access.size, stop.access.value)
    assert access == (kind, 0x7000_0008, size, value)
    assert b.cpu.x(5) == 5


def test_devices_answer_through_the_tables(bench: MakeBench) -> None:
    b = _bench(bench, LEVELS["EL1"])
    uart = Pl011()
    attach(b.cpu, [uart])
    _leaf(b, DEVICE, 1, lambda word: word & ~((1 << 48) - 1 ^ 0xFFF) | uart.base)
    _run(b, "strb w2, [x0]\nldr w3, [x0, #0x18]", x0=DEVICE, x2=ord("!"))
    assert b.stop.reason is StopReason.REACHED
    assert (uart.text, b.cpu.x(3)) == ("!", 0x90)


def test_there_is_room_for_so_many_devices(bench: MakeBench) -> None:
    cpu = bench().cpu
    attach(cpu, [Pl011(0x1000_0000 + 0x1_0000 * index) for index in range(8)])
    with pytest.raises(MachineError, match="no more than 8 devices"):
        attach(cpu, [Pl011(0x2000_0000)])


def test_a_second_stage_is_refused(bench: MakeBench) -> None:
    b = _bench(bench, LEVELS["EL1"])
    b.cpu.write("HCR_EL2", HCR_RW | 1)
    _run(b, "nop")
    assert b.stop.reason is StopReason.ENGINE
    assert "no second stage" in b.stop.detail


# Maintenance and AT -----------------------------------------------------------------------------

BY_ADDRESS = [
    "dc ivac,", "dc cvac,", "dc cvau,", "dc civac,", "ic ivau,",
    "sys #3, c7, c12, #1,", "sys #3, c7, c13, #1,",
]  # fmt: skip


@pytest.mark.parametrize("where", [LEVELS["EL1"], LEVELS["EL2"], LEVELS["EL2&0"]])
@pytest.mark.parametrize("text", BY_ADDRESS)
@pytest.mark.parametrize(("page", "code"), [(UNMAPPED, 0x07), (NO_AF, 0x0B), (BAD_TABLE, 0x17)])
def test_maintenance_of_what_is_not_mapped_is_a_data_abort(
    bench: MakeBench, where: Where, text: str, page: int, code: int
) -> None:
    b = _bench(bench, where)
    b.memory.write_u64(BEHIND, 0)
    # What comes after it in its block has not happened, to registers, memory and the system.
    after = f"mov x5, #6\nmov x6, #7\nadds x7, x7, x7\nstr x6, [x1]\nmsr tpidr_el{where.el}, x6"
    # The store's page is in the TLB before.
    before = "str x6, [x1]\nmov x5, #5"
    _run(b, f"{before}\n{text} x0\n{after}", x0=page + 0x44, x1=GOOD, x6=1, x7=1 << 63)
    _aborted(b, where, 0x25 << 26 | IL | CM | WNR | code, page + 0x44, CODE + 8, 2)
    assert [b.cpu.x(number) for number in (5, 6, 7)] == [5, 1, 1 << 63]
    assert b.cpu.read(f"TPIDR_EL{where.el}") == 0
    assert b.memory.read_u64(BEHIND) == 1


@pytest.mark.parametrize("after", ["svc #0", "brk #1", ".long 0", "b #0", "wfi"])
def test_nothing_after_a_maintenance_that_faults_is_seen(bench: MakeBench, after: str) -> None:
    b = _bench(bench, LEVELS["EL1"])
    _run(b, f"dc civac, x0\n{after}", x0=UNMAPPED)
    _aborted(b, LEVELS["EL1"], 0x25 << 26 | IL | CM | WNR | 0x07, UNMAPPED, CODE, 0)


def test_only_invalidation_needs_the_right_to_write(bench: MakeBench) -> None:
    others = "\n".join(f"{text} x0" for text in BY_ADDRESS[1:])
    b = _bench(bench, LEVELS["EL1"])
    _run(b, f"{others}\ndc ivac, x0", x0=READ_ONLY)
    _aborted(b, LEVELS["EL1"], 0x25 << 26 | IL | CM | WNR | 0x0F, READ_ONLY, CODE + 24, 6)


def test_pan_does_not_count_for_maintenance(bench: MakeBench) -> None:
    b = _bench(bench, LEVELS["EL1"])
    _run(b, f"{SET_PAN}\ndc civac, x0\ndc ivac, x0", x0=USER)
    assert b.stop.reason is StopReason.REACHED


@pytest.mark.parametrize("uci", [0, 1 << 26])
def test_maintenance_at_el0_is_trapped_unless_allowed(bench: MakeBench, uci: int) -> None:
    where = LEVELS["EL0"]
    b = _bench(bench, where)
    b.cpu.write("SCTLR_EL1", SCTLR | uci)
    _run(b, "dc cvac, x1\ndc civac, x0", x0=UNMAPPED, x1=GOOD)
    if uci:
        _aborted(b, where, 0x24 << 26 | IL | CM | WNR | 0x07, UNMAPPED, CODE + 4, 1)
    else:
        assert b.cpu.read("ESR_EL1") >> 26 == 0x18


def test_maintenance_knows_an_entry_until_it_is_invalidated(bench: MakeBench) -> None:
    b = _bench(bench, LEVELS["EL1"])
    entry = b.cpu.walk(GOOD, 1).trail[-1].entry
    window = PAGES + 0x20_5000
    _map_one(b, window, entry & ~0xFFF)
    _run(
        b,
        "ldr x2, [x3]\nstr xzr, [x0]\nstr xzr, [x3]\ndsb sy\nstr xzr, [x0]\ndc civac, x0\n"
        "mov x5, #5\ntlbi vmalle1\ndsb sy\nisb\ndc civac, x0",
        x0=GOOD + 0x40,
        x3=window | entry & 0xFFF,
    )
    _aborted(b, LEVELS["EL1"], 0x25 << 26 | IL | CM | WNR | 0x07, GOOD + 0x40, CODE + 40, 10)
    assert b.cpu.x(5) == 5


def test_a_loop_of_maintenance_faults_at_the_page_it_comes_to(bench: MakeBench) -> None:
    b = _bench(bench, LEVELS["EL1"])
    _run(b, "loop: dc civac, x0\nadd x0, x0, #64\nb loop", x0=GOOD)
    _aborted(b, LEVELS["EL1"], 0x25 << 26 | IL | CM | WNR | 0x07, UNMAPPED, CODE, 64 * 3)


def test_zeroing_needs_normal_memory(bench: MakeBench) -> None:
    b = _bench(bench, LEVELS["EL1"])
    b.memory.write(BEHIND, b"x" * 256)
    _run(b, "dc zva, x0\ndc zva, x1", x0=GOOD + 0x47, x1=DEVICE + 0x47)
    _aborted(b, LEVELS["EL1"], 0x25 << 26 | IL | WNR | 0x21, DEVICE + 0x47, CODE + 4, 1)
    assert b.memory.read(BEHIND, 256) == b"x" * 64 + bytes(64) + b"x" * 128


@pytest.mark.parametrize("el", [1, 2])
def test_zeroing_with_the_mmu_off_is_an_alignment_fault(bench: MakeBench, el: int) -> None:
    b = bench()
    b.cpu.set_el(el)
    b.stop = b.run("nop\ndc zva, x0\ndc civac, x0")
    assert (b.stop.reason, b.stop.pc, b.stop.instructions) == (StopReason.EXCEPTION, CODE + 4, 1)
    assert b.stop.event.esr == 0x25 << 26 | IL | WNR | 0x21
    b.cpu.set_x(0, RAM)
    assert b.run("dc civac, x0\ndc ivac, x0\nic ivau, x0\nnop").reason is StopReason.REACHED


AT = {
    "s1e1r": (Access.READ, False),
    "s1e1w": (Access.WRITE, False),
    "s1e0r": (Access.READ, True),
    "s1e0w": (Access.WRITE, True),
}


@pytest.mark.parametrize("where", HOSTS)
@pytest.mark.parametrize("operation", AT)
@pytest.mark.parametrize("page", [GOOD, UNMAPPED, READ_ONLY, NO_AF, TOO_BIG, USER, FOR_EL0, DEVICE])
def test_at_is_our_walk(bench: MakeBench, where: Where, operation: str, page: int) -> None:
    b = _bench(bench, where)
    _run(b, f"at {operation}, x0\nisb\nmrs x1, par_el1", x0=page + 0x123)
    walked = b.cpu.walk(page)
    access, unprivileged = AT[operation]
    fault = walked.fault_for(access)
    code = fault.code if fault else None
    if not fault and unprivileged and page not in (USER, FOR_EL0):
        code = 0x0F
    if code is not None:
        assert b.cpu.x(1) == 1 << 11 | code << 1 | 1
        return
    sharing = 2 if page == DEVICE else 3
    mair = 0x04 if page == DEVICE else 0xFF
    assert b.cpu.x(1) == mair << 56 | walked.pa | 1 << 11 | 1 << 9 | sharing << 7


def test_at_with_pan_and_at_of_el2(bench: MakeBench) -> None:
    b = _bench(bench, LEVELS["EL1"])
    _run(
        b,
        f"{SET_PAN}\nat s1e1r, x0\nisb\nmrs x1, par_el1\n.long 0xd5087900\nisb\nmrs x2, par_el1",
        x0=USER,
    )  # the word is AT S1E1RP, X0
    assert (b.cpu.x(1) & 1, b.cpu.x(2) & 0x7F) == (0, 0x0F << 1 | 1)
    b = _bench(bench, LEVELS["EL2"])
    _run(b, "at s1e2w, x0\nisb\nmrs x1, par_el1\nat s1e2r, x0\nisb\nmrs x2, par_el1", x0=READ_ONLY)
    assert (b.cpu.x(1) & 0x7F, b.cpu.x(2) & 1) == (0x0F << 1 | 1, 0)


def test_at_is_undefined_where_it_is(bench: MakeBench) -> None:
    b = _bench(bench, LEVELS["EL1"])
    _run(b, "at s1e2r, x0", x0=GOOD)
    assert b.cpu.read("ESR_EL1") >> 26 == 0


def test_at_that_cannot_read_a_table_is_an_abort(bench: MakeBench) -> None:
    b = _bench(bench, LEVELS["EL1"])
    _run(b, "at s1e1r, x0", x0=BAD_TABLE)
    _aborted(b, LEVELS["EL1"], 0x25 << 26 | IL | CM | WNR | 0x17, BAD_TABLE, CODE, 0)


def test_what_another_level_may_maintain_says_nothing_of_this_one(bench: MakeBench) -> None:
    b = _bench(bench, LEVELS["EL1"])
    b.cpu.set_el(2)  # its MMU is off
    text = "msr elr_el2, x3\nmsr spsr_el2, x4\ndc civac, x0\neret\ndc civac, x0"
    _run(b, text, x0=UNMAPPED, x3=CODE + 16, x4=0x3C5)
    _aborted(b, LEVELS["EL1"], 0x25 << 26 | IL | CM | WNR | 0x07, UNMAPPED, CODE + 16, 4)


# Registers of translation ------------------------------------------------------------------------


def test_the_guest_turns_its_mmu_on_and_off(bench: MakeBench) -> None:
    b = _bench(bench, LEVELS["EL1"])
    b.memory.write_u64(BEHIND, 77)
    b.cpu.write("SCTLR_EL1", SCTLR & ~1)
    _run(
        b,
        "ldr x2, [x1]\nmsr sctlr_el1, x3\nisb\nldr x4, [x0]\nmsr sctlr_el1, x5\nisb\n"
        "ldr x6, [x1]\nmsr sctlr_el1, x3\nisb\nldr x7, [x1]",
        x0=GOOD,
        x1=BEHIND,
        x3=SCTLR,
        x5=SCTLR & ~1,
    )
    assert [b.cpu.x(number) for number in (2, 4, 6)] == [77, 77, 77]
    _aborted(b, LEVELS["EL1"], 0x25 << 26 | IL | 0x07, BEHIND, CODE + 36, 9)


def test_with_tge_and_no_host_el0_has_no_mmu(bench: MakeBench) -> None:
    b = _bench(bench, LEVELS["EL0"])
    b.memory.write_u64(BEHIND, 77)
    b.cpu.write("HCR_EL2", HCR_RW | HCR_TGE)
    b.cpu.write("VBAR_EL2", VECTORS)
    _run(b, "ldr x2, [x0]\nbrk #1", x0=BEHIND)
    assert (b.cpu.x(2), b.cpu.read("ESR_EL2") >> 26) == (77, 0x3C)


def test_stores_with_the_mmu_off_take_no_slow_path(bench: MakeBench) -> None:
    loop = "mov x1, #60000\nagain: " + "str x1, [x0]\n" * 8 + "sub x1, x1, #1\ncbnz x1, again"
    seconds = {}
    for name, where in (("off", None), ("on", LEVELS["EL1"])):
        b = _bench(bench, where) if where else bench("max")
        b.cpu.set_x(0, GOOD if where else BEHIND)
        start = process_time()
        assert b.run(loop).reason is StopReason.REACHED
        seconds[name] = process_time() - start
    assert seconds["off"] < 2 * seconds["on"] + 0.01


# The engine -------------------------------------------------------------------------------------


def test_the_engines_checks_are_left_out_where_that_was_seen_to_work() -> None:
    layout = engine_fault._layout()
    assert layout.switch == 2034


@pytest.mark.parametrize(
    ("name", "value"), [("_STOP_CHECKS_AT", 1976), ("_TO_THE_END", 2), ("_AT_ONCE", 2)]
)
def test_an_engine_with_another_layout_keeps_its_checks(
    monkeypatch: pytest.MonkeyPatch, bench: MakeBench, name: str, value: int
) -> None:
    monkeypatch.setattr(engine_fault, name, value)
    layout = engine_fault._layout.__wrapped__()
    assert layout.switch is None
    monkeypatch.setattr(engine_fault, "_layout", lambda: layout)
    for text in ("ldr x2, [x0]", "str x2, [x0]", "dc civac, x0"):
        b = _bench(bench, LEVELS["EL1"])
        _run(b, f"nop\n{text}\nmov x5, #6", x0=UNMAPPED)
        assert (b.cpu.read("ELR_EL1"), b.stop.instructions) == (CODE + 4, 2)


def test_operations_are_counted_beside_their_translation(bench: MakeBench) -> None:
    b = _bench(bench, LEVELS["EL1"])
    counters = np.zeros(ENCODINGS, dtype=np.uint64)
    b.cpu.count_operations(counters)
    _run(b, "dc civac, x0\ndc civac, x0\ntlbi vmalle1\nat s1e1r, x0", x0=GOOD)
    b.cpu.count_operations(None)
    assert sorted(counters[counters > 0].tolist()) == [1, 1, 2]
    assert b.run("dc civac, x0").reason is StopReason.REACHED
    assert counters.sum() == 4


def test_ram_is_whole_pages_of_4_kib_and_no_more_is_asked_of_it() -> None:
    with GuestMemory(RAM + 0x1000, 0x3000) as memory:
        cpu = Cpu("a72", memory)
        memory.write(RAM + 0x1000, bytes.fromhex("1f2003d5"))
        stop = cpu.run(RAM + 0x1000, until=RAM + 0x1004, max_instructions=9, timeout_s=5)
        assert stop.reason is StopReason.REACHED
