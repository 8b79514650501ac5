"""``relokit judge``."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click

from relokit.cli.exit_codes import EXIT_OF
from relokit.cli.idle import refuse_idle
from relokit.cli.once import Command
from relokit.cli.options import (
    INPUT_FILE,
    json_option,
    profile_option,
    strict_option,
    trace_options,
    verbose_option,
)
from relokit.cli.result_options import (
    judging_given,
    results_options,
    wanted_results,
)
from relokit.cli.terminal.output import emit, emit_json
from relokit.runtime.kexec.job import TraceFormat


@click.command("judge", cls=Command, help="Judge a trace of 'run --trace' without running.")
@click.argument("file", type=INPUT_FILE)
@trace_options("Write the trace again, to this file.")
@strict_option
@profile_option
@verbose_option
@results_options
@json_option
def command(file: Path, trace: Path | None, verbose: bool, as_json: bool, **options: Any) -> int:
    """A file in, one call of the facade, a view out; the result is the exit code."""
    refuse_idle()
    from relokit.cli.terminal.view import summary
    from relokit.facade import judge

    wanted, judging = wanted_results(options), judging_given(options)
    form = TraceFormat(options.pop("trace_format") or TraceFormat.RELOKIT)
    with nullcontext() if wanted is None else wanted.with_failures():
        outcome = judge(file, trace=trace, trace_format=form, **options)
    assert outcome.trace is not None
    if judging is not None:
        outcome = judging.outcome(outcome.trace.of, outcome, None, None)
        judging.finish()
    assert outcome.trace is not None
    if as_json:
        emit_json(outcome)
    elif wanted is None or wanted.leaves_terminal:
        emit(summary(outcome.trace.of, outcome, verbose=verbose))
    if wanted is not None:
        from relokit.cli.results.judged_cases import judged_results

        wanted.put(judged_results(wanted.command, outcome.trace.of, outcome, ()))
    return EXIT_OF[outcome.status]
