"""The resume side of hibernation: restored under the feet of the kernel that loaded it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from relokit.building import build_programs
from relokit.codegen.series import COMPLETE, Feature
from relokit.codegen.target import MIB, Regime, Target
from relokit.runtime.engine.cpu import Cpu
from relokit.runtime.judge.book import judge
from relokit.runtime.judge.outcome import Finding
from relokit.runtime.kexec.hibernate import Resume
from relokit.runtime.kexec.job import Job, KexecPath, Shape
from relokit.runtime.record.known import Unknown
from relokit.runtime.run.execute import execute_resume
from relokit.runtime.run.prepare import prepare_resume
from relokit.runtime.run.verdict import run
from support.machines import programs, quiet

SIZE = 1 * MIB
JOB = Job(path=KexecPath.HIBERNATE, size=SIZE)


def prepared(target: Target) -> tuple[Resume, Cpu]:
    return prepare_resume(target, build_programs(target), JOB)


def resumed(target: Target, tamper: Callable[[Resume, Cpu], None]) -> list[Finding]:
    resume, cpu = prepared(target)
    tamper(resume, cpu)
    findings = judge(execute_resume(resume, cpu, JOB, quiet)).findings
    resume.close()
    return list(findings)


@pytest.mark.parametrize("state", [0, 1, 2, 3, COMPLETE])
@pytest.mark.parametrize("page_size", [4096, 16384, 65536])
@pytest.mark.parametrize("regime", list(Regime))
def test_every_page_is_restored_with_the_mmu_on(regime: Regime, page_size: int, state: int) -> None:
    target = Target(series=state, page_size=page_size, regime=regime)
    outcome = run(target, build_programs(target), JOB, quiet)
    assert outcome.findings == ()
    assert outcome.relocation.mmu
    assert outcome.relocation.bytes == outcome.relocation.pages * page_size > SIZE
    assert outcome.handoff is not None
    assert outcome.handoff.mmu
    assert outcome.handoff.el == (2 if regime is Regime.VHE else 1)


def test_its_own_vectors_before_patch_2_the_shared_ones_after() -> None:
    before = build_programs(Target(series=1)).kernel
    after = build_programs(Target(series=2)).kernel
    assert before.has_symbol("hibernate_el2_vectors")
    assert not before.has_symbol("trans_pgd_stub_vectors")
    assert after.has_symbol("trans_pgd_stub_vectors")
    assert not after.has_symbol("hibernate_el2_vectors")


@pytest.mark.parametrize("state", [2, 3])
def test_patch_3_has_it_call_the_routine_it_spelt_out_before(state: int) -> None:
    target = Target(series=state)
    resume, cpu = prepared(target)
    called = "cpu_install_ttbr0"
    assert resume.old.image.has_symbol(called) == target.has(Feature.INSTALL_TTBR0)
    if target.has(Feature.INSTALL_TTBR0):
        stop = cpu.run(
            resume.state.pc,
            until=resume.old.image.symbol(called),
            max_instructions=1000,
            timeout_s=5,
        )
        assert stop.pc == resume.old.image.symbol(called)
    resume.close()


def test_the_resumed_kernel_gets_its_el2_vectors_back() -> None:
    resume, cpu = prepared(Target(regime=Regime.NVHE))
    during: list[int] = []
    cpu.run(resume.state.pc, until=resume.jump, max_instructions=1000, timeout_s=5)
    during.append(cpu.read("VBAR_EL2"))
    cpu.run(resume.jump, until=resume.entry, max_instructions=1 << 24, timeout_s=30)
    assert during[0] != resume.vectors
    assert cpu.read("VBAR_EL2") == resume.vectors
    resume.close()


def test_a_page_listed_twice_is_found_out() -> None:
    def tamper(resume: Resume, cpu: Cpu) -> None:
        listed = resume.state.x[8] - resume.old.linear_offset
        memory = resume.old.memory
        memory.write_u64(listed + 24, memory.read_u64(listed))

    [finding] = resumed(Target(), tamper)
    assert finding.rule == "memory.resumed"


def test_wrong_tables_for_the_resumed_kernel_are_found_out() -> None:
    def tamper(resume: Resume, cpu: Cpu) -> None:
        cpu.set_x(5, resume.old.swapper)

    rules = {finding.rule for finding in resumed(Target(), tamper)}
    assert "resume.ttbr1" in rules


def test_vectors_that_are_not_given_back_are_found_out() -> None:
    def tamper(resume: Resume, cpu: Cpu) -> None:
        cpu.set_x(9, 0)

    rules = {finding.rule for finding in resumed(Target(regime=Regime.NVHE), tamper)}
    assert rules == {"resume.vectors"}


def test_a_list_that_leads_out_of_the_linear_map_is_diagnosed() -> None:
    def tamper(resume: Resume, cpu: Cpu) -> None:
        listed = resume.state.x[8] - resume.old.linear_offset
        resume.old.memory.write_u64(listed + 16, 0x1000)

    # What it had not yet told other CPUs when it ended is only warned of.
    [finding] = (one for one in resumed(Target(), tamper) if one.is_error)
    assert finding.place is not None
    assert "swsusp_arch_suspend_exit" in finding.place


def test_a_move_that_never_jumped_is_diagnosed_too() -> None:
    resume, cpu = prepared(Target())
    cpu.set_x(0, 0)
    record = execute_resume(resume, cpu, JOB, quiet)
    assert isinstance(record.jump, Unknown)
    assert judge(record).findings
    resume.close()


@pytest.mark.parametrize("series", [0, 9, 15])
@pytest.mark.parametrize("shape", [Shape.EDGES, Shape.LOADED])
def test_every_shape_is_resumed(shape: Shape, series: int) -> None:
    target = Target(series=series, regime=Regime.NVHE)
    result = run(target, programs(target), replace(JOB, shape=shape), quiet)
    assert result.findings == ()
    restored = result.relocation.pages * target.page_size
    assert restored == 0 if shape is Shape.LOADED else SIZE < restored < SIZE + MIB


def test_at_the_edges_low_halves_are_zero() -> None:
    """What an instruction of 32 bits would take for 0, or for equal."""
    target = Target(series=15, regime=Regime.NVHE)
    resume, _ = prepare_resume(target, programs(target), replace(JOB, shape=Shape.EDGES))
    low, offset = (1 << 32) - 1, resume.old.linear_offset
    begins = [resume.listed[0][0], resume.listed[-1][0]]
    ends = [resume.home.end + offset, *(begin + offset for begin in begins), resume.vectors]
    resume.close()
    assert resume.home.end == resume.memory.end
    assert len(resume.listed) == 3
    assert [end & low for end in ends] == [0, 0, 0, 0]


def test_the_resumed_kernels_tables_come_back_with_its_pages() -> None:
    """Until then other data is there: nobody can walk through it."""
    resume, cpu = prepared(Target())
    tables = [region for region, _ in resume.restored]
    assert any(resume.tables in region for region in tables)
    held = [resume.memory.u64(region.base, region.size // 8).copy() for region in tables]
    assert all((words & 1 == 0).all() for words in held)
    record = execute_resume(resume, cpu, JOB, quiet)
    assert judge(record).findings == ()
    for region, content in resume.restored:
        assert resume.memory.u64(region.base, region.size // 8).tobytes() == content
        assert np.frombuffer(content, "<u8").any()
    resume.close()
