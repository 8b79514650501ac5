"""The moment before machine_kexec: what is where, by regime and state of the series."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from relokit.codegen.base.errors import LinkError, MachineError
from relokit.codegen.target import MIB, PAGE_SIZES, VA_BITS, Regime, Target
from relokit.runtime.arch.translation import WalkRegisters
from relokit.runtime.arch.walker import Access, Walk, walk
from relokit.runtime.guest.owner import OwnerKind
from relokit.runtime.kexec.address_space import kernel_ttbr1, with_t0sz
from relokit.runtime.kexec.job import Job, KexecPath
from relokit.runtime.kexec.kimage import read_field, walk_list
from relokit.runtime.kexec.machine import Machine, build_machine, el_at_jump
from support.machines import prepared

JOB = Job(size=200_000, memory=128 * MIB, seed=3)
MASK64 = (1 << 64) - 1


def translate(machine: Machine, va: int, **registers: int) -> Walk:
    """By the old kernel's own registers, or those given."""
    own, el = dict(machine.state.sysregs), machine.state.el
    values = {
        "sctlr": own[f"SCTLR_EL{el}"],
        "tcr": own[f"TCR_EL{el}"],
        "ttbr0": own[f"TTBR0_EL{el}"],
        "ttbr1": own[f"TTBR1_EL{el}"],
        "mair": own[f"MAIR_EL{el}"],
    }
    regs = WalkRegisters(**values | registers, e2h=el == 2, cpu_bits=machine.target.cpu_bits)
    return walk(machine.memory, regs, va, el=el)


TARGETS = [
    Target(page_size=page, va_bits=va, cpu_bits=cpu, regime=regime, series=state)
    for page, all_va in VA_BITS.items()
    for va in all_va
    for cpu in (48, 52)[: 1 + (va == 52)]
    for regime in Regime
    for state in (0, 8, 11, 15)
]


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_pages_have_one_owner_and_kimage_names_them(target: Target) -> None:
    with prepared(target, JOB) as machine:
        regions = machine.allocator.regions
        assert all(low.end <= high.base for low, high in pairwise(regions))
        kinds = [r.owner.kind for r in regions if r.owner.level is None]
        nvhe = target.regime is Regime.NVHE
        assert (OwnerKind.EL2_VECTORS in kinds) == (nvhe and target.series >= 8)
        assert (OwnerKind.LINEAR_MAP in kinds) == (target.series >= 11)
        for kind in (
            OwnerKind.KIMAGE,
            OwnerKind.CONTROL_PAGE,
            OwnerKind.LIST,
            OwnerKind.ZERO_PAGE,
        ):
            assert kinds.count(kind) == 1

        kimage, memory = machine.kimage, machine.memory
        assert read_field(memory, kimage, "start") == machine.start
        assert read_field(memory, kimage, "dtb_mem") == machine.inputs.dtb_at
        assert read_field(memory, kimage, "nr_segments") == 2
        el2_vectors = read_field(memory, kimage, "el2_vectors")
        assert bool(el2_vectors) == (nvhe and target.series >= 8)
        if el2_vectors:
            assert memory.read(el2_vectors, 0x800) == machine.routines.vectors
        # PA(kimage) - VA(kimage), by the linear map itself.
        if target.series >= 12:
            offset = read_field(memory, kimage, "phys_offset")
            assert (kimage.va + offset) & MASK64 == kimage.pa
            assert read_field(memory, kimage, "t0sz") == 16
        code = machine.routines.relocation
        assert memory.read(kimage.control_page, len(code)) == code
        assert not any(memory.read(kimage.control_page + len(code), 64))


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_the_old_kernel_runs_where_it_is_linked(target: Target) -> None:
    with prepared(target, JOB) as machine:
        image, old = machine.old.image, machine.inputs.old_kernel
        found = translate(machine, machine.state.pc)
        assert found.pa == old.base + machine.state.pc - target.kimage_vaddr
        assert found.fault_for(Access.EXECUTE) is None
        assert machine.memory.read(old.base, 64) == image.flat[:64]
        # Its linear alias can be read, but neither written nor run.
        alias = translate(machine, old.base + machine.old.linear_offset & MASK64)
        assert alias.pa == old.base
        assert alias.fault_for(Access.WRITE)
        assert alias.fault_for(Access.EXECUTE)
        # struct kimage and the list are reached through the linear map.
        assert translate(machine, machine.kimage.va).pa == machine.kimage.pa
        assert translate(machine, 0).fault is not None


