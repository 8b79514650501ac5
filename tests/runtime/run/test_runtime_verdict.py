"""The run, wrong in a hundred ways, each of which says what it is.

A fault is put into a machine that is ready to go, the run is judged, and what is said first must
be what an engineer would look for: the rule, the place in the templates, the probable cause, and
the damage by name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pytest

from relokit.building import encoder
from relokit.codegen.target import MIB, PAGE_SIZES, Regime, Target
from relokit.runtime.arch import descriptors as d
from relokit.runtime.guest.owner import Owner, OwnerKind
from relokit.runtime.judge.outcome import Finding, Status
from relokit.runtime.kexec.job import Job, Shape
from relokit.runtime.kexec.kimage import read_field, write_field
from relokit.runtime.kexec.machine import Machine
from relokit.runtime.run.verdict import run_machine
from support.inside import ABORT, FETCH, complete, control, destination, entries, linear, trail
from support.machines import prepared, quiet

TARGETS = [Target(page_size=page, regime=el) for page in PAGE_SIZES.values() for el in Regime]
SMALL = Job(size=300_000, memory=160 * MIB, max_instructions=3_000_000, timeout=200)


def named(value: object) -> str:
    """A test's id."""
    return value.name if isinstance(value, Target) else str(value)


Change = Callable[[Machine, int], int]


@dataclass(frozen=True)
class Fault:
    """``put`` spoils a machine. The first finding of ``rule`` has ``cause`` in its cause; one of
    all has ``setup`` as its rule. ``at`` is part of the place.
    """

    name: str
    put: Callable[[Machine], None]
    rule: str
    cause: str
    setup: str | None
    at: str = ""


def entry(
    name: str,
    address: Callable[[Machine], int],
    level: int,
    change: Change,
    rule: str,
    cause: str,
    at: str = "",
) -> Fault:
    """A table entry wrong: that of ``level`` in the walk of ``address``."""

    def put(machine: Machine) -> None:
        pa = trail(machine, address(machine))[level].entry
        machine.memory.write_u64(pa, change(machine, machine.memory.read_u64(pa)))

    return Fault(name, put, rule, cause, "setup.tables", at)


UNDEFINED, SEGMENT = "exception.undefined", "memory.segment"
LIST_LOAD, STORE = "relocate_kernel.S.j2:", "macros/copy.j2:"
ENTRY = "arm64_relocate_new_kernel+0x0 (relocate_kernel.S.j2:"
MOVED = 64 << 20

TABLES = [
    entry("read-only, dirty bit lost", destination, -1,
          lambda m, w: (w | d.AP_READ_ONLY) & ~d.SOFTWARE_DIRTY, ABORT,
          "software-dirty bit (55) is clear", STORE),
    entry("read-only", destination, -1, lambda m, w: w | d.AP_READ_ONLY, ABORT,
          "the copy of the linear map has to lift that", STORE),
    entry("invalid", destination, -1, lambda m, w: w & ~d.VALID, ABORT,
          "as debug_pagealloc, kfence and secretmem leave it", LIST_LOAD),
    entry("missing", destination, -1, lambda m, w: 0, ABORT, "does not cover this address",
          LIST_LOAD),
    entry("access flag", destination, -1, lambda m, w: w & ~d.AF, ABORT, "access flag (AF) is",
          LIST_LOAD),
    entry("outside RAM", destination, -1, lambda m, w: w | 1 << 40, "bus.unassigned",
          "nothing answers at this physical address", LIST_LOAD),
    entry("beyond IPS", destination, -1, lambda m, w: w | 1 << 46, ABORT,
          "beyond TCR.IPS", LIST_LOAD),
    entry("table outside RAM", destination, 1, lambda m, w: w | 1 << 41, ABORT,
          "points outside RAM", LIST_LOAD),
    entry("garbage for a table", destination, 0, lambda m, w: 0x96495BC0CC8ED974, ABORT,
          "no descriptor", LIST_LOAD),
    entry("no table", destination, 0, lambda m, w: 0, ABORT, "does not cover", LIST_LOAD),
    entry("idmap not executable", control, -1, lambda m, w: w | d.PXN, FETCH,
          "not executable at this level", ENTRY),
    entry("idmap invalid", control, -1, lambda m, w: w & ~d.VALID, FETCH,
          "the identity map (TTBR0) does not cover", ENTRY),
    entry("idmap missing", control, -1, lambda m, w: 0, FETCH,
          "the identity map (TTBR0) does not cover", ENTRY),
    entry("idmap leads elsewhere", control, -1, lambda m, w: w + MOVED, UNDEFINED,
          "the identity map (TTBR0) is wrong", ENTRY),
    entry("idmap table outside RAM", control, 1, lambda m, w: w | 1 << 41, FETCH,
          "points outside RAM", ENTRY),
]  # fmt: skip


