"""What is measured of two installations in turn, round by round: all in one run."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from comparing import kernels
from many import CELLS, NARROW
from measurement import MIB, Bound, Row, progress
from stages import Installation
from usage import BenchError

ROUTINE = "arm64_relocate_new_kernel"
SPREAD = 0.05
"""Of a ratio: what is within is no change."""


class LackingError(Exception):
    """The other installation cannot do what is to be measured."""


@dataclass(frozen=True)
class Quantity:
    """``value`` is what one installation takes, in ``unit``; where ``more`` is better, it says so.

    ``limit`` bounds this tree by the first stage.
    """

    name: str
    unit: str
    value: Callable[[Installation], float]
    limit: float | None = None
    more: bool = False


def cases(work: Path, sizes: Sequence[int], kernel: Path, initrd: Path) -> list[Quantity]:
    """All that the first stage has, too; it records nothing, so all of it is plain."""
    found = []
    for size in sizes:
        payload = work / f"payload-{size}"
        if not payload.exists():
            payload.write_bytes(os.urandom(size * MIB))
        # The MMU stays on at state 15: there the walker may cost a tenth; without, it wins most.
        for state, limit in (("0", 0.25), ("15", 1.1)):
            options = ("--series", state, "--initrd", payload)
            name = f"Relocation of {size} MiB at state {state}"
            found += [
                Quantity(name, "s", _relocation(*options), limit),
                Quantity(f"{name}: peak memory of all processes", "MiB", _peak(*options)),
            ]
    boot = ("--kernel", kernel, "--initrd", initrd, "--boot", "300")
    return [
        *found,
        Quantity("relokit run, the first ever: CPU", "s", _first_ever),
        Quantity("relokit run, from cold to the verdict: CPU", "s", _cpu("run"), 0.45),
        Quantity("relokit run, from cold to the verdict: wall clock", "s", _wall("run")),
        Quantity("relokit --help: CPU", "s", lambda stage: stage.run("--help").cpu),
        Quantity("relokit run: peak memory of its largest process", "MiB", _largest, 0.5),
        Quantity("relokit run: peak memory of all processes", "MiB", _peak(), 0.5),
        Quantity("Matrix, plain", "cells/s", _cells, 2.0, more=True),
        Quantity("6.1 from relokit run to user space: CPU", "s", _to_user_space(*boot), 1.0),
    ]


def later_cases(work: Path, size: int) -> list[Quantity]:
    """What the first stage has not, or not in that way."""
    payload = work / f"payload-{size}"
    paths = kernels("6.1", "6.12")
    judged = "run", "--json", "--initrd", payload
    mutate = "mutate", "--json", "--series", "15", "--routine", "relocation", "--operator", "drop"
    return [
        Quantity(f"Judged run of {size} MiB: CPU", "s", lambda stage: stage.run(*judged).cpu),
        Quantity(
            f"Judged run of {size} MiB: peak memory",
            "MiB",
            lambda stage: stage.peak(*judged).all / MIB,
        ),
        Quantity(
            "Matrix of state 15, judged: CPU",
            "s",
            lambda stage: stage.run("matrix", "--json", "--series", "15", *NARROW).cpu,
        ),
        Quantity(
            "Mutants dropped out of relocation: CPU", "s", lambda stage: stage.run(*mutate).cpu
        ),
        Quantity(
            "Two whole kernels compared: CPU",
            "s",
            lambda stage: stage.run("diff", "--all", *paths).cpu,
        ),
        Quantity(
            "The relocation code of two kernels compared: CPU",
            "s",
            lambda stage: stage.run("diff", *(f"{one}:{ROUTINE}" for one in paths)).cpu,
        ),
    ]


def side_by_side(
    pair: tuple[Installation, Installation], chosen: Sequence[Quantity], rounds: int
) -> list[Row]:
    """A row for each case; ``pair`` is this tree and another, whose names are the columns.

    What the other does not have is told and left out.
    """
    ours, other = pair
    rows = []
    for case in chosen:
        bounds = () if case.limit is None else (_bound(case, pair),)
        row = Row(case.name, case.unit, bounds)
        try:
            for _ in range(rounds):
                row.add(ours.name, case.value(ours))
                try:
                    row.add(other.name, case.value(other))
                except BenchError as error:
                    raise LackingError(str(error)) from None
                progress(row.told())
        except LackingError as error:
            progress(f"{case.name}: {other.name} does not have that: {error}")
        else:
            rows.append(row)
    return rows


def change(row: Row, *, more: bool) -> float:
    """How many times what the other takes this tree takes, round by round: the median.

    It is 1 where that is noise: within SPREAD, or where rounds contradict it (one in five may).
    """
    ours, other = row.values.values()
    ratios = [a / b if more else b / a for a, b in zip(other, ours, strict=True)]
    middle = median(ratios)
    agree = sum((one > 1) == (middle > 1) for one in ratios)
    if abs(middle - 1) <= SPREAD or agree < len(ratios) - len(ratios) // 5:
        return 1.0
    return middle


def _bound(case: Quantity, pair: tuple[Installation, Installation]) -> Bound:
    assert case.limit is not None
    return Bound(pair[0].name, case.limit, pair[1].name, more=case.more)


def _relocation(*options: str | Path) -> Callable[[Installation], float]:
    def value(stage: Installation) -> float:
        document = stage.passed("run", "--json", *stage.plain, *options)
        return float(document["relocation"]["seconds"])

    return value


def _peak(*options: str | Path) -> Callable[[Installation], float]:
    return lambda stage: stage.peak("run", "--json", *stage.plain, *options).all / MIB


def _largest(stage: Installation) -> float:
    return stage.peak("run", "--json", *stage.plain).largest / MIB


def _cpu(command: str, *options: str | Path) -> Callable[[Installation], float]:
    return lambda stage: stage.run(command, "--json", *stage.plain, *options).cpu


def _wall(command: str, *options: str | Path) -> Callable[[Installation], float]:
    return lambda stage: stage.run(command, "--json", *stage.plain, *options).wall


def _to_user_space(*options: str | Path) -> Callable[[Installation], float]:
    def value(stage: Installation) -> float:
        used = stage.run("run", "--json", *stage.plain, *options)
        if "userspace reached" not in json.loads(used.out)["console"]:
            raise BenchError(f"{stage.name}: the kernel does not get to user space")
        return used.cpu

    return value


def _first_ever(stage: Installation) -> float:
    stage.forget()
    return stage.run("run", "--json", *stage.plain).cpu


def _cells(stage: Installation) -> float:
    return float(stage.passed("matrix", "--json", *stage.plain, *CELLS)["cells_per_second"])
