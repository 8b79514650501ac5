"""``python -m support.hand_overs``: from one snapshot QEMU and our machine reach the next kernel.

Writes docs/handovers.json: for each shipped kernel and regime, by kexec, how many
registers and pages of RAM were compared there, and which of them differ. What is in RAM differs
from run to run, by QEMU's clock: what is committed is that both have the same.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
from oracles.kernels import kernel

from relokit.codegen.target import Regime
from relokit.linker.kernel.opened import Files
from relokit.machines.snapshots import Attached, record, started, take_up
from relokit.runtime.capture.capture import Capture
from relokit.runtime.kexec.job import RAM_BASE, Job
from relokit.runtime.live.taken_up import machine_of
from relokit.runtime.run.prepare import open_cpu
from relokit.runtime.snapshot.snapshot import CpuSnapshot
from relokit.runtime.snapshot.snapshot_reading import read_snapshot
from relokit.source_digest import source_digest

COMMITTED = Path(__file__).parents[2] / "docs" / "handovers.json"
COMPARED = (
    "SCTLR", "TCR", "TTBR0", "TTBR1", "MAIR", "VBAR", "ELR", "SPSR", "ESR", "FAR",
)  # fmt: skip
PAGE = 4096
BTYPE = 3 << 10
SECONDS = 300.0
MEMORY = 512
CASES = (
    *((version, regime, False) for version in ("5.10", "6.1", "6.12", "7") for regime in Regime),
    # No CPU of QEMU's has pages of 16 KiB and no VHE.
    ("6.12-16k", Regime.EL1, False),
    ("6.12-16k", Regime.VHE, False),
)
"""Kernel, regime, and whether by a crash."""


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


def machine(version: str, regime: Regime) -> tuple[str, ...]:
    """Arguments of QEMU for a kernel in ``regime``."""
    el2 = "" if regime is Regime.EL1 else ",virtualization=on"
    cpu = "cortex-a76" if regime is Regime.VHE or version.endswith("16k") else "cortex-a72"
    board = ("-M", f"virt,gic-version=3{el2}", "-cpu", cpu)
    return (*board, "-smp", "2", "-m", f"{MEMORY}M")


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


def row(version: str, regime: Regime, *, crash: bool, folder: Path) -> dict[str, Any]:
    """A hand-over, as it is committed."""
    path = kernel(version)
    seen = see(path, machine(version, regime), folder, crash=crash)
    both, outcome = compare(seen), take_up(seen.directory)
    return {
        "kernel": path.name.removeprefix("vmlinuz-"),
        "el": str(regime),
        "crash": crash,
        "registers": len(both.registers),
        "other_registers": both.other_registers,
        "pages": both.pages,
        "other_pages": len(both.other_pages),
        "errors": sorted({one.rule for one in outcome.findings if one.is_error}),
        "judged": len(outcome.rules.applied),
        "not_judged": list(outcome.rules.not_judged),
    }


def main() -> int:
    """Make the committed document; 1 if a hand-over differs."""
    code, rows = source_digest().hex(), []
    for version, regime, crash in CASES:
        with tempfile.TemporaryDirectory() as name:
            rows.append(row(version, regime, crash=crash, folder=Path(name)))
        print(json.dumps(rows[-1]), flush=True)
    found = {
        "command": "make docs/handovers.json",
        "code": code,
        "handovers": rows,
    }
    COMMITTED.write_text(json.dumps(found, indent=1) + "\n")
    return int(any(one["other_registers"] or one["other_pages"] for one in rows))


if __name__ == "__main__":
    sys.exit(main())