def field(name: str, change: Change, rule: str, cause: str, at: str = "") -> Fault:
    """A word of struct kimage wrong."""

    def put(machine: Machine) -> None:
        value = read_field(machine.memory, machine.kimage, name)
        write_field(machine.memory, machine.kimage, name, change(machine, value))

    return Fault(f"{name} {rule}", put, rule, cause, "setup.kimage", at)


FIELDS = [
    field("head", lambda m, w: 0, ABORT, "a register that nobody set", LIST_LOAD),
    field("head", lambda m, w: w ^ 0b1010, ABORT, "begin with an indirection and a destination",
          STORE),
    field("start", lambda m, w: 0, "bus.unassigned", "neither RAM nor a device"),
    field("start", lambda m, w: w + 4, UNDEFINED, "not from its entry", "in destination: kernel"),
    field("start", lambda m, w: linear(m, w), FETCH, "kimage.start and everything else"),
    field("dtb_mem", lambda m, w: 0, "handoff.dtb", "kimage.arch.dtb_mem"),
    field("dtb_mem", lambda m, w: w + 8, "handoff.dtb", "kimage.arch.dtb_mem"),
    field("kern_reloc", lambda m, w: 0, FETCH, "a pointer that nobody set"),
    field("kern_reloc", lambda m, w: linear(m, w), FETCH, "not executable"),
    field("el2_vectors", lambda m, w: 0, "handoff.el", "el2_vectors is 0"),
    field("el2_vectors", lambda m, w: w + 0x80, "exception.vector", "an unaligned table",
          LIST_LOAD),
    field("el2_vectors", lambda m, w: linear(m, w), "exception.vector",
          "a virtual address with the MMU off", LIST_LOAD),
    field("el2_vectors", lambda m, w: w + 0x800, UNDEFINED, "VBAR points to zeros",
          "in EL2 vectors copy"),
    field("el2_vectors", lambda m, w: m.kimage.segments[0].mem, UNDEFINED,
          "lie in a destination and were overwritten", "in destination: kernel"),
    field("phys_offset", lambda m, w: 0, ABORT, "a physical address was used with the MMU on",
          LIST_LOAD),
    field("phys_offset", lambda m, w: w + m.target.page_size, SEGMENT, "sent a page elsewhere"),
    field("ttbr0", lambda m, w: 0, FETCH, "points outside RAM", ENTRY),
    field("ttbr0", lambda m, w: m.old.zero_page, FETCH, "does not cover", ENTRY),
    field("ttbr1", lambda m, w: 0, ABORT, "points outside RAM", LIST_LOAD),
    field("ttbr1", lambda m, w: m.old.swapper, "setup.kimage", "the copy of the linear map"),
    field("zero_page", lambda m, w: 0, "setup.kimage", "the empty table between"),
    field("t0sz", lambda m, w: 39, FETCH, "does not cover", ENTRY),
]  # fmt: skip


def item(
    name: str, index: int | None, change: Change, rule: str, cause: str, at: str = ""
) -> Fault:
    """A word of the list wrong: ``index`` None is IND_DONE."""

    def put(machine: Machine) -> None:
        number = machine.kimage.entries if index is None else index
        pa = entries(machine) + 8 * number
        machine.memory.write_u64(pa, change(machine, machine.memory.read_u64(pa)))

    return Fault(name, put, rule, cause, "setup.list", at)


