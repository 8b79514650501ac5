"""Functions of two whole kernels that differ, as CSV and as a Markdown table."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from io import StringIO

from relokit.cli.terminal.output import plain

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """RFC 4180, but for the end of the lines. A name that a spreadsheet would take for a formula
    has an apostrophe before it.
    """
    out = StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    for name, *rest in rows:
        writer.writerow([f"'{plain(name)}" if name.startswith(_FORMULA) else plain(name), *rest])
    return out.getvalue().rstrip("\n")


def markdown_text(
    columns: Sequence[str], rows: Iterable[Sequence[str]], notes: Iterable[str] = ()
) -> str:
    """A table, and ``notes`` behind it; names are code, and end none."""
    lines = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    for name, *rest in rows:
        shown = plain(name).replace("`", "'").replace("|", "\\|")
        lines.append(f"| `{shown}` | {' | '.join(rest)} |")
    lines += [f"\n{plain(note)}" for note in notes]
    return "\n".join(lines)
