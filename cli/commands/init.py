"""``relokit init``."""

from __future__ import annotations

from pathlib import Path

import click

from relokit.cli.once import Command
from relokit.cli.options import force_option
from relokit.cli.overwriting import may_overwrite
from relokit.cli.terminal.output import emit
from relokit.codegen.base.errors import RelokitError


@click.command(
    "init",
    cls=Command,
    help="Write a relokit.toml, all of it commented out, which says what relokit does in this "
    "directory: options, thresholds, severities, findings that are accepted.",
)
@click.option("--print", "shown", is_flag=True, help="Print it, and write nothing.")
@force_option
def command(shown: bool, force: bool) -> int:
    """One file, not written over unasked."""
    from relokit.project.project_file import EXAMPLE, NAME

    if shown:
        if force:
            raise click.UsageError("--print writes nothing: leave --force out")
        emit(EXAMPLE.rstrip("\n"))
        return 0
    from relokit.codegen.base.atomic import write_together

    if not write_together(Path(), {NAME: EXAMPLE.encode()}, may_overwrite(force)):
        raise RelokitError("left as it is", where=NAME)
    emit(f"{NAME}: docs/projects.md says what can stand there")
    return 0
