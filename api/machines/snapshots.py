"""``relokit.record`` and ``relokit.take_up``: a machine that is stopped elsewhere goes on here."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from relokit.arguments import job_or_default, path_or_none
from relokit.codegen.base.documents import Table, shown
from relokit.codegen.base.errors import FormatError, MachineError
from relokit.codegen.base.host_file import HostFile, open_file
from relokit.codegen.base.nouns import dataclass
from relokit.linker.kernel.opened import Files, OpenedKernel
from relokit.runtime.judge.outcome import Outcome
from relokit.runtime.kexec.job import DEFAULT_CMDLINE, MAX_TIMEOUT, RAM_BASE, Job
from relokit.runtime.room.snapshot_request import SnapshotRequest
from relokit.runtime.snapshot.snapshot import (
    DEVICES_FILE,
    KERNEL_FILE,
    LOAD_FILE,
    PACKED_FILE,
    PAGE,
    RAM_FILE,
    REGISTERS_FILE,
    SNAPSHOT_FILE,
    KernelNamed,
    Power,
    Snapshot,
)
from relokit.runtime.snapshot.snapshot_reading import read_snapshot
from relokit.session import Progress, process_session, seconds_of

if TYPE_CHECKING:
    from relokit.runtime.capture.qemu import Qemu
    from relokit.runtime.live.live_layout import LiveLayout
    from relokit.runtime.run.console import BootWatcher
    from relokit.runtime.snapshot.snapshot_writing import Stopped

DEFAULT_SECONDS = 300.0
MAX_RAM_FILE = 1 << 40
QEMU_TREE = 4 << 20
"""Bytes behind an initrd within which QEMU's device tree ends, and 2 MiB aligned."""
OF_A_BUILD = (
    "initrd", "dtb", "cmdline", "size", "memory", "memory_map", "crash_size", "crash_at",
    "kernel_at", "initrd_at", "dtb_at", "code_from", "templates", "effects", "interrupts",
)  # fmt: skip
"""Fields of a Job that make a machine: a snapshot is one."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A snapshot that was written: ``ram`` are the bytes of RAM that are not zero, in its file.

    ``cpus`` is how many CPUs there are, ``running`` how many of them are not switched off, ``pc``
    where the one is that leaves its kernel.
    """

    SCHEMA: ClassVar[str] = "relokit.record/1"
    DOCUMENT: ClassVar[Table] = {
        "snapshot": "directory", **shown("kernel", "ram", "cpus", "running", "pc", "devices"),
    }  # fmt: skip

    directory: Path
    kernel: str
    ram: int
    cpus: int
    running: int
    pc: int
    devices: bool


@dataclass(frozen=True, slots=True)
class Attached:
    """A machine that somebody else has stopped: its stub, and the file that its RAM is.

    ``base`` is the PA of the RAM's first byte.
    """

    address: str
    ram: Path
    base: int = RAM_BASE


def record(
    kernel: Path,
    directory: Path,
    arguments: Sequence[str] = (),
    *,
    attach: Attached | None = None,
    crash: bool = False,
    packed: bool = False,
    seconds: float = DEFAULT_SECONDS,
    files: Files | None = None,
    progress: Progress | None = None,
) -> Recorded:
    """Stop a machine in which ``kernel`` runs where machine_kexec leaves it, and write that to
    ``directory``.

    It is a QEMU that is started with ``arguments`` and ended, or the one to ``attach`` to, which
    stays stopped. One without an initrd gets a user space of ours, which has the kernel enter
    itself, by a ``crash`` if that is asked for. RAM is kept ``packed`` (zstd) or as it is. Raises
    RelokitError for what cannot be had within ``seconds``; nothing is written then.
    """
    from relokit.runtime.capture.capture import Capture
    from relokit.runtime.capture.cpu_reading import check_ram, tree_to_boot_with
    from relokit.runtime.capture.qemu import attached
    from relokit.runtime.snapshot.snapshot_writing import check_place

    if not 0 < seconds <= MAX_TIMEOUT:
        raise MachineError(f"{seconds:g} seconds", hint=f"up to {MAX_TIMEOUT:g} are possible")
    check_place(directory)
    opened = (files or Files()).kernel(kernel)
    report = progress or (lambda *_: None)
    if attach is not None and arguments:
        raise MachineError(
            "arguments for a QEMU, and one to attach to", hint="leave one of them out"
        )
    with ExitStack() as stack:
        if attach is None:
            qemu = stack.enter_context(started(opened, arguments, crash=crash))
            client, ram, base = qemu.client, qemu.ram, RAM_BASE
        else:
            ram = open_file(
                attach.ram, what="the file that RAM is", limit=MAX_RAM_FILE, settled=False
            )
            base = attach.base
            if not ram.size or (ram.size | base) % PAGE:
                raise MachineError(
                    f"{ram.size:,} bytes from PA {base:#x} are no RAM: that has pages of 4 KiB",
                    where=ram.where,
                )
            client = stack.enter_context(closing(attached(attach.address)))
        tree = tree_to_boot_with(client, base)
        capture = Capture(client, opened, seconds, report)
        kimage = capture.to_last_branch(ram)
        if attach is not None:
            check_ram(client, base, ram)
        machine = capture.stopped(base, ram, kimage, tree)
        size = write_down(directory, machine, kernel, packed=packed)
    return _recorded(directory, kernel, machine, size)


