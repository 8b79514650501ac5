"""Relocation of random bytes: ours plain and judged, QEMU's of the same bootable ELF, a memcpy."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

import numpy as np
from guest import bootable, seconds_to_greeting
from measurement import MIB, PAGE, Bound, Row, Table, progress
from stages import Installation

PLAIN, RECORDED, JUDGED, QEMU, MEMCPY = "plain", "recorded", "judged", "QEMU", "memcpy"
TOUCHED, MOST = "guest memory touched", "most by least"
JUDGED_RATE = 150e6 / MIB
"""MiB a second: no fewer."""


def moving(ours: Installation, sizes: Sequence[int], rounds: int, work: Path) -> list[Table]:
    """Tables of rates, of what a MiB costs, of judging, and of memory; ``sizes`` are MiB."""
    rates, judging, memory = [], [], []
    small = work / "small"
    small.write_bytes(os.urandom(PAGE))
    without = bootable(work / "small.elf", "--initrd", str(small))
    for size in sizes:
        rate, verdict = _rows(size)
        initrd = work / "initrd"
        _write_random(initrd, size)
        guest = bootable(work / "large.elf", "--initrd", str(initrd))
        for _ in range(rounds):
            _one_round(ours, initrd, rate, verdict)
            seconds = seconds_to_greeting(guest) - seconds_to_greeting(without)
            # A difference of two times: with a small size it may come out as nothing.
            rate.add(QEMU, (size - PAGE / MIB) / max(seconds, 1e-4))
            rate.add(MEMCPY, size / _shuffled_copy(size * MIB))
            progress(rate.told())
            progress(verdict.told())
        rates.append(rate)
        judging.append(verdict)
        memory.append(_memory(ours, initrd, size))
        progress(memory[-1].told())
    memory += [_each_more(memory)] if len(memory) > 1 else []
    return [
        Table("Relocation", rates),
        Table("Cost a MiB", _costs(rates)),
        Table("Judging", judging),
        Table("Memory", memory),
    ]


def _rows(size: int) -> tuple[Row, Row]:
    near = (Bound(PLAIN, 0.9, QEMU, more=True),) if size in (84, 400) else ()
    rate = Row(f"{size} MiB", "MiB/s", (*near, Bound(PLAIN, 0.25, MEMCPY, more=True)))
    times = (Bound(JUDGED, 1 / 5, PLAIN, more=True),) if size == 84 else ()
    enough = Bound(JUDGED, JUDGED_RATE, more=True)
    return rate, Row(f"{size} MiB, from the jump to the verdict", "MiB/s", (*times, enough))


def _one_round(ours: Installation, initrd: Path, rate: Row, verdict: Row) -> None:
    for column, moved, options in ((PLAIN, PLAIN, ("--plain",)), (JUDGED, RECORDED, ())):
        document = ours.passed("run", "--json", *options, "--initrd", initrd)
        relocation = document["relocation"]
        size, seconds = relocation["bytes"] / MIB, relocation["seconds"]
        rate.add(moved, size / seconds)
        verdict.add(column, size / (seconds + document["timings"]["compare"]))


def _costs(rates: list[Row]) -> list[Row]:
    """Nanoseconds a byte by size: flat, if nothing but the size decides."""
    rows = []
    for column in (PLAIN, RECORDED, QEMU, MEMCPY):
        bounds = (Bound(MOST, 1.1),) if column == PLAIN and len(rates) > 1 else ()
        row = Row(column, "ns a byte", bounds)
        for rate in rates:
            row.values[rate.name] = [1e9 / MIB / one for one in rate.values[column]]
        medians = [row.median(name) for name in row.values]
        row.add(MOST, max(medians) / min(medians))
        rows.append(row)
    return rows


def _memory(ours: Installation, initrd: Path, size: int) -> Row:
    """Of all processes at the peak. What is moved is in guest memory twice."""
    row = Row(f"{size} MiB", "MiB", (Bound(PLAIN, 1.2, TOUCHED), Bound(JUDGED, 2.3, TOUCHED)))
    for column, options in ((PLAIN, ("--plain",)), (JUDGED, ())):
        peak = ours.peak("run", "--json", *options, "--initrd", initrd)
        row.add(column, peak.all / MIB)
        row.add(f"{column}: mapped files", peak.files / MIB)
    row.add(TOUCHED, 2 * size)
    return row


def _each_more(rows: list[Row]) -> Row:
    """What a MiB more takes: without what is there with nothing to move, too. Of mapped files a
    piece is held at a time, whatever the size.
    """
    first, last = rows[0], rows[-1]
    row = Row(f"each MiB more, from {first.name} to {last.name}", "MiB", first.bounds)
    more = (last.median(TOUCHED) - first.median(TOUCHED)) / 2
    for column in (PLAIN, JUDGED, TOUCHED):
        row.add(column, (last.median(column) - first.median(column)) / more)
    return row


def _write_random(path: Path, size: int) -> None:
    with path.open("wb") as out:
        for _ in range(size):
            out.write(os.urandom(MIB))


def _shuffled_copy(size: int) -> float:
    """Seconds to copy ``size`` warm bytes by pages in shuffled order."""
    order = np.random.default_rng(0).permutation(size // PAGE)
    source = np.ones((size // PAGE, PAGE), np.uint8)
    target = np.zeros_like(source)
    target.fill(2)
    start = perf_counter()
    # With mode="raise" numpy copies twice.
    np.take(source, order, axis=0, out=target, mode="clip")
    return perf_counter() - start
