"""``relokit time``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from relokit.cli.idle import fields_given
from relokit.cli.lists import States
from relokit.cli.once import Command
from relokit.cli.options import (
    INPUT_FILE,
    cache_option,
    every_state_options,
    json_option,
    make_target,
    some_job_options,
)
from relokit.cli.parameters import CountParam, OutputFile
from relokit.cli.terminal.output import emit_json
from relokit.codegen.series import COMPLETE
from relokit.codegen.target import MIB
from relokit.runtime.kexec.job import Job, Shape

if TYPE_CHECKING:
    from relokit.timing.timer import MoveTimes, Timer, TimeReport

DEFAULT_SIZE = 84 * MIB
"""What the cover letter's ThunderX2 moves."""


@click.command(
    "time", cls=Command, help="How long the move takes on machines, by what it does, counted."
)
@click.option(
    "--table",
    is_flag=True,
    help="Every figure that the series reports, beside what the model says of it; nothing else.",
)
@click.option(
    "--series",
    type=States(),
    default=f"{COMPLETE}",
    show_default=True,
    metavar="N,M-K",
    help="States of the series, and ranges of them.",
)
@click.option(
    "--machine",
    "machines",
    metavar="A,B,..",
    help="On these. [default: all that come with relokit]",
)
@click.option(
    "--fit",
    "measured",
    type=INPUT_FILE,
    metavar="FILE",
    help="On the machine whose measurements this file has (docs/time.md), by what they say of it.",
)
@click.option(
    "--counts",
    "only",
    is_flag=True,
    help="Count only: no times, and nothing of relokit[time] is needed.",
)
@click.option(
    "--trace",
    type=INPUT_FILE,
    metavar="FILE",
    help="Of the move that 'run --trace' has written to this file; nothing is run.",
)
@click.option(
    "--plot",
    type=OutputFile(),
    metavar="FILE",
    help="Draw it as SVG or PNG as well: times by size, a reboot, counts by phase. Needs "
    "relokit[time].",
)
@some_job_options(
    "--kernel", "--initrd", "--size", "--order", "--path", "--shape", "--seed", "--code-from",
    "--include-dir",
)  # fmt: skip
@every_state_options
@click.option(
    "--cache-line",
    type=CountParam(1, 4096),
    default=64,
    show_default=True,
    help="Bytes of the CPU's data cache line, a power of two from 16 to 2048.",
)
@click.option(
    "--linear-map",
    type=click.Choice(["blocks", "pages"]),
    default="blocks",
    show_default=True,
    help="What the kernel maps RAM by: blocks where it can, or pages alone (rodata=full).",
)
@cache_option
@json_option
def command(table: bool, as_json: bool, **options: Any) -> int:
    """Arguments in, one call of the facade, a view out."""
    if table:
        return _table(as_json=as_json)
    machines, measured, only = (options.pop(name) for name in ("machines", "measured", "only"))
    trace, plot = options.pop("trace"), options.pop("plot")
    _check(machines, measured, plot, only=only)
    keys = _keys(machines)
    from relokit.timing.timer import Timer, TimeReport, move_of_trace

    if trace is not None:
        _refuse_beside("--trace says what was moved", "trace", "machines", "measured", "only")
        moves: tuple[MoveTimes, ...] = (move_of_trace(trace),)
        timer = Timer()
    else:
        timer, moves = _moves(options, keys, plot)
    report = TimeReport(moves) if only else timer.times(moves, machines=keys, measured=measured)
    return _show(report, as_json=as_json)


def _keys(machines: str | None) -> tuple[str, ...]:
    """Of the machines that are asked for; none of all."""
    if machines is None:
        return ()
    keys = tuple(machines.split(","))
    again = next((key for key in keys if keys.count(key) > 1), None)
    if again is not None:
        raise click.UsageError(f"--machine has {again[:40]!r} twice: leave one of them out")
    return keys


def _check(machines: str | None, measured: Path | None, plot: Path | None, *, only: bool) -> None:
    """Refuse what would do nothing."""
    given = {"--machine": machines, "--fit": measured, "--plot": plot}
    flags = [flag for flag, value in given.items() if value is not None]
    if only and flags:
        raise click.UsageError(f"--counts asks for no time: leave {flags[0]} out")
    if measured is not None and len(flags) > 1:
        flag = next(flag for flag in flags if flag != "--fit")
        raise click.UsageError(f"--fit has its own machine: leave {flag} out")


def _moves(
    options: dict[str, Any], keys: tuple[str, ...], plot: Path | None
) -> tuple[Timer, tuple[MoveTimes, ...]]:
    """The moves that are asked for, counted; drawn as well if there is a ``plot`` to be."""
    if plot is not None and options["kernel"] is not None:
        raise click.UsageError("--plot is of many sizes: leave --kernel out")
    states, options["series"] = options.pop("series"), COMPLETE
    from relokit.linker.kernel.opened import Files
    from relokit.timing.timer import Timer

    files = Files()
    line = options.pop("cache_line")
    target = replace(make_target(options, files), cache_line=line)
    by_pages = options.pop("linear_map") == "pages"
    job = _job(options)
    timer = Timer(files=files)
    if plot is not None:
        from relokit.timing.time_pictures import PLOTTED, pictures
        from relokit.timing.time_plots import check_plot, draw

        check_plot(plot)
        draw(pictures(timer, target, job, machines=keys or PLOTTED, by_pages=by_pages), plot)
    targets = [replace(target, series=state) for state in states]
    return timer, timer.moves(targets, job, by_pages=by_pages)


def _show(report: TimeReport, *, as_json: bool) -> int:
    if as_json:
        emit_json(report)
    else:
        from relokit.cli.terminal.time_view import report_text
        from relokit.cli.terminal.view import emit_fitted

        emit_fitted(report_text(report))
    return 0


def _table(*, as_json: bool) -> int:
    _refuse_beside("--table is of what is reported", "table")
    from relokit.cli.terminal.time_view import table_text
    from relokit.timing.timer import Timer

    found = Timer().table()
    if as_json:
        emit_json(found)
    else:
        from relokit.cli.terminal.view import emit_fitted

        emit_fitted(table_text(found))
    return 0


def _refuse_beside(why: str, *names: str) -> None:
    """Refuse all options that are given but ``names`` and --json: they would do nothing."""
    context = click.get_current_context()
    given = [
        parameter.opts[0]
        for parameter in context.command.params
        if parameter.name not in (*names, "as_json", "no_cache")
        and context.get_parameter_source(str(parameter.name)) is ParameterSource.COMMANDLINE
    ]
    if given:
        raise click.UsageError(f"{why}: leave {', '.join(given)} out")


def _job(options: dict[str, Any]) -> Job:
    whole = options["kernel"] is not None or options["shape"] == Shape.ONE_PAGE
    if options["size"] is None and not whole:
        options["size"] = DEFAULT_SIZE
    del options["no_cache"]
    return Job(**options, given=fields_given())
