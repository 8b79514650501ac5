"""Scenarios: files of one-place edits, and what becomes of each."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

from relokit.codegen.target import Target
from relokit.runtime.board import chosen
from relokit.runtime.judge.outcome import Outcome
from relokit.runtime.kexec.job import Job, KexecPath
from relokit.runtime.kexec.maintenance import What, maintenance_of
from relokit.runtime.kexec.programs import Programs
from relokit.runtime.record.known import Unknown
from relokit.runtime.record.record import Record
from relokit.runtime.run import verdict
from relokit.runtime.run.prepare import prepare_machine
from relokit.runtime.run.verdict import run, run_machine
from support.device_trees import Board
from support.edits import edited
from support.kernels import kernel_file
from support.machines import programs, quiet
from support.spoiling import spoiled

HERE = Path(__file__).parents[1] / "scenarios"
SMALL = Job(size=64 << 10, max_instructions=200_000)
BOOT = 0.02
"""Seconds of the board: some millions of instructions."""
RELOCATION = "arm64_relocate_new_kernel"
KEYS = frozenset(
    [
        "name",
        "series",
        "target",
        "job",
        "kernel",
        "routine",
        "edit",
        "damage",
        "forgets",
        "chosen",
        "initrd",
        "loader",
        "under",
        "rule",
        "severity",
        "at",
        "says",
        "also",
        "warns",
        "fails",
        "shows",
        "times",
    ]
)


@dataclass(frozen=True)
class Scenario:
    """``fields`` of an entry, for one state of the series; ``file`` is the name it is in."""

    file: str
    series: int
    fields: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.fields["name"])

    @property
    def id(self) -> str:
        return f"{self.file}, {self.series}: {self.name}"

    @property
    def target(self) -> Target:
        return Target(series=self.series, **self.fields.get("target", {}))

    @property
    def job(self) -> Job:
        asked = dict(self.fields.get("job", {}))
        if "kernel" in self.fields:
            asked |= {"size": None, "kernel": kernel_file(self.fields["kernel"]), "boot": BOOT}
        if "chosen" in self.fields:
            properties = self.fields["chosen"]
            board = Board(chosen={name: bytes.fromhex(text) for name, text in properties.items()})
            asked["dtb"] = _file(board.blob())
        if "initrd" in self.fields:
            asked["initrd"] = _file(bytes(self.fields["initrd"]))
        if asked.get("shape") == "one-page":
            asked["size"] = None
        return replace(SMALL, **asked)

    def programs(self) -> Programs:
        """Those of the target, edited."""
        built = programs(self.target)
        edits = self.fields.get("edit")
        if not edits:
            return built
        routine = self.fields.get("routine", RELOCATION)
        return replace(built, kernel=edited(built.kernel, routine, edits))


@cache
def _file(content: bytes) -> Path:
    """A file with that in it."""
    file = os.memfd_create("scenario")
    os.write(file, content)
    return Path(f"/proc/{os.getpid()}/fd/{file}")


def scenarios(pattern: str) -> list[Scenario]:
    """Those of all files that match, by state of the series."""
    found = []
    for path in sorted(HERE.glob(pattern)):
        with path.open("rb") as file:
            entries = tomllib.load(file)["scenario"]
        for entry in entries:
            assert not set(entry) - KEYS, entry
            found += [Scenario(path.stem, series, entry) for series in entry["series"]]
    assert found
    return found


def under(registers: Mapping[str, int], record: Record) -> Record:
    """``record``, as if its trace had begun with ``registers``."""
    if isinstance(record.trace, Unknown):
        return record
    start = {**record.trace.start, **registers}
    return replace(record, trace=replace(record.trace, start=start))


def _executing(registers: Mapping[str, int]) -> Callable[..., Record]:
    execute = verdict.execute
    return lambda *args: under(registers, execute(*args))


def judged(scenario: Scenario, *, plain: bool = False, trace: Path | None = None) -> Outcome:
    """What becomes of it, recorded to the file ``trace``, if there is one to be."""
    target, job = scenario.target, replace(scenario.job, plain=plain)
    forgotten = [What(name) for name in scenario.fields.get("forgets", ())]
    with ExitStack() as stack:
        for step in scenario.fields.get("loader", ()):
            stack.enter_context(patch.object(chosen, step, lambda dtb, **_: dtb))
        maintenance = stack.enter_context(patch("relokit.runtime.run.prehistories.maintenance_of"))
        executing = _executing(scenario.fields.get("under", {}))
        stack.enter_context(patch.object(verdict, "execute", executing))
        maintenance.side_effect = lambda *args, **options: tuple(
            row for row in maintenance_of(*args, **options) if row.what not in forgotten
        )
        if job.path is KexecPath.HIBERNATE:
            return run(target, scenario.programs(), job, quiet, trace=trace)
        machine = prepare_machine(target, scenario.programs(), job, quiet)
        try:
            for what in scenario.fields.get("damage", ()):
                machine = spoiled(machine, what)
            return run_machine(machine, job, quiet, trace)
        finally:
            machine.close()
