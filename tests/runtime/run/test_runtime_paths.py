"""Every way out of the old kernel, in every state of the series, and every shape of list."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relokit.codegen.base.errors import MachineError
from relokit.codegen.series import COMPLETE, Feature
from relokit.codegen.target import MIB, Regime, Target
from relokit.runtime.guest.content import PatternContent
from relokit.runtime.guest.ledger import Region
from relokit.runtime.guest.order import Order
from relokit.runtime.guest.owner import Owner, OwnerKind
from relokit.runtime.guest.payload import PayloadKind
from relokit.runtime.judge.outcome import Outcome, Status
from relokit.runtime.kexec.arrange import Stage, arrange
from relokit.runtime.kexec.guest_ram import GuestRam
from relokit.runtime.kexec.inputs import Inputs, Loaded
from relokit.runtime.kexec.job import RAM_BASE, Job, KexecPath, Shape
from relokit.runtime.kexec.kimage import KexecSegment, walk_list
from relokit.runtime.kexec.machine import build_machine
from relokit.runtime.kexec.routines import routines_of
from relokit.runtime.run.prepare import prepare_machine
from relokit.runtime.run.verdict import run, run_machine
from support.machines import programs, quiet

STATES = range(COMPLETE + 1)
PAGES = (4096, 16384, 65536)


def outcome(target: Target, job: Job) -> Outcome:
    return run(target, programs(target), job, quiet)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("regime", list(Regime))
@pytest.mark.parametrize("path", [KexecPath.NORMAL, KexecPath.PURGATORY])
def test_moving_paths_end_in_a_content_demo_kernel(
    path: KexecPath, regime: Regime, state: int
) -> None:
    # Each page size with each state and each regime, and on each path.
    turn = state + list(Regime).index(regime) + (path is KexecPath.PURGATORY)
    target = Target(series=state, regime=regime, page_size=PAGES[turn % 3])
    result = outcome(target, Job(path=path, boot=5.0))
    assert result.findings == ()
    assert result.console is not None
    assert "PASS" in result.console
    assert result.relocation.mmu == target.has(Feature.MMU_ON)
    assert result.relocation.pages > 0
    # Where relocation runs: at EL2 with a stub there until patch 9, at the kernel's own after.
    own = 2 if regime is Regime.VHE else 1
    stub = regime is Regime.NVHE and not target.has(Feature.RELOCATE_AT_EL1)
    assert result.relocation.el == (2 if stub else own)
    if path is KexecPath.NORMAL:
        synthetic = outcome(target, Job(size=3 * MIB + 5))
        assert synthetic.findings == ()
        assert synthetic.verified_bytes >= 3 * MIB + 5
        assert synthetic.relocation.el == result.relocation.el


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("regime", list(Regime))
@pytest.mark.parametrize("path", [KexecPath.IN_PLACE, KexecPath.CRASH])
def test_images_in_place_move_nothing(path: KexecPath, regime: Regime, state: int) -> None:
    target = Target(series=state, regime=regime)
    result = outcome(target, Job(path=path, boot=5.0))
    assert result.passed
    assert result.relocation.bytes == 0
    # Before patch 5 the relocation code is entered all the same, to find IND_DONE in the head.
    entered = not target.has(Feature.SKIP_IN_PLACE)
    # Without it, nobody invalidates the I-cache: a warning.
    assert [finding.rule for finding in result.findings] == ["fetch.in-place"] * (not entered)
    assert (result.relocation.instructions > 0) == entered


@pytest.mark.parametrize("path", [KexecPath.IN_PLACE, KexecPath.CRASH])
def test_in_place_does_not_even_copy_the_relocation_code(path: KexecPath) -> None:
    target = Target()
    machine = prepare_machine(target, programs(target), Job(path=path), quiet)
    assert machine.jump is None
    assert not machine.memory.view(machine.kimage.control_page, 4096).any()
    machine.close()


def test_a_crash_kernel_lies_in_the_memory_set_aside_for_it() -> None:
    result = outcome(Target(), Job(path=KexecPath.CRASH))
    assert all(part.at >= RAM_BASE + 1024 * MIB for part in result.payload)


def test_the_purgatory_is_entered_without_a_device_tree_and_passes_it_on() -> None:
    target = Target()
    machine = prepare_machine(target, programs(target), Job(path=KexecPath.PURGATORY), quiet)
    purgatory, kernel = machine.stages
    assert purgatory.x0 == 0
    assert kernel.x0 == machine.inputs.dtb_at
    result = run_machine(machine, Job(path=KexecPath.PURGATORY), quiet)
    machine.close()
    assert result.passed
    assert result.handoff is not None
    assert result.handoff.pc == kernel.pc


def test_a_purgatory_that_loses_the_device_tree_is_found_out() -> None:
    target = Target()
    machine = prepare_machine(target, programs(target), Job(path=KexecPath.PURGATORY), quiet)
    *_, loaded = machine.inputs.segments
    content = bytes(loaded.content.data)  # type: ignore[attr-defined]
    where = machine.memory.find(content)
    assert where is not None
    tree = content.index(machine.inputs.dtb_at.to_bytes(8, "little"))
    machine.memory.write_u64(where + tree, 0)
    result = run_machine(machine, Job(path=KexecPath.PURGATORY), quiet)
    machine.close()
    assert "handoff.dtb" in {finding.rule for finding in result.findings}


MANY_PAGES = (Shape.GAPS, Shape.OWN_PLACE, Shape.EDGES)


@pytest.mark.parametrize("page_size", PAGES)
@pytest.mark.parametrize(
    ("shape", "order"), [*product(MANY_PAGES, Order), (Shape.ONE_PAGE, Order.SHUFFLED)]
)
def test_every_shape_arrives(shape: Shape, order: Order, page_size: int) -> None:
    for state in (0, COMPLETE):
        target = Target(series=state, page_size=page_size)
        result = outcome(target, Job(shape=shape, order=order))
        assert result.findings == ()
    if shape is Shape.ONE_PAGE:
        assert result.relocation.pages == 1


@pytest.mark.parametrize("state", [0, COMPLETE])
def test_boundary_puts_done_into_the_last_word_of_a_list_page(state: int) -> None:
    target = Target(series=state)
    job = Job(shape=Shape.BOUNDARY)
    machine = prepare_machine(target, programs(target), job, quiet)
    last = machine.kimage.list_pages[-1].end - 8
    assert machine.memory.read_u64(last) == 4
    result = run_machine(machine, job, quiet)
    machine.close()
    assert result.findings == ()


def test_own_place_has_sources_in_their_own_destinations() -> None:
    target = Target()
    job = Job(shape=Shape.OWN_PLACE)
    machine = prepare_machine(target, programs(target), job, quiet)
    destinations, sources = walk_list(machine.memory, machine.kimage.head, target.page_size)
    machine.close()
    same = destinations == sources
    # As in lists of real kernels: most of them, and not all.
    assert len(same) * 3 // 4 < same.sum() < len(same)
    # No other source is in a destination.
    assert not np.isin(sources[~same], destinations).any()


def test_too_many_segments_are_refused() -> None:
    target = Target()
    inputs = _inputs([KexecSegment(f"s{n}", RAM_BASE + n * MIB, 4096, 1) for n in range(14)])
    with pytest.raises(MachineError, match="segments"):
        arrange(inputs, target, Shape.GAPS, 0)


def test_no_room_for_another_segment_is_an_error() -> None:
    inputs = _inputs([KexecSegment("all", RAM_BASE + 4 * MIB, 124 * MIB, 1)])
    with pytest.raises(MachineError, match="free bytes"):
        arrange(inputs, Target(page_size=65536), Shape.BOUNDARY, 0)


def _inputs(segments: list[KexecSegment]) -> Inputs:
    """128 MiB of RAM, the old kernel 2 MiB into it, and ``segments`` of pattern."""
    loaded = tuple(
        Loaded(PayloadKind.PATTERN, segment, PatternContent(segment.bufsz, seed))
        for seed, segment in enumerate(segments)
    )
    return Inputs(
        ram=GuestRam(((RAM_BASE, 128 * MIB),)),
        old_kernel=Region(Owner(OwnerKind.OLD_KERNEL), RAM_BASE + 2 * MIB, 2 * MIB),
        segments=loaded,
        start=segments[0].mem,
        dtb_at=segments[-1].mem,
        cpu="max",
        description=(),
    )


@st.composite
def legal_segments(draw: st.DrawFn) -> tuple[int, list[KexecSegment]]:
    """A page size, and up to 16 segments apart from each other, none on the old kernel."""
    page = draw(st.sampled_from(PAGES))
    at = RAM_BASE + 4 * MIB
    segments = []
    for number in range(draw(st.integers(1, 16))):
        at += draw(st.integers(0, 8)) * page
        pages = draw(st.integers(1, 12))
        memsz = pages * page - draw(st.integers(0, page - 1))
        bufsz = draw(st.integers(0, memsz))
        segments.append(KexecSegment(f"s{number}", at, memsz, bufsz))
        at += pages * page
    return page, draw(st.permutations(segments))


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(
    shaped=legal_segments(),
    state=st.sampled_from(STATES),
    regime=st.sampled_from(list(Regime)),
    order=st.sampled_from(list(Order)),
    seed=st.integers(0, 2**32 - 1),
    shape=st.sampled_from([Shape.PLAIN, Shape.OWN_PLACE]),
)
def test_any_legal_list_and_any_scatter_end_with_every_byte_in_place(
    shaped: tuple[int, list[KexecSegment]],
    state: int,
    regime: Regime,
    order: Order,
    seed: int,
    shape: Shape,
) -> None:
    page, segments = shaped
    target = Target(series=state, page_size=page, regime=regime)
    inputs = _inputs(segments)
    image = programs(target).kernel
    job = Job(order=order, seed=seed if order is Order.SHUFFLED else 0, shape=shape)
    stages = (Stage(inputs.start, inputs.dtb_at),)
    machine = build_machine(target, image, routines_of(image), inputs, stages, job)
    destinations, sources = walk_list(machine.memory, machine.kimage.head, page)
    expected = [s.mem + n * page for s in segments for n in range(s.pages(page))]
    assert destinations.tolist() == expected
    assert len(set(sources.tolist())) == len(expected)
    result = run_machine(machine, job, quiet)
    machine.close()
    assert result.findings == ()
    assert result.status is Status.PASS
    assert result.verified_bytes == len(expected) * page