def to(owner: OwnerKind) -> Change:
    """A destination entry that leads into somebody's page."""

    def change(machine: Machine, _: int) -> int:
        return next(r.base for r in machine.allocator.regions if r.owner == Owner(owner)) | 1

    return change


LIST = [
    item("unknown flag", 2, lambda m, w: w & ~0xF | 0x10, SEGMENT, "a list entry"),
    item("one flag too many", 2, lambda m, w: w | 0x10, "setup.list", "built wrong"),
    item("unaligned source", 2, lambda m, w: w | 0x200, "setup.list", "built wrong"),
    item("no destination", 0, lambda m, w: w & ~1, ABORT, "a register that nobody set", STORE),
    item("DONE too early", 9, lambda m, w: w | 4, SEGMENT, "a list entry"),
    item("no DONE", None, lambda m, w: 0, "setup.list", "built wrong"),
    item("a loop", None, lambda m, w: entries(m) | 2, "run.limit", "without its done entry"),
    item("source outside RAM", 3, lambda m, w: w | 1 << 40, ABORT, "does not cover", STORE),
    item("into the control page", 0, to(OwnerKind.CONTROL_PAGE), UNDEFINED,
         "the code was overwritten"),
    item("into the EL2 vectors", 0, to(OwnerKind.EL2_VECTORS), "", ""),
    item("into the tables", 0, to(OwnerKind.LINEAR_MAP), ABORT, "no descriptor", STORE),
    item("into the identity map", 0, to(OwnerKind.CONTROL_IDMAP), SEGMENT, ""),
    item("into the list", 0, to(OwnerKind.LIST), SEGMENT, ""),
]  # fmt: skip


@pytest.mark.parametrize(
    "owner",
    [OwnerKind.CONTROL_PAGE, OwnerKind.EL2_VECTORS, OwnerKind.LINEAR_MAP, OwnerKind.CONTROL_IDMAP],
)
def test_a_destination_in_what_the_move_needs_is_named(owner: OwnerKind) -> None:
    with prepared(Target(), SMALL) as machine:
        item("", 0, to(owner), "", "").put(machine)
        findings = run_machine(machine, SMALL, quiet).findings
    [found] = [finding for finding in findings if finding.rule == "setup.list"]
    assert f"it overwrites what the move itself needs: {owner.value} (0x" in (found.cause or "")


def word_at(machine: Machine, statement: str, nth: int = 0) -> int:
    """PA of the ``nth`` copied instruction that a template's ``statement`` made."""
    image, va = machine.routines.image, machine.routines.va
    found = [
        offset
        for offset in range(0, len(machine.routines.relocation), 4)
        if (line := image.line_at(va + offset)) and " ".join(line.text.split()) == statement
    ]
    return machine.kimage.control_page + found[nth]


def code(statement: str, instead: str, rule: str, cause: str, at: str = "") -> Fault:
    """An instruction of the copied relocation code wrong."""

    def put(machine: Machine) -> None:
        [word] = encoder().encode([instead])
        assert isinstance(word, bytes)
        machine.memory.write(word_at(machine, statement), word)

    return Fault(f"{statement} -> {instead}", put, rule, cause, "setup.code", at)


