"""``relokit mutate``."""

from __future__ import annotations

import signal
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from relokit.cli.exit_codes import EXIT_OF, exit_code_of
from relokit.cli.idle import refuse_idle
from relokit.cli.lists import States, several, workers_of, workers_options
from relokit.cli.once import Command
from relokit.cli.options import (
    INPUT_FILE,
    cache_option,
    code_job,
    json_option,
    layout_of,
    layout_options,
    some_job_options,
    templates_option,
)
from relokit.cli.report_story import perhaps_reported
from relokit.cli.result_options import (
    judging_given,
    report_option,
    results_options,
    sources_given,
    wanted_results,
)
from relokit.cli.terminal.ended import told_end
from relokit.cli.terminal.output import emit, emit_json, plain
from relokit.codegen.series import COMPLETE
from relokit.codegen.target import NARROW, PAGE_SIZES, VA_BITS, WIDE, Regime, Target
from relokit.runtime.kexec.job import Job
from relokit.runtime.mutation.mutant import RoutineName
from relokit.runtime.mutation.operators import OPERATOR_NAMES

if TYPE_CHECKING:
    from relokit.codegen.kexec_routines import CodeUsed
    from relokit.codegen.kimage_layouts import KimageLayout
    from relokit.linker.foreign.code import ForeignCode
    from relokit.linker.kernel.opened import Files
    from relokit.mutation.mutate import MutationPlan
    from relokit.mutation.mutation_report import Campaign
    from relokit.runtime.campaign.result_file import ResultFile
    from relokit.workers import Workers


@click.command(
    "mutate",
    cls=Command,
    help="Make every mutant of the code that has one thing wrong, run each, and see whether the "
    "rules find it. Exit code 0 if all were killed, 1 if some were not, 3 if some "
    "gave no answer, 5 if there was none.",
    epilog="Examples:  relokit mutate --operator drop,weaken;  relokit mutate --series 0,9,12,15 "
    "--jobs 2 --results mutants.sqlite;  relokit mutate --code-from mine.o --operator drop.",
)
@click.option(
    "--series",
    type=States(),
    metavar="0,5-15",
    help="States of the series. [default: complete, or the last that --code-from can be of]",
)
@several("--page-size", PAGE_SIZES, "Translation granules, by default 4k:", "page_sizes")
@several(
    "--va-bits",
    sorted({bits for legal in VA_BITS.values() for bits in legal}),
    "VA sizes of the kernel, by default 48, or what --code-from is built for; with 52 PAs have 52 "
    "as well:",
)
@several("--el", Regime, "Regimes to try them in, by default all:", "regimes")
@layout_options
@several("--routine", RoutineName, "Code to mutate, by default all:", "routines")
@several("--operator", OPERATOR_NAMES, "Mutation operators, by default all:", "operators")
@templates_option
@some_job_options("--seed", "--code-from", "--include-dir")
@click.option(
    "--results",
    type=INPUT_FILE,
    metavar="FILE",
    help="Keep results in this SQLite file, and do not try again what it has: a campaign that was "
    "interrupted goes on.",
)
@workers_options
@report_option
@cache_option
@results_options
@json_option
def command(
    as_json: bool,
    report: Path | None,
    no_cache: bool,
    jobs: int | None,
    cluster: str | None,
    results: Path | None,
    templates: Path | None,
    seed: int,
    **options: Any,
) -> int:
    """Arguments in, one call of the facade, a view out; the result is the exit code."""
    from relokit.building import opened_code
    from relokit.linker.kernel.opened import Files
    from relokit.mutation.mutate import MutationPlan, opened_results

    refuse_idle()
    wanted, judging = wanted_results(options), judging_given(options)
    sources = sources_given({**options, "templates": templates})
    operators, code_from = options["operators"], options["code_from"]
    files = Files()
    layout = layout_of(options, files)
    code = opened_code(code_job(options), files)
    targets = _targets(code, layout, **options)
    plan = MutationPlan(
        targets,
        options["regimes"] or tuple(Regime),
        options["routines"],
        None if operators is None else frozenset(operators),
    )
    job = replace(code_job(options), templates=templates, seed=seed)
    with ExitStack() as stack:
        story = stack.enter_context(perhaps_reported(report, {"code_from": code_from}))
        known = stack.enter_context(opened_results(results))
        workers = stack.enter_context(workers_of(jobs, cluster))
        used = (
            None if code is None else code.used(replace(targets[0], layout=code.layout or layout))
        )
        campaign, ended_by = _run(plan, job, workers, known, files, used)
        found = campaign.report(interrupted=ended_by is not None)
        judged = None
        if wanted is not None or judging is not None:
            from relokit.cli.results.mutation_results import mutation_results

            command = click.get_current_context().command_path
            ended = None if ended_by is None else told_end(ended_by)
            judged = mutation_results(command, campaign, sources, ended_by=ended)
            if judging is not None:
                judged, found = judging.mutants(judged, found)
                judging.finish()
        if story is not None:
            story.tell_mutants(found)
    if as_json:
        emit_json(found)
    elif wanted is None or wanted.leaves_terminal:
        from relokit.cli.terminal.mutation_view import text_of
        from relokit.cli.terminal.view import fitted_text

        emit(fitted_text(text_of(found)))
        if ended_by is not None:
            emit(told_end(ended_by))
    if wanted is not None and judged is not None:
        wanted.put(judged)
    return EXIT_OF[found.status] if ended_by is None else exit_code_of(ended_by)


def _targets(
    code: ForeignCode | None,
    layout: KimageLayout,
    series: tuple[int, ...] | None,
    page_sizes: tuple[int, ...] | None,
    va_bits: tuple[int, ...] | None,
    **_: object,
) -> tuple[Target, ...]:
    default = PAGE_SIZES["4k"]
    if code is not None and code.page_size is not None:
        default = code.page_size
    last = COMPLETE if code is None else code.states[-1]
    bits_built_for = WIDE if code is not None and code.folds else NARROW
    return tuple(
        Target(series=state, page_size=page_size, va_bits=bits, layout=layout)
        for state in series or (last,)
        for page_size in page_sizes or (default,)
        for bits in va_bits or (bits_built_for,)
    )


def _run(
    plan: MutationPlan,
    job: Job,
    workers: Workers,
    known: ResultFile | None,
    files: Files,
    code: CodeUsed | None,
) -> tuple[Campaign, signal.Signals | None]:
    """Try them all; on the way out, early or not, what there is, and which signal ended it."""
    from relokit.cli.terminal.view import Bars
    from relokit.mutation.mutate import try_mutants
    from relokit.mutation.mutation_report import Campaign

    campaign = Campaign(code)
    ended_by = None
    with Bars() as bars:
        try:
            with closing(
                try_mutants(plan, job, workers=workers, known=known, files=files)
            ) as events:
                for event in events:
                    campaign.add(event)
                    bars.progress("mutate", campaign.done, campaign.known)
        except KeyboardInterrupt as interrupt:
            ended_by = signal.Signals(interrupt.args[0] if interrupt.args else signal.SIGINT)
    if known is not None:
        _say(campaign, known)
    return campaign, ended_by


def _say(campaign: Campaign, known: ResultFile) -> None:
    """What was taken from the file, and what in it was of no use; beside the report."""
    were = "result was" if campaign.taken == 1 else "results were"
    text = f"{campaign.taken:,} {were} in {known.path}"
    others = known.of_other_code()
    if others:
        text += f"; {others:,} more are of other templates, rules or engine code, and tried again"
    click.echo(plain(text), err=True)
