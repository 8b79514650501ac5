"""``relokit templates``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import click

from relokit.cli.once import Command
from relokit.cli.options import force_option, json_option
from relokit.cli.overwriting import may_overwrite
from relokit.cli.parameters import OutputDirectory
from relokit.cli.terminal.output import emit, emit_json, plain_lines
from relokit.codegen.base.errors import RelokitError
from relokit.codegen.base.nouns import dataclass


@dataclass(frozen=True, slots=True)
class BuiltInTemplates:
    """The names of all of them, as ``--templates`` knows them, and what was copied."""

    SCHEMA: ClassVar[str] = "relokit.templates/1"

    templates: tuple[str, ...]
    copied: tuple[str, ...]


@click.command(
    "templates",
    cls=Command,
    help="List the built-in templates, or copy them to change one, which then wins.",
    epilog="Example:  relokit templates --copy mine;  edit mine/relocate_kernel.S.j2;  "
    "relokit run --templates mine.",
)
@click.option(
    "--copy",
    type=OutputDirectory(),
    metavar="DIR",
    help="Copy all of them there; the directory is made if it is not there.",
)
@force_option
@json_option
def command(copy: Path | None, force: bool, as_json: bool, **_: Any) -> int:
    """List or copy; all files, or none."""
    if force and copy is None:
        raise click.UsageError("--force is of --copy, which is not there")
    from relokit.codegen.base.atomic import write_together
    from relokit.codegen.built_in import built_in_templates

    texts = built_in_templates()
    copied: tuple[str, ...] = ()
    if copy is not None:
        written = write_together(copy, texts, may_overwrite(force))
        if not written:
            raise RelokitError("left as they are", where=str(copy))
        copied = tuple(map(str, written))
    if as_json:
        emit_json(BuiltInTemplates(tuple(texts), copied))
    else:
        emit(plain_lines(copied or texts))
    return 0