def convert(
    kernel: Path,
    directory: Path,
    vmcore: Path,
    *,
    registers: Path | None = None,
    packed: bool = False,
    files: Files | None = None,
) -> Recorded:
    """Write the machine in ``vmcore``, in which ``kernel`` ran, to ``directory``.

    ``registers`` is a file like registers.json, with what a dump has not. Raises RelokitError for
    what is lacking or does not fit together; nothing is written then.
    """
    from relokit.runtime.capture.dumped import stopped_in
    from relokit.runtime.snapshot.given_registers import read_given
    from relokit.runtime.snapshot.snapshot_writing import check_place
    from relokit.runtime.snapshot.vmcore import read_vmcore

    check_place(directory)
    opened = (files or Files()).kernel(kernel)
    given = None if registers is None else read_given(registers)
    machine = stopped_in(read_vmcore(vmcore), opened, given)
    size = write_down(directory, machine, kernel, packed=packed)
    return _recorded(directory, kernel, machine, size)


def take_up(
    directory: Path,
    job: Job | None = None,
    *,
    files: Files | None = None,
    trace: Path | None = None,
    progress: Progress | None = None,
    watcher: BootWatcher | None = None,
) -> Outcome:
    """Go on from the snapshot in ``directory``, and judge that in the machine room.

    ``job`` has the limits, and for how long the next kernel runs; its ``kernel`` is the one that
    ran, None if that is in the snapshot. The rest is as for ``relokit.run``.
    """
    trace, job, files = path_or_none("trace", trace), job_or_default(job), files or Files()
    if trace is not None and job.plain:
        raise MachineError("a plain run has no trace", hint="leave --plain or --trace out")
    session = process_session()
    session.start()
    snapshot, kernel, job = opened_snapshot(directory, job, files)

    def ask(path: Path | None) -> Outcome:
        request = SnapshotRequest(snapshot, kernel.file, job, path, watcher is not None)
        return session.ask(request, Outcome, seconds_of(job), progress, watcher)

    if trace is None:
        return ask(None)
    from relokit.codegen.base.atomic import replacing

    with replacing(trace) as temporary:
        return ask(temporary)


def opened_snapshot(directory: Path, job: Job, files: Files) -> tuple[Snapshot, OpenedKernel, Job]:
    """The snapshot in ``directory``, the kernel that ran, and ``job`` without that.

    Raises MachineError for a job that would make a machine, FormatError for what is no snapshot.
    """
    check_makes_no_machine(job)
    snapshot = read_snapshot(directory)
    return snapshot, _kernel(snapshot, directory, job.kernel, files), replace(job, kernel=None)


def snapshot_files(directory: Path) -> tuple[Path, ...]:
    """The files of the snapshot in ``directory`` that are there, the kernel that ran last."""
    names = (
        SNAPSHOT_FILE, REGISTERS_FILE, DEVICES_FILE, LOAD_FILE, RAM_FILE, PACKED_FILE, KERNEL_FILE,
    )  # fmt: skip
    return tuple(path for path in (directory / name for name in names) if path.is_file())


def check_makes_no_machine(job: Job) -> None:
    """Raise MachineError for a job that would make a machine: a snapshot is one."""
    default = Job()
    for name in OF_A_BUILD:
        if getattr(job, name) != getattr(default, name):
            raise MachineError(
                f"{name.replace('_', '-')} with a snapshot: it is a machine already",
                hint="leave it out",
            )


