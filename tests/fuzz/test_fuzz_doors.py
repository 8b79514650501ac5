"""Every door, for some seconds: hours are `make fuzz` (docs/fuzz.md)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fuzz.door import Door
from fuzz.targets import DOORS

TESTS = Path(__file__).parents[1]
GROUPS = 4
SECONDS = 0.6
"""CPU time of a group, as the doors state their costs."""
SOME = 8
"""Good inputs of a door that are tried."""


@pytest.mark.parametrize("group", range(GROUPS))
def test_nothing_but_answers_comes_out(group: int) -> None:
    doors = DOORS[group::GROUPS]
    cases = sum(1000 * SECONDS / len(doors) / door.cost for door in doors)
    words = [word for door in doors for word in ("--door", door.name)]
    done = subprocess.run(
        [sys.executable, "-m", "fuzz", "--cases", str(int(cases)), "--rounds", "1", *words],
        cwd=TESTS, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("door", DOORS, ids=[door.name for door in DOORS])
def test_good_inputs_are_taken(door: Door) -> None:
    """Or cases made from them would not come far."""
    assert "taken" in [door.answer(seed) for seed in door.made[:SOME]]
