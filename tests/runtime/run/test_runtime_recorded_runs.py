"""Relocations recorded: the same accesses as the engine's memory hooks tell, between any two
events; and what a recording costs.
"""

from __future__ import annotations

from time import process_time

import pytest

from relokit.codegen.target import Regime, Target
from relokit.runtime.engine.observing.recorder import Recorder
from relokit.runtime.kexec.job import Job
from relokit.runtime.record.trace import TraceKind
from relokit.runtime.run.execute import execute
from relokit.runtime.run.prepare import open_cpu
from support.accesses import recorded_between_events, seen_between_events, watched
from support.machines import prepared, quiet


@pytest.mark.parametrize("series", [0, 4, 9, 15])
@pytest.mark.parametrize("regime", [Regime.EL1, Regime.NVHE, Regime.VHE])
def test_a_relocation_accesses_what_the_engine_says(series: int, regime: Regime) -> None:
    target, job = Target(series=series, regime=regime), Job(size=128 << 10)
    with prepared(target, job) as machine:
        cpu = open_cpu(machine)
        with watched(cpu) as seen, Recorder(cpu) as recorder:
            record = execute(machine, cpu, job, quiet)
    assert record.complete
    trace = recorder.trace()
    assert trace.instructions == seen.instructions
    assert recorded_between_events(trace) == seen_between_events(trace, seen)
    # A page is a record, as it is loaded, stored and cleaned.
    pages = sum(trace.of(TraceKind.STORE)["length"] == target.page_size)
    assert pages >= (128 << 10) // target.page_size
    assert len(trace.records) < 40 * pages


def test_a_recording_takes_no_more_than_a_few_times_as_long() -> None:
    """Some 3.5 times, on a machine that does nothing else; what is not recorded pays nothing."""
    target, job = Target(), Job(size=24 << 20)
    seconds: dict[str, list[float]] = {"before": [], "recorded": [], "after": []}
    with prepared(target, job) as machine:
        for _ in range(3):
            for name in seconds:
                cpu = open_cpu(machine)
                if name == "after":
                    with Recorder(cpu, room=1):
                        pass
                begin = process_time()
                if name == "recorded":
                    with Recorder(cpu):
                        execute(machine, cpu, job, quiet)
                else:
                    execute(machine, cpu, job, quiet)
                seconds[name].append(process_time() - begin)
    plain, recorded, after = (min(times) for times in seconds.values())
    assert recorded < 6 * plain
    assert after < 1.5 * plain
