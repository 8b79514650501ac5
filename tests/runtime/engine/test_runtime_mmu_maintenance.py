"""Our MMU: maintenance of caches by address, zeroing, and AT."""

from __future__ import annotations

import pytest

from relokit.runtime.arch.walker import Access
from relokit.runtime.record.stop import StopReason
from support.mmu import (
    BAD_TABLE,
    BEHIND,
    CM,
    CODE,
    DEVICE,
    FOR_EL0,
    GOOD,
    HOSTS,
    IL,
    LEVELS,
    NO_AF,
    PAGES,
    RAM,
    READ_ONLY,
    SCTLR,
    SET_PAN,
    TOO_BIG,
    UNMAPPED,
    USER,
    WNR,
    MakeBench,
    Where,
    aborted,
    map_one,
    mmu_bench,
    ran,
)

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
    b = mmu_bench(bench, where)
    b.memory.write_u64(BEHIND, 0)
    # What comes after it in its block has not happened, to registers, memory and the system.
    after = f"mov x5, #6\nmov x6, #7\nadds x7, x7, x7\nstr x6, [x1]\nmsr tpidr_el{where.el}, x6"
    # The store's page is in the TLB before.
    before = "str x6, [x1]\nmov x5, #5"
    ran(b, f"{before}\n{text} x0\n{after}", x0=page + 0x44, x1=GOOD, x6=1, x7=1 << 63)
    aborted(b, where, 0x25 << 26 | IL | CM | WNR | code, page + 0x44, CODE + 8, 2)
    assert [b.cpu.x(number) for number in (5, 6, 7)] == [5, 1, 1 << 63]
    assert b.cpu.read(f"TPIDR_EL{where.el}") == 0
    assert b.memory.read_u64(BEHIND) == 1


@pytest.mark.parametrize("after", ["svc #0", "brk #1", ".long 0", "b #0", "wfi"])
def test_nothing_after_a_maintenance_that_faults_is_seen(bench: MakeBench, after: str) -> None:
    b = mmu_bench(bench, LEVELS["EL1"])
    ran(b, f"dc civac, x0\n{after}", x0=UNMAPPED)
    aborted(b, LEVELS["EL1"], 0x25 << 26 | IL | CM | WNR | 0x07, UNMAPPED, CODE, 0)


def test_only_invalidation_needs_the_right_to_write(bench: MakeBench) -> None:
    others = "\n".join(f"{text} x0" for text in BY_ADDRESS[1:])
    b = mmu_bench(bench, LEVELS["EL1"])
    ran(b, f"{others}\ndc ivac, x0", x0=READ_ONLY)
    aborted(b, LEVELS["EL1"], 0x25 << 26 | IL | CM | WNR | 0x0F, READ_ONLY, CODE + 24, 6)


def test_pan_does_not_count_for_maintenance(bench: MakeBench) -> None:
    b = mmu_bench(bench, LEVELS["EL1"])
    ran(b, f"{SET_PAN}\ndc civac, x0\ndc ivac, x0", x0=USER)
    assert b.stop.reason is StopReason.REACHED


@pytest.mark.parametrize("uci", [0, 1 << 26])
def test_maintenance_at_el0_is_trapped_unless_allowed(bench: MakeBench, uci: int) -> None:
    where = LEVELS["EL0"]
    b = mmu_bench(bench, where)
    b.cpu.write("SCTLR_EL1", SCTLR | uci)
    ran(b, "dc cvac, x1\ndc civac, x0", x0=UNMAPPED, x1=GOOD)
    if uci:
        aborted(b, where, 0x24 << 26 | IL | CM | WNR | 0x07, UNMAPPED, CODE + 4, 1)
    else:
        assert b.cpu.read("ESR_EL1") >> 26 == 0x18


