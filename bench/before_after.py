"""Before and after, side by side: each row is measured with both stages in turn, round by round."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from guest import bootable, seconds_to_greeting
from measurement import MIB, progress
from stages import Stage
from usage import BenchError, Usage

PAGE = 4096
VA_BITS = "36,39,42,47,48"
"""Those that both stages run: the first one refuses 52."""
JUDGED_RATE = 75.0
"""Cells a second of a matrix that is judged by every book, on two idle cores: no fewer."""


@dataclass
class Row:
    """One quantity in ``unit`` of both stages; ``others`` are what they are held against.

    ``target`` bounds after/before, at least or at most as ``more`` says; ``held`` bounds after
    against one of the others, as (name, least ratio or most ratio).
    """

    name: str
    unit: str
    target: float | None = None
    more: bool = False
    held: dict[str, float] = field(default_factory=dict)
    before: list[float] = field(default_factory=list)
    after: list[float] = field(default_factory=list)
    others: dict[str, list[float]] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        """After by before, at the medians."""
        return median(self.after) / median(self.before)

    def against(self, other: str) -> float:
        """After by another's, at the medians."""
        return median(self.after) / median(self.others[other])

    def verdicts(self) -> list[tuple[str, float, float, bool]]:
        """What is bounded: against what, the ratio, its bound, and whether it is kept."""
        found = []
        if self.target is not None:
            found.append(("before", self.ratio, self.target))
        found += [(name, self.against(name), bound) for name, bound in self.held.items()]
        return [
            (name, ratio, bound, ratio >= bound if self.more else ratio <= bound)
            for name, ratio, bound in found
        ]

    def to_json(self) -> dict[str, Any]:
        """The row with everything that was seen."""
        seen = {"before": self.before, "after": self.after, **self.others}
        return {
            "name": self.name,
            "unit": self.unit,
            "median": {name: median(values) for name, values in seen.items()},
            "values": seen,
            "ratio": self.ratio,
            "bounds": [
                {"against": name, "ratio": ratio, "bound": bound, "more": self.more, "kept": kept}
                for name, ratio, bound, kept in self.verdicts()
            ],
        }


@dataclass(frozen=True)
class Plan:
    """How much of everything: payloads in MiB, rounds, and what the matrix runs."""

    sizes: tuple[int, ...] = (84, 400)
    rounds: int = 5
    matrix: tuple[str, ...] = ("--series", "0,7,12,15", "--va-bits", VA_BITS)


def before_and_after(
    stages: tuple[Stage, Stage], plan: Plan, kernel: Path, initrd: Path, work: Path
) -> list[Row]:
    """All rows. ``kernel`` is a shipped 6.1, ``initrd`` one whose /init powers off."""
    rows = []
    for size in plan.sizes:
        for state in (0, 15):
            rows += _relocation(stages, plan, size, state, work)
    rows += _commands(stages, plan)
    rows += _matrix(stages, plan)
    rows += _boot(stages, plan, kernel, initrd)
    return rows


def _relocation(
    stages: tuple[Stage, Stage], plan: Plan, size: int, state: int, work: Path
) -> list[Row]:
    name = f"Relocation of {size} MiB at state {state}"
    # The MMU stays on at state 15: there the new walker may cost a tenth; without, it wins most.
    row = Row(name, "s", target=1.1 if state else 0.25)
    if state and size == plan.sizes[0]:
        row.held = {"QEMU": 1 / 0.8, "memcpy of shuffled pages": 4.5}
    # Unbounded: what is moved is in guest RAM twice, before and after.
    memory = Row(f"{name}: peak memory of all processes", "MiB")
    large, small = work / "large", work / "small"
    large.write_bytes(os.urandom(size * MIB))
    small.write_bytes(os.urandom(PAGE))
    options = ("--series", f"{state}", "--initrd")
    python = stages[1].python
    large_guest = bootable(work / "large.elf", *options, str(large), python=python)
    small_guest = bootable(work / "small.elf", *options, str(small), python=python)
    row.others = {"QEMU": [], "memcpy of shuffled pages": []}
    for number in range(plan.rounds):
        for stage, values in _both(stages, row):
            document = _passed(stage.run("run", "--json", *_like(stage, stages), *options, large))
            values.append(document["relocation"]["seconds"])
        qemu = seconds_to_greeting(large_guest) - seconds_to_greeting(small_guest)
        row.others["QEMU"].append(qemu)
        row.others["memcpy of shuffled pages"].append(_shuffled_copy(size * MIB))
        _told(row, number, plan)
    for stage, values in _both(stages, memory):
        peak = stage.peak("run", "--json", *_like(stage, stages), *options, large)
        values.append(peak.all / MIB)
    return [row, memory]


