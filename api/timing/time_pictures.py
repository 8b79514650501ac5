"""What there is to draw of times: by size, a reboot, counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from relokit.codegen.series import BEFORE, COMPLETE, Feature
from relokit.codegen.target import MIB, Target
from relokit.runtime.kexec.job import Job
from relokit.runtime.timing.model.beliefs import Beliefs
from relokit.runtime.timing.model.hardware_file import hardware
from relokit.runtime.timing.model.reported import reported_rows
from relokit.runtime.timing.model.time_table import reference_fit
from relokit.runtime.timing.model.time_terms import of_move, terms_of
from relokit.timing.time_plots import Curve, Pictures, RebootBar
from relokit.timing.timer import Timer, machine_times

PLOTTED = ("thunderx2", "stingray")
"""The machines that are drawn unless others are asked for: those with measurements."""
PLOTTED_SIZES = tuple(MIB << step for step in range(15))
"""1 MiB to 16 GiB."""
REBOOT = "stingray-reboot"
"""The reported row that has all parts of a reboot."""


def pictures(
    timer: Timer,
    target: Target,
    job: Job,
    *,
    machines: Sequence[str] = PLOTTED,
    by_pages: bool = False,
) -> Pictures:
    """What there is to draw of ``job``, before the series and after it, with other sizes."""
    beliefs = reference_fit(timer.count_reference).beliefs
    rows = [row for row in reported_rows() if row.machine and row.series is not None]
    curves, counts = [], []
    for state in (BEFORE, COMPLETE):
        now = replace(target, series=state)
        of_sizes = [(size, timer.count(now, replace(job, size=size))) for size in PLOTTED_SIZES]
        if by_pages:
            of_sizes = [(size, one.by_pages()) for size, one in of_sizes]
        mmu = now.has(Feature.MMU_ON)
        counts.append((f"MMU {'on' if mmu else 'off'}", of_sizes[-1][1]))
        for key in machines:
            machine = hardware(key)
            curves.append(
                Curve(
                    key,
                    mmu,
                    tuple(
                        (size, move)
                        for size, one in of_sizes
                        if (move := machine_times(one, machine, beliefs).move) is not None
                    ),
                    tuple(
                        (row.bytes, row.value)
                        for row in rows
                        if row.machine == key and row.series == state and not row.at_least
                    ),
                )
            )
    return Pictures(tuple(curves), _reboots(timer, beliefs), tuple(counts))


def _reboots(timer: Timer, beliefs: Beliefs) -> tuple[RebootBar, ...]:
    """The reboot whose parts are reported, with the move as reported and as the model has it."""
    rows = {row.id: row for row in reported_rows()}
    whole = rows[REBOOT]
    bars = []
    for name, move_id, beside in (
        ("before", whole.of[0], whole.beside),
        ("after", whole.of[1], whole.beside_after),
    ):
        row = rows[move_id]
        terms = terms_of(timer.count_reference(row.series or 0, row.bytes), hardware(row.machine))
        model = beliefs.time(of_move(terms))
        # The machine comes with relokit, and all of it is known.
        assert model is not None
        for how, move in (("reported", row.value), ("model", model.value)):
            parts = (("shutdown", beside[0]), ("relocation", move), ("startup", beside[1]))
            bars.append(RebootBar(f"{name}, {how}", parts))
    return tuple(bars)
