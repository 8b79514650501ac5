"""``relokit explain``."""

from __future__ import annotations

import click

from relokit.cli.once import Command
from relokit.cli.options import json_option
from relokit.cli.terminal.output import emit_json


@click.command(
    "explain",
    cls=Command,
    help="What a rule asks for, why, and what mends it. RULE is a name such as caches.discard, or "
    "a subject such as caches; without it, all rules are listed.",
)
@click.argument("rule", required=False)
@json_option
def command(rule: str | None, as_json: bool) -> int:
    """Arguments in, one call of the facade, a view out; the result is the exit code."""
    from relokit.explanations import explain

    found = explain(rule)
    if as_json:
        emit_json(found)
    else:
        from relokit.cli.terminal.explain_view import explained, listed
        from relokit.cli.terminal.view import emit_fitted

        emit_fitted(explained(found.rules[0]) if rule == found.rules[0].rule else listed(found))
    return 0
