"""The history of ratios: ``python bench/history.py build/bench.json`` enters a run of the suite.

docs/bench-history.json has an entry a commit: its hash, its date, and the ratios that were measured
in one run of it. No absolute time is kept: those are of a machine, ratios are of the code.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from page import DOCS

HISTORY = DOCS / "bench-history.json"


def main(arguments: list[str]) -> int:
    """Enter one document; 2 for what is none, or is of no commit."""
    try:
        (path,) = arguments
        measured = json.loads(Path(path).read_text())
        entries = json.loads(HISTORY.read_text()) if HISTORY.exists() else []
        text = shown(entered(entries, measured))
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"history: {error}; it takes one file, of bench/suite.py --json", file=sys.stderr)
        return 2
    HISTORY.write_text(text)
    return 0


def entered(entries: list[dict[str, Any]], measured: dict[str, Any]) -> list[dict[str, Any]]:
    """``entries`` with the ratios of ``measured``: by date, those of one commit together."""
    of = measured["of"]
    if of["changed"] or of["commit"] is None:
        raise ValueError("what was measured is no commit: commit the changes, and measure again")
    ratios = {
        f"{table['name']}: {row['name']}: {name}": ratio
        for table in measured["tables"]
        for row in table["rows"]
        for name, ratio in row["ratios"].items()
    }
    before = [one for one in entries if one["commit"] == of["commit"]]
    for one in before:
        ratios = one["ratios"] | ratios
    others = [one for one in entries if one["commit"] != of["commit"]]
    entry = {"commit": of["commit"], "date": of["date"], "ratios": ratios}
    return sorted([*others, entry], key=lambda one: str(one["date"]))


def shown(entries: list[dict[str, Any]]) -> str:
    """As the file has it: a ratio a line, so that a change of one is a change of a line."""
    return json.dumps(entries, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
