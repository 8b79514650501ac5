"""The record of a campaign: docs/fuzz.json, and its table in docs/fuzz.md."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fuzz.campaign import Told
from fuzz.door import Door

DOCS = Path(__file__).parents[2] / "docs"
DOCUMENT, PAGE = DOCS / "fuzz.json", DOCS / "fuzz.md"
BEGIN, END = "<!-- made by `make fuzz` with --record -->\n", "<!-- end -->"


def commit() -> str:
    """The commit that is tried; SystemExit where what is tried is none."""
    changed = _git("status", "--porcelain", "--untracked-files=no")
    if changed:
        raise SystemExit(f"not committed, and a record names its commit:\n{changed}")
    return _git("rev-parse", "HEAD")


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=DOCS, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def document(
    of: str, seed: int, asked: int, doors: Sequence[Door], told: Mapping[str, Told]
) -> dict[str, Any]:
    """What a campaign came to; ``asked`` is how many cases it was to have."""
    rows = [
        {
            "door": door.name,
            "what": door.what,
            "cases": one.cases,
            "seconds": round(one.seconds, 1),
            "answers": dict(sorted(one.answers.items())),
            "findings": [
                {"how": how, "place": place, "cases": [kept.number for kept in same]}
                for (how, place), same in one.findings.items()
            ],
        }
        for door in doors
        for one in (told[door.name],)
    ]
    whole = {
        "commit": of,
        "seed": seed,
        "asked": asked,
        "cases": sum(row["cases"] for row in rows),
        "seconds": round(sum(row["seconds"] for row in rows), 1),
    }
    return whole | {"doors": rows}


def table(found: Mapping[str, Any]) -> str:
    """The document as a page has it."""
    lines = [
        f"Commit `{found['commit'][:12]}`, seed {found['seed']}: {found['cases']:,} cases of "
        f"{found['asked']:,} asked for, {found['seconds']:,.0f} s of CPU time.",
        "",
        "| door | what comes in | cases | CPU s | taken | refused | findings |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in found["doors"]:
        answers = row["answers"]
        taken, wrong = answers.get("taken", 0), answers.get("finding", 0)
        refused = sum(answers.values()) - taken - wrong
        kinds = len(row["findings"])
        said = f"{kinds} ({wrong:,} cases)" if kinds else "0"
        lines.append(
            f"| {row['door']} | {row['what']} | {row['cases']:,} | {row['seconds']:,.1f} "
            f"| {taken:,} | {refused:,} | {said} |"
        )
    return "\n".join(lines) + "\n"


def with_table(text: str, found: Mapping[str, Any]) -> str:
    """The page ``text`` with the table of ``found``."""
    before, begin, rest = text.partition(BEGIN)
    assert begin, f"{PAGE} has no place for the table"
    return f"{before}{begin}{table(found)}{END}{rest.partition(END)[2]}"


def write(found: Mapping[str, Any]) -> None:
    """Put ``found`` into docs/."""
    DOCUMENT.write_text(json.dumps(found, indent=1) + "\n")
    PAGE.write_text(with_table(PAGE.read_text(), found))
