"""``relokit diff``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from relokit.cli.exit_codes import EXIT_NO_ANSWER
from relokit.cli.idle import refuse_idle
from relokit.cli.lists import Several
from relokit.cli.once import Command
from relokit.cli.options import cache_option, json_option
from relokit.cli.parameters import CountParam, OutputFile
from relokit.cli.result_options import (
    RESULT_FORMATS,
)
from relokit.cli.terminal.output import json_text, plain, plain_lines
from relokit.cli.whole_diff import DETAILED, LISTED, compare_whole, judged, put, results_fail
from relokit.codegen.kimage_layouts import LAYOUTS, layout_named
from relokit.codegen.target import PAGE_SIZES, Regime, parse_page_size

if TYPE_CHECKING:
    from relokit.cli.results.result_cases import ResultSet
    from relokit.diff_machines import DiffMachine
    from relokit.diffing.instructions.ignorable import Ignorable
    from relokit.diffing.instructions.normalise import Aspect
    from relokit.diffing.routines.classify import ChangeKind
    from relokit.diffing.routines.model import Diff
    from relokit.runtime.behaviour.observation import BehaviourDiff

KINDS = (
    "barrier", "cache", "tlb", "system", "memory", "control", "arithmetic", "hint", "data",
)  # fmt: skip
ASPECTS = ("addresses", "registers", "padding", "encodings", "fields")
FORMATS = ("auto", "unified", "side", "html", "csv", "markdown", *RESULT_FORMATS)

HELP = """Compare machine code: what changed, and what it is about.

LEFT and RIGHT are a target (series:12,page=16k,va=48,el=vhe,layout=6.1), assembly (.S), an object
or ELF file, or a kernel (Image or vmlinuz); with :SYMBOL, one routine of it. Without, all routines
are compared, of kernels those of kexec and the EL2 stub; with --all, every function.
"""
EPILOG = """Exit codes: 0 same, 1 different, 2 trouble, 3 no answer of --run.

