"""Snapshot to Outcome: a machine that was stopped elsewhere goes on here, and is judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from relokit.codegen.base.errors import FormatError, MachineError
from relokit.codegen.system_registers import REGISTERS
from relokit.codegen.target import Regime
from relokit.linker.kernel.opened import OpenedKernel
from relokit.runtime.arch.geometry import CPU_BITS
from relokit.runtime.arch.id_fields import promised
from relokit.runtime.arch.walker import walk
from relokit.runtime.board.devicetree import check_dtb
from relokit.runtime.board.fdt import MAX_DTB
from relokit.runtime.found.crash_memory import crash_memory
from relokit.runtime.found.found_machine import found_machine
from relokit.runtime.found.living_state import LivingKernel, State
from relokit.runtime.found.loaded_image import read_kimage
from relokit.runtime.guest.memory import GuestMemory
from relokit.runtime.guest.payload import PayloadKind
from relokit.runtime.judge.outcome import Outcome, TakenUp
from relokit.runtime.kexec.guest_ram import GuestRam
from relokit.runtime.kexec.job import Job, KexecPath
from relokit.runtime.kexec.machine import Machine
from relokit.runtime.live.around_reading import prepared, surroundings
from relokit.runtime.live.old_tree import old_tree
from relokit.runtime.run.console import BootWatcher
from relokit.runtime.run.journey import Report
from relokit.runtime.run.prepare import open_cpu
from relokit.runtime.run.verdict import run_machine
from relokit.runtime.snapshot.snapshot import CpuSnapshot, Snapshot

_OF_A_LEVEL = (
    "SCTLR", "TCR", "TTBR0", "TTBR1", "MAIR", "VBAR", "ELR", "SPSR", "ESR", "FAR", "TPIDR",
    "CONTEXTIDR", "SP",
)  # fmt: skip
CARRIED = (
    *(f"{name}_EL{el}" for el in (1, 2) for name in _OF_A_LEVEL),
    "CPACR_EL1", "CNTKCTL_EL1", "MDSCR_EL1", "SP_EL0", "TPIDR_EL0", "TPIDRRO_EL0",
    "HCR_EL2", "CPTR_EL2", "MDCR_EL2", "CNTHCTL_EL2", "CNTVOFF_EL2", "VTTBR_EL2", "VTCR_EL2",
    "VPIDR_EL2", "VMPIDR_EL2", "CNTFRQ_EL0",
)  # fmt: skip
"""System registers that go on as they were, as far as snapshot and engine have them."""
NEEDED = ("SCTLR", "TCR", "TTBR0", "TTBR1", "MAIR", "VBAR")
"""Of the level that the kernel runs at: without them nothing can be found."""
PSTATE, AARCH32 = 0xFFFF_FFFF, 1 << 4
UNKNOWN = {
    "history": "what was done to caches before the snapshot",
    "firmware": "what it had set up: registers are as the kernel left them",
}
PREPARES = "machine_kexec_post_load"
"""Kernels without it prepare at the jump."""
VHE_FIELD, VA_RANGE, GRANULE_16K, GRANULE_4K = 8, 16, 20, 28
LPA2_4K = 1


def take_up(
    snapshot: Snapshot,
    kernel: OpenedKernel,
    job: Job,
    report: Report,
    trace: Path | None = None,
    watcher: BootWatcher | None = None,
) -> Outcome:
    """Go on from ``snapshot`` and judge; ``job`` has the limits, and how long the next kernel runs.

    Raises RelokitError for what cannot be a hand-over of ``kernel``; what the guest does is in the
    outcome.
    """
    machine, crash = machine_of(snapshot, kernel)
    try:
        job = replace(job, path=KexecPath.CRASH if crash else KexecPath.PURGATORY)
        cpu = open_cpu(machine)
        lacks = tuple(promised(snapshot.left_by.registers, cpu.seen))
        cpu.retire()
        outcome = run_machine(machine, job, report, trace, watcher)
        return replace(outcome, taken_up=TakenUp(snapshot.kernel.name, lacks, UNKNOWN))
    finally:
        machine.close()


def machine_of(snapshot: Snapshot, kernel: OpenedKernel) -> tuple[Machine, bool]:
    """The Machine in ``snapshot``, and whether it is a crash that is left by."""
    memory = GuestMemory.of(snapshot.banks)
    try:
        content = snapshot.ram.content
        for one in snapshot.extents:
            memory.write(one.base, content[one.offset : one.offset + one.size])
        state = state_of(snapshot, memory)
        living = living_kernel(state, kernel)
        loaded = read_kimage(state, living, _kimage(snapshot, state, living))
        if state.regime is Regime.EL1 and loaded.words.get("el2_vectors"):
            raise MachineError(
                f"CPU {snapshot.cpu} lacks HCR_EL2: its kernel came from EL2, by its struct kimage",
                hint="without it the CPU would be one that has no EL2",
            )
        crash = None
        if loaded.crash:
            crash = crash_memory(memory, living, loaded.words["start"])
        ram = GuestRam(banks=snapshot.banks, crash=crash)
        machine = found_machine(state, living, loaded, ram)
        assert machine.found is not None
        around = surroundings(
            snapshot, memory, old_tree(state, living, snapshot.tree), _handed(machine)
        )
        if PREPARES in kernel.symbols:
            page = living.page_size
            sources = ((pa, pa + page) for pa in loaded.sources.tolist())
            changed = prepared(
                snapshot,
                machine.old.allocator.regions,
                sources,
                # So does 5.10, before kimage had a place to keep its address.
                copies_late=machine.target.layout.arch is None,
            )
            around = replace(around, prepared=changed)
        return replace(machine, found=replace(machine.found, around=around)), loaded.crash
    except BaseException:
        memory.close()
        raise


def _handed(machine: Machine) -> bytes | None:
    """The device tree among the segments."""
    for one in machine.inputs.segments:
        if one.kind is PayloadKind.DEVICE_TREE:
            data = np.empty(min(one.content.size, MAX_DTB), np.uint8)
            one.content.read(0, data)
            try:
                return check_dtb(data.tobytes())
            except FormatError:
                return None
    return None


def state_of(snapshot: Snapshot, memory: GuestMemory) -> State:
    """The CPU that leaves its kernel; raises MachineError naming what of it is not known."""
    own = snapshot.left_by.registers
    el = own["CPSR"] >> 2 & 3
    if own["CPSR"] & AARCH32:
        raise MachineError(
            f"the CPU is in AArch32 state, by CPSR = {own['CPSR']:#x}: no kernel is left from there"
        )
    if el not in (1, 2):
        raise MachineError(f"the CPU is at EL{el}: no kernel is left from there")
    lacks = [f"{name}_EL{el}" for name in NEEDED if f"{name}_EL{el}" not in own]
    if el == 2 and "HCR_EL2" not in own:
        lacks.append("HCR_EL2")
    if lacks:
        raise MachineError(
            f"CPU {snapshot.cpu} lacks {', '.join(lacks)}",
            hint="without them nobody can tell what it translates by",
        )
    regime = Regime.VHE
    if el == 1:
        regime = Regime.NVHE if "HCR_EL2" in own else Regime.EL1
    return State(
        memory=memory,
        regime=regime,
        model=_model(own, regime),
        pc=own["PC"],
        x=tuple(own[f"X{number}"] for number in range(31)),
        system=_carried(snapshot.left_by, el, regime),
        cpu_bits=_cpu_bits(own),
        cache_line=_cache_line(own),
        pstate=own["CPSR"] & PSTATE,
    )


def _carried(cpu: CpuSnapshot, el: int, regime: Regime) -> dict[str, int]:
    own = {name: cpu.registers[name] for name in CARRIED if name in cpu.registers}
    # The bank of the stack pointer in use is behind: it is written when another one is chosen.
    own[f"SP_EL{el if cpu.registers['CPSR'] & 1 else 0}"] = cpu.registers["SP"]
    if regime is not Regime.VHE:
        # Of EL2 with VHE only.
        own = {name: value for name, value in own.items() if name not in _OF_VHE}
    if regime is Regime.EL1:
        own = {name: value for name, value in own.items() if not name.endswith("_EL2")}
    return {name: value for name, value in own.items() if name in REGISTERS}


_OF_VHE = frozenset({"TTBR1_EL2", "CONTEXTIDR_EL2"})


def _model(own: Mapping[str, int], regime: Regime) -> str:
    """The engine's CPU with what this one has."""
    granule = own.get("ID_AA64MMFR0_EL1", 0) >> GRANULE_16K & 0xF
    vhe = own.get("ID_AA64MMFR1_EL1", 0) >> VHE_FIELD & 0xF
    return "max" if regime is Regime.VHE or granule or vhe else "a72"


