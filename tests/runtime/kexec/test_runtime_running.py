"""Which routines run where: the table against what our own code executes."""

from __future__ import annotations

from contextlib import closing

import pytest

from relokit.building import build_programs
from relokit.codegen.kexec_routines import KexecRoutine, symbol_of
from relokit.codegen.target import Regime, Target
from relokit.linker.foreign.cut import cut
from relokit.runtime.kexec.job import Job, KexecPath
from relokit.runtime.kexec.opened_inputs import OpenedInputs
from relokit.runtime.kexec.running import routines_run
from relokit.runtime.record.known import known
from relokit.runtime.record.record import Record
from relokit.runtime.run.execute import execute, execute_resume
from relokit.runtime.run.prepare import open_cpu, prepare_machine, prepare_resume
from support.machines import quiet


def executed(target: Target, path: KexecPath) -> frozenset[KexecRoutine]:
    """The routines of which an instruction runs."""
    programs, job, opened = build_programs(target), Job(size=8192, path=path), OpenedInputs()
    image = programs.kernel
    sizes = {one.name: one.size for one in cut(image, "ours").symbols}
    names = {symbol_of(routine, target): routine for routine in KexecRoutine}
    record: Record
    if path is KexecPath.HIBERNATE:
        resume, cpu = prepare_resume(target, programs, job, opened)
        with closing(resume):
            record = execute_resume(resume, cpu, job, quiet)
            places = [resume.locate(at) for at in known(record.code).words]
    else:
        with closing(prepare_machine(target, programs, job, quiet, opened)) as machine:
            record = execute(machine, open_cpu(machine), job, quiet)
            places = [machine.locate(at) for at in known(record.code).words]
    assert record.complete
    return frozenset(
        names[symbol.name]
        for place in places
        if place and place[0] is image
        for symbol in image.symbols
        if symbol.name in names and 0 <= place[1] - symbol.value < sizes[symbol.name]
    )


# What runs changes with patches 5, 8 and 12 alone, and most of it where something waits at EL2.
@pytest.mark.parametrize(
    ("state", "regime"),
    [
        *((state, Regime.NVHE) for state in (4, 5, 7, 8, 11, 12)),
        (11, Regime.EL1), (15, Regime.EL1), (15, Regime.VHE),
    ],
)  # fmt: skip
def test_the_table_is_what_runs(state: int, regime: Regime) -> None:
    target = Target(series=state, regime=regime)
    for path in KexecPath:
        assert executed(target, path) == routines_run(target, path), path
