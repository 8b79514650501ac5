"""This tree against another commit: ``make bench-compare BASE=COMMIT``.

Both are installed into virtual environments of their own and take turns in one run. What got slower
in a first run is measured again: it is slower if both runs say so. The exit code is then 1.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from arguments import rounds
from comparing import kernels
from measurement import Row, progress
from stages import ROOT, Installation, installed
from two_trees import Quantity, cases, change, later_cases, side_by_side
from usage import BenchError

sys.path.insert(0, str(ROOT / "tests"))
from support.initrd import build_initrd

FEWEST = 3
"""Rounds: fewer tell no noise."""
SIZE = 84


@dataclass(frozen=True)
class Compared:
    """A case: what this tree takes, in ``times`` of what the other takes; 1 is no change."""

    case: Quantity
    row: Row
    times: float

    @property
    def slower(self) -> bool:
        """Beyond noise."""
        return self.times > 1

    def line(self) -> str:
        """For a person."""
        word = "SLOWER" if self.slower else "better" if self.times < 1 else ""
        medians = ", ".join(f"{name} {self.row.median(name):.3g}" for name in self.row.values)
        return f"{self.case.name}, {self.case.unit}: {medians}  {word}".rstrip()


def main(arguments: list[str] | None = None) -> int:
    """Compare; 1 if something got slower, 2 if it is not possible."""
    options = _options(arguments)
    try:
        with tempfile.TemporaryDirectory(prefix="relokit-bench-") as name:
            chosen = _chosen(options.only, Path(name))
            other, this = installed(options.base, "base")
            found = compared((this, other), chosen, options.rounds)
    except (BenchError, OSError) as error:
        progress(f"bench-compare: {error}")
        return 2
    print(*(one.line() for one in found), sep="\n")
    slower = [one for one in found if one.slower]
    if not found:
        progress("bench-compare: nothing was measured of both")
        return 2
    if slower:
        progress(f"bench-compare: slower than {options.base}, {len(slower)} of {len(found)}:")
        for one in slower:
            progress(f"  {one.case.name}: {one.times:.2f} times")
    return 1 if slower else 0


def compared(
    pair: tuple[Installation, Installation], chosen: Sequence[Quantity], number: int
) -> list[Compared]:
    """Every case that both have; what seems to be slower is measured twice."""
    found = []
    for case in chosen:
        for row in side_by_side(pair, [case], number):
            times = change(row, more=case.more)
            if times > 1:
                progress(f"{case.name}: {times:.2f} times; once more")
                (again,) = side_by_side(pair, [case], number)
                row, times = again, min(times, change(again, more=case.more))
            found.append(Compared(case, row, times))
    return found


def _chosen(only: str, work: Path) -> list[Quantity]:
    all_cases = [
        *cases(work, [SIZE], kernels("6.1")[0], build_initrd(work)),
        *later_cases(work, SIZE),
    ]
    chosen = [case for case in all_cases if only.lower() in case.name.lower()]
    if not chosen:
        names = "".join(f"\n  {case.name}" for case in all_cases)
        raise BenchError(f"nothing has {only[:40]!r} in its name; there are{names}")
    return chosen


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/compare.py", description=__doc__)
    parser.add_argument(
        "base",
        nargs="?",
        default="HEAD",
        metavar="COMMIT",
        help="what this tree is compared with [default: HEAD]",
    )
    parser.add_argument(
        "--rounds", type=rounds, default=7, metavar="N", help="of each, 3 or more [default: 7]"
    )
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="what has this in its name [default: all]"
    )
    options = parser.parse_args(arguments)
    if options.rounds < FEWEST:
        parser.error(f"--rounds {options.rounds}: {FEWEST} or more are needed to tell noise")
    return options


if __name__ == "__main__":
    sys.exit(main())