CODE = [
    code("mov x3, xzr", "mov x3, #7", "handoff.x1", "left over"),  # the stub shifts x3 to x1
    code("mov x2, x26", "mov x2, #8", "handoff.dtb", "the register it is kept in"),
    code("isb", "msr daifclr, #2", "relocation.daif", "unmasked since"),
    code("mov x0, #1", "mov x0, #7", "handoff.el", "its function number in x0 was not"),
    code("mov x0, #1", "mov x0, #0", "handoff.el", "its function number in x0 was not"),
    code("hvc #0", "nop", "handoff.el", "no HVC was made"),
    code("hvc #0", "svc #0", "exception.stray", "nobody handles system calls", LIST_LOAD),
    code("hvc #0", "smc #0", "exception.stray", "the firmware has no part", LIST_LOAD),
    code("hvc #0", "brk #0x800", "exception.stray", "trap that it has for", LIST_LOAD),
    code("hvc #0", "wfi", "run.halted", "no interrupt will ever come", LIST_LOAD),
    code("hvc #0", "b #0", "run.spin", "waits for ever", LIST_LOAD),
    code("hvc #0", "eret", "bus.unassigned", "fell to EL0"),
    code("dsb sy", "str x0, [sp]", ABORT, "the code has no stack", LIST_LOAD),
    code("dsb sy", "br x30", FETCH, "nothing of the old kernel", "machine_kexec+"),
    code("sub x12, x12, x24", "nop", ABORT, "a physical address was used", LIST_LOAD),
    code("add x13, x13, #64", "nop", SEGMENT, "the copy itself"),
    code("stnp x2, x3, [x13, #16]", "stnp x2, x3, [x13, #32]", SEGMENT, "the copy itself"),
    code("tbz x16, #2, .Lentry", "b #-4", "run.limit", "does not come to an end", LIST_LOAD),
]  # fmt: skip


def overwritten(
    name: str, owner: OwnerKind, data: bytes, rule: str, cause: str, setup: str, at: str = ""
) -> Fault:
    """A page that the move needs spoilt before it begins."""

    def put(machine: Machine) -> None:
        base = next(r.base for r in machine.allocator.regions if r.owner == Owner(owner))
        machine.memory.write(base, data)

    return Fault(name, put, rule, cause, setup, at)


PAGES = [
    overwritten("zeros for code", OwnerKind.CONTROL_PAGE, bytes(4096), UNDEFINED,
                "overwritten, or never copied", "setup.code", ENTRY),
    overwritten("garbage for code", OwnerKind.CONTROL_PAGE, b"\xff" * 4096, UNDEFINED,
                "overwritten, or never copied", "setup.code", ENTRY),
    overwritten("no vectors", OwnerKind.EL2_VECTORS, bytes(2048), UNDEFINED,
                "VBAR points to zeros", "setup.code", "trans_pgd_stub_vectors+0x400 (trans_pgd.S"),
    overwritten("a table that is not empty", OwnerKind.ZERO_PAGE, b"\1", "setup.zero-page",
                "between the two values of TTBR1", "setup.zero-page"),
    overwritten("kimage gone", OwnerKind.KIMAGE, b"\xa5" * 0x1000, "",
                "", "setup.kimage"),
]  # fmt: skip


def happened(findings: Sequence[Finding]) -> list[Finding]:
    """What came of it: what was prepared wrongly is told first, being so before the move."""
    return [one for one in findings if not one.rule.startswith("setup.")]


@pytest.mark.parametrize("fault", [*TABLES, *FIELDS, *LIST, *CODE, *PAGES], ids=lambda f: f.name)
def test_one_thing_wrong_is_said_to_be_that(fault: Fault) -> None:
    with prepared(Target(), SMALL) as machine:
        fault.put(machine)
        outcome = run_machine(machine, SMALL, quiet)
        assert outcome.status is Status.FAIL
        first = next(one for one in outcome.findings if one.rule.startswith(fault.rule))
        assert fault.cause in (first.cause or ""), first
        assert fault.at in (first.place or "")
        assert fault.setup in (None, *(finding.rule for finding in outcome.findings))
        complete(machine, outcome)


HARMLESS = {
    "UXN: nobody runs at EL0": lambda w: w ^ d.UXN,
    "software bits": lambda w: w ^ 1 << 55 if not w & d.AP_READ_ONLY else w,
    "not global": lambda w: w ^ d.NG,
}


@pytest.mark.parametrize("name", HARMLESS)
@pytest.mark.parametrize("where", [destination, control])
def test_what_does_no_harm_is_no_finding(name: str, where: Callable[[Machine], int]) -> None:
    with prepared(Target(), SMALL) as machine:
        at = trail(machine, where(machine))[-1].entry
        machine.memory.write_u64(at, HARMLESS[name](machine.memory.read_u64(at)))
        assert run_machine(machine, SMALL, quiet).findings == ()