@pytest.mark.parametrize("target", TARGETS[3::4], ids=lambda target: target.name)
def test_tables_of_the_way_out(target: Target) -> None:
    """The copy maps what the linear map maps, writable; the identity map one page."""
    with prepared(target, JOB) as machine:
        memory, kimage = machine.memory, machine.kimage
        ttbr0 = read_field(memory, kimage, "ttbr0")
        assert read_field(memory, kimage, "ttbr1") != machine.old.swapper
        ttbr1 = kernel_ttbr1(target, read_field(memory, kimage, "ttbr1"))
        tcr = dict(machine.state.sysregs)[f"TCR_EL{machine.state.el}"]
        tcr = with_t0sz(tcr, read_field(memory, kimage, "t0sz"))
        page = kimage.control_page
        inside = translate(machine, page, ttbr0=ttbr0, tcr=tcr)
        assert (inside.pa, inside.size) == (page, target.page_size)
        assert inside.fault_for(Access.EXECUTE) is None
        for other in (page - target.page_size, page + target.page_size):
            assert translate(machine, other, ttbr0=ttbr0, tcr=tcr).fault
        pairs = walk_list(memory, kimage.head, target.page_size)
        for pa in (int(pairs[0][0]), int(pairs[0][-1]), int(pairs[1][0]), machine.inputs.ram.base):
            va = pa + machine.old.linear_offset & MASK64
            copied = translate(machine, va, ttbr1=ttbr1)
            assert copied.pa == pa
            assert copied.writable
            assert not copied.executable
        assert translate(machine, machine.state.pc, ttbr1=ttbr1).fault
        assert not any(memory.read(machine.old.zero_page, target.page_size))


@pytest.mark.parametrize("series", range(16))
@pytest.mark.parametrize(
    ("regime", "levels"), [(Regime.EL1, (1, 1)), (Regime.NVHE, (2, 1)), (Regime.VHE, (2, 2))]
)
def test_level_at_the_jump(regime: Regime, levels: tuple[int, int], series: int) -> None:
    assert el_at_jump(Target(regime=regime, series=series)) == levels[series >= 9]


@pytest.mark.parametrize("regime", list(Regime))
def test_registers_of_the_old_kernel(regime: Regime) -> None:
    with prepared(Target(regime=regime), JOB) as machine:
        own = dict(machine.state.sysregs)
    el = 2 if regime is Regime.VHE else 1
    assert machine.state.el == el
    assert own[f"SCTLR_EL{el}"] & 0b1_0000_0000_0101 == 0b1_0000_0000_0101  # M, C, I
    assert ("VBAR_EL2" in own) == ("HCR_EL2" in own) == (regime is not Regime.EL1)
    if regime is not Regime.EL1:
        assert bool(own["HCR_EL2"] >> 34 & 1) == (regime is Regime.VHE)
        assert own["VBAR_EL2"] % 0x800 == 0
    # A kernel at EL2 has no stub there: it is its own vectors that VBAR_EL2 holds.
    assert own[f"VBAR_EL{el}"] == machine.old.image.symbol("vectors")
    if regime is Regime.NVHE:
        assert own["VBAR_EL2"] == machine.old.stub_vectors


def test_a_program_counter_is_located_wherever_it_is() -> None:
    with prepared(Target(), JOB) as machine:
        routines, old = machine.routines, machine.inputs.old_kernel
        control = machine.kimage.control_page
        assert machine.locate(control + 8) == (routines.image, routines.va + 8)
        assert machine.locate(control + len(routines.relocation)) is None
        vectors = read_field(machine.memory, machine.kimage, "el2_vectors")
        stub = routines.image.symbol("trans_pgd_stub_vectors")
        assert machine.locate(vectors + 0x400) == (routines.image, stub + 0x400)
        assert machine.locate(vectors + 0x800) is None
        image, pc = machine.old.image, machine.state.pc
        assert machine.locate(pc) == (image, pc)
        assert machine.locate(pc - machine.target.kimage_vaddr + old.base) == (image, pc)
        assert machine.locate(machine.start) is None
        assert machine.locate(0) is None
        assert machine.locate(MASK64) is None


def _rebuilt(machine: Machine, **routines: object) -> Machine:
    changed = replace(machine.routines, **routines)  # type: ignore[arg-type]
    return build_machine(
        machine.target, machine.old.image, changed, machine.inputs, machine.stages, JOB
    )


def test_relocation_code_must_fit_its_page() -> None:
    with (
        prepared(Target(), JOB) as machine,
        pytest.raises(LinkError, match="4100 bytes and its page"),
    ):
        _rebuilt(machine, relocation=bytes(4100))


def test_vectors_that_do_not_exist_cannot_be_installed() -> None:
    with (
        prepared(Target(), JOB) as machine,
        pytest.raises(MachineError, match="no trans_pgd_stub_vectors") as caught,
    ):
        _rebuilt(machine, vectors=None)
    assert caught.value.hint


@pytest.mark.parametrize("page", PAGE_SIZES.values())
def test_the_same_seed_is_the_same_machine(page: int) -> None:
    target = Target(page_size=page)
    with prepared(target, JOB) as one, prepared(target, JOB) as two:
        assert (one.memory.ram == two.memory.ram).all()
    with prepared(target, JOB) as one, prepared(target, replace(JOB, seed=4)) as two:
        assert not (one.memory.ram == two.memory.ram).all()


@pytest.mark.parametrize("path", [KexecPath.IN_PLACE, KexecPath.CRASH])
@pytest.mark.parametrize("series", [0, 4, 5, 15])
def test_in_place_needs_no_list_and_since_patch_5_no_code(path: KexecPath, series: int) -> None:
    with prepared(Target(series=series), replace(JOB, path=path)) as machine:
        assert machine.kimage.in_place
        assert not machine.kimage.list_pages
        code = machine.memory.read(machine.kimage.control_page, 64)
        assert (machine.jump is None) == (series >= 5) == (not any(code))