def _cpu_bits(own: Mapping[str, int]) -> int:
    """52 for a CPU with LPA2 for the pages that it uses, or LVA: the engine has them together."""
    wide = own.get("ID_AA64MMFR2_EL1", 0) >> VA_RANGE & 0xF
    granule = own.get("ID_AA64MMFR0_EL1", 0) >> GRANULE_4K & 0xF
    return 52 if wide or granule == LPA2_4K else CPU_BITS


def _cache_line(own: Mapping[str, int]) -> int:
    """CTR_EL0.DminLine in bytes; 64 where nobody tells."""
    return 4 << (own["CTR_EL0"] >> 16 & 0xF) if "CTR_EL0" in own else 64


def living_kernel(state: State, kernel: OpenedKernel) -> LivingKernel:
    """``kernel`` where it runs, by the vectors."""
    vectors = state.system[f"VBAR_EL{state.el}"]
    offset = kernel.symbols.offset("vectors")
    pa = walk(state.memory, state.translation, vectors, el=state.el).pa
    size = kernel.file.header.image_size
    if pa is None or not state.memory.contains(pa - offset, size):
        raise MachineError(
            f"VBAR_EL{state.el} = {vectors:#x} leads to no vectors of {kernel.file.name}",
            hint="is this the kernel that ran?",
        )
    return LivingKernel(kernel.file, kernel.symbols, kernel.layout, pa - offset, vectors - offset)


def _kimage(snapshot: Snapshot, state: State, kernel: LivingKernel) -> int:
    if snapshot.kimage is not None:
        return snapshot.kimage
    if state.pc != kernel.address("machine_kexec"):
        raise MachineError(
            "nobody says where struct kimage is: PC is not the first instruction of machine_kexec",
            hint="give what it was called with as 'kimage' in snapshot.json",
        )
    return state.x[0]
