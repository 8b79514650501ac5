"""``relokit show``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from relokit.cli.idle import refuse_idle
from relokit.cli.once import Command
from relokit.cli.options import (
    INPUT_FILE,
    cache_option,
    job_options,
    json_option,
    make_job,
    make_target,
    target_options,
)
from relokit.cli.parameters import Seconds
from relokit.cli.terminal.output import emit, emit_json
from relokit.runtime.kexec.job import DEFAULT_TIMEOUT, MAX_TIMEOUT, Job
from relokit.runtime.show.question import Moment, Question, Topic


@click.command(
    "show",
    cls=Command,
    help="Show a machine before it leaves its kernel, and after. WHAT is 'memory': who owns RAM, "
    "and which pages go where.",
)
@click.argument("what", type=click.Choice([str(topic) for topic in Topic]))
@click.option(
    "--at",
    "moment",
    type=click.Choice([str(moment) for moment in Moment]),
    default=str(Moment.START),
    show_default=True,
    help="When: as machine_kexec is called, as the code that moves is entered, or as the new "
    "kernel is.",
)
@click.option(
    "--snapshot",
    type=INPUT_FILE,
    metavar="DIR",
    help="Show the machine in a snapshot ('relokit record') in place of one of ours; --kernel is "
    "then the one that ran, if it is not in there.",
)
@job_options
@target_options
@click.option(
    "--timeout",
    type=Seconds(MAX_TIMEOUT),
    default=DEFAULT_TIMEOUT,
    help="There is no answer if running to the moment takes this host so many seconds. "
    f"[default: {DEFAULT_TIMEOUT:g}]",
)
@cache_option
@json_option
def command(
    what: str, moment: str, snapshot: Path | None, timeout: float, as_json: bool, **options: Any
) -> int:
    """Arguments in, one call of the facade, a view out; the result is the exit code."""
    refuse_idle()
    from relokit.cli.terminal.view import Bars
    from relokit.linker.kernel.opened import Files
    from relokit.machines.showing import show

    question = Question(Topic(what), Moment(moment))
    files = Files()
    with Bars() as bars:
        if snapshot is None:
            target = make_target(options, files)
            job = make_job(options, timeout=timeout)
            found = show(question, target, job, files=files, progress=bars.progress)
        else:
            job = Job(kernel=options["kernel"], timeout=timeout)
            found = show(question, job=job, snapshot=snapshot, files=files, progress=bars.progress)
    if as_json:
        emit_json(found)
    else:
        from relokit.cli.terminal.show_view import text_of

        emit(text_of(found))
    return 0
