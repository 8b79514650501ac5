"""Shipped kernels' relocation code, recorded: as the engine's own memory hooks see it."""

from __future__ import annotations

from pathlib import Path

import pytest

from relokit.codegen.target import Target
from relokit.runtime.engine.observing.recorder import Recorder
from relokit.runtime.kexec.job import Job
from relokit.runtime.record.trace import TraceKind
from relokit.runtime.run.execute import execute
from relokit.runtime.run.prepare import open_cpu
from support.accesses import recorded_between_events, seen_between_events, watched
from support.machines import prepared, quiet

pytestmark = pytest.mark.oracle

SIZE = 128 << 10


@pytest.mark.parametrize(
    ("kernel", "series"), [("kernel_5_10", 0), ("kernel_6_1", 15), ("kernel_6_12", 15)]
)
def test_shipped_code_accesses_what_the_engine_says(
    kernel: str, series: int, request: pytest.FixtureRequest
) -> None:
    code_from: Path = request.getfixturevalue(kernel)
    job = Job(size=SIZE, code_from=code_from)
    with prepared(Target(series=series), job) as machine:
        cpu = open_cpu(machine)
        with watched(cpu) as seen, Recorder(cpu) as recorder:
            record = execute(machine, cpu, job, quiet)
    assert record.complete
    trace = recorder.trace()
    assert not len(trace.of(TraceKind.UNKNOWN))
    assert trace.instructions == seen.instructions
    assert recorded_between_events(trace) == seen_between_events(trace, seen)
    assert int(trace.of(TraceKind.STORE)["length"].sum()) >= SIZE
