"""Our MMU: each kind of abort by its syndrome, address and PC, at each level."""

from __future__ import annotations

from time import process_time

import numpy as np
import pytest

from relokit.codegen.base.errors import MachineError
from relokit.codegen.target import Regime
from relokit.codegen.virt_board import UART_BASE
from relokit.runtime.arch.exceptions import PSTATE_PAN
from relokit.runtime.board.board import Board
from relokit.runtime.board.screen import Screen
from relokit.runtime.engine import engine_fault
from relokit.runtime.engine.cpu import Cpu
from relokit.runtime.engine.mmu import WINDOWS
from relokit.runtime.engine.native_hooks import ENCODINGS
from relokit.runtime.guest.memory import GuestMemory
from relokit.runtime.record.stop import StopReason
from support.devices import nothing_at
from support.mmu import (
    BAD_TABLE,
    BEHIND,
    CODE,
    DEVICE,
    FOR_EL0,
    GOOD,
    HCR_RW,
    HCR_TGE,
    HOSTS,
    IL,
    LDADD,
    LEVELS,
    NEVER_X,
    NO_AF,
    NOWHERE,
    PAGES,
    RAM,
    READ_ONLY,
    SCTLR,
    SET_PAN,
    TOO_BIG,
    UAO,
    UNMAPPED,
    USER,
    VECTORS,
    WNR,
    MakeBench,
    Where,
    aborted,
    each_level,
    leaf,
    map_one,
    mmu_bench,
    ran,
)

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
    b = mmu_bench(bench, where)
    at = page + 0x18
    b.cpu.write(f"SCTLR_EL{where.target}", SCTLR | 1 << 14)  # DZE
    ran(b, f"nop\nmov x5, #5\n{text}\nmov x5, #6", x0=at)
    far = at - 8 if text.startswith("ldp") else at
    aborted(b, where, (0x24 if where.lower else 0x25) << 26 | IL | iss, far, CODE + 8, 2)
    assert (b.cpu.x(0), b.cpu.x(5)) == (at, 5)


@each_level
@pytest.mark.parametrize(
    ("page", "code"),
    [(UNMAPPED, 0x07), (NO_AF, 0x0B), (TOO_BIG, 0x03), (BAD_TABLE, 0x17), (NEVER_X, 0x0F)],
)
def test_an_instruction_abort_is_exact(
    bench: MakeBench, where: Where, page: int, code: int
) -> None:
    b = mmu_bench(bench, where)
    ran(b, "nop\nbr x0", x0=page + 0x20)
    at = page + 0x20
    aborted(b, where, (0x20 if where.lower else 0x21) << 26 | IL | code, at, at, 2)


def test_an_access_over_the_end_of_a_page_faults_where_the_next_begins(bench: MakeBench) -> None:
    for text, iss in (("ldr x2, [x0]", 0x07), ("str x2, [x0]", 0x07 | WNR)):
        b = mmu_bench(bench, LEVELS["EL1"])
        ran(b, text, x0=UNMAPPED - 4)
        aborted(b, LEVELS["EL1"], 0x25 << 26 | IL | iss, UNMAPPED, CODE, 0)


def test_a_handler_may_map_the_page_and_return(bench: MakeBench) -> None:
    b = mmu_bench(bench, LEVELS["EL1"])
    entry = b.cpu.walk(UNMAPPED, 1).trail[-1].entry
    b.load("str x4, [x3]\ndsb sy\nadd x9, x9, #1\neret", VECTORS + 0x200)
    window = PAGES + 0x20_5000
    map_one(b, window, entry & ~0xFFF)
    good = b.memory.read_u64(b.cpu.walk(GOOD, 1).trail[-1].entry)
    b.memory.write_u64(BEHIND + 0x18, 77)
    ran(b, "ldr x2, [x0]\nnop", x0=UNMAPPED + 0x18, x3=window | entry & 0xFFF, x4=good, x9=0)
    assert (b.stop.reason, b.stop.instructions) == (StopReason.REACHED, 2 + 4)
    assert (b.cpu.x(2), b.cpu.x(9), b.stop.exceptions) == (77, 1, 1)


# Unprivileged accesses and PAN ------------------------------------------------------------------


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
    b = mmu_bench(bench, where)
    # What the privileged level may do is in the TLB already.
    ran(b, f"ldr x3, [x0]\n{text}", x0=page)
    if iss is None:
        assert b.stop.reason is StopReason.REACHED
    else:
        aborted(b, where, 0x25 << 26 | IL | iss, page, CODE + 4, 1)


def test_uao_makes_unprivileged_accesses_ordinary(bench: MakeBench) -> None:
    b = mmu_bench(bench, LEVELS["EL1"])
    b.cpu.set_pstate(b.cpu.pstate | UAO)
    ran(b, "ldtr x2, [x0]\nsttr x2, [x0]", x0=GOOD)
    assert b.stop.reason is StopReason.REACHED


def test_el2_without_a_host_has_no_unprivileged_accesses(bench: MakeBench) -> None:
    b = mmu_bench(bench, LEVELS["EL2"])
    ran(b, "ldtr x2, [x0]", x0=GOOD)
    assert b.stop.reason is StopReason.REACHED


@pytest.mark.parametrize("where", HOSTS)
@pytest.mark.parametrize(("text", "iss"), [("ldr x2, [x0]", 0x0F), ("str x2, [x0]", 0x4F)])
def test_pan_keeps_the_privileged_level_from_what_el0_may_access(
    bench: MakeBench, where: Where, text: str, iss: int
) -> None:
    b = mmu_bench(bench, where)
    # Neither what was allowed before nor what LDTR may do lets it through.
    ran(b, f"{text}\n{SET_PAN}\nldtr x3, [x0]\n{text}", x0=USER)
    aborted(b, where, 0x25 << 26 | IL | iss, USER, CODE + 12, 3)
    assert b.cpu.pstate & PSTATE_PAN


