"""``relokit mutate``."""

from __future__ import annotations

import signal
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from relokit.cli.exit_codes import EXIT_OF, EXIT_SIGNAL
from relokit.cli.lists import States, several, workers_of, workers_options
from relokit.cli.options import (
    INPUT_FILE,
    cache_option,
    json_option,
    layout_option,
    some_job_options,
    templates_option,
)
from relokit.cli.terminal.output import emit, emit_json, plain
from relokit.codegen.kimage_layouts import layout_named
from relokit.codegen.target import PAGE_SIZES, Regime, Target
from relokit.runtime.kexec.job import Job
from relokit.runtime.mutation.mutant import RoutineName
from relokit.runtime.mutation.operators import OPERATOR_NAMES

if TYPE_CHECKING:
    from relokit.mutate import MutationPlan
    from relokit.mutation_report import Campaign
    from relokit.runtime.campaign.result_file import ResultFile
    from relokit.workers import Workers


@click.command(
    "mutate",
    help="Make every mutant of the code that has one thing wrong, run each, and see whether the "
    "rules find it. Exit code 0 if all were killed, 1 if some were not, 3 if some "
    "gave no answer, 5 if there was none.",
    epilog="Examples:  relokit mutate --operator drop,weaken;  relokit mutate --series 0,9,12,15 "
    "--jobs 2 --results mutants.sqlite;  relokit mutate --code-from vmlinuz --routine relocation.",
)
@click.option(
    "--series",
    type=States(),
    metavar="0,5-15",
    default="complete",
    show_default=True,
    help="States of the series.",
)
@several("--page-size", PAGE_SIZES, "Translation granules, by default 4k:", "page_sizes")
@several("--el", Regime, "Regimes to try them in, by default all:", "regimes")
@layout_option
@several("--routine", RoutineName, "Code to mutate, by default all:", "routines")
@several("--operator", OPERATOR_NAMES, "Mutation operators, by default all:", "operators")
@click.option(
    "--code-from",
    type=INPUT_FILE,
    metavar="VMLINUZ",
    help="Mutate this shipped kernel's relocation code and EL2 vectors.",
)
@templates_option
@some_job_options("--seed")
@click.option(
    "--results",
    type=INPUT_FILE,
    metavar="FILE",
    help="Keep results in this SQLite file, and do not try again what it has: a campaign that was "
    "interrupted goes on.",
)
@workers_options
@cache_option
@json_option
def command(
    as_json: bool,
    no_cache: bool,
    jobs: int | None,
    cluster: str | None,
    results: Path | None,
    code_from: Path | None,
    templates: Path | None,
    seed: int,
    **options: Any,
) -> int:
    """Arguments in, one call of the facade, a view out; the result is the exit code."""
    from relokit.mutate import MutationPlan, opened_results

    operators = options["operators"]
    plan = MutationPlan(
        _targets(**options),
        options["regimes"] or tuple(Regime),
        options["routines"],
        None if operators is None else frozenset(operators),
    )
    job = Job(code_from=code_from, templates=templates, seed=seed)
    with opened_results(results) as known, workers_of(jobs, cluster) as workers:
        return _run(plan, job, workers, known, as_json)


def _targets(
    series: tuple[int, ...],
    page_sizes: tuple[int, ...] | None,
    layout: str,
    **_: object,
) -> tuple[Target, ...]:
    kimage = layout_named(layout)
    return tuple(
        Target(series=state, page_size=page_size, layout=kimage)
        for state in series
        for page_size in page_sizes or (PAGE_SIZES["4k"],)
    )


def _run(
    plan: MutationPlan, job: Job, workers: Workers, known: ResultFile | None, as_json: bool
) -> int:
    """Try them all; on the way out, early or not, say how far that got."""
    from relokit.cli.terminal.mutation_view import text_of
    from relokit.cli.terminal.view import Bars
    from relokit.mutate import try_mutants
    from relokit.mutation_report import Campaign

    campaign = Campaign()
    ended_by = None
    with Bars() as bars:
        try:
            with closing(try_mutants(plan, job, workers=workers, known=known)) as events:
                for event in events:
                    campaign.add(event)
                    bars.progress("mutate", campaign.done, campaign.known)
        except KeyboardInterrupt as interrupt:
            ended_by = signal.Signals(interrupt.args[0] if interrupt.args else signal.SIGINT)
    if known is not None:
        _say(campaign, known)
    report = campaign.report(interrupted=ended_by is not None)
    if as_json:
        emit_json(report)
    else:
        emit(text_of(report))
    return EXIT_OF[report.status] if ended_by is None else EXIT_SIGNAL + ended_by


def _say(campaign: Campaign, known: ResultFile) -> None:
    """What was taken from the file, and what in it was of no use; beside the report."""
    text = f"{campaign.taken:,} results were in {known.path}"
    others = known.of_other_code()
    if others:
        text += f"; {others:,} more are of other templates, rules or engine code, and tried again"
    click.echo(plain(text), err=True)
