"""Each row of the series: what it changes is there with it and not there without it.

A row's check looks at the state it makes: text, sections, symbols, machine code, struct kimage,
the CPU at the jump, maintenance, counted operations. It holds in that state; and in the same
state without the row's feature, it says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path

import pytest

from relokit.building import build, build_programs
from relokit.codegen import facts
from relokit.codegen.base.errors import AssemblyError, LinkError
from relokit.codegen.series import COMPLETE, PATCHES, Feature
from relokit.codegen.target import Regime, Target
from relokit.diffing.read.sides import built_side
from relokit.diffing.routines.code_change import CodeChange, code_change
from relokit.linker.image import Image
from relokit.linker.link.program import Program
from relokit.runtime.engine.cpu import Cpu
from relokit.runtime.guest.memory import GuestMemory
from relokit.runtime.judge.outcome import Outcome
from relokit.runtime.judge.rules.disassembly import disassemble
from relokit.runtime.kexec.job import Job, KexecPath
from relokit.runtime.kexec.kimage import read_field
from relokit.runtime.kexec.machine import Machine
from relokit.runtime.kexec.maintenance import What, When
from relokit.runtime.kexec.routines import routines_of
from relokit.runtime.run.prepare import open_cpu, prepare_machine
from relokit.runtime.run.verdict import run
from support.machines import quiet

RAM, HVC_AT = 0x4000_0000, 0x4001_0000
UNTOUCHED_ROWS = (1, 2, 3, 4, 8, 10, 13, 14, 15)
SHARED_VECTORS = "trans_pgd_stub_vectors"


@dataclass(frozen=True)
class AtJump:
    """The CPU when relocation code is entered, and struct kimage then."""

    x0: int
    el: int
    mmu: bool
    vbar_el2: int
    ttbr0: int
    ttbr1: int
    machine: Machine

    def field(self, name: str) -> int:
        return read_field(self.machine.memory, self.machine.kimage, name)


class State:
    """One state of the series, built and run as far as a check asks for."""

    def __init__(self, target: Target) -> None:
        self.target = target

    @cached_property
    def program(self) -> Program:
        return build(self.target)

    @property
    def image(self) -> Image:
        return self.program.image

    @cached_property
    def relocation(self) -> bytes:
        return routines_of(self.image).relocation

    @cached_property
    def listing(self) -> list[str]:
        """The relocation code, one instruction a line."""
        code = self.relocation
        words = (int.from_bytes(code[at : at + 4], "little") for at in range(0, len(code), 4))
        return [disassemble(word, 4 * at) for at, word in enumerate(words)]

    def text(self, unit: str) -> str:
        units = (*self.program.source.units, self.program.source.script)
        return next(one.text for one in units if one.name == unit)

    def outcome(self, path: KexecPath = KexecPath.NORMAL) -> Outcome:
        job = Job(path=path, observe=True)
        return run(self.target, build_programs(self.target), job, quiet)

    @cached_property
    def ran(self) -> Outcome:
        return self.outcome()

    @cached_property
    def jump(self) -> AtJump:
        machine = prepare_machine(self.target, build_programs(self.target), Job(), quiet)
        cpu = open_cpu(machine)
        assert machine.jump is not None
        cpu.run(machine.state.pc, until=machine.jump, max_instructions=1000, timeout_s=10)
        assert cpu.pc == machine.jump
        return AtJump(
            x0=cpu.x(0),
            el=cpu.el,
            mmu=bool(cpu.read(f"SCTLR_EL{cpu.el}") & 1),
            vbar_el2=cpu.read("VBAR_EL2"),
            ttbr0=cpu.read("TTBR0_EL1"),
            ttbr1=cpu.read("TTBR1_EL1"),
            machine=machine,
        )

    def call_stub(self, function: int) -> tuple[int, int]:
        """HVC from EL1 through the shared vectors: x0 after it, and EL."""
        memory = GuestMemory(RAM, 1 << 20)
        vectors = self.image.read(self.image.symbol(SHARED_VECTORS), facts.VECTOR_TABLE_SIZE)
        memory.write(RAM, vectors)
        memory.write(HVC_AT, (0xD4000002).to_bytes(4, "little"))
        cpu = Cpu("a72", memory)
        cpu.write("VBAR_EL2", RAM)
        # A soft restart goes to x1, a set-vectors call installs it.
        for number, value in enumerate((function, HVC_AT + 0x800, 22, 33, 44)):
            cpu.set_x(number, value)
        until = HVC_AT + (0x800 if function == facts.HVC_SOFT_RESTART else 4)
        cpu.run(HVC_AT, until=until, max_instructions=100, timeout_s=10)
        if cpu.pc != until:  # refused: it is back behind the call, or spins
            cpu.run(cpu.pc, until=HVC_AT + 4, max_instructions=100, timeout_s=10)
        return cpu.x(0), cpu.el


Complaints = Iterator[str]


def row_2(state: State) -> Complaints:
    if not state.image.has_symbol(SHARED_VECTORS):
        yield "no shared vectors"
        return
    if state.image.has_symbol("hibernate_el2_vectors"):
        yield "hibernate still has its own vectors"
    if state.image.symbol(SHARED_VECTORS) % 0x800:
        yield "vectors not 2 KiB aligned"
    if state.call_stub(facts.HVC_SET_VECTORS) != (0, 1):
        yield "HVC_SET_VECTORS is refused"
    for function in (facts.HVC_SOFT_RESTART, facts.HVC_RESET_VECTORS, facts.HVC_FINALISE_EL2, 99):
        if state.call_stub(function) != (facts.HVC_STUB_ERR, 1):
            yield f"HVC {function} is not refused"
    if not state.outcome(KexecPath.HIBERNATE).passed:
        yield "hibernation does not resume"


def row_3(state: State) -> Complaints:
    if not state.image.has_symbol("cpu_install_ttbr0"):
        yield "no cpu_install_ttbr0"
    resume = state.text("hibernate.S")
    if not re.search(r"bl\s+cpu_install_ttbr0", resume):
        yield "hibernate does not call it"
    if re.search(r"msr\s+ttbr0_el1", resume):
        yield "hibernate writes TTBR0 itself"
    if not state.outcome(KexecPath.HIBERNATE).passed:
        yield "hibernation does not resume"


def row_4(state: State) -> Complaints:
    when = {row.what: row.when for row in state.ran.maintenance}
    for what in (What.LIST, What.SOURCES):
        if when.get(what) is not When.LOAD:
            yield f"{what} not at load"
    in_place = {r.what: r.when for r in state.outcome(KexecPath.IN_PLACE).maintenance}
    if in_place.get(What.SEGMENTS) is not When.LOAD:
        yield "segments in place not at load"


def row_5(state: State) -> Complaints:
    for path in (KexecPath.IN_PLACE, KexecPath.CRASH):
        outcome = state.outcome(path)
        if not outcome.passed:
            yield f"{path} does not arrive"
        if outcome.relocation.instructions or outcome.operations:
            yield f"{path} runs relocation code"
        if [row.what for row in outcome.maintenance] != [What.SEGMENTS]:
            yield f"{path} maintains more than its segments"
    if sum(line.startswith("tbnz") for line in state.listing):
        yield "the code tests the head for IND_DONE"


def row_6(state: State) -> Complaints:
    [at] = [n for n, line in enumerate(state.listing) if line.startswith("dc ivac")]
    if not state.listing[at - 1].startswith("bic"):
        yield "the start is not rounded down to a line"
    if not state.listing[at + 3].startswith("b.lo"):
        yield "the loop is not the macro's"
    page_lines = state.ran.relocation.bytes // state.target.cache_line
    if (state.ran.operations or {}).get("dc ivac") != page_lines:
        yield "other lines than before are invalidated"


def row_7(state: State) -> Complaints:
    if state.jump.x0 != state.jump.machine.kimage.pa:
        yield "x0 is not the PA of kimage"
    if What.KIMAGE not in {row.what for row in state.ran.maintenance}:
        yield "kimage is not flushed"
    if not state.ran.passed:
        yield "the kernel is not entered as it should"


def row_8(state: State) -> Complaints:
    safe = state.jump.field("el2_vectors")
    vectors = routines_of(state.image).vectors
    if not safe or state.jump.machine.memory.read(safe, facts.VECTOR_TABLE_SIZE) != vectors:
        yield "no copy of the vectors"
    if state.jump.vbar_el2 != safe or not safe:
        yield "VBAR_EL2 is not the copy"
    if state.call_stub(facts.HVC_SOFT_RESTART) != (22, 2):
        yield "HVC_SOFT_RESTART is refused"
    if state.call_stub(facts.HVC_RESET_VECTORS) != (facts.HVC_STUB_ERR, 1):
        yield "HVC_RESET_VECTORS is not refused"
    if What.VECTORS not in {row.what for row in state.ran.maintenance}:
        yield "the copy is not maintained"


def row_9(state: State) -> Complaints:
    if state.jump.el != 1 or state.ran.relocation.el != 1:
        yield "the move runs at EL2"
    if not any(line.startswith("hvc") for line in state.listing):
        yield "it does not leave through HVC"
    handoff = state.ran.handoff
    if handoff is None or handoff.el != 2:
        yield "the new kernel is not entered at EL2"


def row_10(state: State) -> Complaints:
    sections = {section.name for one in state.program.objects for section in one.sections}
    if ".kexec_relocate.text" not in sections:
        yield "no section of its own"
    for symbol in ("__relocate_new_kernel_start", "__relocate_new_kernel_end"):
        if not state.image.has_symbol(symbol):
            yield f"no {symbol}"
    if state.image.has_symbol("arm64_relocate_new_kernel_size"):
        yield "the size is still a variable"
    script = state.text("kernel.lds")
    if len(re.findall(r"ASSERT\([^;]*?(?:__relocate_new_kernel|KEXEC_CONTROL_PAGE)", script)) != 2:
        yield "not two ASSERTs"


def row_11(state: State) -> Complaints:
    machine = state.jump.machine
    copy = state.jump.field("ttbr1")
    if copy in (0, machine.old.swapper):
        yield "no copy of the linear map"
    if state.jump.field("zero_page") != machine.old.zero_page:
        yield "no zero page"
    cpu = open_cpu(machine)
    cpu.run(machine.state.pc, until=machine.start, max_instructions=10**6, timeout_s=20)
    if cpu.read("TTBR1_EL1") != copy:
        yield "TTBR1 is not switched"
    if (state.ran.operations or {}).get("tlbi vmalle1") != 1:
        yield "the TLB is not flushed between"


def row_12(state: State) -> Complaints:
    jump, machine = state.jump, state.jump.machine
    if not jump.mmu:
        yield "the MMU is off"
    if jump.x0 != machine.kimage.va:
        yield "x0 is not the VA of kimage"
    if jump.ttbr0 != jump.field("ttbr0") or not jump.ttbr0:
        yield "TTBR0 does not map the control page"
    if jump.field("kern_reloc") != machine.jump:
        yield "not entered where kern_reloc says"
    mnemonics = [" ".join(line.split()[:2]).rstrip(",") for line in state.listing]
    cleans = [n for n, name in enumerate(mnemonics) if name == "dc civac"]
    copies = [n for n, name in enumerate(mnemonics) if name.startswith("stnp")]
    if not cleans or cleans[0] < copies[-1] or "dc ivac" in mnemonics:
        yield "the page is not cleaned after the copy"
    counts = state.ran.operations or {}
    if counts.get("dc civac") != state.ran.relocation.bytes // state.target.cache_line:
        yield "not every line is cleaned"
    handoff = state.ran.handoff
    if handoff is None or handoff.mmu or "msr sctlr_el1, x12" not in state.listing:
        yield "it does not turn the MMU off itself"


def row_13(state: State) -> Complaints:
    maintained = {row.what for row in state.ran.maintenance}
    for what in (What.LIST, What.SOURCES, What.KIMAGE):
        if what in maintained:
            yield f"{what} still maintained"
    if What.CODE not in maintained:
        yield "the code is not maintained any more"
    in_place = {row.what for row in state.outcome(KexecPath.IN_PLACE).maintenance}
    if in_place != {What.SEGMENTS}:
        yield "segments in place are not maintained any more"


def row_14(state: State) -> Complaints:
    if not state.image.has_symbol("cpu_soft_restart"):
        yield "no cpu_soft_restart"
    if state.image.has_symbol("__cpu_soft_restart"):
        yield "the old name is still there"


CHECKS: dict[int, Callable[[State], Complaints]] = {
    2: row_2, 3: row_3, 4: row_4, 5: row_5, 6: row_6, 7: row_7, 8: row_8, 9: row_9, 10: row_10,
    11: row_11, 12: row_12, 13: row_13, 14: row_14,
}  # fmt: skip


@pytest.fixture(name="revert")
def _revert(monkeypatch: pytest.MonkeyPatch) -> Callable[[Feature], None]:
    """Take one patch back, in every state."""

    def revert(feature: Feature) -> None:
        monkeypatch.setattr(
            Target, "has", lambda self, asked: asked is not feature and asked.value <= self.series
        )

    return revert


@pytest.mark.parametrize("row", CHECKS)
def test_a_row_is_what_it_says(row: int) -> None:
    assert list(CHECKS[row](State(Target(series=row)))) == []


@pytest.mark.parametrize("row", CHECKS)
def test_a_row_that_is_taken_back_is_noticed(row: int, revert: Callable[[Feature], None]) -> None:
    revert(Feature(row))
    assert list(CHECKS[row](State(Target(series=row)))) != []


@pytest.mark.parametrize("row", CHECKS)
def test_the_state_before_a_row_does_not_have_it(row: int) -> None:
    assert list(CHECKS[row](State(Target(series=row - 1)))) != []


@pytest.mark.parametrize(
    ("page", "regime"), list(product((4096, 16384, 65536), Regime)), ids=lambda value: str(value)
)
@pytest.mark.parametrize("row", range(1, COMPLETE + 1))
def test_which_rows_change_a_byte_of_the_relocation_code(
    row: int, page: int, regime: Regime
) -> None:
    before, after = (
        State(Target(series=state, page_size=page, regime=regime)).relocation
        for state in (row - 1, row)
    )
    assert (before == after) is (row in UNTOUCHED_ROWS)


def changed_code(before: State, after: State) -> CodeChange:
    return code_change(
        (before.image, built_side(before.image, before.target, data=True)),
        (after.image, built_side(after.image, after.target, data=True)),
    )


@pytest.mark.parametrize("row", [1, 15])
def test_rows_1_and_15_change_nothing_that_is_built(row: int) -> None:
    before, after = State(Target(series=row - 1)), State(Target(series=row))
    change = changed_code(before, after)
    assert (change.routines, change.added, change.removed) == ((), (), ())
    for unit in before.program.source.units:
        own = before.target.name, after.target.name
        assert unit.text.replace(own[0], own[1]) == after.text(unit.name)


def test_row_14_only_renames() -> None:
    change = changed_code(State(Target(series=13)), State(Target(series=14)))
    [routine] = change.routines
    assert (routine.change, routine.was) == ("renamed", "__cpu_soft_restart")
    assert routine.name == "cpu_soft_restart"


def test_every_row_has_a_check_or_changes_nothing() -> None:
    assert {patch.number for patch in PATCHES} == {1, 15, *CHECKS}


OVERSIZED = """
\t{section}
\t.globl arm64_relocate_new_kernel
\t.type arm64_relocate_new_kernel, %function
arm64_relocate_new_kernel:
\t.space 4100
\t.size arm64_relocate_new_kernel, . - arm64_relocate_new_kernel
"""


def test_the_assert_stops_code_that_is_too_long(tmp_path: Path) -> None:
    section = '.section .kexec_relocate.text, "ax"'
    (tmp_path / "relocate_kernel.S.j2").write_text(OVERSIZED.format(section=section))
    with pytest.raises(LinkError, match="kexec relocation code is bigger than 4 KiB"):
        build(Target(series=10), templates=tmp_path)


def test_the_padding_stops_code_that_is_too_long(tmp_path: Path) -> None:
    padding = "\t.org arm64_relocate_new_kernel + {{ control_page_size }}\n"
    text = OVERSIZED.format(section=".text") + padding
    (tmp_path / "relocate_kernel.S.j2").write_text(text)
    with pytest.raises(AssemblyError, match="org"):
        build(Target(series=9), templates=tmp_path)
