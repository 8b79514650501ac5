"""``--format``, ``--output`` and ``--timings``: results as CI takes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from relokit.cli.parameters import OutputFile

if TYPE_CHECKING:
    from relokit.cli.results.wanted import WantedResults

F = TypeVar("F", bound=Callable[..., Any])

RESULT_FORMATS = ("junit", "sarif", "github", "ktap")


def results_options(function: F) -> F:
    """Add them; the command takes them out of its options by :func:`wanted_results`."""
    timings = click.option(
        "--timings",
        is_flag=True,
        help="With --format junit or ktap: how long it took this host, which differs each time.",
    )
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
    return form(output(timings(function)))


def wanted_results(options: dict[str, Any]) -> WantedResults | None:
    """What these options say, taken out of ``options``; None without a format."""
    form, output, timings = (options.pop(name) for name in ("form", "output", "timings"))
    if form is None:
        return None
    from relokit.cli.results.wanted import WantedResults

    command = click.get_current_context().command_path
    return WantedResults(command, form, output, timings)


def sources_given(options: Mapping[str, Any]) -> tuple[Path, ...]:
    """Templates and code of the user's among the options: what a finding may have its place in."""
    given = (options.get("templates"), *(options.get("code_from") or ()))
    return tuple(Path(one) for one in given if one is not None)
