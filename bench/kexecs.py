"""A shipped kernel that kexecs into itself, here and in QEMU: both kernels, to the last line."""

from __future__ import annotations

import json
from pathlib import Path

from guest import until_line
from measurement import Bound, Row, progress
from stages import Installation

from relokit.codegen.target import MIB
from relokit.linker.kernel.kernel_file import open_kernel
from relokit.machines.live_kexec import programs
from relokit.runtime.guest.payload import PayloadKind
from relokit.runtime.kexec.job import DEFAULT_CMDLINE
from relokit.runtime.live.live_job import LiveJob
from relokit.runtime.live.live_layout import LiveInputs, lay_out

OURS, QEMU = "relokit run", "QEMU"
LAST = "reboot: Power down"


def kexecing(ours: Installation, rounds: int, kernel: Path, work: Path) -> list[Row]:
    """To power-off: the same kernel, the same initramfs with the same /init, the same segments."""
    cpu = Row("kexec into itself, to its last line: CPU", "s", (Bound(OURS, 2.5, QEMU),))
    wall = Row("kexec into itself, to its last line: wall clock", "s")
    speed = Row(
        "kexec into itself: instructions per CPU time", "MIPS", (Bound(OURS, 250, more=True),)
    )
    guest = _in_qemu(kernel, work)
    for _ in range(rounds):
        used = ours.run("kexec", "--plain", "--json", "--kernel", kernel)
        speed.add(OURS, json.loads(used.out)["instructions"] / used.cpu / 1e6)
        theirs = until_line(guest, LAST)
        for row, one, other in ((cpu, used.cpu, theirs.cpu), (wall, used.wall, theirs.wall)):
            row.add(OURS, one)
            row.add(QEMU, other)
        progress(cpu.told())
    progress(speed.told())
    return [cpu, wall, speed]


def _in_qemu(kernel: Path, work: Path) -> list[str]:
    """The QEMU command that has ``kernel`` do the same. Its first kernel powers nothing off."""
    job = LiveJob(kernel=kernel)
    init, purgatory = programs()
    opened = open_kernel(kernel)
    layout = lay_out(job, LiveInputs(opened, opened, None, None, init, purgatory))
    [archive] = [one.data for one in layout.pieces if one.kind is PayloadKind.INITRD]
    initramfs = work / "kexec-initramfs"
    initramfs.write_bytes(archive)
    return [
        "qemu-system-aarch64", "-M", "virt,gic-version=3,virtualization=on,its=off",
        "-cpu", "cortex-a72", "-m", str(job.memory // MIB), "-nographic", "-kernel", str(kernel),
        "-initrd", str(initramfs), "-append", f"{DEFAULT_CMDLINE} nokaslr",
    ]  # fmt: skip
