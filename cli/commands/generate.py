"""``relokit generate``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any, ClassVar

import click

from relokit.cli.idle import refuse_idle
from relokit.cli.once import Command
from relokit.cli.options import force_option, json_option, make_target, target_options
from relokit.cli.overwriting import may_overwrite
from relokit.cli.parameters import OutputDirectory
from relokit.cli.terminal.output import emit, emit_json, plain_lines
from relokit.codegen.base.errors import RelokitError
from relokit.codegen.base.nouns import dataclass


@dataclass(frozen=True, slots=True)
class Generated:
    """For which target what was written, in that order."""

    SCHEMA: ClassVar[str] = "relokit.generate/1"

    target: str
    files: tuple[str, ...]


@click.command(
    "generate", cls=Command, help="Write the rendered assembly, the ld script and a Makefile."
)
@click.option(
    "-o",
    "--output",
    type=OutputDirectory(),
    required=True,
    metavar="DIR",
    help="Directory to write to; made if it is not there.",
)
@force_option
@target_options
@json_option
def command(output: Path, force: bool, as_json: bool, **options: Any) -> int:
    """Render, and write all or nothing."""
    refuse_idle()
    templates = options.pop("templates")
    from relokit.linker.kernel.opened import Files

    target = make_target(options, Files())

    from relokit.facade import generate

    paths = generate(output, target, templates=templates, may_overwrite=may_overwrite(force))
    if not paths:
        raise RelokitError("left as they are", where=str(output))
    written = [str(path) for path in paths]
    if as_json:
        emit_json(Generated(target.name, tuple(written)))
    else:
        make = f"make -C {shlex.quote(str(output))} CROSS_COMPILE=aarch64-linux-gnu-"
        emit(plain_lines([*written, f"build it with: {make}"]))
    return 0
