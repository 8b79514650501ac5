"""``relokit series``."""

from __future__ import annotations

import click

from relokit.cli.options import json_option
from relokit.cli.output import emit, emit_json
from relokit.codegen.series import PATCHES


@click.command("series", help="List the fifteen patches and what each changes.")
@json_option
def command(as_json: bool) -> int:
    """Print the table of the series."""
    if as_json:
        rows = [
            {"number": patch.number, "subject": patch.subject, "change": patch.change}
            for patch in PATCHES
        ]
        emit_json({"patches": rows})
    else:
        rows_of_text = (f"{p.number:>2}  {p.subject}\n    {p.change}" for p in PATCHES)
        emit("\n".join(rows_of_text))
    return 0
