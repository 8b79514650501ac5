"""The matrix before and after, cell by cell: ``python bench/verdicts.py [MATRIX OPTIONS ...]``.

Both stages run the same cells, with the templates as they are and then with each of SPOILS in
them, so that it is not only compared what passes. A cell's verdict is its status and, if it does
not pass, its first finding's rule: with a warning it passes. Cells that the first stage does not
have, or calls unsupported, are reported apart. The exit code is 1 where a verdict differs or a cell
is gone, 2 where they cannot be compared.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from measurement import progress
from stages import Installation, installed
from usage import BenchError

PASS = "pass"
UNSUPPORTED = "unsupported"
SHOWN = 20
LOAD = "\tldr\tx28, [x0"


@dataclass(frozen=True)
class Spoil:
    """A fault put into a template: text that both stages have, and what stands there instead."""

    name: str
    template: str
    old: str
    new: str


SPOILS = (
    Spoil("x1 is not zero", "relocate_kernel.S.j2", "\tmov\tx1, xzr\n", "\tmov\tx1, #1\n"),
    Spoil("x2 is not zero", "relocate_kernel.S.j2", "\tmov\tx2, xzr\n", "\tmov\tx2, #9\n"),
    Spoil("a word is undefined", "relocate_kernel.S.j2", LOAD, f"\tudf\t#7\n{LOAD}"),
    Spoil(
        "a page is copied beside its place",
        "relocate_kernel.S.j2",
        "{{ copy_page(",
        "\tadd\tx12, x12, #8\n{{ copy_page(",
    ),
)


@dataclass(frozen=True)
class CellVerdict:
    """Status of a cell, and the rule that it does not pass by."""

    status: str
    rule: str | None

    def __str__(self) -> str:
        return self.status if self.rule is None else f"{self.status} ({self.rule})"


Verdicts = dict[str, CellVerdict]


def verdicts(document: dict[str, Any]) -> Verdicts:
    """By id of the cell, from what ``relokit matrix --json`` prints."""
    return {
        cell["id"]: CellVerdict(
            cell["status"],
            None if cell["status"] == PASS else next((f["rule"] for f in cell["findings"]), None),
        )
        for cell in document["cells"]
    }


@dataclass(frozen=True)
class Comparison:
    """Cells that are gone, that differ, and that run only after."""

    gone: tuple[str, ...]
    differing: tuple[tuple[str, CellVerdict, CellVerdict], ...]
    new: tuple[tuple[str, CellVerdict], ...]
    same: int

    @property
    def agrees(self) -> bool:
        return not self.gone and not self.differing

    def lines(self) -> Iterator[str]:
        """What to show, a few of each kind and how many there are."""
        yield f"{self.same} cells as before"
        tally = Counter(str(after) for _, after in self.new)
        if self.new:
            yield f"{len(self.new)} cells the first stage did not run: " + ", ".join(
                f"{count} {what}" for what, count in sorted(tally.items())
            )
        yield from _some(self.gone, "cells are gone")
        yield from _some(
            [f"{name}: {before} -> {after}" for name, before, after in self.differing],
            "cells differ",
        )


def compare(before: Verdicts, after: Verdicts) -> Comparison:
    """Cell by cell. What is not supported before stands as one cell for all its paths and
    payloads: those that have its first words are in its place.
    """
    refused = {name for name, verdict in before.items() if verdict.status == UNSUPPORTED}
    differing, same = [], 0
    new = [(name, after[name]) for name in after.keys() - before.keys()]
    replaced = {one for one in refused if any(name.startswith(f"{one}/") for name, _ in new)}
    for name in before.keys() & after.keys():
        if before[name] == after[name]:
            same += 1
        elif name in refused:
            new.append((name, after[name]))
        else:
            differing.append((name, before[name], after[name]))
    gone = before.keys() - after.keys() - replaced
    return Comparison(tuple(sorted(gone)), tuple(sorted(differing, key=str)), tuple(new), same)


def main(options: list[str]) -> int:
    """Run both, with and without faults; print what is not the same."""
    try:
        stages = installed()
        agree = True
        with TemporaryDirectory(prefix="relokit-verdicts-") as name:
            for spoil in (None, *SPOILS):
                title = "as it is" if spoil is None else spoil.name
                progress(f"verdicts: {title}")
                before, after = (_run(stage, spoil, Path(name), options) for stage in stages)
                found = compare(before, after)
                agree &= found.agrees
                print(f"{title}:", *found.lines(), sep="\n  ")
    except BenchError as error:
        progress(f"verdicts: {error}")
        return 2
    return 0 if agree else 1


def _run(stage: Installation, spoil: Spoil | None, work: Path, options: list[str]) -> Verdicts:
    if spoil is not None:
        folder = work / stage.name
        folder.mkdir(exist_ok=True)
        text = (stage.templates() / spoil.template).read_text()
        if spoil.old not in text:
            raise BenchError(f"{stage.name}: {spoil.template} does not have {spoil.old!r}")
        (folder / spoil.template).write_text(text.replace(spoil.old, spoil.new))
        options = [*options, "--templates", str(folder)]
    return verdicts(json.loads(stage.run("matrix", "--json", *options).out))


def _some(lines: tuple[str, ...] | list[str], what: str) -> Iterator[str]:
    if lines:
        yield f"{len(lines)} {what}:"
        yield from (f"  {line}" for line in lines[:SHOWN])
        if len(lines) > SHOWN:
            yield f"  and {len(lines) - SHOWN} more"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
