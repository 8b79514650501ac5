"""The benchmark's JSON as text, and as docs/benchmarks.json and the tables of docs/benchmarks.md.

    python bench/suite.py --json > build/bench.json
    python bench/page.py build/bench.json

A table of the page stands between ``<!-- bench: NAME -->`` and ``<!-- end -->``. What was measured
of a part alone takes the place of that part's tables; all others stay.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE, KEPT = DOCS / "benchmarks.md", DOCS / "benchmarks.json"
PLACE = re.compile(r"(<!-- bench: (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)


def main(arguments: list[str]) -> int:
    """Take one document into the page; 2 for what is none."""
    try:
        (path,) = arguments
        measured = json.loads(Path(path).read_text())
        before = json.loads(KEPT.read_text()) if KEPT.exists() else {"tables": []}
        document = merged(before, measured)
        page = filled(PAGE.read_text(), document)
    except (OSError, ValueError, KeyError, TypeError) as error:
        what = f"{type(error).__name__}: {error}"
        print(f"page: {what}; it takes one file, of bench/suite.py --json", file=sys.stderr)
        return 2
    KEPT.write_text(kept(document))
    PAGE.write_text(page)
    return 0


def merged(before: dict[str, Any], measured: dict[str, Any]) -> dict[str, Any]:
    """``before`` with the tables of ``measured`` in place of those with their names."""
    own = {key: measured[key] for key in ("of", "host", "rounds")}
    new = {table["name"]: table | own for table in measured["tables"]}
    stay = [new.pop(table["name"], table) for table in before["tables"]]
    return {"tables": [*stay, *new.values()]}


def kept(document: dict[str, Any]) -> str:
    """As docs/benchmarks.json has it: a table a line."""
    lines = ",\n".join(json.dumps(table) for table in document["tables"])
    return f'{{"tables": [\n{lines}\n]}}\n'


def plain(document: dict[str, Any]) -> str:
    """All tables, as a terminal shows them."""
    return "\n\n".join(_aligned(cells(table)) for table in document["tables"])


def filled(page: str, document: dict[str, Any]) -> str:
    """The page with the tables of ``document``; ValueError for one that has no place in it."""
    tables = {table["name"]: table for table in document["tables"]}

    def table(found: re.Match[str]) -> str:
        one = tables.pop(found[2], None)
        return found[0] if one is None else f"{found[1]}{_markdown(one)}\n{found[3]}"

    page = PLACE.sub(table, page)
    if tables:
        raise ValueError(f"{PAGE.name} has no place for the table {next(iter(tables))!r}")
    return page


def cells(table: dict[str, Any]) -> list[tuple[str, ...]]:
    """Head and rows: a column for each that was measured, the bounds at the end."""
    columns = list(dict.fromkeys(name for row in table["rows"] for name in row["median"]))
    note = f" ({table['note']})" if table["note"] else ""
    bounded = any(row["bounds"] for row in table["rows"])
    found = [(f"{table['name']}{note}", *columns, *(("bounds",) if bounded else ()))]
    for row in table["rows"]:
        numbers = [_shown(row["median"][name]) if name in row["median"] else "" for name in columns]
        bounds = "; ".join(one["text"] for one in row["bounds"])
        name = f"{row['name']}, {row['unit']}"
        found.append((name, *numbers, *((bounds,) if bounded else ())))
    return found


def _markdown(table: dict[str, Any]) -> str:
    head, *rows = cells(table)
    alignment = ("---", *("---" if one == "bounds" else "---:" for one in head[1:]))
    lines = [f"| {' | '.join(row)} |" for row in (head, alignment, *rows)]
    of = table["of"]
    commit = of["commit"][:10] if of["commit"] else "no commit"
    what = f"{commit} of {of['date']}" + (", and changes to it" if of["changed"] else "")
    host = table["host"]
    where = f"{host['machine']} with {host['cores']} cores, CPython {host['python']}"
    return "\n".join([*lines, "", f"Of {what}: medians of {table['rounds']} rounds, {where}."])


def _shown(value: float) -> str:
    """Three digits, no exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _aligned(rows: list[tuple[str, ...]]) -> str:
    """The first column to the left, numbers to the right, bounds as they come."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    bounded = rows[0][-1] == "bounds"
    lines = []
    for row in rows:
        shown = [row[0].ljust(widths[0])]
        shown += [one.rjust(width) for one, width in zip(row[1:], widths[1:], strict=True)]
        if bounded:
            shown[-1] = row[-1]
        lines.append("  ".join(shown).rstrip())
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
