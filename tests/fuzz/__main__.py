"""``python -m fuzz`` in tests/: a campaign.

SIGINT or SIGTERM ends it behind the batch that is running: what was tried until then is told.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path
from types import FrameType

from fuzz import record
from fuzz.campaign import Finding, Told, batches, run, shares, smaller
from fuzz.door import Door
from fuzz.targets import DOORS

ROUNDS = 20
"""Parts of a campaign: each has cases of every door, so that what is stopped has tried all."""
KEPT = Path(__file__).parents[2] / "build" / "fuzz"
LINES = 600
"""Characters of what is said of a finding."""


class _Stopped:
    """Whether somebody has asked to end."""

    def __init__(self) -> None:
        self.asked = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._ask)

    def _ask(self, _signal: int, _frame: FrameType | None) -> None:
        self.asked = True


def main() -> int:
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000, help="of all doors together")
    parser.add_argument("--seed", type=int, default=0, help="another one makes other cases")
    parser.add_argument("--door", action="append", choices=[door.name for door in DOORS])
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="parts, each of every door")
    parser.add_argument("--record", action="store_true", help="into docs/fuzz.json and fuzz.md")
    given = parser.parse_args()
    os.environ["RELOKIT_CACHE"] = ""
    of = record.commit() if given.record else ""
    stopped = _Stopped()
    doors = [door for door in DOORS if not given.door or door.name in given.door]
    told = {door.name: Told() for door in doors}
    counts = shares(doors, given.cases)
    parts = {name: list(batches(count, given.rounds)) for name, count in counts.items()}
    for at in range(given.rounds):
        for door in doors:
            if not stopped.asked:
                run(door, given.seed, *parts[door.name][at], told[door.name])
    if given.record:
        record.write(record.document(of, given.seed, given.cases, doors, told))
    for door in doors:
        _tell(door, told[door.name])
    return any(one.findings for one in told.values())


def _tell(door: Door, told: Told) -> None:
    """Counts of a door, and its findings, each with the file that has its case."""
    each = 1000 * told.seconds / max(1, told.cases)
    answers = ", ".join(f"{answer} {count}" for answer, count in told.answers.most_common())
    print(f"{door.name:12} {told.cases:8} {told.seconds:8.1f} s {each:8.3f} ms  {answers}")
    for (how, place), (first, *_) in told.findings.items():
        print(f"  {how} at {place}: case {first.number}, {_kept(door, first)}")
        print(f"{first.told[-LINES:]}")


def _kept(door: Door, finding: Finding) -> Path:
    """The file with a finding's case, made small."""
    KEPT.mkdir(parents=True, exist_ok=True)
    path = KEPT / f"{door.name}-{finding.number}"
    path.write_bytes(smaller(door, finding))
    return path


if __name__ == "__main__":
    sys.exit(main())
