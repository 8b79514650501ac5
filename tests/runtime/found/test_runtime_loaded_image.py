"""What is read out of RAM, against the machine that was built there: the builder shares nothing."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from relokit.codegen.base.errors import MachineError
from relokit.codegen.base.host_file import HostFile
from relokit.codegen.target import Regime, Target
from relokit.linker.kernel.kallsyms import Kallsyms
from relokit.linker.kernel.kernel_file import ImageHeader, KernelFile
from relokit.runtime.found.found_ledger import tables_of
from relokit.runtime.found.living_state import LivingKernel, State
from relokit.runtime.found.loaded_image import kind_of, read_kimage
from relokit.runtime.guest.owner import OwnerKind
from relokit.runtime.guest.payload import PayloadKind
from relokit.runtime.kexec.job import Job
from relokit.runtime.kexec.kimage import IND_DONE, IND_INDIRECTION, destination_pages
from relokit.runtime.kexec.machine import Machine
from relokit.runtime.run.prepare import open_cpu
from relokit.runtime.run.prepared import expected_fields
from support.machines import prepared

JOB = Job(size=3 << 20)


def state_of(machine: Machine) -> State:
    system = dict(machine.state.sysregs) | {"HCR_EL2": 0}
    cpu = open_cpu(machine)
    for name in ("SCTLR", "TCR", "TTBR0", "TTBR1", "MAIR"):
        system[f"{name}_EL{cpu.el}"] = cpu.read(f"{name}_EL{cpu.el}")
    system["HCR_EL2"] = cpu.read("HCR_EL2")
    return State(
        machine.memory, machine.target.regime, "max", machine.state.pc, machine.state.x, system,
        machine.target.cpu_bits, 64,
    )  # fmt: skip


def kernel_of(machine: Machine) -> LivingKernel:
    flags = {4096: 1, 16384: 2, 65536: 3}[machine.target.page_size] << 1
    header = ImageHeader(0, 0, 0, machine.old.region.size, flags, 0)
    file = KernelFile(Path("built"), "none", header, HostFile(os.memfd_create("built"), 0, "built"))
    return LivingKernel(
        file, Kallsyms.of((), 0), machine.target.layout, machine.old.region.base, machine.old.va
    )


@pytest.mark.parametrize("regime", [Regime.EL1, Regime.VHE])
@pytest.mark.parametrize("page_size", [4096, 65536])
def test_a_built_kimage_is_read_as_it_was_built(regime: Regime, page_size: int) -> None:
    with prepared(Target(regime=regime, page_size=page_size), JOB) as machine:
        kimage, target = machine.kimage, machine.target
        state, kernel = state_of(machine), kernel_of(machine)
        found = read_kimage(state, kernel, kimage.va)
        assert found.kimage.pa == kimage.pa
        assert found.kimage.control_page == kimage.control_page
        assert found.kimage.entries == kimage.entries
        assert found.kimage.listed == kimage.listed
        assert found.kimage.list_extents[-1][1] == kimage.list_extents[-1][1]
        assert found.words.items() >= expected_fields(machine).items()
        assert [(one.mem, one.memsz) for one in found.kimage.segments] == [
            (one.mem, one.memsz) for one in kimage.segments
        ]
        wanted = destination_pages(kimage.segments, target.page_size)
        assert np.array_equal(found.targets, wanted)
        for loaded, segment in zip(machine.inputs.segments, found.kimage.segments, strict=True):
            content = np.empty(segment.bufsz, np.uint8)
            loaded.content.read(0, content)
            assert found.content(machine.memory, segment) == content.tobytes()
        # The tables are those that the ledger of the builder has.
        spans = tables_of(machine.memory, state.translation, state.el, upper=True)
        owners = {machine.allocator.owner(low) for low, _ in spans}
        assert {one.owner.kind for one in owners if one} == {OwnerKind.SWAPPER}


def test_what_is_no_kimage_is_refused() -> None:
    with prepared(Target(regime=Regime.EL1), JOB) as machine:
        state, kernel, kimage = state_of(machine), kernel_of(machine), machine.kimage
        machine.memory.write_u64(kimage.pa + kimage.layout.nr_segments, 17)
        with pytest.raises(MachineError, match="17 segments"):
            read_kimage(state, kernel, kimage.va)
        machine.memory.write_u64(kimage.pa + kimage.layout.nr_segments, 1)
        machine.memory.write_u64(kimage.list_pages[0].base, 1 << 60 | 2)
        with pytest.raises(MachineError, match="not RAM"):
            read_kimage(state, kernel, kimage.va)
        with pytest.raises(MachineError, match="not mapped"):
            read_kimage(state, kernel, 0x1234)


def test_a_head_that_ends_leads_to_no_list_that_loops() -> None:
    with prepared(Target(regime=Regime.EL1), JOB) as machine:
        state, kernel, kimage = state_of(machine), kernel_of(machine), machine.kimage
        page = kimage.list_pages[0].base
        machine.memory.write_u64(page, page | IND_INDIRECTION)
        for head in (page | IND_INDIRECTION | IND_DONE, page | IND_DONE, 1 << 60 | 6):
            machine.memory.write_u64(kimage.pa + kimage.layout.head, head)
            with pytest.raises(MachineError, match="head"):
                read_kimage(state, kernel, kimage.va)


@pytest.mark.parametrize("last", [IND_DONE, IND_DONE | IND_INDIRECTION])
def test_an_entry_that_ends_a_list_leads_nowhere(last: int) -> None:
    """With a flag too many it led back, and round for ever."""
    with prepared(Target(regime=Regime.EL1), JOB) as machine:
        state, kernel, kimage = state_of(machine), kernel_of(machine), machine.kimage
        (region,) = kimage.list_pages
        words = machine.memory.u64(region.base, region.size // 8)
        end = region.base + 8 * int((words & np.uint64(IND_DONE) != 0).argmax())
        machine.memory.write_u64(end, region.base | last)
        found = read_kimage(state, kernel, kimage.va)
        assert found.kimage.entries == kimage.entries
        assert sum(one.size for one in found.kimage.list_pages) == region.size


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (bytes(56) + b"ARM\x64", PayloadKind.KERNEL),
        (b"\xd0\x0d\xfe\xed", PayloadKind.DEVICE_TREE),
        (b"\x7fELF", PayloadKind.CORE_HEADER),
        (b"070701", PayloadKind.INITRD),
        (b"\x1f\x8b", PayloadKind.INITRD),
        # As initramfs-tools make them now.
        (b"\x28\xb5\x2f\xfd", PayloadKind.INITRD),
        (b"\xfd7zXZ\0", PayloadKind.INITRD),
        (b"07", PayloadKind.PATTERN),
        (b"", PayloadKind.PATTERN),
    ],
)
def test_a_segment_is_known_by_its_content(head: bytes, kind: PayloadKind) -> None:
    assert kind_of(head) is kind
