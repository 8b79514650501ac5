"""``relokit judge``."""

from __future__ import annotations

from pathlib import Path

import click

from relokit.cli.options import (
    INPUT_FILE,
    check_verbose,
    json_option,
    profile_option,
    strict_option,
    verbose_option,
)
from relokit.cli.terminal.output import emit, emit_json


@click.command("judge", help="Judge a trace of 'run --trace' without running.")
@click.argument("file", type=INPUT_FILE)
@strict_option
@profile_option
@verbose_option
@json_option
def command(file: Path, strict: bool, profile: str | None, verbose: bool, as_json: bool) -> int:
    """A file in, one call of the facade, a view out; the result is the exit code."""
    check_verbose(as_json, verbose)
    from relokit.cli.terminal.view import summary
    from relokit.facade import judge

    outcome = judge(file, strict=strict, profile=profile)
    if as_json:
        emit_json(outcome)
    else:
        assert outcome.trace is not None
        emit(summary(outcome.trace.of, outcome, verbose=verbose))
    return 0 if outcome.passed else 1
