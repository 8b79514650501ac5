"""``relokit run``."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from relokit.cli.exit_codes import EXIT_OF
from relokit.cli.idle import fields_given, refuse_idle
from relokit.cli.once import Command
from relokit.cli.options import (
    INPUT_FILE,
    cache_option,
    job_options,
    json_option,
    make_job,
    make_target,
    plain_option,
    profile_option,
    strict_option,
    target_options,
    timeout_option,
    trace_options,
    verbose_option,
)
from relokit.cli.parameters import CountParam, Seconds
from relokit.cli.result_options import (
    baseline_options,
    judging_given,
    report_option,
    results_options,
    sources_given,
    wanted_results,
)
from relokit.cli.terminal.output import emit_json
from relokit.runtime.kexec.job import (
    BOARD_SPEED,
    MAX_BOOT,
    MAX_INSTRUCTIONS,
    Job,
    TraceFormat,
)

if TYPE_CHECKING:
    from relokit.runtime.judge.outcome import Outcome

DEMO_BOOT = 5.0
"""Seconds the demo kernel gets; it needs milliseconds and powers off."""


EPILOG = """Exit codes: 0 the checks hold, 1 they do not, 2 bad usage or input, 3 no answer.

\b
relokit run                                          our own demo kernel, a second
relokit run --kernel vmlinuz --page-size 64k --el vhe --boot 5
relokit run --code-from relocate_kernel.o            your routine instead of ours
relokit run --series 0 --path crash
relokit run --size 3.5G --memory 8G
relokit run --format junit -o relokit.xml            results for CI
"""


@click.command(
    "run",
    cls=Command,
    help="Build the relocation, run it in a machine and judge the hand-over.",
    epilog=EPILOG,
)
@job_options
@target_options
@click.option(
    "--cache-line",
    type=CountParam(1, 4096),
    default=64,
    show_default=True,
    help="Bytes of the CPU's data cache line, a power of two from 16 to 2048.",
)
@click.option(
    "--boot",
    type=Seconds(MAX_BOOT),
    help="Let the new kernel run on for so many seconds of the board, of "
    f"{BOARD_SPEED // 10**6} million instructions each; show its console and judge how it fares. "
    f"[default: {DEMO_BOOT:g} for the demo kernel, else not]",
)
@click.option(
    "--expect",
    metavar="TEXT",
    help="With --boot: the new kernel has to print this, and is stopped when it does.",
)
@timeout_option(
    "There is no answer if the relocation takes this host so many seconds (and so many more "
    "than --boot for the new kernel)."
)
@click.option(
    "--max-instructions",
    type=CountParam(1, MAX_INSTRUCTIONS),
    help="Give up on the relocation after this many instructions. [default: many times what its "
    "list needs]",
)
@click.option(
    "--interrupts",
    type=CountParam(0, MAX_INSTRUCTIONS),
    metavar="N",
    help="Raise an interrupt when N instructions have been begun; it waits while it is masked.",
)
@click.option(
    "--snapshot",
    type=INPUT_FILE,
    metavar="DIR",
    help="Go on from a snapshot ('relokit record', docs/snapshot.md) in place of a machine of "
    "ours; --kernel is then the one that ran, if it is not in there.",
)
@plain_option
@click.option(
    "--effects",
    is_flag=True,
    help="Let caches take effect: what was not cleaned is not in memory, and what was discarded "
    "is lost.",
)
@report_option
@trace_options("Record what the CPU does up to the new kernel, and write that to this file.")
@strict_option
@baseline_options
@profile_option
@verbose_option
@cache_option
@results_options
@json_option
def command(
    as_json: bool, verbose: bool, trace: Path | None, snapshot: Path | None, **options: Any
) -> int:
    """Arguments in, one call of the facade, a view out; the result is the exit code."""
    refuse_idle()
    wanted = wanted_results(options)
    people = not as_json and (wanted is None or wanted.leaves_terminal)
    sources = sources_given(options)
    report = options.pop("report")
    how = people, verbose
    with nullcontext() if wanted is None else wanted.with_failures(sources):
        if report is None:
            of, outcome = _outcome(snapshot, trace, options, *how)
        else:
            from relokit.cli.report_story import reported

            with reported(report, trace, {**options, "snapshot": snapshot}) as story:
                of, outcome = _outcome(snapshot, story.trace, options, *how, kept=trace is not None)
                story.tell(of, outcome)
    if as_json:
        emit_json(outcome)
    if wanted is not None:
        from relokit.cli.results.judged_cases import judged_results

        wanted.put(judged_results(wanted.command, of, outcome, sources))
    return EXIT_OF[outcome.status]


def _outcome(
    snapshot: Path | None,
    trace: Path | None,
    options: dict[str, Any],
    people: bool,
    verbose: bool,
    *,
    kept: bool = True,
) -> tuple[str, Outcome]:
    """Of whichever machine; a trace that is not ``kept`` is not told of."""
    if snapshot is None:
        return _run(trace, options, people=people, verbose=verbose, kept=kept)
    return _from_snapshot(snapshot, trace, options, people=people, verbose=verbose, kept=kept)


def _run(
    trace: Path | None, options: dict[str, Any], *, people: bool, verbose: bool, kept: bool
) -> tuple[str, Outcome]:
    """Build and run it, and tell ``people`` if they look: the target's name, and the outcome."""
    from relokit.linker.kernel.opened import Files

    files, judging = Files(), judging_given(options)
    target = replace(make_target(options, files), cache_line=options.pop("cache_line"))
    names = (
        "timeout", "max_instructions", "interrupts", "plain", "strict", "profile",
        "effects",
    )  # fmt: skip
    form = TraceFormat(options.pop("trace_format") or TraceFormat.RELOKIT)
    more = {name: options.pop(name) for name in names}
    boot, expect = options.pop("boot"), options.pop("expect")
    # What is expected is of use if the kernel runs on, which depends on what it is.
    job = make_job(options, later=("boot", "expect"), **more, trace_format=form)
    if boot is None and job.moves_demo and job.interrupts is None:
        boot = DEMO_BOOT
    job = replace(job, boot=boot, expect=expect, given=fields_given())

    from relokit.cli.terminal.view import Bars, Telling
    from relokit.facade import run

    with Bars() as bars:
        telling = Telling(target.name, bars, verbose=verbose) if people else None
        outcome = run(
            target, job, files=files, trace=trace, progress=bars.progress, watcher=telling
        )
    outcome = outcome if kept else replace(outcome, trace=None)
    if judging is not None:
        # By what it is called in a baseline.
        name = f"{target.name},path={job.path},shape={job.shape},order={job.order}"
        outcome = judging.outcome(name, outcome, target, job.templates)
        judging.finish()
    if telling is not None:
        telling.finish(outcome)
    return target.name, outcome


def _from_snapshot(
    snapshot: Path,
    trace: Path | None,
    options: dict[str, Any],
    *,
    people: bool,
    verbose: bool,
    kept: bool,
) -> tuple[str, Outcome]:
    """The same, of a machine that was stopped elsewhere."""
    from relokit.cli.terminal.view import Bars, Telling
    from relokit.machines.snapshots import take_up

    names = (
        "kernel", "boot", "expect", "timeout", "max_instructions", "plain", "strict", "profile",
    )  # fmt: skip
    form, judging = (
        TraceFormat(options["trace_format"] or TraceFormat.RELOKIT),
        judging_given(options),
    )
    job = Job(**{name: options[name] for name in names}, trace_format=form)
    with Bars() as bars:
        telling = Telling(snapshot.name, bars, verbose=verbose) if people else None
        outcome = take_up(snapshot, job, trace=trace, progress=bars.progress, watcher=telling)
    outcome = outcome if kept else replace(outcome, trace=None)
    if judging is not None:
        outcome = judging.outcome(snapshot.name, outcome, None, None)
        judging.finish()
    if telling is not None:
        telling.finish(outcome)
    return snapshot.name, outcome
