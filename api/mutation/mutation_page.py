"""The committed campaign: what ``make mutants`` found, as a document and a page of the docs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from relokit.source_digest import source_digest

COMMAND = "make mutants"
_ROWS = ("killed", "right", "survived", "equivalent", "harmless", "warned", "no_answer")


def summary(report: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of ``relokit mutate --json``, and the digest of the code that found it."""
    missed = [one for one in report["survivors"] if "equivalent" not in one]
    return {
        "command": COMMAND,
        "code": source_digest().hex(),
        "targets": [one["target"] for one in report["targets"]],
        **{key: report[key] for key in ("all", "routines", "operators", "rules", "places")},
        "missed": [
            {key: one[key] for key in ("target", "id", "text", "warnings") if key in one}
            for one in missed
        ],
    }


def page(found: Mapping[str, Any]) -> str:
    """The same for people."""
    return "\n".join(_lines(found)) + "\n"


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    row = found["all"]
    everything = row["killed"] + row["survived"] + row["no_answer"]
    different = everything - row["equivalent"]
    yield "# The committed campaign"
    yield ""
    yield (
        f"Made by `{COMMAND}` of the code with the digest `{found['code'][:16]}`; a test says when "
        "that is old. What the words mean: [mutation.md](mutation.md)."
    )
    yield ""
    yield f"- {everything:,} mutants of {', '.join(f'`{one}`' for one in found['targets'])}."
    yield (
        f"- {row['killed']:,} killed: {row['killed'] / everything:.1%} of all, "
        f"**{row['killed'] / different:.1%}** without the {row['equivalent']:,} that are no "
        "mistakes."
    )
    told = row["killed"] + row["warned"] + row["harmless"]
    yield (
        f"- Of {row['warned']:,} more, and of {row['harmless']:,} that are no mistakes, a rule "
        f"warns: with `--strict`, {told / (different + row['harmless']):.1%} of what can be told "
        "are."
    )
    yield (f"- {row['right'] / max(row['killed'], 1):.1%} of the killed at the right place.")
    for what in ("routines", "operators"):
        yield ""
        yield f"| {what} | mutants | {' | '.join(_ROWS)} |".replace("_", " ")
        yield f"|---|{'---|' * (len(_ROWS) + 1)}"
        for name, counts in found[what].items():
            total = counts["killed"] + counts["survived"] + counts["no_answer"]
            yield f"| `{name}` | {total} | {' | '.join(str(counts[key]) for key in _ROWS)} |"
    yield ""
    yield "| killed first by | |"
    yield "|---|---|"
    yield from (f"| `{rule}` | {count} |" for rule, count in found["rules"].items())
    yield ""
    yield "Missed, and not warned of:"
    yield ""
    quiet = [one for one in found["missed"] if "warnings" not in one]
    yield from (f"- {one['id'].split('/')[0]}: `{one['text']}`" for one in quiet)


if __name__ == "__main__":
    kept = summary(json.load(sys.stdin))
    docs = Path(sys.argv[1])
    (docs / "mutants.json").write_text(json.dumps(kept, indent=1) + "\n")
    (docs / "mutants.md").write_text(page(kept))