def _kernel(snapshot: Snapshot, directory: Path, given: Path | None, files: Files) -> OpenedKernel:
    """The kernel that ran: its digest says so."""
    named = snapshot.kernel
    if given is None and not named.included:
        raise FormatError(
            f"the kernel that ran, {named.name}, is not in the snapshot",
            where=str(directory),
            hint="name it with --kernel",
        )
    path = given or directory / KERNEL_FILE
    kernel = files.kernel(path)
    if _digest(files.file(path, what="the kernel that ran")) != named.sha256:
        raise FormatError(
            f"is not the kernel that ran, {named.name}: its SHA-256 is another",
            where=str(path),
            hint="give the very file; struct kimage and the symbols are found by it",
        )
    return kernel


def write_down(directory: Path, machine: Stopped, kernel: Path, *, packed: bool = False) -> int:
    """Write ``machine``, in which ``kernel`` runs, to ``directory``; returns its RAM's bytes."""
    from relokit.runtime.snapshot.snapshot_writing import write_snapshot

    file = open_file(kernel, what="an arm64 Image or a vmlinuz", limit=MAX_RAM_FILE)
    named = KernelNamed(kernel.name, _digest(file), included=True)
    return write_snapshot(directory, machine, file, named, packed=packed)


def started(kernel: OpenedKernel, arguments: Sequence[str], *, crash: bool = False) -> Qemu:
    """A QEMU with ``kernel``, before its first instruction: see :func:`record`."""
    from relokit.runtime.capture.qemu import Qemu, check

    check(arguments)
    if "-initrd" in arguments:
        if crash:
            raise MachineError(
                "a crash, and a user space of yours", hint="have that one crash; leave --crash out"
            )
        return Qemu(kernel.file.path, arguments)
    from relokit.runtime.guest.payload import PayloadKind

    layout = own_user_space(kernel, arguments, crash=crash)
    [initrd] = [one for one in layout.pieces if one.kind is PayloadKind.INITRD]
    # Theirs, if they have one: QEMU takes the last.
    given = [value for option, value in pairwise(arguments) if option == "-append"]
    words = given[-1:] or [DEFAULT_CMDLINE]
    if layout.ram.crash is not None:
        words.append("crashkernel={1:#x}@{0:#x}".format(*layout.ram.crash))
    return Qemu(kernel.file.path, arguments, initrd.data, " ".join(words))


def own_user_space(kernel: OpenedKernel, arguments: Sequence[str], *, crash: bool) -> LiveLayout:
    """What a QEMU with ``arguments`` is given in which ``kernel`` is to enter itself.

    A crash kernel's memory is right behind the initrd and the tree, where this QEMU puts them: what
    a kernel takes before it sets that aside, it takes from the end of RAM. Raises MachineError if
    there is no room for it.
    """
    from relokit.machines.live_kexec import programs
    from relokit.runtime.capture.qemu import initrd_at, memory_of, regime_of
    from relokit.runtime.guest.payload import PayloadKind
    from relokit.runtime.live.live_job import LiveJob
    from relokit.runtime.live.live_layout import LiveInputs, lay_out

    job = LiveJob(
        kernel=kernel.file.path,
        memory=memory_of(arguments),
        crash=crash,
        regime=regime_of(arguments),
    )
    inputs = LiveInputs(kernel.file, kernel.file, None, None, *programs())
    layout = lay_out(job, inputs)
    if layout.ram.crash is None:
        return layout
    # As long wherever that is.
    [initrd] = [one for one in layout.pieces if one.kind is PayloadKind.INITRD]
    at = initrd_at(RAM_BASE, job.memory) + len(initrd.data) + QEMU_TREE
    size = layout.ram.crash[1]
    # And as much again for the kernel itself: page tables, CMA.
    if at + 2 * size > RAM_BASE + job.memory:
        raise MachineError(
            f"{job.memory >> 20} MiB of memory are too little for a crash kernel's {size >> 20} "
            f"behind QEMU's initrd, which ends at PA {at - QEMU_TREE:#x}",
            hint="give a larger -m, like 512M",
        )
    return lay_out(job, inputs, at)


def _recorded(directory: Path, kernel: Path, machine: Stopped, size: int) -> Recorded:
    return Recorded(
        directory,
        kernel.name,
        size,
        len(machine.cpus),
        sum(one.power is not Power.OFF for one in machine.cpus),
        machine.cpus[machine.cpu].registers["PC"],
        machine.devices is not None,
    )


def _digest(file: HostFile) -> str:
    return hashlib.sha256(file.content).hexdigest()
