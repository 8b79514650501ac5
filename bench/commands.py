"""Whole commands: a cold run against as, ld and qemu, boots against QEMU's, and starting up."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from building import gnu_commands
from guest import until_line
from kexecs import kexecing
from measurement import Bound, Row, Table, progress
from stages import Installation
from usage import measure

OURS, PIPELINE, QEMU = "relokit run", "as, ld and qemu", "QEMU"
PYTHON = "python -c pass"
PASSED = "relokit demo kernel: PASS"
BANNER, REACHED = "Linux version", "relokit initrd: userspace reached"


def cold(ours: Installation, rounds: int, work: Path) -> list[Table]:
    """`relokit run` to its verdict, and what a shell would do instead."""
    bounds = Bound(OURS, 1.0, PIPELINE)
    rows = {
        "cpu": Row("Found in the cache: CPU", "s", (Bound(OURS, 0.35), bounds)),
        "wall": Row("Found in the cache: wall clock", "s", (bounds,)),
        "first cpu": Row("The first ever: CPU", "s"),
        "first wall": Row("The first ever: wall clock", "s"),
    }
    script = _pipeline(ours, work)
    for _ in range(rounds):
        ours.forget()
        for prefix in ("first ", ""):
            used = ours.run("run", "--json")
            rows[f"{prefix}cpu"].add(OURS, used.cpu)
            rows[f"{prefix}wall"].add(OURS, used.wall)
            theirs = measure(["sh", script], ours.environment(), work)
            rows[f"{prefix}cpu"].add(PIPELINE, theirs.cpu)
            rows[f"{prefix}wall"].add(PIPELINE, theirs.wall)
        progress(rows["cpu"].told())
    return [Table("From cold to the verdict", list(rows.values()))]


def _pipeline(ours: Installation, work: Path) -> Path:
    """A shell script: what is rendered is assembled and linked, and the machine boots in QEMU.

    What QEMU boots is written here already: nothing of relokit is in the pipeline's time.
    """
    guest = ours.bootable(work / "demo.elf")
    command = [*guest, "-no-reboot", "-nic", "none"]
    script = work / "pipeline.sh"
    lines = [shlex.join(map(str, one)) for one in gnu_commands(work)]
    lines.append(f"{shlex.join(command)} < /dev/null | grep -q '{PASSED}' || exit 2")
    script.write_text("set -e\n" + "\n".join(lines) + "\n")
    return script


def starting(ours: Installation, rounds: int) -> list[Table]:
    """Bare starts, in CPU time and by the wall clock."""
    bounds = (Bound("--help", 2.0, PYTHON), Bound("--version", 2.0, PYTHON))
    cpu, wall = Row("CPU", "ms", bounds), Row("Wall clock", "ms", bounds)
    commands: dict[str, Sequence[str | Path]] = {
        "--help": ours.command("--help"),
        "--version": ours.command("--version"),
        PYTHON: [sys.executable, "-c", "pass"],
    }
    for _ in range(rounds * 3):
        for column, command in commands.items():
            used = measure(command, ours.environment(), ours.cache.parent)
            cpu.add(column, used.cpu * 1000)
            wall.add(column, used.wall * 1000)
    progress(cpu.told())
    return [Table("Start-up", [cpu, wall])]


def booting(ours: Installation, rounds: int, kernel: Path, initrd: Path, work: Path) -> list[Table]:
    """A shipped kernel, moved and booted: to its banner, and to user space; and one that kexecs."""
    files = ("--kernel", kernel, "--initrd", initrd)
    guest = ours.bootable(work / "kernel.elf", *files)
    rows = []
    for name, text in (("banner", BANNER), ("user space", REACHED)):
        bounds = (Bound(OURS, 2.5, QEMU),)
        cpu, wall = Row(f"To its {name}: CPU", "s", bounds), Row(f"To its {name}: wall clock", "s")
        for _ in range(rounds):
            options = ("--plain", "--boot", "300", "--expect", text)
            used = ours.run("run", *files, *options)
            theirs = until_line(guest, text)
            for row, one, other in ((cpu, used.cpu, theirs.cpu), (wall, used.wall, theirs.wall)):
                row.add(OURS, one)
                row.add(QEMU, other)
            progress(cpu.told())
        rows += [cpu, wall]
    rows += kexecing(ours, rounds, kernel, work)
    return [Table("Boot", rows, kernel.name.removeprefix("vmlinuz-"))]
