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
    timeout_option,
)
from relokit.cli.parameters import CountParam, OutputFile, Place
from relokit.cli.terminal.output import emit_json
from relokit.runtime.kexec.job import MAX_INSTRUCTIONS, Job
from relokit.runtime.show.shown.question import Moment, Question, Topic


@click.command(
    "show",
    cls=Command,
    help="Show a machine before it leaves its kernel, and after. WHAT is 'memory' (who owns RAM, "
    "which pages go where), 'list' (entry by entry), 'tables' (of each regime; with an ADDRESS, "
    "its walk), 'vectors', 'code' (what is copied; with an ADDRESS, what is there), 'timeline' "
    "(exception level, MMU, TTBR0, TTBR1, VBAR by instruction count), or 'trace' (steps, with the "
    "registers that change). ADDRESS may be a symbol of the kernel that is left.",
)
@click.argument("what", type=click.Choice([str(topic) for topic in Topic]))
@click.argument("address", type=Place(), required=False)
@click.option(
    "--at",
    "moment",
    type=click.Choice([str(moment) for moment in Moment]),
    default=str(Moment.START),
    show_default=True,
    help="When: before the first step (machine_kexec's, or where a snapshot was taken), as the "
    "code that moves is entered, or as the new kernel is.",
)
@click.option(
    "--snapshot",
    type=INPUT_FILE,
    metavar="DIR",
    help="Show the machine in a snapshot ('relokit record') in place of one of ours; --kernel is "
    "then the one that ran, if it is not in there.",
)
@click.option(
    "--record",
    type=INPUT_FILE,
    metavar="FILE",
    help="Show what a trace of 'run --trace' has, and run nothing.",
)
@click.option(
    "--from",
    "first",
    type=CountParam(0, MAX_INSTRUCTIONS),
    default=0,
    show_default=True,
    help="Of 'list' and 'trace': the first entry or step.",
)
@click.option(
    "--to",
    "last",
    type=CountParam(0, MAX_INSTRUCTIONS),
    help="Of 'list' and 'trace': the last one. [default: 256 entries, 64 steps]",
)
@click.option(
    "--until",
    type=Place(),
    metavar="ADDRESS",
    help="Of 'trace': end before the step at this address or symbol.",
)
@click.option(
    "--svg",
    type=OutputFile(),
    metavar="FILE",
    help="Of 'memory', 'tables' and 'timeline': draw it to this file as well.",
)
@job_options
@target_options
@timeout_option("There is no answer if running to the moment takes this host so many seconds.")
@cache_option
@json_option
def command(
    what: str,
    address: int | str | None,
    moment: str,
    snapshot: Path | None,
    record: Path | None,
    timeout: float,
    as_json: bool,
    **options: Any,
) -> int:
    """Arguments in, one call of the facade, a view out; the result is the exit code."""
    refuse_idle()
    from relokit.cli.terminal.view import Bars
    from relokit.linker.kernel.opened import Files
    from relokit.machines.showing import show, show_record

    first, last, until, svg = (options.pop(name) for name in ("first", "last", "until", "svg"))
    if svg is not None and address is not None:
        raise click.UsageError("--svg draws all tables, not one walk: leave ADDRESS out")
    if last is not None and last < first:
        raise click.UsageError(f"--to {last} is before --from {first}")
    question = Question(Topic(what), Moment(moment), address, first, last, until)
    files = Files()
    with Bars() as bars:
        if record is not None:
            found = show_record(question, record)
        elif snapshot is None:
            target = make_target(options, files)
            job = make_job(options, timeout=timeout)
            found = show(question, target, job, files=files, progress=bars.progress)
        else:
            job = Job(kernel=options["kernel"], timeout=timeout)
            found = show(question, job=job, snapshot=snapshot, files=files, progress=bars.progress)
    if svg is not None:
        from relokit.codegen.base.atomic import write_atomic
        from relokit.reporting.pictures import drawing_of

        write_atomic(svg, [drawing_of(found).file().encode()])
    if as_json:
        emit_json(found)
    else:
        from relokit.cli.terminal.show_view import text_of
        from relokit.cli.terminal.view import emit_fitted

        emit_fitted(text_of(question.topic, found))
    return 0
