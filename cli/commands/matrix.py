"""``relokit matrix``."""

from __future__ import annotations

import signal
from contextlib import closing
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar

import click

from relokit.cli.exit_codes import EXIT_OF, exit_code_of
from relokit.cli.idle import refuse_idle, refuse_idle_in_all
from relokit.cli.lists import States, several, workers_of, workers_options
from relokit.cli.once import Command
from relokit.cli.options import (
    INPUT_FILE,
    cache_option,
    code_job,
    json_option,
    layout_of,
    layout_options,
    plain_option,
    some_job_options,
    strict_option,
    templates_option,
    timeout_option,
)
from relokit.cli.report_story import perhaps_reported
from relokit.cli.result_options import (
    baseline_options,
    judging_given,
    report_option,
    results_options,
    sources_given,
    timings_option,
    wanted_results,
)
from relokit.cli.terminal.ended import told_end
from relokit.cli.terminal.output import emit, emit_json
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.target import NARROW, PAGE_SIZES, VA_BITS, WIDE, Regime, Target
from relokit.runtime.campaign.cells import (
    Cell,
    Payload,
    Selection,
    cells,
)
from relokit.runtime.kexec.job import Job, KexecPath

if TYPE_CHECKING:
    from relokit.cli.projects import Judging
    from relokit.cli.report_story import Story
    from relokit.cli.terminal.matrix_view import View
    from relokit.codegen.kexec_routines import CodeUsed
    from relokit.codegen.kimage_layouts import KimageLayout
    from relokit.linker.kernel.opened import Files
    from relokit.matrix import CellResult
    from relokit.workers import Workers

CELL_TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class CellList:
    """The cells that would be run."""

    SCHEMA: ClassVar[str] = "relokit.cells/1"

    cells: tuple[Cell, ...]


@click.command(
    "matrix",
    cls=Command,
    help="Run every combination of state, page size, VA size, regime, path and payload. Without "
    "options: the whole product on the demo kernel. Exit code 0 if all passed, 1 if some failed, "
    "3 if some gave no answer, 5 if none could be run.",
)
@click.option(
    "--series", type=States(), metavar="0,5-15", help="States of the series. [default: all]"
)
@several("--page-size", PAGE_SIZES, "Translation granules:", "page_sizes")
@several(
    "--va-bits",
    sorted({bits for legal in VA_BITS.values() for bits in legal}),
    "VA sizes, by default those of each page size:",
)
@several("--cpu-bits", (NARROW, WIDE), "Addresses of the CPU, by default as the kernel's:")
@several("--el", Regime, "Regimes:", "regimes")
@several("--path", KexecPath, "Ways out:", "paths")
@several("--payload", Payload, "What is moved, in what kind of list:", "payloads")
@click.option(
    "--full",
    is_flag=True,
    help="With 64 MiB payloads and full list pages of 64k pages too: minutes become an hour.",
)
@click.option(
    "--kernel", type=INPUT_FILE, help="Image or vmlinuz to move. [default: the demo kernel]"
)
@layout_options
@templates_option
@some_job_options("--seed", "--code-from", "--include-dir")
@workers_options
@timeout_option(
    "There is no answer from a cell that takes this host so many seconds.", CELL_TIMEOUT
)
@click.option(
    "--cell",
    "ids",
    multiple=True,
    metavar="ID",
    help="Run the cell that --list calls so, and no other. Repeatable.",
)
@click.option("--fail-fast", is_flag=True, help="Run no more cells when one has failed.")
@click.option("--list", "only_list", is_flag=True, help="Show the cells, run none.")
@plain_option
@strict_option
@report_option
@baseline_options
@cache_option
@results_options
@timings_option
@json_option
def command(
    only_list: bool,
    as_json: bool,
    report: Path | None,
    jobs: int | None,
    cluster: str | None,
    no_cache: bool,
    fail_fast: bool,
    ids: tuple[str, ...],
    **options: Any,
) -> int:
    """Arguments in, one call of the facade, a view out; the result is the exit code."""
    refuse_idle()
    wanted = wanted_results(options)
    judging = judging_given(options)
    from relokit.building import opened_code
    from relokit.linker.kernel.opened import Files
    from relokit.matrix import fitted

    files = Files()
    layout_from = options["layout_from"]
    sources = sources_given(options)
    given_files = dict(options)
    layout = layout_of(options, files)
    code = opened_code(code_job(options), files)
    if code is not None:
        # Everything else could only be unsupported.
        options["series"] = options["series"] or (code.states[-1],)
        options["page_sizes"] = options["page_sizes"] or (code.page_size and (code.page_size,))
    # A cell that is named is wanted, however costly it is.
    options["full"] = options["full"] or bool(ids)
    chosen = _named(list(cells(_selection(options, layout))), ids)
    if code is not None:
        chosen = [fitted(cell, code) for cell in chosen]
    if only_list:
        _list(chosen, as_json)
        return 0
    job = Job(**options)
    runnable = [cell.job(job) for cell in chosen if cell.target is not None]
    if runnable:
        used_by = {
            "kernel": any(one.kernel is not None for one in runnable),
            "seed": any(one.draws for one in runnable),
        }
        refuse_idle_in_all(
            tuple(used_by),
            used_by.__getitem__,
            "{flag} does nothing in any of these cells: leave it out",
        )

    from relokit.cli.terminal import matrix_view

    given = matrix_view.Shared(job, layout_from)
    workers = workers_of(jobs, cluster, most=len(chosen))
    view: View
    if as_json:
        view = matrix_view.JsonView(given)
    elif wanted is not None:
        from relokit.cli.results.matrix_results import ResultsView

        people = matrix_view.LineView(given) if wanted.leaves_terminal else None
        view = ResultsView(given, wanted, sources, people)
    else:
        view = matrix_view.view_for_people(chosen, given)
    used = None
    if code is not None:
        targets = (cell.target for cell in chosen if cell.target is not None)
        used = code.used(next(targets, Target(layout=layout)))
    with perhaps_reported(report, given_files) as story:
        return _run(chosen, job, workers, view, files, used, judging, story, fail_fast=fail_fast)


