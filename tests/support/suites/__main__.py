"""``make suites``: docs/suites.json and docs/suites.md, made by comparing every file."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from relokit.codegen.gas.instructions.encoder import Encoder
from relokit.source_digest import tools_digest
from support.suites import sources
from support.suites.outcomes import WRONG, Outcome
from support.suites.survey import Found, assembled, everything, linked

DOCS = Path(__file__).resolve().parents[3] / "docs"
COMMAND = "make suites"
_COLUMNS = {
    Outcome.SAME: "same",
    Outcome.BOTH: "both refuse",
    Outcome.REFUSED: "refused by name",
    Outcome.DIFFERENT: "different",
    Outcome.ACCEPTED: "accepted though GNU refuses",
    Outcome.SPLIT: "GNU has no answer",
}

_PAGE = """# GNU's and LLVM's own test files

`{command}` takes the test suites of GNU as, GNU ld, llvm-mc and lld out of Debian's source packages
(they are never committed), gives every file to GNU as or ld and to relokit, and compares what they
make of it. This page and `suites.json` are what it found; `different` and `accepted though GNU
refuses` have to be 0. A test tries one file in twelve, chosen by the digest of its name, and every
file that was once wrong (`tests/support/suites/once_wrong.py`).

Packages: {versions}.

| {head} |
|---|{rule}
{rows}

- **gas, llvm**: sections with type, flags, alignment and bytes, relocations and symbols of a file.
  Both assemble for a processor that has everything: `.arch`, `.cpu` and `.arch_extension` are
  blanked. What GNU as makes of `.cfi`, `.loc` and `.ident` does not count.
- **each instruction**: every instruction in the files of this processor, by itself.
- **ld-scripts, ld-elf, ld-aarch64, lld**: every script with its own sources and with a small one of
  ours, assembled by GNU as for GNU ld and by ours for ours; sections with addresses and bytes,
  symbols with their sections, and the entry.
- **refused by name** is mostly SVE, SME, later vector instructions, thread-local storage, dynamic
  linking and `SIZEOF_HEADERS`.
- **GNU has no answer**: no one processor has all of a file, or GNU ld cannot write what it linked.
"""


def document(found: list[Found]) -> dict[str, object]:
    """Counts by suite, what they are of, and what is wrong."""
    counts: dict[str, Counter[Outcome]] = {}
    for one in found:
        counts.setdefault(one.suite, Counter())[one.answer.outcome] += 1
    return {
        "command": COMMAND,
        "code": tools_digest().hex(),
        "packages": {
            "binutils-aarch64-linux-gnu": _asked(),
            "binutils-source": sources.BINUTILS,
            "llvm-toolchain-14": sources.LLVM,
        },
        "suites": {
            suite: {outcome.value: row[outcome] for outcome in _COLUMNS}
            for suite, row in counts.items()
        },
        "wrong": sorted(
            f"{one.name}: {one.answer.why}" for one in found if one.answer.outcome in WRONG
        ),
    }


def page(found: dict[str, object]) -> str:
    """docs/suites.md, of the document."""
    suites, packages = found["suites"], found["packages"]
    assert isinstance(suites, dict)
    assert isinstance(packages, dict)
    head = " | ".join(("suite", *_COLUMNS.values()))
    rows = [
        f"| {suite} | {' | '.join(str(row[outcome.value]) for outcome in _COLUMNS)} |"
        for suite, row in suites.items()
    ]
    versions = ", ".join(f"{name} {version}" for name, version in packages.items())
    return _PAGE.format(
        command=COMMAND,
        versions=versions,
        head=head,
        rule="---|" * len(_COLUMNS),
        rows="\n".join(rows),
    )


def _asked() -> str:
    query = ["dpkg-query", "-W", "-f", "${Version}", "binutils-aarch64-linux-gnu"]
    return subprocess.run(query, capture_output=True, text=True, check=True).stdout


def main() -> int:
    """Compare everything, write the two files; 1 if anything is wrong."""
    with tempfile.TemporaryDirectory() as name, Encoder() as encoder:
        work = Path(name)
        found = [*assembled(everything, work, encoder), *linked(everything, work, encoder)]
    made = document(found)
    (DOCS / "suites.json").write_text(json.dumps(made, indent=1) + "\n")
    (DOCS / "suites.md").write_text(page(made))
    print("\n".join([str(made["suites"]), *made["wrong"]]))  # type: ignore[misc]
    return 1 if made["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
