"""Options of what comes of a command: results for CI, a report, a baseline and a project's say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from relokit.cli.command_list import PROJECT_META
from relokit.cli.options import INPUT_FILE, F
from relokit.cli.parameters import OutputFile

if TYPE_CHECKING:
    from relokit.cli.projects import Judging
    from relokit.cli.results.wanted import WantedResults

RESULT_FORMATS = ("junit", "sarif", "github", "ktap")


def baseline_options(function: F) -> F:
    """Add ``--baseline`` and ``--write-baseline``; see :mod:`relokit.cli.projects`."""
    known = click.option(
        "--baseline",
        type=INPUT_FILE,
        metavar="FILE",
        help="Fail on what is not as in this file: findings, instructions, size of the code.",
    )
    write = click.option(
        "--write-baseline",
        type=OutputFile(),
        metavar="FILE",
        help="Write such a file, of what there is now.",
    )
    return known(write(function))


def judging_given(options: dict[str, Any]) -> Judging | None:
    """What these options and the project say of findings, taken out of ``options``."""
    given = {name: options.pop(name, None) for name in ("baseline", "write_baseline")}
    if not any(given.values()) and PROJECT_META not in click.get_current_context().meta:
        return None
    from relokit.cli.projects import judging_of

    return judging_of(given)


def report_option(function: F) -> F:
    """Add ``--report``."""
    return click.option(
        "--report",
        type=OutputFile(),
        metavar="FILE",
        help="Write what came of it to this file: one HTML page, which loads nothing.",
    )(function)


def results_options(function: F) -> F:
    """Add them; the command takes them out of its options by :func:`wanted_results`."""
    output = click.option(
        "-o",
        "--output",
        type=OutputFile(),
        metavar="FILE",
        help="With --format: write that to this file, and tell people on standard output.",
    )
    form = click.option(
        "--format",
        "form",
        type=click.Choice(RESULT_FORMATS),
        help="Results for CI (docs/ci.md): JUnit XML, SARIF 2.1.0, annotations of GitHub, KTAP.",
    )
    return form(output(function))


def timings_option(function: F) -> F:
    """Add ``--timings``, where the results of :func:`results_options` have some."""
    return click.option(
        "--timings",
        is_flag=True,
        help="With --format junit or ktap: how long it took this host, which differs each time.",
    )(function)


def wanted_results(options: dict[str, Any]) -> WantedResults | None:
    """What these options say, taken out of ``options``; None without a format."""
    form, output = options.pop("form"), options.pop("output")
    timings = options.pop("timings", False)
    if form is None:
        return None
    from relokit.cli.results.wanted import WantedResults

    command = click.get_current_context().command_path
    return WantedResults(command, form, output, timings)


def sources_given(options: Mapping[str, Any]) -> tuple[Path, ...]:
    """Templates and code of the user's among the options: what a finding may have its place in."""
    given = (
        options.get("templates"),
        options.get("include_dir"),
        *(options.get("code_from") or ()),
    )
    return tuple(Path(one) for one in given if one is not None)
