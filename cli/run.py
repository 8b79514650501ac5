"""``relokit run``."""

from __future__ import annotations

from typing import Any

import click

from relokit.cli.options import job_options, json_option, make_job, make_target, target_options


@click.command("run", help="Build the relocation, run it in a machine and judge the hand-over.")
@job_options
@target_options
@click.option(
    "--boot",
    type=click.FloatRange(0, 600, min_open=True),
    metavar="SECONDS",
    help="Let the new kernel run on and show its console. [default: 5 for the demo kernel]",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0, 3600, min_open=True),
    default=120.0,
    show_default=True,
    metavar="SECONDS",
    help="Give up on the relocation after this long.",
)
@click.option(
    "--max-instructions",
    type=click.IntRange(1),
    default=1 << 40,
    metavar="N",
    help="Give up on the relocation after this many instructions.",
)
@json_option
def command(as_json: bool, **options: Any) -> int:
    """Arguments in, one call of the facade, a view out; the result is the exit code."""
    target = make_target(options)
    boot = options.pop("boot")
    if boot is None and options["kernel"] is None and options["size"] is None:
        boot = 5.0
    job = make_job(options, boot=boot, **options_left(options))

    from relokit.facade import run

    if as_json:
        import json

        outcome = run(target, job)
        click.echo(json.dumps(outcome.to_json(), indent=2))
    else:
        from relokit.cli.view import RunView

        with RunView(target, job) as view:
            outcome = run(target, job, progress=view.progress)
        view.show(outcome)
    return 0 if outcome.passed else 1


def options_left(options: dict[str, Any]) -> dict[str, Any]:
    """The limits, which Job takes by the same names."""
    return {name: options.pop(name) for name in ("timeout", "max_instructions")}