def test_a_run_that_stops_in_the_old_kernel_has_not_jumped() -> None:
    with prepared(Target(), SMALL) as machine:
        write_field(machine.memory, machine.kimage, "kern_reloc", 0)
        outcome = run_machine(machine, SMALL, quiet)
    assert outcome.handoff is None
    assert (outcome.relocation.instructions, outcome.verified_bytes) == (0, 0)


@pytest.mark.parametrize("regime", [Regime.EL1, Regime.VHE])
def test_interrupts_open_at_the_hand_over_are_seen_without_a_stub(regime: Regime) -> None:
    with prepared(Target(regime=regime), SMALL) as machine:
        code("isb", "msr daifclr, #2", "", "").put(machine)
        found = {one.rule: one for one in run_machine(machine, SMALL, quiet).findings}
    assert "DAIF = 1101" in found["handoff.daif"].message


@pytest.mark.parametrize("regime", [Regime.EL1, Regime.VHE])
def test_an_mmu_left_on_is_seen_at_the_level_that_is_entered(regime: Regime) -> None:
    """Off the identity map the new kernel cannot even be fetched."""
    with prepared(Target(regime=regime), SMALL) as machine:
        code("msr sctlr_el1, x12", "nop", "", "").put(machine)
        [first, *_] = happened(run_machine(machine, SMALL, quiet).findings)
    assert first.rule in ("handoff.mmu", FETCH)
    assert "MMU" in first.message


@pytest.mark.parametrize(("statement", "rule"), [("mov x4, xzr", "x2"), ("mov x3, xzr", "x1")])
def test_what_the_copy_left_in_a_register_is_not_handed_over(statement: str, rule: str) -> None:
    """A device tree's page ends in zeros, so another page has to be the last one."""
    with prepared(Target(), replace(SMALL, shape=Shape.GAPS)) as machine:
        code(statement, "nop", "", "").put(machine)
        [first, *_] = happened(run_machine(machine, SMALL, quiet).findings)
    assert first.rule == f"handoff.{rule}"
    assert first.cause == "a register left over from the copy"


def test_a_swap_of_two_pages_shows_as_two_pages() -> None:
    with prepared(Target(), SMALL) as machine:
        at = entries(machine) + 8 * 3
        one, two = machine.memory.read_u64(at), machine.memory.read_u64(at + 8)
        machine.memory.write_u64(at, two)
        machine.memory.write_u64(at + 8, one)
        told, finding = run_machine(machine, SMALL, quiet).findings
    assert told.rule == "setup.list"
    assert finding.rule == SEGMENT
    assert "2 of " in finding.message
    assert "first wrong byte: offset 0x2000," in finding.notes[0]


@pytest.mark.parametrize("target", TARGETS, ids=named)
@pytest.mark.parametrize(
    "name", ["read-only, dirty bit lost", "invalid", "idmap not executable", "no table"]
)
def test_table_faults_are_told_on_every_target(target: Target, name: str) -> None:
    fault = next(fault for fault in TABLES if fault.name == name)
    with prepared(target, SMALL) as machine:
        fault.put(machine)
        outcome = run_machine(machine, SMALL, quiet)
        assert outcome.findings[0].rule == fault.setup
        first = happened(outcome.findings)[0]
        level = 2 if target.regime is Regime.VHE else 1
        assert f"at EL{level}, MMU on" in first.message
        assert first.rule == fault.rule
        assert fault.cause in (first.cause or "")
        complete(machine, outcome)


def test_an_mmu_left_on_below_the_level_that_is_entered_is_a_warning() -> None:
    """The kernel at EL2 writes SCTLR_EL1 before it needs it."""
    with prepared(Target(), SMALL) as machine:
        code("msr sctlr_el1, x12", "nop", "", "").put(machine)
        findings = run_machine(machine, SMALL, quiet).findings
    [found] = [finding for finding in findings if finding.rule == "handoff.sctlr"]
    assert "was never turned off" in (found.cause or "")
    assert not found.is_error
