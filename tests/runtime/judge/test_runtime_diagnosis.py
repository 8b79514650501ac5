"""Diagnoses: each way to die, by running it, and what is said about it."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from relokit.codegen.base.documents import from_json, to_json
from relokit.codegen.object import (
    Binding,
    SectionFlag,
    SectionType,
    SourceLine,
    SourceLines,
    SymbolType,
)
from relokit.linker.image import Image, ImageSymbol, PlacedSection
from relokit.runtime.arch import descriptors as d
from relokit.runtime.arch.geometry import granule_of, tcr_el1
from relokit.runtime.guest.ledger import PageAllocator
from relokit.runtime.guest.owner import Owner, OwnerKind
from relokit.runtime.judge.book import judge
from relokit.runtime.judge.outcome import Finding
from relokit.runtime.judge.rules.disassembly import disassemble, listing
from relokit.runtime.judge.rules.moved.ending import ENDING
from relokit.runtime.kexec.pagetables import PageTables
from relokit.runtime.record.scene import SeenWord, surroundings
from relokit.runtime.record.stop import StopReason
from relokit.runtime.run.scenes import scene_of
from support.records import GOOD

MakeBench = Callable[..., Any]
RAM, CODE, VECTORS = 0x4000_0000, 0x4010_0000, 0x4020_0000
HIGH = (1 << 64) - (1 << 47)
LINK = 0xFFFF_8000_0000_0000


class Guest:
    """Code at CODE is linked at LINK as ``relocate``; the ledger knows code and data."""

    def __init__(self, bench: Any) -> None:
        self.memory = bench.memory
        self.allocator = PageAllocator(bench.memory, 4096)
        self.allocator.reserve(Owner(OwnerKind.CONTROL_PAGE), CODE, 0x10_0000)
        self.allocator.reserve(Owner(OwnerKind.SOURCES), RAM, 0x10_0000)
        self.allocator.reserve(Owner(OwnerKind.EL2_VECTORS), VECTORS, 0x10_0000)
        lines = SourceLines(
            (4 * n, SourceLine("relocate.S.j2", 40 + n, f"statement {n}")) for n in range(64)
        )
        # A view: what is linked is what is loaded, whenever that happens.
        code = bench.memory.view(CODE, 256).data
        section = PlacedSection(
            ".text", LINK, CODE, 256, 4, SectionType.PROGBITS, SectionFlag.ALLOC, code, lines
        )
        symbol = ImageSymbol("relocate", LINK, 0, Binding.GLOBAL, SymbolType.FUNC, 0)
        self.image = Image("test", (section,), (), (symbol,), LINK)

    def locate(self, pc: int) -> tuple[Image, int] | None:
        return (self.image, pc - CODE + LINK) if CODE <= pc < CODE + 256 else None


def _mmu_on(b: Any, guest: Guest, attributes: int = d.KERNEL_RW, size: int = 0x4000) -> int:
    """TTBR0 maps the first page of CODE only, TTBR1 ``size`` bytes of data; returns its root."""
    granule = granule_of(4096)
    low = PageTables(
        b.memory, guest.allocator, granule, 48, upper=False, owner=Owner(OwnerKind.CONTROL_IDMAP)
    )
    low.idmap(CODE, 4096)
    high = PageTables(
        b.memory, guest.allocator, granule, 48, upper=True, owner=Owner(OwnerKind.LINEAR_MAP)
    )
    high.map(HIGH, RAM, size, attributes, blocks=False)
    b.cpu.write("TCR_EL1", tcr_el1(granule, t0_bits=48, t1_bits=48, pa_bits=44))
    b.cpu.write("TTBR0_EL1", low.root)
    b.cpu.write("TTBR1_EL1", high.root)
    b.cpu.write("MAIR_EL1", d.MAIR)
    b.cpu.write("SCTLR_EL1", 0x30501805)
    return int(high.root)


def _leaf(b: Any, va: int) -> int:
    return int(b.cpu.walk(va).trail[-1].entry)


def _diagnosed(b: Any, guest: Guest, text: str, **options: Any) -> Finding:
    stop = b.run(text, **options)
    assert stop.reason is not StopReason.REACHED
    record = replace(GOOD, reached=(), scene=scene_of(guest, b.cpu, stop))
    [finding] = judge(record, ENDING).findings
    assert from_json(Finding, to_json(finding)) == finding
    return finding


def test_a_store_to_a_page_left_read_only_is_explained_in_full(bench: MakeBench) -> None:
    b = bench()
    guest = Guest(b)
    attributes = (d.KERNEL_RW | d.AP_READ_ONLY) & ~d.SOFTWARE_DIRTY
    _mmu_on(b, guest, attributes)
    b.cpu.set_x(13, HIGH + 0x1008)
    finding = _diagnosed(b, guest, "nop\nnop\nstr x0, [x13], #16\nnop")
    assert finding.rule == "exception.data-abort"
    assert finding.message == (
        f"data abort at {HIGH + 0x1008:#x} (write): permission fault, level 3, at EL1, MMU on"
    )
    assert finding.address == CODE + 8
    assert finding.place == "relocate+0x8 (relocate.S.j2:42)"
    assert finding.listing == (
        f"  {CODE:#x}: d503201f  nop  // relocate.S.j2:40",
        f"  {CODE + 4:#x}: d503201f  nop  // relocate.S.j2:41",
        f"> {CODE + 8:#x}: f80105a0  str x0, [x13], #0x10  // relocate.S.j2:42",
        f"  {CODE + 12:#x}: d503201f  nop  // relocate.S.j2:43",
        *(
            f"  {CODE + at:#x}: 00000000  udf #0  // relocate.S.j2:{40 + at // 4}"
            for at in (16, 20)
        ),
    )
    assert finding.cause is not None
    assert "software-dirty bit (55) is clear" in finding.cause
    assert dict(finding.registers)["x13"] == HIGH + 0x1008
    walks = [note for note in finding.notes if note.startswith("page walk")]
    assert len(walks) == 5  # the address, then one line a level
    assert f"PA {RAM + 0x1008:#x}" in walks[0]
    assert any(note.startswith("fault address: PA 0x40001008 belongs to source pages") for note in
               finding.notes)  # fmt: skip


def _hole(b: Any, guest: Guest) -> None:
    _mmu_on(b, guest)
    entry = _leaf(b, HIGH + 0x2000)
    b.memory.write_u64(entry, b.memory.read_u64(entry) & ~d.VALID)


def _bad_root(b: Any, guest: Guest) -> None:
    _mmu_on(b, guest)
    b.cpu.write("TTBR1_EL1", 0x9000_0000)


def _no_access_flag(b: Any, guest: Guest) -> None:
    _mmu_on(b, guest, d.KERNEL_RW & ~d.AF)


def _far_away(b: Any, guest: Guest) -> None:
    _mmu_on(b, guest)
    entry = _leaf(b, HIGH)
    b.memory.write_u64(entry, b.memory.read_u64(entry) | 1 << 46)


def _mmu(b: Any, guest: Guest) -> None:
    _mmu_on(b, guest)


def _read_only(b: Any, guest: Guest) -> None:
    _mmu_on(b, guest, d.KERNEL_RO)


def _nothing(b: Any, guest: Guest) -> None:
    pass


def _no_hvc(b: Any, guest: Guest) -> None:
    b.cpu.write("SCR_EL3", 0x431)


def _stub_refuses(b: Any, guest: Guest) -> None:
    b.load("mov x0, #0xca11\nmovk x0, #0xbad, lsl #16\neret", VECTORS + 0x400)
    b.cpu.write("VBAR_EL2", VECTORS)


def _spinning_vectors(b: Any, guest: Guest) -> None:
    b.load("spin: b spin", VECTORS + 0x400)
    b.cpu.write("VBAR_EL2", VECTORS)


def _garbage(b: Any, guest: Guest) -> None:
    _mmu_on(b, guest)
    b.memory.write_u64(b.cpu.walk(HIGH).trail[1].entry, 0x96495BC0CC8ED974)


def _zero_vectors(b: Any, guest: Guest) -> None:
    b.cpu.write("VBAR_EL2", VECTORS)


def _to_el0(b: Any, guest: Guest) -> None:
    b.cpu.write("SPSR_EL1", 0)
    b.load("svc #0", CODE + 0x100)


def _lost_vectors(b: Any, guest: Guest) -> None:
    b.cpu.write("VBAR_EL2", LINK)


@pytest.mark.parametrize(
    ("setup", "x0", "text", "rule", "cause"),
    [
        (_read_only, HIGH, "str x1, [x0]", "exception.data-abort", "has to lift that"),
        (_hole, HIGH + 0x2000, "ldr x1, [x0]", "exception.data-abort", "debug_pagealloc"),
        (_mmu, RAM, "ldr x1, [x0]", "exception.data-abort", "physical address was used"),
        (_mmu, HIGH + 0x8000, "ldr x1, [x0]", "exception.data-abort", "does not cover"),
        (_mmu, 1 << 50, "ldr x1, [x0]", "exception.data-abort", "outside the VA range"),
        (_bad_root, HIGH, "ldr x1, [x0]", "exception.data-abort", "points outside RAM"),
        (_no_access_flag, HIGH, "ldr x1, [x0]", "exception.data-abort", "access flag"),
        (_far_away, HIGH, "ldr x1, [x0]", "exception.data-abort", "beyond TCR.IPS"),
        (_nothing, HIGH, "ldr x1, [x0]", "exception.data-abort", "with the MMU off"),
        (_nothing, RAM + 1, "ldxr x1, [x0]", "exception.data-abort", "not aligned"),
        (_mmu, CODE + 0x1000, "br x0", "exception.instruction-abort", "identity map (TTBR0)"),
        (_mmu, HIGH, "br x0", "exception.instruction-abort", "not executable"),
        (
            _nothing,
            HIGH,
            "br x0",
            "exception.instruction-abort",
            "virtual address with the MMU off",
        ),
        (_no_hvc, 0, "hvc #0", "exception.undefined", "HVC is disabled"),
        (_nothing, RAM, "br x0", "exception.undefined", "zeros are being executed"),
        (_nothing, 0, "mrs x1, s3_5_c1_c0_0", "exception.undefined", "no such register"),
        (_nothing, 0, ".long 0xffffffff", "exception.undefined", "branch into data"),
        (_nothing, 0x1000, "br x0", "bus.unassigned", "neither RAM nor a device"),
        (_nothing, 0x1000, "str x1, [x0]", "bus.unassigned", "nothing answers"),
        (_stub_refuses, 3, "hvc #0\nwfi", "run.halted", "HVC_STUB_ERR"),
        (_spinning_vectors, 0, "hvc #0", "run.spin", "no handler and spins"),
        (_lost_vectors, 0, "hvc #0", "exception.vector", "VBAR does not hold"),
        (_nothing, 0, "spin: b spin", "run.spin", "waits for ever on purpose"),
        (_nothing, 0, "loop: add x1, x1, #1\nb loop", "run.limit", "does not come to an end"),
        (_nothing, 0, "wfi", "run.halted", "no interrupt will ever come"),
        (_nothing, 0, "brk #1", "exception.stray", "trap that it has for the impossible"),
        (_nothing, 0, "svc #0", "exception.stray", "nobody handles system calls"),
        (_nothing, 0, "smc #0", "exception.stray", "the firmware has no part"),
        (_mmu, 0x10, "str x1, [x0]", "exception.data-abort", "a register that nobody set"),
        (_mmu, 0, "br x0", "exception.instruction-abort", "a pointer that nobody set"),
        (_garbage, HIGH, "ldr x1, [x0]", "exception.data-abort", "is no descriptor"),
        (_zero_vectors, 0, "hvc #0", "exception.undefined", "VBAR points to zeros"),
        (_to_el0, CODE + 0x100, "msr elr_el1, x0\neret", "exception.stray", "fell to EL0"),
    ],
)
def test_each_way_to_die_has_its_cause(
    bench: MakeBench,
    setup: Callable[[Any, Guest], None],
    x0: int,
    text: str,
    rule: str,
    cause: str,
) -> None:
    b = bench()
    guest = Guest(b)
    setup(b, guest)
    b.cpu.set_x(0, x0)
    finding = _diagnosed(b, guest, text + "\nnop", max_instructions=10_000)
    assert finding.rule == rule
    assert finding.cause is not None
    assert cause in finding.cause


def test_a_spin_in_a_vector_slot_tells_what_it_was_for(bench: MakeBench) -> None:
    b = bench()
    guest = Guest(b)
    _spinning_vectors(b, guest)
    finding = _diagnosed(b, guest, "nop\nhvc #4\nnop")
    assert finding.message == (
        f"spins at {VECTORS + 0x400:#x}, entered by VBAR_EL2 slot 0x400 "
        "(synchronous from a lower level in AArch64)"
    )
    assert f"last exception: HVC #0x4, EL1 to EL2, ELR {CODE + 8:#x}" in finding.notes
    assert f"raised by: hvc #4 at {CODE + 4:#x}" in finding.notes
    assert finding.place == "in EL2 vectors copy"


def test_a_spin_in_the_padding_of_another_slot_names_the_one_entered(bench: MakeBench) -> None:
    b = bench()
    guest = Guest(b)
    b.load("back: " + "nop\n" * 31 + "b back", VECTORS + 0x384)
    b.cpu.write("VBAR_EL2", VECTORS)
    finding = _diagnosed(b, guest, "hvc #0\nnop")
    assert finding.rule == "run.spin"
    assert finding.message.startswith(
        f"spins at {VECTORS + 0x384:#x}, entered by VBAR_EL2 slot 0x400 "
    )


def test_code_that_was_overwritten_is_shown_beside_what_it_was(bench: MakeBench) -> None:
    b = bench()
    guest = Guest(b)
    linked = replace(guest.image.sections[0], data=struct.pack("<I", 0xD5033FDF) * 64)
    guest.image = replace(guest.image, sections=(linked,))
    finding = _diagnosed(b, guest, ".long 0xffffffff")
    assert finding.cause is not None
    assert finding.cause.startswith("the code was overwritten, or never copied")
    assert "the image has here: isb" in finding.notes


def test_a_wrong_identity_map_is_told_from_overwritten_code(bench: MakeBench) -> None:
    b = bench()
    guest = Guest(b)
    _mmu_on(b, guest)
    entry = _leaf(b, CODE)
    b.memory.write_u64(entry, b.memory.read_u64(entry) + 0x4000)
    linked = replace(guest.image.sections[0], data=struct.pack("<I", 0xD5033FDF) * 64)
    guest.image = replace(guest.image, sections=(linked,))
    finding = _diagnosed(b, guest, "nop")
    assert finding.cause is not None
    assert "the identity map (TTBR0) is wrong" in finding.cause


def test_code_nobody_owns_has_no_place(bench: MakeBench) -> None:
    b = bench()
    guest = Guest(b)
    b.cpu.set_x(0, RAM + 0x80_0000)
    assert _diagnosed(b, guest, "br x0\nnop").place is None


def test_system_instructions_are_spelt_by_our_table() -> None:
    assert disassemble(0xD518100A, 0) == "msr sctlr_el1, x10"
    assert disassemble(0xD53D1000, 0) == "mrs x0, sctlr_el12"
    assert disassemble(0xD50B7E20, 0) == "dc civac, x0"
    assert disassemble(0xD508871F, 0) == "tlbi vmalle1"
    assert disassemble(0xD538F720, 0) == "mrs x0, s3_0_c15_c7_1"
    assert disassemble(0x14000000, CODE) == f"b #{CODE:#x}"
    assert disassemble(0xD65F03C0, 0) == "ret"
    assert disassemble(0xFFFFFFFF, 0) == ".inst 0xffffffff"


def test_a_listing_stays_within_the_address_space() -> None:
    words = [SeenWord(at, 0xD503201F if at < 8 else None, None) for at in surroundings(4)]
    assert listing(words, 4) == ("  0x0: d503201f  nop", "> 0x4: d503201f  nop")
    last = (1 << 64) - 4
    nothing = [SeenWord(at, None, None) for at in surroundings(last)]
    assert listing(nothing, last) == ("> 0xfffffffffffffffc: (unreadable)",)
