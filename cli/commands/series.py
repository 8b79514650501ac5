"""``relokit series``."""

from __future__ import annotations

from typing import Any

import click

from relokit.cli.exit_codes import EXIT_OF
from relokit.cli.once import Command
from relokit.cli.options import (
    cache_option,
    every_state_options,
    json_option,
    make_target,
    some_job_options,
)
from relokit.cli.terminal.output import emit_json
from relokit.codegen.base.errors import RelokitError
from relokit.codegen.series import COMPLETE, parse_state
from relokit.runtime.kexec.job import Job, KexecPath


class PatchNumber(click.ParamType[int]):
    """A patch of the series, 1 to 15; ``complete`` is the last."""

    name = "patch"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            # No longer than any number of a patch: Python refuses to convert thousands of digits.
            number = parse_state(str(value)[:20])
        except RelokitError:
            self.fail(f"no patch {str(value)[:20]!r}; give 1 to {COMPLETE}, or 'complete'")
        if number == 0:
            self.fail(f"no patch leads to the state before the series; give 1 to {COMPLETE}")
        return number


@click.command(
    "series",
    cls=Command,
    help="The fifteen patches with measured evidence; or one of them from every side.",
)
@click.argument("number", type=PatchNumber(), required=False, metavar="[N]")
@some_job_options("--kernel", "--size", "--path")
@every_state_options
@cache_option
@json_option
def command(as_json: bool, number: int | None, **options: Any) -> int:
    """Arguments in, one call of the facade, a view out; exit code 1 if a state fails its run."""
    from relokit.linker.kernel.opened import Files

    files = Files()
    target = make_target(options | {"series": COMPLETE}, files)
    job = Job(
        kernel=options["kernel"],
        size=options["size"],
        path=KexecPath(options["path"]),
        templates=options["templates"],
    )

    from relokit.cli.terminal.view import Bars
    from relokit.survey import Survey, patch_report, survey

    if number is None:
        states = []
        with Bars() as bars:
            for state in survey(target, job, files):
                states.append(state)
                bars.progress("Building and running every state", state.number, COMPLETE)
        found = Survey(tuple(states))
        if as_json:
            emit_json(found)
        else:
            from relokit.cli.terminal.series_view import survey_text
            from relokit.cli.terminal.view import emit_fitted

            emit_fitted(survey_text(target, states))
        return EXIT_OF[found.status]
    report = patch_report(number, target, job, files)
    if as_json:
        emit_json(report)
    else:
        from relokit.cli.terminal.series_view import patch_text
        from relokit.cli.terminal.view import emit_fitted

        emit_fitted(patch_text(report))
    return EXIT_OF[report.status]
