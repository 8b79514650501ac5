"""The benchmark's JSON as text, and as the tables of docs/benchmarks.md.

    python bench/suite.py --json > build/bench.json
    python bench/page.py build/bench.json

A table of the page stands between ``<!-- bench: NAME -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"
MIB = 1 << 20
STAGES = ("Before and after", "before", "after", "ratio", "bounds, and beside it")


def plain(document: dict[str, Any]) -> str:
    """All tables, as a terminal shows them."""
    return "\n\n".join(_aligned(head, rows) for head, rows in _tables(document))


def filled(page: str, document: dict[str, Any]) -> str:
    """The page with the tables that the document has in place of the old ones."""
    for head, rows in _tables(document):
        cells = [head, ("---", *("---:" for _ in head[1:])), *rows]
        text = "\n".join(f"| {' | '.join(row)} |" for row in cells)
        # Which two kernels those are, and how much was moved, is in the heading only.
        name = re.split(r" of \d| \(", head[0])[0]
        place = re.compile(rf"(<!-- bench: {re.escape(name)} -->\n).*?(<!-- end -->)", re.DOTALL)
        page, count = place.subn(lambda found, text=text: f"{found[1]}{text}\n{found[2]}", page)
        if not count:
            raise ValueError(f"{PAGE.name} has no place for the table {name!r}")
    return page


def _tables(document: dict[str, Any]) -> Iterator[tuple[tuple[str, ...], list[tuple[str, ...]]]]:
    """Heads and rows: the two stages, then each group of measurements."""
    if "stages" in document:
        yield STAGES, [_stage_row(row) for row in document["stages"]["rows"]]
    for group, measured in groupby(document["measurements"], key=lambda one: one["group"]):
        yield (group, "median ms", "least", "most", "MiB/s"), [_row(one) for one in measured]


def _stage_row(row: dict[str, Any]) -> tuple[str, ...]:
    values = row["median"]
    remarks = [
        ("" if one["against"] == "before" else f"{one['ratio']:.2f} of {one['against']}, ")
        + f"at {'least' if one['more'] else 'most'} {one['bound']:.2f}: "
        + ("kept" if one["kept"] else "MISSED")
        for one in row["bounds"]
    ]
    remarks += [f"{name} {values[name]:.3g}" for name in values if name not in ("before", "after")]
    return (
        f"{row['name']}, {row['unit']}",
        f"{values['before']:.3g}",
        f"{values['after']:.3g}",
        f"{row['ratio']:.2f}",
        "; ".join(remarks),
    )


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    times = (one["median"], min(one["seconds"]), max(one["seconds"]))
    rate = f"{one['bytes_per_second'] / MIB:.0f}" if "bytes" in one else ""
    return (one["name"], *(f"{value * 1000:.2f}" for value in times), rate)


def _aligned(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """The first column to the left, numbers to the right, remarks as they come."""
    widths = [max(len(row[at]) for row in (head, *rows)) for at in range(len(head))]
    lines = []
    for row in (head, *rows):
        first, *numbers, last = row
        middle = " ".join(
            f"{text:>{width}}" for text, width in zip(numbers, widths[1:-1], strict=True)
        )
        lines.append(f"{first:{widths[0]}} {middle}  {last}".rstrip())
    return "\n".join(lines)


if __name__ == "__main__":
    measured = json.loads(Path(sys.argv[1]).read_text())
    PAGE.write_text(filled(PAGE.read_text(), measured))
