"""The rules as text: one in full, or a list of them."""

from __future__ import annotations

import textwrap

from relokit.cli.terminal.output import WIDTH
from relokit.explanations import Explanation, Explanations

LABEL_WIDTH = 15


def explained(rule: Explanation) -> str:
    """All there is to say of ``rule``."""
    rows = (
        ("must hold", rule.must),
        ("if it does not", rule.consequence),
        ("probable cause", rule.cause),
        ("right code", rule.hint),
        ("source", rule.source),
        ("does not bite", _spared(rule)),
        ("tried", None if rule.executed else "on records made by hand: nothing emulated has it"),
    )
    return "\n".join(
        [f"{rule.rule} ({rule.severity})", *(_row(name, text) for name, text in rows if text)]
    )


def _spared(rule: Explanation) -> str | None:
    return f"on a CPU with {' or '.join(rule.spared_by)}" if rule.spared_by else None


def listed(found: Explanations) -> str:
    """A line for each rule."""
    width = max(len(rule.rule) for rule in found.rules)
    return "\n".join(
        f"{rule.rule:<{width}}  {rule.severity:<7}  {rule.must}" for rule in found.rules
    )


def _row(name: str, text: str) -> str:
    indent = "  " + " " * LABEL_WIDTH
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=f"  {name:<{LABEL_WIDTH}}",
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