def _named(known: list[Cell], ids: tuple[str, ...]) -> list[Cell]:
    """Those of ``ids``, all if there are none; raises UsageError for one that is not there."""
    if not ids:
        return known
    unknown = [one for one in ids if one not in {cell.id for cell in known}]
    if unknown:
        raise click.UsageError(f"--cell {unknown[0]!r} is none of what --list shows")
    return [cell for cell in known if cell.id in ids]


def _selection(options: dict[str, Any], layout: KimageLayout) -> Selection:
    """Take the options that choose cells out of ``options``; what is not given has a default."""
    names = ("series", "page_sizes", "va_bits", "cpu_bits", "regimes", "paths", "payloads", "full")
    chosen = {name: options.pop(name) for name in names}
    given = {name: value for name, value in chosen.items() if value is not None}
    return Selection(**given, layout=layout)


def _list(chosen: list[Cell], as_json: bool) -> None:
    if as_json:
        emit_json(CellList(tuple(chosen)))
    else:
        emit(
            "\n".join(
                f"{cell.id}  # unsupported: {cell.reason}" if cell.reason else cell.id
                for cell in chosen
            )
        )


def _run(
    chosen: list[Cell],
    job: Job,
    workers: Workers,
    view: View,
    files: Files,
    code: CodeUsed | None,
    judging: Judging | None,
    story: Story | None,
    *,
    fail_fast: bool,
) -> int:
    """Run the cells into ``view``; on the way out, early or not, it says how far they got.

    So does a ``story``, if there is one to be.
    """
    from relokit.matrix import CellStatus, Tally, run_matrix

    tally = Tally(cells=len(chosen), jobs=workers.count, code=code)
    started = perf_counter()
    ended_by = None
    kept: list[CellResult] = []
    with workers, view:
        try:
            with closing(run_matrix(chosen, job, workers=workers, files=files)) as results:
                for ran in results:
                    result = ran
                    if judging is not None:
                        result = judging.cell(ran, job, code)
                    tally.add(result, perf_counter() - started)
                    if story is not None:
                        kept.append(result)
                    if not view.show(result, tally):
                        ended_by = signal.SIGPIPE
                        break
                    if fail_fast and result.status is CellStatus.FAIL:
                        break
        except KeyboardInterrupt as interrupt:
            ended_by = signal.Signals(interrupt.args[0] if interrupt.args else signal.SIGINT)
    if judging is not None:
        judging.finish()
    view.finish(tally, ended_by)
    if story is not None:
        story.tell_matrix(kept, tally, None if ended_by is None else told_end(ended_by))
    if ended_by is not None:
        return exit_code_of(ended_by)
    return EXIT_OF[tally.status]