# The end of a run -------------------------------------------------------------------------------


def test_an_end_that_is_not_mapped_is_an_abort_there(bench: MakeBench) -> None:
    for at in (UNMAPPED, UNMAPPED + 0x10):
        b = mmu_bench(bench, LEVELS["EL1"])
        b.cpu.set_x(0, at)
        b.load("nop\nbr x0")
        b.stop = b.cpu.run(CODE, until=UNMAPPED + 0x10, max_instructions=100, timeout_s=5)
        aborted(b, LEVELS["EL1"], 0x21 << 26 | IL | 0x07, at, at, 2)


def test_an_end_that_is_not_mapped_does_not_disturb(bench: MakeBench) -> None:
    b = mmu_bench(bench, LEVELS["EL1"])
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
    b = mmu_bench(bench, LEVELS["EL1"])
    ran(b, f"nop\n{text}\nmov x5, #6", x0=NOWHERE + 8, x2=0x11223344, x5=5)
    stop = b.stop
    assert (stop.reason, stop.pc, stop.instructions) == (StopReason.UNMAPPED, CODE + 4, 1)
    access = (stop.access.kind, stop.access.pa, stop.access.size, stop.access.value)
    assert access == (kind, 0x7000_0008, size, value)
    assert b.cpu.x(5) == 5


def test_devices_answer_through_the_tables(bench: MakeBench) -> None:
    b = mmu_bench(bench, LEVELS["EL1"])
    board = Board(b.cpu, Regime.EL1, Screen())
    leaf(b, DEVICE, 1, lambda word: word & ~((1 << 48) - 1 ^ 0xFFF) | UART_BASE)
    ran(b, "strb w2, [x0]\nldr w3, [x0, #0x18]", x0=DEVICE, x2=ord("!"))
    assert b.stop.reason is StopReason.REACHED
    board.flush()
    assert (board.screen.text, b.cpu.x(3)) == ("!", 0x90)


def test_there_is_room_for_so_many_devices(bench: MakeBench) -> None:
    cpu = bench().cpu
    for index in range(WINDOWS):
        cpu.map_device(nothing_at(0x1000_0000 + 0x1_0000 * index))
    with pytest.raises(MachineError, match=f"no more than {WINDOWS} devices"):
        cpu.map_device(nothing_at(0x2000_0000))


def test_a_second_stage_is_refused(bench: MakeBench) -> None:
    b = mmu_bench(bench, LEVELS["EL1"])
    b.cpu.write("HCR_EL2", HCR_RW | 1)
    ran(b, "nop")
    assert b.stop.reason is StopReason.ENGINE
    assert "no second stage" in b.stop.detail


# Registers of translation ------------------------------------------------------------------------


def test_the_guest_turns_its_mmu_on_and_off(bench: MakeBench) -> None:
    b = mmu_bench(bench, LEVELS["EL1"])
    b.memory.write_u64(BEHIND, 77)
    b.cpu.write("SCTLR_EL1", SCTLR & ~1)
    ran(
        b,
        "ldr x2, [x1]\nmsr sctlr_el1, x3\nisb\nldr x4, [x0]\nmsr sctlr_el1, x5\nisb\n"
        "ldr x6, [x1]\nmsr sctlr_el1, x3\nisb\nldr x7, [x1]",
        x0=GOOD,
        x1=BEHIND,
        x3=SCTLR,
        x5=SCTLR & ~1,
    )
    assert [b.cpu.x(number) for number in (2, 4, 6)] == [77, 77, 77]
    aborted(b, LEVELS["EL1"], 0x25 << 26 | IL | 0x07, BEHIND, CODE + 36, 9)


def test_with_tge_and_no_host_el0_has_no_mmu(bench: MakeBench) -> None:
    b = mmu_bench(bench, LEVELS["EL0"])
    b.memory.write_u64(BEHIND, 77)
    b.cpu.write("HCR_EL2", HCR_RW | HCR_TGE)
    b.cpu.write("VBAR_EL2", VECTORS)
    ran(b, "ldr x2, [x0]\nbrk #1", x0=BEHIND)
    assert (b.cpu.x(2), b.cpu.read("ESR_EL2") >> 26) == (77, 0x3C)


def test_stores_with_the_mmu_off_take_no_slow_path(bench: MakeBench) -> None:
    loop = "mov x1, #60000\nagain: " + "str x1, [x0]\n" * 8 + "sub x1, x1, #1\ncbnz x1, again"
    seconds = {}
    for name, where in (("off", None), ("on", LEVELS["EL1"])):
        b = mmu_bench(bench, where) if where else bench("max")
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
        b = mmu_bench(bench, LEVELS["EL1"])
        ran(b, f"nop\n{text}\nmov x5, #6", x0=UNMAPPED)
        assert (b.cpu.read("ELR_EL1"), b.stop.instructions) == (CODE + 4, 2)


def test_operations_are_counted_beside_their_translation(bench: MakeBench) -> None:
    b = mmu_bench(bench, LEVELS["EL1"])
    counters = np.zeros(ENCODINGS, dtype=np.uint64)
    b.cpu.count_operations(counters)
    ran(b, "dc civac, x0\ndc civac, x0\ntlbi vmalle1\nat s1e1r, x0", x0=GOOD)
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
