"""``python -m fuzz`` in tests/: a campaign."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from fuzz.campaign import Told, batches, run, shares, smaller
from fuzz.targets import DOORS

ROUNDS = 20
"""Parts of a campaign: each has cases of every door, so that what is stopped has tried all."""
KEPT = Path(__file__).parents[2] / "build" / "fuzz"


def told_of(one: Told) -> list[str]:
    """How many cases had which answer."""
    return [f"{answer} {count}" for answer, count in one.answers.most_common()]


def main() -> int:
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000, help="of all doors together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--door", action="append", choices=[door.name for door in DOORS])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    given = parser.parse_args()
    os.environ["RELOKIT_CACHE"] = ""
    doors = [door for door in DOORS if not given.door or door.name in given.door]
    told = {door.name: Told() for door in doors}
    counts = shares(doors, given.cases)
    parts = {name: list(batches(count, given.rounds)) for name, count in counts.items()}
    for at in range(given.rounds):
        for door in doors:
            run(door, given.seed, *parts[door.name][at], told[door.name])
    for door in doors:
        one = told[door.name]
        each = 1000 * one.seconds / max(1, one.cases)
        print(
            f"{door.name:12} {one.cases:8} {one.seconds:8.1f} s {each:8.3f} ms {dict(one.answers)}"
        )
        for (how, place), findings in one.findings.items():
            KEPT.mkdir(parents=True, exist_ok=True)
            first = findings[0]
            small = smaller(door, first)
            path = KEPT / f"{door.name}-{first.number}"
            path.write_bytes(small)
            print(f"  {how} at {place}: case {first.number}, {path}\n{first.told}")
    return any(one.findings for one in told.values())


if __name__ == "__main__":
    sys.exit(main())