def _commands(stages: tuple[Stage, Stage], plan: Plan) -> list[Row]:
    rows = {
        "first": Row("relokit run, the first ever: CPU", "s"),
        "cpu": Row("relokit run, from cold to the verdict: CPU", "s", target=0.45),
        "wall": Row("relokit run, from cold to the verdict: wall clock", "s"),
        "help": Row("relokit --help: CPU", "s"),
        "help wall": Row("relokit --help: wall clock", "s"),
        "largest": Row("relokit run: peak memory of its largest process", "MiB", target=0.5),
        "all": Row("relokit run: peak memory of all processes", "MiB", target=0.5),
    }
    for number in range(plan.rounds):
        for at, stage in enumerate(stages):
            stage.forget()
            run = ("run", "--json", *_like(stage, stages))
            usages = {"first": stage.run(*run)}
            again = usages["cpu"] = stage.run(*run)
            _passed(again)
            asked = usages["help"] = stage.run("--help")
            peak = stage.peak(*run)
            seen = {name: usage.cpu for name, usage in usages.items()} | {
                "wall": again.wall,
                "help wall": asked.wall,
                "largest": peak.largest / MIB,
                "all": peak.all / MIB,
            }
            for name, value in seen.items():
                (rows[name].after if at else rows[name].before).append(value)
        _told(rows["cpu"], number, plan)
    return list(rows.values())


def _matrix(stages: tuple[Stage, Stage], plan: Plan) -> list[Row]:
    rate = Row("Matrix", "cells/s", target=2.0, more=True)
    cost = Row("Matrix: CPU of a cell", "ms")
    # By every book: the first stage has those that need no trace.
    judged = Row("Matrix, judged by every book", "cells/s", more=True)
    judged.others, judged.held = {"no fewer than": [JUDGED_RATE]}, {"no fewer than": 1.0}
    for number in range(plan.rounds):
        for at, stage in enumerate(stages):
            usage = stage.run("matrix", "--json", *_like(stage, stages), *plan.matrix)
            document = _passed(usage)
            ran = sum(document["counts"].values()) - document["counts"]["unsupported"]
            (rate.after if at else rate.before).append(document["cells_per_second"])
            (cost.after if at else cost.before).append(usage.cpu / ran * 1000)
        judged.before.append(rate.before[-1])
        judged.after.append(
            _passed(stages[1].run("matrix", "--json", *plan.matrix))["cells_per_second"]
        )
        _told(rate, number, plan)
        _told(judged, number, plan)
    return [rate, cost, judged]


def _boot(stages: tuple[Stage, Stage], plan: Plan, kernel: Path, initrd: Path) -> list[Row]:
    row = Row("Debian's 6.1 from relokit run to its power-off in user space: CPU", "s", target=1.0)
    arguments = ("--kernel", kernel, "--initrd", initrd, "--boot", "300")
    for number in range(plan.rounds):
        for stage, values in _both(stages, row):
            usage = stage.run("run", "--json", *arguments)
            if "userspace reached" not in _passed(usage)["console"]:
                raise BenchError(f"{stage.name}: the 6.1 kernel does not get to user space")
            values.append(usage.cpu)
        _told(row, number, plan)
    return [row]


def _like(stage: Stage, stages: tuple[Stage, Stage]) -> tuple[str, ...]:
    """The first stage records nothing: like is compared with like."""
    return () if stage is stages[0] else ("--plain",)


def _both(stages: tuple[Stage, Stage], row: Row) -> list[tuple[Stage, list[float]]]:
    return list(zip(stages, (row.before, row.after), strict=True))


def _passed(usage: Usage) -> dict[str, Any]:
    """The document a command printed; what did not pass is no measurement."""
    document: dict[str, Any] = json.loads(usage.out)
    if document["status"] != "pass":
        raise BenchError(f"a run of the benchmark did not pass: {document['status']}")
    return document


def _shuffled_copy(size: int) -> float:
    """Seconds to copy ``size`` warm bytes by 4 KiB pages in shuffled order."""
    order = np.random.default_rng(0).permutation(size // PAGE)
    source = np.ones((size // PAGE, PAGE), np.uint8)
    target = np.zeros_like(source)
    start = perf_counter()
    # With mode="raise" numpy copies twice.
    np.take(source, order, axis=0, out=target, mode="clip")
    return perf_counter() - start


def _told(row: Row, number: int, plan: Plan) -> None:
    progress(
        f"{row.name} {number + 1}/{plan.rounds}: before {row.before[-1]:.3f} {row.unit}, "
        f"after {row.after[-1]:.3f} {row.unit}"
    )
