"""Counts of shipped kernels' code: as the engine's own hooks count accesses and operations."""

from __future__ import annotations

from pathlib import Path

import pytest

from relokit.codegen.target import Target
from relokit.runtime.engine.observing.access_counter import AccessCounter
from relokit.runtime.kexec.job import Job
from relokit.runtime.run.execute import execute
from relokit.runtime.run.prepare import open_cpu
from relokit.runtime.timing.counted import counts_of
from relokit.runtime.timing.counts import OF_THE_MOVE, Phase, Quantity
from support.machines import prepared, quiet

pytestmark = pytest.mark.oracle

PAGES, PAGE, LINES = 17, 4096, 64


@pytest.mark.parametrize(
    ("kernel", "series"), [("kernel_5_10", 0), ("kernel_6_1", 15), ("kernel_6_12", 15)]
)
def test_shipped_code_is_counted_as_the_engine_does(
    kernel: str, series: int, request: pytest.FixtureRequest
) -> None:
    code_from: Path = request.getfixturevalue(kernel)
    job = Job(size=(PAGES - 1) * PAGE, code_from=code_from, observe=True)
    with prepared(Target(series=series), job) as machine:
        cpu = open_cpu(machine)
        accesses = AccessCounter(cpu)
        record = execute(machine, cpu, job, quiet, accesses)
    counts = counts_of(record, "", PAGE, PAGES)
    made = accesses.counts()
    for quantity, size in ((Quantity.LOADS, made.loaded), (Quantity.STORES, made.stored)):
        rows = [row for row in counts.rows if row.quantity is quantity]
        assert size == sum(row.number * row.size for row in rows if row.phase in OF_THE_MOVE)
    operations = {
        name: counts.total(Quantity.OPERATIONS, of=name)
        for name in sorted({row.of for row in counts.rows if row.quantity is Quantity.OPERATIONS})
        if counts.total(Quantity.OPERATIONS, of=name)
    }
    observed = record.operations
    assert observed is not None
    # Barriers outside of the control page are not observed: those of the stub, at EL2.
    assert {name: number for name, number in operations.items() if name != "isb"} == {
        name: number for name, number in observed.items() if name != "isb"
    }
    assert operations["isb"] >= observed["isb"]
    # And what a page takes, of which all code does as much.
    assert counts.total(Quantity.LINES_STORED, phases=[Phase.COPY]) == PAGES * LINES
    assert counts.total(Quantity.OPERATIONS, phases=[Phase.MAINTENANCE], of="dsb sy") == PAGES
    copied = counts.total(Quantity.STORES, phases=[Phase.COPY])
    assert copied == counts.total(Quantity.STORES) == PAGES * PAGE // 16