\b
relokit diff series:11 series:12                    what a patch changes
relokit diff mine.S vmlinuz:arm64_relocate_new_kernel --run
relokit diff old.o new.o --run --el vhe --page-size 64k
relokit diff vmlinuz-old vmlinuz-new --all --only barrier
relokit diff vmlinuz-old vmlinuz-new --all --ignore pac,bti,hints,offsets
relokit diff vmlinuz-old vmlinuz-new --all --format html -o functions.html
relokit diff --series page=16k --format html -o series.html
"""


@click.command("diff", cls=Command, help=HELP, epilog=EPILOG)
@click.argument("left", required=False)
@click.argument("right", required=False)
@click.option(
    "--format",
    "shape",
    type=click.Choice(FORMATS),
    default="auto",
    show_default=True,
    help="As diff -u, side by side, or one page for a browser; auto is side by side on a terminal. "
    "Or results for CI (docs/ci.md).",
)
@click.option(
    "-o",
    "--output",
    type=OutputFile(),
    metavar="FILE",
    help="Write to this file instead of standard output.",
)
@click.option(
    "--keep",
    "kept",
    type=click.Choice([*ASPECTS, "all"]),
    multiple=True,
    help="Do not normalise this: it counts as a difference. Repeatable.",
)
@click.option(
    "--only",
    type=click.Choice(KINDS),
    multiple=True,
    help="Nothing else counts or is shown. Repeatable.",
)
@click.option(
    "--ignore",
    "ignore",
    metavar="A,B,..",
    help="What does not count and is told apart: pac, bti, hints, offsets (docs/diff.md). With "
    "--run, of the code alone.",
)
@click.option(
    "--include-dir",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Let a .S include files below DIR (.include, .incbin), and no others.",
)
@click.option("--run", is_flag=True, help="Execute both too, and say what differs in the run.")
@click.option(
    "--el",
    "regimes",
    type=Several({str(one): one for one in Regime}),
    metavar="A,B,..",
    help="With --run of two files: in these regimes. [default: el1, nvhe and vhe]",
)
@click.option(
    "--page-size",
    type=click.Choice(list(PAGE_SIZES), case_sensitive=False),
    help="With --run of two files: granule of the machine. [default: what the code shows]",
)
@click.option(
    "--va-bits",
    type=CountParam(0, 64),
    help="With --run of two files: VA size of the old kernel. [default: 48]",
)
@click.option(
    "--layout",
    type=click.Choice(list(LAYOUTS)),
    help="With --run of two files: struct kimage of this version. [default: what the code shows]",
)
@click.option(
    "--all",
    "whole",
    is_flag=True,
    help="Every function of two kernels (or linked ELF files), counted; as a page, CSV or Markdown "
    "with --format.",
)
@click.option(
    "--top",
    type=CountParam(1, 5000),
    metavar="N",
    help="With --all: so many functions, the most changed first; in a page, those compared in "
    f"detail. [default: all in csv, {LISTED} in markdown, {DETAILED} in html]",
)
@click.option(
    "--series",
    is_flag=False,
    flag_value="",
    metavar="[SETTINGS]",
    help="The fifteen patches, each against the state before it; SETTINGS as page=16k,el=vhe.",
)
@click.option("--score", is_flag=True, help="Print only the likeness in percent.")
@cache_option
@json_option
def command(left: str | None, right: str | None, as_json: bool, **options: Any) -> int:
    """Read both sides, compare them, show it; 0 if they are the same, 1 if not."""
    refuse_idle()
    if options["series"] is None and (left is None or right is None):
        raise click.UsageError(f"Missing argument '{'LEFT' if left is None else 'RIGHT'}'")
    from relokit.diffing.instructions.normalise import Aspect
    from relokit.diffing.routines.classify import ChangeKind

    kept = [*Aspect] if "all" in options["kept"] else [Aspect(name) for name in options["kept"]]
    kinds = [ChangeKind(name) for name in options["only"]] or [*ChangeKind]
    ignore = _ignored(options, kept, kinds)
    shown = "json" if as_json else options["shape"]
    if options["series"] is not None:
        return _series(options["series"], kept, kinds, ignore, shown, options["output"])
    assert left is not None
    assert right is not None
    if options["whole"]:
        return compare_whole(left, right, kinds, ignore, shown, options["output"], options["top"])
    from relokit.cli.results.diff_results import diff_results
    from relokit.cli.terminal.view import Bars
    from relokit.diffing.routines.model import ignored_text
    from relokit.diffs import diff

    if options["run"]:
        from relokit.session import process_session

        process_session().start()  # it imports while this process reads
    with Bars() as bars:
        found = diff(
            left,
            right,
            kept=kept,
            kinds=kinds,
            ignore=ignore,
            include_dir=options["include_dir"],
            progress=bars.progress,
        )
    if options["score"] and not as_json:
        if ignore:
            click.echo(ignored_text(found.differences_ignored), err=True)
        put(f"{found.score:.2f}", options["output"])
        return 0 if found.same else 1
    behaviour = _behaviour(found, _machine(options)) if options["run"] else None
    accepted, results = judged(
        shown in RESULT_FORMATS,
        found.changed,
        partial(diff_results, found=found, behaviour=behaviour),
    )
    found = replace(found, accepted=accepted)
    put(_shown(found, behaviour, shown, options["output"], results), options["output"])
    fails = not found.same or not (behaviour is None or behaviour.same or behaviour.unanswered)
    if not results_fail(results, fails=fails) and behaviour is not None and behaviour.unanswered:
        return EXIT_NO_ANSWER
    return int(results_fail(results, fails=fails))


def _ignored(
    options: dict[str, Any], kept: Sequence[Aspect], kinds: Sequence[ChangeKind]
) -> frozenset[Ignorable]:
    """What ``--ignore`` says; refused where it leaves nothing, or is what ``--keep`` keeps."""
    if options["ignore"] is None:
        return frozenset()
    from relokit.diffing.instructions.ignorable import Ignorable, ignorable_named
    from relokit.diffing.instructions.normalise import Aspect
    from relokit.diffing.routines.classify import ChangeKind

    found = ignorable_named(options["ignore"])
    if Ignorable.OFFSETS in found and Aspect.ADDRESSES in kept:
        raise click.UsageError("--keep addresses counts what --ignore offsets does not")
    if [*kinds] == [ChangeKind.HINT] and found >= {*Ignorable} - {Ignorable.OFFSETS}:
        raise click.UsageError("--ignore pac,bti,hints leaves nothing of --only hint")
    return found


def _series(
    settings: str,
    kept: Sequence[Aspect],
    kinds: Sequence[ChangeKind],
    ignore: Collection[Ignorable],
    shape: str,
    output: Path | None,
) -> int:
    from relokit.cli.results.diff_results import series_results
    from relokit.cli.results.written import text_of_results
    from relokit.cli.terminal.view import Bars
    from relokit.codegen.series import COMPLETE
    from relokit.diffing.routines.model import SeriesDiff
    from relokit.diffs import series_diff

    steps = []
    with Bars() as bars:
        for step in series_diff(settings, kept=kept, kinds=kinds, ignore=ignore):
            steps.append(step)
            bars.progress("Building and comparing every state", step.number, COMPLETE)
    found = SeriesDiff(tuple(steps))
    changed = sum(step.diff.changed for step in steps)
    accepted, results = judged(
        shape in RESULT_FORMATS, changed, partial(series_results, found=found)
    )
    found = replace(found, accepted=accepted)
    if shape == "json":
        put(json_text(found), output)
    elif results is not None and shape in RESULT_FORMATS:
        put(text_of_results(results, shape, timings=False), output)
    elif shape == "html":
        from relokit.cli.pages.series_page import series_page

        put(series_page(steps, accepted), output)
    else:
        parts = []
        for step in steps:
            heading = f"patch {step.number}  {step.subject}\n  {step.change}"
            body = _shown(step.diff, None, shape, output, None) or "no instruction changes"
            parts.append(f"{heading}\n{body}")
        parts += [plain(accepted)] if accepted else []
        put("\n\n".join(parts), output)
    return int(results_fail(results, fails=not found.same))


def _machine(options: dict[str, Any]) -> DiffMachine:
    from relokit.diff_machines import DiffMachine

    page, layout = options["page_size"], options["layout"]
    return DiffMachine(
        options["regimes"],
        page and parse_page_size(page),
        options["va_bits"],
        layout and layout_named(layout),
    )


def _behaviour(found: Diff, machine: DiffMachine) -> BehaviourDiff:
    from relokit.cli.terminal.view import Bars
    from relokit.executed_diffs import behave_sides

    with Bars() as bars:
        return behave_sides(found.left, found.right, machine=machine, progress=bars.progress)


def _shown(
    found: Diff,
    behaviour: BehaviourDiff | None,
    shape: str,
    output: Path | None,
    results: ResultSet | None,
) -> str:
    """The diff in the format ``shape``, for CI what it came to as ``results``."""
    if shape == "json":
        if behaviour is None:
            return json_text(found)
        from relokit.executed_diffs import ExecutedDiff

        return json_text(ExecutedDiff(found, behaviour))
    if results is not None and shape in RESULT_FORMATS:
        from relokit.cli.results.written import text_of_results

        return text_of_results(results, shape, timings=False)
    if shape == "html":
        from relokit.cli.pages.page import diff_page

        if behaviour is None:
            return diff_page(found)
        from relokit.cli.terminal.diff_run_view import behaviour_tables

        return diff_page(found, behaviour=behaviour_tables(behaviour))
    from relokit.cli.terminal.view import fitted_text
    from relokit.diffing.routines.report import summary, unified

    # A file has lines of any length.
    fitted: Callable[[str], str] = fitted_text if output is None else str
    terminal = output is None and sys.stdout is not None and sys.stdout.isatty()
    if shape == "side" or (shape == "auto" and terminal):
        from relokit.cli.terminal.diff_view import side_by_side

        body = side_by_side(found, colour=terminal)
    else:
        body = fitted(plain_lines(unified(found).split("\n")))
    summed = summary(found)
    if behaviour is not None:
        # The run is compared in all that it does.
        summed = summed.replace(" ignored: ", " ignored (of the code, not of the run): ")
    parts = [body, fitted(plain(summed))]
    if behaviour is not None:
        from relokit.cli.terminal.diff_run_view import behaviour_text

        parts.append(fitted(behaviour_text(behaviour)))
    return "\n".join(part for part in parts if part)