def test_maintenance_knows_an_entry_until_it_is_invalidated(bench: MakeBench) -> None:
    b = mmu_bench(bench, LEVELS["EL1"])
    entry = b.cpu.walk(GOOD, 1).trail[-1].entry
    window = PAGES + 0x20_5000
    map_one(b, window, entry & ~0xFFF)
    ran(
        b,
        "ldr x2, [x3]\nstr xzr, [x0]\nstr xzr, [x3]\ndsb sy\nstr xzr, [x0]\ndc civac, x0\n"
        "mov x5, #5\ntlbi vmalle1\ndsb sy\nisb\ndc civac, x0",
        x0=GOOD + 0x40,
        x3=window | entry & 0xFFF,
    )
    aborted(b, LEVELS["EL1"], 0x25 << 26 | IL | CM | WNR | 0x07, GOOD + 0x40, CODE + 40, 10)
    assert b.cpu.x(5) == 5


def test_a_loop_of_maintenance_faults_at_the_page_it_comes_to(bench: MakeBench) -> None:
    b = mmu_bench(bench, LEVELS["EL1"])
    ran(b, "loop: dc civac, x0\nadd x0, x0, #64\nb loop", x0=GOOD)
    aborted(b, LEVELS["EL1"], 0x25 << 26 | IL | CM | WNR | 0x07, UNMAPPED, CODE, 64 * 3)


def test_zeroing_needs_normal_memory(bench: MakeBench) -> None:
    b = mmu_bench(bench, LEVELS["EL1"])
    b.memory.write(BEHIND, b"x" * 256)
    ran(b, "dc zva, x0\ndc zva, x1", x0=GOOD + 0x47, x1=DEVICE + 0x47)
    aborted(b, LEVELS["EL1"], 0x25 << 26 | IL | WNR | 0x21, DEVICE + 0x47, CODE + 4, 1)
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
    b = mmu_bench(bench, where)
    ran(b, f"at {operation}, x0\nisb\nmrs x1, par_el1", x0=page + 0x123)
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
    b = mmu_bench(bench, LEVELS["EL1"])
    ran(
        b,
        f"{SET_PAN}\nat s1e1r, x0\nisb\nmrs x1, par_el1\n.long 0xd5087900\nisb\nmrs x2, par_el1",
        x0=USER,
    )  # the word is AT S1E1RP, X0
    assert (b.cpu.x(1) & 1, b.cpu.x(2) & 0x7F) == (0, 0x0F << 1 | 1)
    b = mmu_bench(bench, LEVELS["EL2"])
    ran(b, "at s1e2w, x0\nisb\nmrs x1, par_el1\nat s1e2r, x0\nisb\nmrs x2, par_el1", x0=READ_ONLY)
    assert (b.cpu.x(1) & 0x7F, b.cpu.x(2) & 1) == (0x0F << 1 | 1, 0)


def test_at_is_undefined_where_it_is(bench: MakeBench) -> None:
    b = mmu_bench(bench, LEVELS["EL1"])
    ran(b, "at s1e2r, x0", x0=GOOD)
    assert b.cpu.read("ESR_EL1") >> 26 == 0


def test_at_that_cannot_read_a_table_is_an_abort(bench: MakeBench) -> None:
    b = mmu_bench(bench, LEVELS["EL1"])
    ran(b, "at s1e1r, x0", x0=BAD_TABLE)
    aborted(b, LEVELS["EL1"], 0x25 << 26 | IL | CM | WNR | 0x17, BAD_TABLE, CODE, 0)


def test_what_another_level_may_maintain_says_nothing_of_this_one(bench: MakeBench) -> None:
    b = mmu_bench(bench, LEVELS["EL1"])
    b.cpu.set_el(2)  # its MMU is off
    text = "msr elr_el2, x3\nmsr spsr_el2, x4\ndc civac, x0\neret\ndc civac, x0"
    ran(b, text, x0=UNMAPPED, x3=CODE + 16, x4=0x3C5)
    aborted(b, LEVELS["EL1"], 0x25 << 26 | IL | CM | WNR | 0x07, UNMAPPED, CODE + 16, 4)
