"""``relokit generate``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from relokit.cli.options import json_option, make_target, target_options


@click.command("generate", help="Write the rendered assembly, the ld script and a Makefile.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="Directory to write to; made if it is not there.",
)
@target_options
@json_option
def command(output: Path, as_json: bool, **options: Any) -> int:
    """Render, and write all or nothing."""
    templates = options.pop("templates")
    target = make_target(options)

    from relokit.facade import generate

    written = generate(output, target, templates=templates)
    if as_json:
        import json

        click.echo(json.dumps({"target": target.name, "files": [str(path) for path in written]}))
    else:
        for path in written:
            click.echo(path)
        click.echo(f"build it with: make -C {output} CROSS_COMPILE=aarch64-linux-gnu-")
    return 0
