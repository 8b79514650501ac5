"""Relocation code observed in the kexec machine: what it took, and every page it wrote."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest

from relokit.codegen.base.errors import LinkError
from relokit.codegen.target import MIB, Regime, Target
from relokit.runtime.behaviour.moves import FREE, observe_relocation
from relokit.runtime.behaviour.observation import Leaving, Observation
from relokit.runtime.kexec.job import Job
from relokit.runtime.kexec.routines import MAX_RELOCATION, routines_of, with_relocation
from relokit.runtime.run.verdict import run
from support.machines import programs

JOB = Job(memory=256 * MIB)
TARGET = Target()
SELF_BRANCH, BR_X28 = 0x14000000, 0xD61F0380


def observe(target: Target = TARGET, job: Job = JOB, code: bytes | None = None) -> Observation:
    return observe_relocation(target, programs(target), job, lambda *_: None, code)


def words(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}I", *values)


def before_the_last_branch(*extra: int) -> bytes:
    """Our own relocation at state 0 with ``extra`` instructions before it leaves."""
    code = routines_of(programs(BEFORE).kernel).relocation
    at = code.rindex(words(0xD61F0320))  # br x25
    return code[:at] + words(*extra) + code[at:]


BEFORE = Target(series=0)


@pytest.mark.parametrize("state", [0, 8, 11, 12, 15])
@pytest.mark.parametrize("regime", Regime)
def test_it_moves_what_a_run_moves(state: int, regime: Regime) -> None:
    target = Target(series=state, regime=regime)
    seen = observe(target)
    outcome = run(target, programs(target), replace(JOB, observe=True), lambda *_: None)
    assert (seen.ending.leaving, seen.findings) == (Leaving.HAND_OVER, ())
    counts = seen.counts
    assert counts.instructions == outcome.relocation.instructions
    assert counts.operations | counts.barriers == outcome.operations
    # Each byte is stored once, and loaded once besides the list and struct kimage.
    assert counts.stored == outcome.relocation.bytes
    assert counts.stores == counts.stored // 8
    entries = outcome.relocation.pages + len(outcome.payload) + 1
    assert counts.stored + 8 * entries <= counts.loaded <= counts.stored + 8 * (entries + 8)
    assert (seen.jump.el, seen.jump.mmu) == (outcome.relocation.el, outcome.relocation.mmu)
    assert outcome.handoff is not None
    assert [seen.registers[f"x{n}"] for n in range(4)] == [outcome.handoff.x0, 0, 0, 0]
    assert seen.system[f"SCTLR_EL{seen.el}"] == outcome.handoff.sctlr
    assert {one.owner for one in seen.memory} == {
        f"destination: {part.name}".replace("demo ", "") for part in outcome.payload
    }


def test_pieces_of_a_destination_are_whole_pages_and_few() -> None:
    seen = observe(job=Job(size=3 * MIB + 5))
    [kernel] = [one for one in seen.memory if one.owner == "destination: kernel"]
    assert len(kernel.parts) <= 64
    assert kernel.part % TARGET.page_size == 0
    assert (len(kernel.parts) - 1) * kernel.part < kernel.size <= len(kernel.parts) * kernel.part


def test_the_payload_decides_the_digests_and_the_order_of_pages_does_not() -> None:
    first, shuffled, other = (
        observe(job=Job(size=MIB, seed=seed, memory=256 * MIB)).memory for seed in (1, 1, 2)
    )
    assert first == shuffled
    assert first != other
    assert observe(Target(series=3)).memory == observe().memory


def movz(register: int, value: int, half: int = 0) -> int:
    return 0xD2800000 | half << 21 | value << 5 | register


def movk(register: int, value: int, half: int) -> int:
    return 0xF2800000 | half << 21 | value << 5 | register


def store_to(pa: int) -> tuple[int, ...]:
    """movz and movk of x9, str x9, [x9]."""
    return movz(9, pa & 0xFFFF), movk(9, pa >> 16, 1), 0xF9000129


def test_a_stray_write_to_free_memory_is_seen() -> None:
    stray = 0x4C00_0008
    seen = observe(BEFORE, code=before_the_last_branch(*store_to(stray)))
    assert seen.findings == ()
    [free] = [one for one in seen.memory if one.owner == FREE]
    assert (free.base, free.size) == (stray & -4096, 4096)


def test_a_write_to_what_nobody_may_write_is_seen() -> None:
    clean = {one.owner for one in observe(BEFORE).memory}
    in_old_kernel = 0x4020_0008
    seen = observe(BEFORE, code=before_the_last_branch(*store_to(in_old_kernel)))
    assert {one.owner for one in seen.memory} - clean == {"old kernel"}


def test_other_code_takes_the_place_of_the_relocation() -> None:
    own = routines_of(programs(TARGET).kernel).relocation
    entry = routines_of(programs(TARGET).kernel).entry
    assert observe(code=own[entry:]) == observe()
    idle = observe(code=words(SELF_BRANCH))
    assert idle.ending.leaving is Leaving.ENDLESS
    assert idle.counts.stored == 0
    assert [finding.rule for finding in idle.findings]


@pytest.mark.parametrize(
    "code",
    [
        words(0),
        words(BR_X28),
        words(0xD69F03E0),  # eret
        words(0xD4000002),  # hvc #0
        words(0xF8008400, 0x17FFFFFF),  # str x0, [x0], #8; b back
        words(0xD503207F, SELF_BRANCH),  # wfi
        words(0xD4200000),  # brk #0
    ],
)
def test_hostile_code_ends_as_a_finding(code: bytes) -> None:
    job = Job(memory=128 * MIB, max_instructions=1 << 20, timeout=20)
    seen = observe(job=job, code=code)
    assert seen.ending.leaving is not Leaving.HAND_OVER
    assert seen.ending.text
    assert seen.findings
    assert seen.verdict.startswith("fails: ")


def test_replaced_code_has_a_name_and_a_size() -> None:
    routines = routines_of(programs(TARGET).kernel)
    replaced = with_relocation(routines, words(SELF_BRANCH))
    assert replaced.image.read(replaced.va, 4) == words(SELF_BRANCH)
    assert replaced.image.symbol("arm64_relocate_new_kernel") == replaced.va
    assert replaced.vectors == routines.vectors
    for code in (b"", bytes(MAX_RELOCATION + 4)):
        with pytest.raises(LinkError, match="arm64_relocate_new_kernel has"):
            with_relocation(routines, code)
