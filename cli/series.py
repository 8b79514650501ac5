"""``relokit series``."""

from __future__ import annotations

import click

from relokit.cli.options import json_option
from relokit.codegen.series import PATCHES


@click.command("series", help="List the fifteen patches and what each changes.")
@json_option
def command(as_json: bool) -> int:
    """Print the table of the series."""
    if as_json:
        import json

        rows = [
            {"number": patch.number, "subject": patch.subject, "change": patch.change}
            for patch in PATCHES
        ]
        click.echo(json.dumps({"patches": rows}, indent=2))
        return 0
    for patch in PATCHES:
        click.echo(f"{patch.number:>2}  {patch.subject}")
        click.echo(f"    {patch.change}")
    return 0
