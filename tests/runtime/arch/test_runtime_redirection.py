"""E2H register redirection: which register a name reaches, and that it takes effect at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from relokit.codegen.system_registers import register_name, split_key
from relokit.runtime.arch import descriptors as d
from relokit.runtime.arch.exceptions import ExceptionClass
from relokit.runtime.arch.geometry import granule_of, tcr_el1
from relokit.runtime.arch.redirection import TO_EL1, TO_EL2, is_redirecting
from relokit.runtime.guest.ledger import PageAllocator
from relokit.runtime.guest.owner import destination
from relokit.runtime.kexec.pagetables import PageTables
from relokit.runtime.record.stop import StopReason

MakeBench = Callable[..., Any]
RAM, CODE, HIGH = 0x4000_0000, 0x4010_0000, (1 << 64) - (1 << 47)
VECTORS = 0x4020_0000
E2H, TGE, RW = 1 << 34, 1 << 27, 1 << 31
# Registers without side effects on the run, all 64 bits of which hold what is written.
PLAIN = [
    ("TTBR0_EL1", "TTBR0_EL2"),
    ("TTBR1_EL1", "TTBR1_EL2"),
    ("MAIR_EL1", "MAIR_EL2"),
    ("ELR_EL1", "ELR_EL2"),
    ("FAR_EL1", "FAR_EL2"),
    ("CNTP_CVAL_EL0", "CNTHP_CVAL_EL2"),
    ("CNTV_CVAL_EL0", "CNTHV_CVAL_EL2"),
]


def _spelling(key: int) -> str:
    return "s{}_{}_c{}_c{}_{}".format(*split_key(key))


def _host(bench: MakeBench, **options: Any) -> Any:
    b = bench("max", **options)
    b.cpu.write("HCR_EL2", RW | E2H | TGE)
    b.cpu.set_el(2)
    return b


def test_the_tables_pair_every_name_with_a_register() -> None:
    names = {register_name(key): register_name(to) for key, to in TO_EL2.items()}
    assert names.items() >= dict(PLAIN).items()
    assert register_name(TO_EL2[_key("CPACR_EL1")]) == "CPTR_EL2"
    assert register_name(TO_EL2[_key("CNTKCTL_EL1")]) == "CNTHCTL_EL2"
    assert register_name(TO_EL1[_key("VBAR_EL12")]) == "VBAR_EL1"
    assert register_name(TO_EL1[_key("CNTV_CTL_EL02")]) == "CNTV_CTL_EL0"
    # Every _EL12 name has an EL1 name that E2H takes away, where the engine has the register.
    taken = {to for key, to in TO_EL1.items() if "EL12" in register_name(key)}
    absent = "SCTLR2 TRFCR SMCR TCR2 TFSR PIRE0 PIR SCXTNUM"
    assert taken - set(TO_EL2) == {_key(f"{name}_EL1") for name in absent.split()}


def _key(name: str) -> int:
    from relokit.codegen.system_registers import register_key

    return register_key(name)


@pytest.mark.parametrize(
    ("hcr", "el", "yes"), [(E2H, 2, True), (E2H, 1, False), (E2H, 0, False), (RW | TGE, 2, False)]
)
def test_redirection_needs_e2h_and_el2(hcr: int, el: int, yes: bool) -> None:
    assert is_redirecting(hcr, el) is yes


@pytest.mark.parametrize(("el1", "el2"), PLAIN)
def test_el1_names_reach_el2_registers(bench: MakeBench, el1: str, el2: str) -> None:
    b = _host(bench)
    b.cpu.write(el1, 0x1000)
    b.cpu.write(el2, 0x2000)
    b.cpu.set_x(1, 0x3000)
    stop = b.run(f"mrs x0, {el1.lower()}\nmsr {el1.lower()}, x1\nnop")
    assert (stop.reason, stop.instructions) == (StopReason.REACHED, 3)
    assert (b.cpu.x(0), b.cpu.read(el1), b.cpu.read(el2)) == (0x2000, 0x1000, 0x3000)


@pytest.mark.parametrize(("el1", "el2"), PLAIN[:2])
@pytest.mark.parametrize(("e2h", "el"), [(False, 2), (True, 1), (False, 1)])
def test_el1_names_are_themselves_otherwise(
    bench: MakeBench, el1: str, el2: str, e2h: bool, el: int
) -> None:
    b = bench("max")
    b.cpu.write("HCR_EL2", RW | (E2H if e2h else 0))
    b.cpu.set_el(el)
    b.cpu.write(el1, 0x1000)
    b.cpu.write(el2, 0x2000)
    assert b.run(f"mrs x0, {el1.lower()}\nmsr {el1.lower()}, xzr").reason == "reached"
    assert (b.cpu.x(0), b.cpu.read(el1), b.cpu.read(el2)) == (0x1000, 0, 0x2000)


def _existing(bench: MakeBench) -> list[int]:
    from relokit.codegen.base.errors import MachineError

    cpu = bench("max").cpu
    keys = []
    for key, target in TO_EL1.items():
        try:
            cpu.read(register_name(target))
        except MachineError:
            continue
        keys.append(key)
    return keys


def test_el12_names_reach_el1_registers(bench: MakeBench) -> None:
    b = _host(bench)
    keys = _existing(bench)
    assert len(keys) >= 20
    for key in keys:
        name = register_name(TO_EL1[key])
        # x30 and XZR are numbered apart from the others by the engine.
        wanted = b.cpu.read(name)
        b.cpu.set_x(30, 0)
        stop = b.run(f"mrs x30, {_spelling(key)}\nmrs xzr, {_spelling(key)}\nnop")
        assert (stop.reason, stop.instructions) == (StopReason.REACHED, 3), name
        if not name.startswith("CNT"):  # counters move
            assert b.cpu.x(30) == wanted, name


def test_el12_writes_leave_el2_alone(bench: MakeBench) -> None:
    b = _host(bench)
    b.cpu.write("VBAR_EL2", 0x8000)
    b.cpu.set_x(30, 0x1800)
    # VBAR_EL12 and SCTLR_EL12
    stop = b.run("msr s3_5_c12_c0_0, x30\nmsr s3_5_c1_c0_0, xzr\nmrs x1, s3_5_c12_c0_0")
    assert stop.reason is StopReason.REACHED
    assert (b.cpu.read("VBAR_EL1"), b.cpu.read("VBAR_EL2"), b.cpu.x(1)) == (0x1800, 0x8000, 0x1800)
    assert b.cpu.read("SCTLR_EL1") == 0


@pytest.mark.parametrize(("e2h", "el"), [(False, 2), (True, 1)])
def test_el12_names_are_undefined_otherwise(bench: MakeBench, e2h: bool, el: int) -> None:
    b = bench("max")
    b.cpu.write("HCR_EL2", RW | (E2H if e2h else 0))
    b.cpu.set_el(el)
    stop = b.run("mrs x0, s3_5_c1_c0_0")
    assert stop.reason is StopReason.EXCEPTION
    assert stop.event is not None
    assert stop.event.exception_class == ExceptionClass.UNKNOWN


def _host_tables(b: Any, page: int) -> None:
    allocator = PageAllocator(b.memory, page)
    allocator.reserve(destination(0, "below"), RAM, 0x30_0000)
    granule = granule_of(page)
    low = PageTables(b.memory, allocator, granule, 48, upper=False, owner=destination(0, "low"))
    low.idmap(CODE, 0x10_0000)
    low.idmap(VECTORS, 0x10_0000)
    high = PageTables(b.memory, allocator, granule, 48, upper=True, owner=destination(0, "high"))
    high.map(HIGH, RAM, 0x10_0000, d.KERNEL_RW, blocks=False)
    tcr = tcr_el1(granule, t0_bits=48, t1_bits=48, pa_bits=44)
    for name, value in (
        ("TCR", tcr), ("TTBR0", low.root), ("TTBR1", high.root), ("MAIR", d.MAIR),
        ("SCTLR", 0x30501805),
    ):  # fmt: skip
        b.cpu.write(f"{name}_EL2", value)


@pytest.mark.parametrize("page", [4096, 16384, 65536])
def test_turning_the_mmu_off_by_its_el1_name_works_for_the_next_instruction(
    bench: MakeBench, page: int
) -> None:
    b = _host(bench)
    _host_tables(b, page)
    b.memory.write_u64(RAM + 8, 0x1234)
    b.cpu.set_x(0, HIGH + 8)
    b.cpu.set_x(1, 0x30500800)
    b.cpu.set_x(3, RAM + 8)
    stop = b.run("ldr x2, [x0]\nisb\nmsr sctlr_el1, x1\nldr x4, [x3]\nldr x5, [x0]")
    assert (b.cpu.x(2), b.cpu.x(4)) == (0x1234, 0x1234)
    # With the MMU off the address is a physical one, and beyond 48 bits.
    assert (stop.reason, stop.pc, stop.instructions) == (StopReason.EXCEPTION, CODE + 16, 4)
    assert stop.event is not None
    assert stop.event.text.endswith("(read): address size fault, level 0")
    assert (b.cpu.read("SCTLR_EL2"), b.cpu.read("SCTLR_EL1") & 1) == (0x30500800, 0)


@pytest.mark.parametrize("page", [4096, 16384, 65536])
def test_switching_ttbr1_by_its_el1_name_under_the_code(bench: MakeBench, page: int) -> None:
    b = _host(bench)
    _host_tables(b, page)
    allocator = PageAllocator(b.memory, page)
    allocator.reserve(destination(0, "before"), RAM, 0x80_0000)
    other = PageTables(
        b.memory, allocator, granule_of(page), 48, upper=True, owner=destination(0, "other")
    )
    other.map(HIGH, RAM + page, page, d.KERNEL_RW, blocks=False)
    b.memory.write_u64(RAM, 1)
    b.memory.write_u64(RAM + page, 2)
    b.cpu.set_x(0, HIGH)
    b.cpu.set_x(1, other.root)
    stop = b.run("ldr x2, [x0]\nmsr ttbr1_el1, x1\nisb\nldr x3, [x0]")
    assert (stop.reason, b.cpu.x(2), b.cpu.x(3)) == (StopReason.REACHED, 1, 2)


def test_entering_vhe_from_el1(bench: MakeBench) -> None:
    """EL1 with its MMU on calls EL2, which turns E2H on, copies the EL1 context through the
    _EL12 views and comes back at EL2 behind the same tables.
    """
    b = bench("max")
    _host_tables(b, 4096)  # values end up in the EL2 registers ...
    for name in ("TCR", "TTBR0", "TTBR1", "MAIR", "SCTLR"):  # ... and start in the EL1 ones
        b.cpu.write(f"{name}_EL1", b.cpu.read(f"{name}_EL2"))
        b.cpu.write(f"{name}_EL2", 0)
    b.cpu.write("HCR_EL2", RW)
    b.cpu.write("VBAR_EL2", VECTORS)
    b.cpu.set_el(1)
    b.cpu.set_sp(0x4004_0000)
    b.memory.write_u64(RAM + 16, 77)
    b.cpu.set_x(10, HIGH + 16)
    b.cpu.set_x(11, RW | E2H | TGE)
    b.cpu.set_x(12, 0x3C9)
    b.load(
        "mrs x1, sp_el1\nmsr hcr_el2, x11\nisb\nmov sp, x1\n"
        + "".join(
            f"mrs x1, s3_5_{rest}\nmsr s3_0_{rest}, x1\n"
            for rest in ("c2_c0_2", "c2_c0_0", "c2_c0_1", "c10_c2_0", "c12_c0_0")
        )
        + "isb\nmsr spsr_el1, x12\ntlbi vmalle1\ndsb nsh\nisb\n"
        "mrs x1, s3_5_c1_c0_0\nmsr sctlr_el1, x1\nisb\n"
        "mov x2, #0x0800\nmovk x2, #0x3050, lsl #16\nmsr s3_5_c1_c0_0, x2\nmov x0, #0\neret",
        VECTORS + 0x400,
    )
    stop = b.run("mov x0, #3\nhvc #0\nldr x13, [x10]\nmrs x14, currentel\nmov x15, sp")
    assert (stop.reason, stop.el) == (StopReason.REACHED, 2)
    assert (b.cpu.x(0), b.cpu.x(13), b.cpu.x(14) >> 2) == (0, 77, 2)
    assert b.cpu.x(15) == 0x4004_0000
    assert (b.cpu.read("SCTLR_EL2"), b.cpu.read("SCTLR_EL1")) == (0x30501805, 0x30500800)
