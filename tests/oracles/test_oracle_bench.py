"""The benchmark measures what it says: one small round of it, against QEMU and the GNU tools."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import page
import pytest

pytestmark = pytest.mark.oracle

PARTS = ("relocation", "building", "cold", "diff", "boot", "start")
OURS = [f"--only={part}" for part in PARTS]

BENCH = Path(__file__).resolve().parents[2] / "bench" / "suite.py"


def bench(*options: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run the benchmark as a person would; ``path`` replaces PATH."""
    return subprocess.run(
        [sys.executable, str(BENCH), *options],
        env=os.environ | ({} if path is None else {"PATH": path}),
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )


@pytest.mark.slow
def test_one_round_measures_everything() -> None:
    """But what takes a minute each: the matrix and mutants, 16 GiB, another installation."""
    done = bench("--sizes", "2,4", "--rounds", "1", "--json", *OURS)
    assert done.returncode == 0, done.stderr
    tables = {one["name"]: one["rows"] for one in json.loads(done.stdout)["tables"]}
    assert set(tables) <= {found[2] for found in page.PLACE.finditer(page.PAGE.read_text())}
    assert len(tables) == 10
    rows = {(table, row["name"]): row["median"] for table, of in tables.items() for row in of}
    assert all(value > 0 for row in rows.values() for value in row.values())
    # A size, another, and what a MiB more takes: guest memory has it twice.
    memory = rows["Memory", "each MiB more, from 2 MiB to 4 MiB"]
    assert memory["guest memory touched"] == 2
    assert 1 < memory["plain"] < 6
    cold = rows["From cold to the verdict", "Found in the cache: CPU"]
    # As, ld and QEMU have all of their time in it.
    assert cold["as, ld and qemu"] > 0.02
    start = rows["Start-up", "CPU"]
    assert start["--help"] > start["python -c pass"]
    boot = rows["Boot", "To its banner: CPU"], rows["Boot", "To its user space: CPU"]
    assert all(boot[0][one] < boot[1][one] for one in boot[0])
    [bound] = tables["Two whole kernels"][0]["bounds"]
    assert f"{bound['ratio']:.3g} of GNU objdump, one of them, at most 0.5: " in bound["text"]


def test_a_part_that_fails_takes_no_other_with_it(tmp_path: Path) -> None:
    """QEMU and as are there and do not work: what needs neither is measured all the same."""
    for tool in ("qemu-system-aarch64", "aarch64-linux-gnu-as"):
        stub = tmp_path / tool
        stub.write_text('#!/bin/sh\ntest "$1" = --version\n')
        stub.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = bench("--rounds", "1", "--json", "--only=building", "--only=start", path=path)
    assert done.returncode == 1
    assert [one["name"] for one in json.loads(done.stdout)["tables"]] == ["Start-up"]
    assert "nothing is known of building; try again with --only building" in done.stderr
    alone = bench("--rounds", "1", "--json", "--only=building", path=path)
    assert (alone.returncode, alone.stdout) == (2, "")


def test_a_missing_tool_is_named() -> None:
    done = bench(path="/nonexistent")
    assert done.returncode == 2
    assert "not installed: qemu-system-aarch64" in done.stderr


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--sizes", "0"), "'0' is no number from 1 to 8192"),
        (("--sizes", "9000"), "is no number from 1 to 8192"),
        (("--sizes", "84,25"), "from small to large"),
        (("--sizes", "many"), "'many' is no number"),
        (("--rounds", "0"), "'0' is no number from 1 to 99"),
        (("--rounds", "-1"), "is no number from 1 to 99"),
        (("--rounds", "1e3"), "is no number from 1 to 99"),
        (("--only", "all"), "choose from 'relocation'"),
        (("--only", "start", "--sizes", "25"), "leave it out"),
        (("--scratch", "/nonexistent"), "is no folder"),
    ],
)
def test_what_is_no_argument_is_refused(options: tuple[str, ...], why: str) -> None:
    done = bench(*options)
    assert (done.returncode, done.stdout) == (2, "")
    assert why in done.stderr
