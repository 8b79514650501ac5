"""The benchmark measures what it says: one small round of it, against QEMU and the GNU tools."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.oracle

PARTS = ("relocation", "building", "routines", "kernels", "commands", "mutants")
OURS = [f"--only={part}" for part in PARTS]

BENCH = Path(__file__).resolve().parents[2] / "bench" / "suite.py"


def bench(*options: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run the benchmark as a person would; ``path`` replaces PATH."""
    return subprocess.run(
        [sys.executable, str(BENCH), *options],
        env=os.environ | ({} if path is None else {"PATH": path}),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.slow
def test_one_round_measures_everything() -> None:
    done = bench("--size", "2", "--rounds", "1", "--json", *OURS)
    assert done.returncode == 0, done.stderr
    measured = {item["name"]: item for item in json.loads(done.stdout)["measurements"]}
    assert all(len(item["seconds"]) == 1 for item in measured.values())
    assert all(item["seconds"][0] > 0 for name, item in measured.items() if name != "QEMU")
    # The list has the initrd, the demo kernel and the device tree.
    assert 2 << 20 < measured["relokit run"]["bytes"] < 3 << 20
    assert measured["QEMU"]["bytes"] == (2 << 20) - 4096
    whole = measured["relokit run, whole command"]["seconds"]
    assert whole > measured["python -c pass"]["seconds"]
    assert {"relokit, both compared", "GNU objdump, the smaller Image"} <= measured.keys()


def test_a_missing_tool_is_named() -> None:
    done = bench(path="/nonexistent")
    assert done.returncode == 2
    assert "not installed: qemu-system-aarch64" in done.stderr


@pytest.mark.parametrize("size", ["0", "1025", "many"])
def test_a_size_out_of_range_is_refused(size: str) -> None:
    assert bench("--size", size).returncode == 2
