"""``python -m support.hand_overs``: from one snapshot QEMU and our machine reach the next kernel.

Writes docs/handovers.json, and its table in docs/snapshot.md: for each shipped kernel and regime,
by kexec and by a crash, how many registers and pages of RAM were compared there, which of them
differ, and what is judged. What is in RAM differs from run to run, by QEMU's clock and KASLR: what
is committed is that both have the same. Arguments choose rows, which are printed and not written:
``python -m support.hand_overs 6.12``.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from multiprocessing import get_context
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
from oracles.debian_tools import kexec_tools
from oracles.kernels import kernel

from relokit.codegen.target import Regime
from relokit.linker.kernel.opened import Files
from relokit.machines.snapshots import Attached, record, started, take_up
from relokit.runtime.capture.capture import Capture
from relokit.runtime.kexec.job import DEFAULT_CMDLINE, RAM_BASE, Job
from relokit.runtime.live.live_layout import NO_VHE
from relokit.runtime.live.taken_up import machine_of
from relokit.runtime.run.prepare import open_cpu
from relokit.runtime.snapshot.snapshot import CpuSnapshot
from relokit.runtime.snapshot.snapshot_reading import read_snapshot
from support.committed import Committed

COMMITTED = Committed("handovers", "handovers", "snapshot.md")
COMPARED = (
    "SCTLR", "TCR", "TTBR0", "TTBR1", "MAIR", "VBAR", "ELR", "SPSR", "ESR", "FAR",
)  # fmt: skip
PAGE = 4096
BTYPE = 3 << 10
SECONDS = 300.0
MEMORY = 512
REGIMES = tuple(Regime)
LIVE_TABLES = ["around.tables"]
"""What kexec-tools do on a board with an ITS: they put the next kernel over its tables."""


@dataclass(frozen=True)
class Case:
    """One row: which kernel enters itself, where, how, and with how many CPUs.

    ``tools``: by Debian's own kexec-tools; ``its`` is whether the board has one, which Linux has
    send LPIs.
    """

    kernel: str
    regime: Regime
    crash: bool = False
    cpus: int = 2
    tools: bool = False
    its: bool = True

    @property
    def way(self) -> str:
        """How it leaves, in words."""
        if not self.tools:
            return "a crash" if self.crash else "kexec"
        return f"kexec-tools, its={'on' if self.its else 'off'}"


KERNELS = ("5.10", "6.1", "6.12", "6.12-16k", "7")
CASES = (
    # KASLR is everybody's; four CPUs where the regime is VHE's.
    *(Case(one, el, cpus=4 if el is Regime.VHE else 2) for one in KERNELS for el in REGIMES),
    *(Case(one, el, crash=True) for one in KERNELS for el in REGIMES),
    *(Case("6.1", el, tools=True, its=its) for its in (True, False) for el in REGIMES),
)


@dataclass(frozen=True)
class Seen:
    """A snapshot, QEMU's own dump of the same stop, and QEMU where the next kernel's first segment
    is entered: the CPU, and its RAM.
    """

    directory: Path
    vmcore: Path | None
    cpu: CpuSnapshot
    ram: bytes


@dataclass(frozen=True)
class Compared:
    """Names of the registers that were compared, and of those that differ; pages likewise."""

    registers: tuple[str, ...]
    other_registers: tuple[str, ...]
    pages: int
    other_pages: tuple[int, ...]


def machine(version: str, regime: Regime, cpus: int = 2) -> tuple[str, ...]:
    """Arguments of QEMU for a kernel in ``regime``.

    QEMU has no CPU with pages of 16 KiB and without VHE: the kernel is told not to use it.
    """
    el2 = "" if regime is Regime.EL1 else ",virtualization=on"
    large = version.endswith("16k")
    cpu = "cortex-a76" if regime is Regime.VHE or large else "cortex-a72"
    board = ("-M", f"virt,gic-version=3{el2}", "-cpu", cpu)
    told = ("-append", f"{DEFAULT_CMDLINE} {NO_VHE}") if large and regime is Regime.NVHE else ()
    return (*board, "-smp", str(cpus), "-m", f"{MEMORY}M", *told)


@contextmanager
def relayed(stub: socket.socket) -> Iterator[str]:
    """HOST:PORT at which ``stub`` is spoken to by one who attaches, and leaves again."""

    def relay() -> None:
        caller, _ = server.accept()
        other = {caller: stub, stub: caller}
        with caller:
            while True:
                for one in select.select(list(other), [], [])[0]:
                    data = one.recv(1 << 16)
                    if not data:
                        return
                    other[one].sendall(data)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = Thread(target=relay, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        thread.join()


def see(
    path: Path, arguments: tuple[str, ...], folder: Path, *, crash: bool = False, dump: bool = False
) -> Seen:
    """Boot the kernel at ``path``, attach and record it at its last branch, and see what QEMU does
    then.
    """
    opened, directory = Files().kernel(path), folder / "snapshot"
    with started(opened, arguments, crash=crash) as qemu:
        with relayed(qemu.client.connection) as address:
            ram = Path(f"/proc/self/fd/{qemu.ram.descriptor}")
            record(path, directory, attach=Attached(address, ram), seconds=SECONDS)
        # It is stopped, as it was left.
        vmcore = folder / "vmcore" if dump else None
        if vmcore is not None:
            command = f"dump-guest-memory {vmcore}"
            qemu.client.expect_ok(f"qRcmd,{command.encode().hex()}", "QEMU makes no dump")
        found, _ = machine_of(read_snapshot(directory), opened)
        start = found.stages[0].pc
        found.close()
        capture = Capture(qemu.client, opened, SECONDS, lambda *_: None)
        capture.run_to_physical(start)
        after = capture.stopped(RAM_BASE, qemu.ram, None)
        return Seen(directory, vmcore, after.cpus[after.cpu], bytes(qemu.ram.content))


def compare(seen: Seen) -> Compared:
    """The same on our machine, up to what is entered first: before that does anything."""
    snapshot = read_snapshot(seen.directory)
    found, _ = machine_of(snapshot, Files().kernel(seen.directory / "kernel"))
    try:
        cpu = open_cpu(found)
        first = found.stages[0]
        stop = cpu.run(
            found.state.pc, until=first.pc, max_instructions=1 << 28, timeout_s=Job().timeout
        )
        assert stop.reason.name == "REACHED", stop
        theirs = seen.cpu.registers
        ours = {f"X{number}": value for number, value in enumerate(cpu.registers)}
        # The engine's CPU has FEAT_BTI: what a branch leaves in PSTATE.BTYPE others have not.
        has_bti = snapshot.left_by.registers.get("ID_AA64PFR1_EL1", 0) & 0xF
        pstate = cpu.pstate if has_bti else cpu.pstate & ~BTYPE
        ours |= {"PC": cpu.pc, "CPSR": pstate, "SP": cpu.sp}
        names = [f"{name}_EL{el}" for el in (1, 2) for name in COMPARED]
        ours |= {name: cpu.read(name) for name in (*names, "HCR_EL2") if name in theirs}
        pages = found.memory.pages(PAGE)
        other = np.frombuffer(seen.ram, np.uint8).reshape(-1, PAGE)
        assert pages.shape == other.shape
        return Compared(
            tuple(ours),
            tuple(name for name, value in ours.items() if theirs[name] != value),
            len(pages),
            tuple(np.flatnonzero((pages != other).any(axis=1)).tolist()),
        )
    finally:
        found.close()


def row(case: Case, folder: Path) -> dict[str, Any]:
    """A hand-over, as it is committed."""
    path = kernel(case.kernel)
    arguments = machine(case.kernel, case.regime, case.cpus)
    if case.tools:
        initrd = folder / "initrd"
        initrd.write_bytes(kexec_tools(path))
        arguments += ("-initrd", str(initrd), "-append", DEFAULT_CMDLINE)
        if not case.its:
            arguments += ("-machine", "its=off")
    seen = see(path, arguments, folder, crash=case.crash)
    both, outcome = compare(seen), take_up(seen.directory)
    return {
        "kernel": path.name.removeprefix("vmlinuz-"),
        "el": str(outcome.target.regime),
        "by": case.way,
        "cpus": len(read_snapshot(seen.directory).cpus),
        "registers": len(both.registers),
        "other_registers": both.other_registers,
        "pages": both.pages,
        "other_pages": len(both.other_pages),
        "errors": sorted({one.rule for one in outcome.findings if one.is_error}),
        "findings": sorted({one.rule for one in outcome.findings if not one.is_error}),
        "judged": len(outcome.rules.applied),
        "not_judged": sorted(outcome.rules.not_judged),
    }


def seen_row(case: Case) -> dict[str, Any]:
    """The same, in a folder of its own, and printed."""
    with tempfile.TemporaryDirectory() as name:
        found = row(case, Path(name))
    wrong = trouble(found)
    print(json.dumps(found) + (f"\n{case} {wrong}" if wrong else ""), flush=True)
    return found


def trouble(each: Mapping[str, Any]) -> str | None:
    """What of a row is not as it has to be."""
    if each["other_registers"] or each["other_pages"]:
        return "QEMU and the emulator differ"
    if not each["registers"] or each["pages"] != MEMORY << 20 >> 12:
        return "is not compared whole"
    if each["errors"] != (LIVE_TABLES if each["by"] == "kexec-tools, its=on" else []):
        return "is not judged as it has to be"
    return None


def table(rows: list[dict[str, Any]]) -> str:
    """Those of docs/snapshot.md."""
    lines = ["| | " + " | ".join(REGIMES) + " |", "|---" * (1 + len(REGIMES)) + "|"]
    for (name, way), some in groupby(rows, lambda one: (one["kernel"], one["by"])):
        lines.append(f"| {name}, by {way} | {' | '.join(_cell(one) for one in some)} |")
    return "\n".join(lines) + "\n"


def _cell(each: Mapping[str, Any]) -> str:
    other = len(each["other_registers"]) + each["other_pages"]
    words = [
        f"{each['cpus']} CPUs",
        f"{each['registers']} registers and {each['pages']:,} pages"
        + (f": {other} differ" if other else " are the same"),
        f"{each['judged']} rules judged, {len(each['not_judged'])} not",
        *(f"`{one}`" for one in (*each["errors"], *each["findings"])),
    ]
    return "; ".join(words)


def main() -> int:
    """Make the committed document; 1 if a hand-over is not as it has to be."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kernels", nargs="*", choices=[[], *KERNELS], metavar="kernel")
    parser.add_argument("--el", choices=REGIMES)
    parser.add_argument("--by", choices={one.way: None for one in CASES})
    chosen = parser.parse_args()
    some = [
        one
        for one in CASES
        if one.kernel in (chosen.kernels or KERNELS)
        and chosen.el in (None, one.regime)
        and chosen.by in (None, one.way)
    ]
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:

        def rows() -> list[dict[str, Any]]:
            return list(pool.map(seen_row, some))

        made = COMMITTED.make(rows, table) if len(some) == len(CASES) else rows()
    return int(any(trouble(one) for one in made))


if __name__ == "__main__":
    sys.exit(main())
