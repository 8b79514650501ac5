"""The CPU's exceptions, and its regimes with the MMU on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from relokit.runtime.arch import descriptors as d
from relokit.runtime.arch.exceptions import DELIVER, ExceptionClass
from relokit.runtime.arch.geometry import granule_of, tcr_el1, tcr_el2
from relokit.runtime.arch.walker import Access
from relokit.runtime.guest.ledger import PageAllocator
from relokit.runtime.guest.owner import destination
from relokit.runtime.kexec.pagetables import PageTables
from relokit.runtime.record.stop import StopReason

RAM, CODE = 0x4000_0000, 0x4010_0000
VECTORS, HIGH = 0x4020_0000, (1 << 64) - (1 << 47)
SCTLR_OFF, SCTLR_ON = 0x30500800, 0x30501805
RW = d.KERNEL_RW
MakeBench = Callable[..., Any]


# Exceptions -------------------------------------------------------------------------------------


def _vectors(b: Any, base: int, **slots: str) -> None:
    """Spin in all slots but those given as ``at_400="..."``."""
    for offset in range(0, 0x800, 0x80):
        b.load(slots.get(f"at_{offset:03x}", "spin: b spin"), base + offset)


STUB = "cmp x0, #0\nb.ne restart\nmsr vbar_el2, x1\nmov x0, #0\neret\nrestart: mov x8, x1\nbr x8"


def test_hvc_reaches_el2_and_returns_to_the_next_instruction(bench: MakeBench) -> None:
    b = bench()
    _vectors(b, VECTORS, at_400="mov x5, sp\nmov x6, #0x7777\nmov sp, x6\nadd x7, x7, #1\n" + STUB)
    for el, sp in ((2, 0x2222_0000), (1, 0x1111_0000)):
        b.cpu.set_el(el)
        b.cpu.set_sp(sp)
    b.cpu.write("VBAR_EL2", VECTORS)
    b.cpu.set_x(1, VECTORS)
    stop = b.run("mov x0, #0\nhvc #3\nadd x7, x7, #16\nmov x9, sp\nmrs x10, currentel")
    assert stop.reason is StopReason.REACHED
    assert stop.exceptions == 1
    # 5 of the program, and of the handler: 4, cmp, b.ne, msr, mov, eret.
    assert stop.instructions == 5 + 9
    assert (b.cpu.x(5), b.cpu.x(7), b.cpu.x(9)) == (0x2222_0000, 17, 0x1111_0000)
    assert (b.cpu.x(10) >> 2, b.cpu.el) == (1, 1)
    assert b.cpu.read("SP_EL2") == 0x7777
    assert b.cpu.read("ESR_EL2") == 0x5A000003
    assert b.cpu.read("ELR_EL2") == CODE + 8


def test_without_an_el2_a_call_is_undefined_at_el1(bench: MakeBench) -> None:
    b = bench(has_el2=False)
    stop = b.run("mrs x3, id_aa64pfr0_el1\nadd x7, x7, #1\nhvc #0\nadd x7, x7, #1")
    assert (stop.reason, stop.pc, stop.el) == (StopReason.EXCEPTION, CODE + 8, 1)
    assert stop.event is not None
    assert (stop.event.exception_class, stop.event.target_el) == (ExceptionClass.UNKNOWN, 1)
    assert stop.event.return_address == CODE + 8
    assert stop.instructions == 2
    assert b.cpu.x(7) == 1
    assert b.cpu.x(3) >> 8 & 0xF == 0
    assert bench().cpu.read("ID_AA64PFR0_EL1") >> 8 & 0xF


def test_soft_restart_stays_at_el2(bench: MakeBench) -> None:
    b = bench()
    _vectors(b, VECTORS, at_400=STUB)
    b.cpu.write("VBAR_EL2", VECTORS)
    target = CODE + 0x1000
    b.cpu.set_x(1, target)
    b.load("mov x0, #1\nhvc #0")
    stop = b.cpu.run(CODE, until=target, max_instructions=1000, timeout_s=5)
    assert (stop.reason, stop.pc, stop.el) == (StopReason.REACHED, target, 2)
    assert stop.instructions == 2 + 4


def test_el2_calls_itself_through_slot_0x200(bench: MakeBench) -> None:
    b = bench()
    _vectors(b, VECTORS, at_200="mov x5, #0x200\neret")
    b.cpu.set_el(2)
    b.cpu.write("VBAR_EL2", VECTORS)
    assert b.run("hvc #0\nnop").reason is StopReason.REACHED
    assert (b.cpu.x(5), b.cpu.el) == (0x200, 2)


def test_an_unhandled_slot_spins_and_is_found_out(bench: MakeBench) -> None:
    b = bench()
    _vectors(b, VECTORS)
    b.cpu.write("VBAR_EL2", VECTORS)
    stop = b.run("nop\nhvc #0", timeout_s=30)
    assert (stop.reason, stop.pc, stop.el) == (StopReason.SPIN, VECTORS + 0x400, 2)
    assert stop.event is not None
    assert stop.event.exception_class == ExceptionClass.HVC64


def test_hvc_is_undefined_when_disabled(bench: MakeBench) -> None:
    b = bench()
    _vectors(b, VECTORS, at_400="eret")
    b.cpu.write("VBAR_EL2", VECTORS)
    b.cpu.write("SCR_EL3", 0x431)
    stop = b.run("nop\nhvc #0\nnop")
    assert (stop.reason, stop.pc, stop.instructions) == (StopReason.EXCEPTION, CODE + 4, 1)
    assert stop.event is not None
    assert (stop.event.exception_class, stop.event.target_el) == (ExceptionClass.UNKNOWN, 1)


@pytest.mark.parametrize(
    ("vbar", "why"),
    [
        (VECTORS + 0x80, "not 2 KiB aligned"),
        (0x9000_0000, "not in RAM"),
        (VECTORS - 0x400 + 0x400, "raises the exception it handles"),
    ],
)
def test_vectors_that_cannot_work_stop_the_run(bench: MakeBench, vbar: int, why: str) -> None:
    b = bench()
    b.load("hvc #0", VECTORS + 0x400)
    b.cpu.write("VBAR_EL2", vbar)
    if "raises" in why:
        b.cpu.policy = DELIVER
        b.load(".long 0", VECTORS + 0x200)
        b.cpu.set_el(2)
        stop = b.run(".long 0")
    else:
        stop = b.run("hvc #0")
    assert stop.reason is StopReason.BAD_VECTOR
    assert stop.detail is not None
    assert why in stop.detail


def test_vectors_that_may_not_be_executed_stop_the_run(bench: MakeBench) -> None:
    b = bench()
    b.cpu.policy = DELIVER
    low, high = _mapped(b, 4096)
    tcr = tcr_el1(granule_of(4096), t0_bits=48, t1_bits=48, pa_bits=44)
    for name, value in (("TCR", tcr), ("TTBR0", low), ("TTBR1", high), ("VBAR", HIGH)):
        b.cpu.write(f"{name}_EL1", value)
    b.cpu.write("SCTLR_EL1", SCTLR_ON)
    stop = b.run("svc #0")
    assert stop.reason is StopReason.BAD_VECTOR
    assert stop.detail is not None
    assert stop.detail.endswith("cannot be fetched: permission fault, level 3")


PAN, SPAN = 1 << 22, 1 << 23


@pytest.mark.parametrize(
    ("model", "el", "sctlr", "hcr", "pan"),
    [
        ("max", 1, SCTLR_OFF, 1 << 31, PAN),
        ("max", 1, SCTLR_OFF | SPAN, 1 << 31, 0),
        ("max", 2, SCTLR_OFF, 1 << 31, 0),
        ("max", 2, SCTLR_OFF, 1 << 31 | 1 << 34, 0),
        ("max", 2, SCTLR_OFF, 1 << 31 | 1 << 34 | 1 << 27, PAN),
        ("max", 2, SCTLR_OFF | SPAN, 1 << 31 | 1 << 34 | 1 << 27, 0),
        ("a72", 1, SCTLR_OFF, 1 << 31, 0),
    ],
)
def test_an_exception_sets_pan_where_the_architecture_says_so(
    bench: MakeBench, model: str, el: int, sctlr: int, hcr: int, pan: int
) -> None:
    b = bench(model)
    b.cpu.policy = DELIVER
    _vectors(b, VECTORS, at_200="wfi")
    b.cpu.write("HCR_EL2", hcr)
    b.cpu.set_el(el)
    b.cpu.write(f"SCTLR_EL{el}", sctlr)
    b.cpu.write(f"VBAR_EL{el}", VECTORS)
    assert b.run("svc #0").reason is StopReason.HALTED
    assert b.cpu.pstate & PAN == pan


def test_sve_and_pointer_keys_are_not_trapped_to_el3(bench: MakeBench) -> None:
    b = bench("max")
    b.cpu.set_el(2)
    # CPTR_EL2.TZ = 0, then ZCR_EL2 and APIAKeyLo_EL1.
    stop = b.run(
        "mov x1, #0x32ff\nmsr cptr_el2, x1\nisb\nmsr s3_4_c1_c2_0, xzr\nmsr s3_0_c2_c1_0, xzr"
    )
    assert stop.reason is StopReason.REACHED


def test_a_kernel_at_el1_may_use_pointer_keys_and_finds_pages_of_16_kib(bench: MakeBench) -> None:
    """As booting.rst has it (HCR_EL2.APK, API), though nobody at EL2 set it: kernels use both."""
    b = bench("max")
    assert b.cpu.el == 1
    stop = b.run(
        "mov x1, #1 << 31\nmsr s3_0_c2_c1_0, x1\nmrs x2, s3_0_c2_c1_0\n.word 0xd503233f\n"
        "mrs x3, id_aa64mmfr0_el1"
    )
    assert stop.reason is StopReason.REACHED, stop
    assert b.cpu.x(2) == 1 << 31
    assert b.cpu.x(3) >> 20 & 0xF == 1


def test_delivered_faults_reach_the_guest_with_their_syndrome(bench: MakeBench) -> None:
    b = bench()
    b.cpu.policy = DELIVER
    _vectors(
        b,
        VECTORS,
        at_200="mrs x2, esr_el1\nmrs x3, elr_el1\nmrs x4, spsr_el1\nmrs x6, far_el1\n"
        "add x5, x3, #4\nmsr elr_el1, x5\neret",
    )
    b.cpu.write("VBAR_EL1", VECTORS)
    b.cpu.set_x(1, 0x4000_0001)
    stop = b.run("msr daifclr, #2\nldxr x0, [x1]\nmrs x7, daif\nbrk #5\nsvc #9\nnop")
    assert (stop.reason, stop.exceptions) == (StopReason.REACHED, 3)
    assert stop.instructions == 3 + 7 * 3  # ldxr and brk never complete; the nop is skipped
    assert b.cpu.x(7) == 0x340  # the handler's DAIF did not leak
    assert b.cpu.read("FAR_EL1") == 0x4000_0001
    assert stop.event is not None
    assert stop.event.text == "SVC #0x9"


# The three regimes with the MMU on ----------------------------------------------------------------


def _mapped(b: Any, page: int, attributes: int = RW) -> tuple[int, int]:
    """TTBR0 with CODE and VECTORS executable, TTBR1 with the rest of RAM at HIGH."""
    allocator = PageAllocator(b.memory, page)
    allocator.reserve(destination(0, "code"), CODE, 0x10_0000)
    allocator.reserve(destination(0, "vectors"), VECTORS, 0x10_0000)
    allocator.reserve(destination(0, "data"), RAM, 0x10_0000)
    granule = granule_of(page)
    low = PageTables(b.memory, allocator, granule, 48, upper=False, owner=destination(0, "low"))
    low.idmap(CODE, 0x10_0000)
    low.idmap(VECTORS, 0x10_0000)
    high = PageTables(b.memory, allocator, granule, 48, upper=True, owner=destination(0, "high"))
    high.map(HIGH, RAM, 0x10_0000, attributes, blocks=False)
    return low.root, high.root


COPY = "ldr x2, [x0]\nadd x2, x2, #1\nstr x2, [x0, #8]"


@pytest.mark.parametrize("page", [4096, 16384, 65536])
@pytest.mark.parametrize("el", [1, 2])
def test_code_runs_through_our_tables(bench: MakeBench, page: int, el: int) -> None:
    b = bench("max" if el == 2 else "a72")
    low, high = _mapped(b, page)
    b.memory.write_u64(RAM + page, 41)
    if el == 2:
        b.cpu.write("HCR_EL2", 1 << 31 | 1 << 34 | 1 << 27)
    b.cpu.set_el(el)
    tcr = tcr_el1(granule_of(page), t0_bits=48, t1_bits=48, pa_bits=44)
    for name, value in (("TCR", tcr), ("TTBR0", low), ("TTBR1", high), ("MAIR", d.MAIR)):
        b.cpu.write(f"{name}_EL{el}", value)
    b.cpu.write(f"SCTLR_EL{el}", SCTLR_ON)
    b.cpu.set_x(0, HIGH + page)
    stop = b.run(COPY)
    assert (stop.reason, stop.el, stop.instructions) == (StopReason.REACHED, el, 3)
    assert b.memory.read_u64(RAM + page + 8) == 42
    walked = b.cpu.walk(HIGH + page)
    assert (walked.pa, walked.fault_for(Access.WRITE)) == (RAM + page, None)
    assert b.cpu.instruction_at(CODE) == 0xF9400002


@pytest.mark.parametrize("page", [4096, 16384, 65536])
def test_el2_without_e2h_has_one_range(bench: MakeBench, page: int) -> None:
    b = bench()
    allocator = PageAllocator(b.memory, page)
    allocator.reserve(destination(0, "code"), CODE, 0x10_0000)
    allocator.reserve(destination(0, "data"), RAM, 0x10_0000)
    tables = PageTables(
        b.memory, allocator, granule_of(page), 48, upper=False, owner=destination(0, "hyp")
    )
    tables.map(CODE, CODE, 0x10_0000, d.KERNEL_RX & ~d.XN_EL2, blocks=False)
    tables.map(0x1_0000_0000, RAM, 0x10_0000, RW, blocks=False)
    b.cpu.set_el(2)
    b.cpu.write("TCR_EL2", tcr_el2(granule_of(page), va_bits=48, pa_bits=44))
    b.cpu.write("TTBR0_EL2", tables.root)
    b.cpu.write("MAIR_EL2", d.MAIR)
    b.cpu.write("SCTLR_EL2", 0x30C51835)
    b.memory.write_u64(RAM, 6)
    b.cpu.set_x(0, 0x1_0000_0000)
    stop = b.run(COPY)
    assert (stop.reason, b.memory.read_u64(RAM + 8)) == (StopReason.REACHED, 7)


@pytest.mark.parametrize("page", [4096, 16384, 65536])
@pytest.mark.parametrize(
    ("va", "text", "wanted"),
    [
        (HIGH + 0x20_0000, "ldr x2, [x0]", Access.READ),
        (0x1234_5678_9000, "ldr x2, [x0]", Access.READ),
        (0x00F0_0000_0000_0000, "ldr x2, [x0]", Access.READ),
        (HIGH, "str x2, [x0, #16]!", Access.WRITE),
        (HIGH, "br x0", Access.EXECUTE),
        (0x1234_5678_9000, "br x0", Access.EXECUTE),
    ],
)
def test_faults_agree_with_our_walk(
    bench: MakeBench, page: int, va: int, text: str, wanted: Access
) -> None:
    b = bench()
    low, high = _mapped(b, page, d.KERNEL_RO)
    tcr = tcr_el1(granule_of(page), t0_bits=48, t1_bits=48, pa_bits=44)
    for name, value in (("TCR", tcr), ("TTBR0", low), ("TTBR1", high), ("MAIR", d.MAIR)):
        b.cpu.write(f"{name}_EL1", value)
    b.cpu.write("SCTLR_EL1", SCTLR_ON)
    b.cpu.set_x(0, va)
    stop = b.run(text)
    assert stop.reason is StopReason.EXCEPTION
    assert stop.event is not None
    at = va + (16 if wanted is Access.WRITE else 0)
    assert stop.event.far == at
    fault = b.cpu.walk(at).fault_for(wanted)
    assert fault is not None
    assert stop.event.status == fault.code
    assert stop.event.is_write == (wanted is Access.WRITE)
    assert stop.pc == (va if wanted is Access.EXECUTE else CODE)
    assert b.cpu.x(0) == va  # no write-back by an instruction that did not complete


def test_a_table_outside_ram_is_an_external_abort_on_the_walk(bench: MakeBench) -> None:
    b = bench()
    low, _ = _mapped(b, 4096)
    b.cpu.write("TCR_EL1", tcr_el1(granule_of(4096), t0_bits=48, t1_bits=48, pa_bits=44))
    b.cpu.write("TTBR0_EL1", low)
    b.cpu.write("TTBR1_EL1", 0x9000_0000)
    b.cpu.write("SCTLR_EL1", SCTLR_ON)
    b.cpu.set_x(0, HIGH)
    stop = b.run(COPY)
    assert stop.reason is StopReason.EXCEPTION
    assert stop.event is not None
    assert stop.event.status == 0b010100  # level 0
    assert stop.event.text.endswith("external abort on walk fault, level 0")


def test_the_end_may_lie_behind_an_unmapped_page(bench: MakeBench) -> None:
    b = bench()
    allocator = PageAllocator(b.memory, 4096)
    allocator.reserve(destination(0, "code"), CODE, 0x10_0000)
    tables = PageTables(
        b.memory, allocator, granule_of(4096), 48, upper=False, owner=destination(0, "idmap")
    )
    tables.idmap(CODE, 4096)
    tables.idmap(CODE + 0x8000, 4096)
    b.cpu.write("TCR_EL1", tcr_el1(granule_of(4096), t0_bits=48, t1_bits=48, pa_bits=44))
    b.cpu.write("TTBR0_EL1", tables.root)
    b.cpu.write("SCTLR_EL1", SCTLR_ON)
    b.cpu.set_x(0, CODE + 0x8000)
    b.load("nop\nbr x0")
    stop = b.cpu.run(CODE, until=CODE + 0x8000, max_instructions=100, timeout_s=5)
    assert (stop.reason, stop.pc, stop.instructions) == (StopReason.REACHED, CODE + 0x8000, 2)


def test_a_raw_ttbr_write_is_seen_at_once(bench: MakeBench) -> None:
    b = bench()
    low, high = _mapped(b, 4096)
    allocator = PageAllocator(b.memory, 4096)
    allocator.reserve(destination(0, "everything before"), RAM, 0x80_0000)
    other = PageTables(
        b.memory, allocator, granule_of(4096), 48, upper=True, owner=destination(0, "other")
    )
    other.map(HIGH, RAM + 0x8000, 0x8000, RW)
    b.memory.write_u64(RAM, 1)
    b.memory.write_u64(RAM + 0x8000, 2)
    b.cpu.write("TCR_EL1", tcr_el1(granule_of(4096), t0_bits=48, t1_bits=48, pa_bits=44))
    b.cpu.write("TTBR0_EL1", low)
    b.cpu.write("SCTLR_EL1", SCTLR_ON)
    b.cpu.set_x(0, HIGH)
    seen = []
    for root in (high, other.root, high):
        b.cpu.write("TTBR1_EL1", root)
        assert b.run("ldr x2, [x0]").reason is StopReason.REACHED
        seen.append(b.cpu.x(2))
    assert seen == [1, 2, 1]
