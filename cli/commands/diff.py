"""``relokit diff``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Sequence
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
from relokit.cli.terminal.output import emit, json_text, plain
from relokit.codegen.kimage_layouts import LAYOUTS, layout_named
from relokit.codegen.target import PAGE_SIZES, Regime, parse_page_size

if TYPE_CHECKING:
    from relokit.cli.results.result_cases import ResultSet
    from relokit.diff_machines import DiffMachine
    from relokit.diffing.instructions.ignorable import Ignorable
    from relokit.diffing.instructions.normalise import Aspect
    from relokit.diffing.kernels.whole import WholeDiff
    from relokit.diffing.routines.classify import ChangeKind
    from relokit.diffing.routines.model import Diff
    from relokit.runtime.behaviour.observation import BehaviourDiff

KINDS = (
    "barrier", "cache", "tlb", "system", "memory", "control", "arithmetic", "hint", "data",
)  # fmt: skip
ASPECTS = ("addresses", "registers", "padding", "encodings", "fields")
FORMATS = ("auto", "unified", "side", "html", "csv", "markdown", *RESULT_FORMATS)
BEHIND, LISTED = 50, 100
"""Functions with their differences behind them in a page, and in a Markdown table."""

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
    help="With --all: so many functions, the most changed first; in a page, those with their "
    f"differences behind them. [default: all in csv, {LISTED} in markdown, {BEHIND} in html]",
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
        return _whole(left, right, kinds, ignore, shown, options["output"], options["top"])
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
        _put(f"{found.score:.2f}", options["output"])
        return 0 if found.same else 1
    behaviour = _behaviour(found, _machine(options)) if options["run"] else None
    _put(_shown(found, behaviour, shown, options["output"]), options["output"])
    if found.same and behaviour is not None and behaviour.unanswered:
        return EXIT_NO_ANSWER
    return 0 if found.same and (behaviour is None or behaviour.same) else 1


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
    if shape == "json":
        _put(json_text(found), output)
    elif shape in RESULT_FORMATS:
        from relokit.cli.results.diff_results import series_results

        _put(_results(series_results, shape, found), output)
    elif shape == "html":
        from relokit.cli.pages.series_page import series_page

        _put(series_page(steps), output)
    else:
        parts = []
        for step in steps:
            heading = f"patch {step.number}  {step.subject}\n  {step.change}"
            body = _shown(step.diff, None, shape, output) or "no instruction changes"
            parts.append(f"{heading}\n{body}")
        _put("\n\n".join(parts), output)
    return 0 if found.same else 1


def _whole(
    left: str,
    right: str,
    kinds: Sequence[ChangeKind],
    ignore: Collection[Ignorable],
    shape: str,
    output: Path | None,
    top: int | None,
) -> int:
    from relokit.cli.terminal.view import Bars
    from relokit.diffing.kernels.whole import compare_kernels

    with Bars() as bars:
        found = compare_kernels(left, right, kinds=kinds, ignore=ignore, progress=bars.progress)
    if shape == "json":
        # Tens of megabytes, if they were indented.
        _put(json_text(found, indent=None), output)
    elif shape in RESULT_FORMATS:
        from relokit.cli.results.diff_results import whole_results

        _put(_results(whole_results, shape, found), output)
    elif shape in ("html", "csv", "markdown"):
        _put(_listed(found, shape, top), output)
    else:
        from relokit.cli.terminal.diff_overview import overview

        _put(overview(found), output)
    return 0 if found.same else 1


def _listed(found: WholeDiff, shape: str, top: int | None) -> str:
    """All functions that differ as a page, or the ``top`` ones as a list."""
    from relokit.cli.pages.whole_report import COLUMNS, function_row, whole_report
    from relokit.cli.terminal import whole_lists
    from relokit.diffing.kernels.whole_limits import not_compared

    if shape == "html":
        from relokit.cli.pages.report_page import report_page
        from relokit.cli.report_story import words

        code = _behind(found, top or BEHIND)
        return report_page(whole_report(found, found.reported, code, words()))
    limits = [*not_compared(found)]
    if shape == "csv":
        # A list of rows has no place for it.
        for line in limits:
            click.echo(plain(line), err=True)
        rows = map(function_row, found.reported[:top])
        return whole_lists.csv_text(COLUMNS, rows)
    rows = map(function_row, found.reported[: top or LISTED])
    return whole_lists.markdown_text(COLUMNS, rows, limits)


def _behind(found: WholeDiff, most: int) -> dict[str, str]:
    """By name, what differs in the ``most`` changed functions of both sides, as a unified diff."""
    from relokit.codegen.base.errors import RelokitError
    from relokit.diffing.kernels.whole_changes import FunctionStatus
    from relokit.diffing.routines.report import unified
    from relokit.diffs import diff

    told = {}
    for one in found.differing(FunctionStatus.CHANGED)[:most]:
        operands = f"{found.left}:{one.left}", f"{found.right}:{one.right}"
        try:
            text = unified(diff(*operands, kinds=found.kinds, ignore=found.differences_ignored))
        except RelokitError as error:
            text = f"not compared: {error.message}"
        told[one.name] = text or "nothing but what is normalised: registers, padding"
    return told


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


def _shown(found: Diff, behaviour: BehaviourDiff | None, shape: str, output: Path | None) -> str:
    """The diff in the format ``shape``."""
    if shape == "json":
        if behaviour is None:
            return json_text(found)
        from relokit.executed_diffs import ExecutedDiff

        return json_text(ExecutedDiff(found, behaviour))
    if shape in RESULT_FORMATS:
        from relokit.cli.results.diff_results import diff_results

        return _results(diff_results, shape, found, behaviour)
    if shape == "html":
        from relokit.cli.pages.page import diff_page

        if behaviour is None:
            return diff_page(found)
        from relokit.cli.terminal.diff_run_view import behaviour_tables

        return diff_page(found, behaviour=behaviour_tables(behaviour))
    from relokit.diffing.routines.report import summary, unified

    terminal = output is None and sys.stdout is not None and sys.stdout.isatty()
    if shape == "side" or (shape == "auto" and terminal):
        from relokit.cli.terminal.diff_view import side_by_side

        body = side_by_side(found, colour=terminal)
    else:
        body = plain(unified(found))
    summed = summary(found)
    if behaviour is not None:
        # The run is compared in all that it does.
        summed = summed.replace(" ignored: ", " ignored (of the code, not of the run): ")
    parts = [body, plain(summed)]
    if behaviour is not None:
        from relokit.cli.terminal.diff_run_view import behaviour_text

        parts.append(behaviour_text(behaviour))
    return "\n".join(part for part in parts if part)


def _results(make: Callable[..., ResultSet], shape: str, *found: object) -> str:
    """Results for CI that ``make`` makes of the command and of what was ``found``."""
    from relokit.cli.results.written import text_of_results

    command = click.get_current_context().command_path
    return text_of_results(make(command, *found), shape, timings=False)


def _put(text: str, output: Path | None) -> None:
    """Print ``text`` or write it to a file, whole or not at all."""
    text = text.rstrip("\n")
    if output is None:
        if text:
            emit(text)
        return
    from relokit.codegen.base.atomic import write_atomic

    write_atomic(output, [f"{text}\n".encode() if text else b""])
