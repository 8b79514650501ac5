"""The benchmark measures what it says: one small round of it, against QEMU and the GNU tools."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import page
import pytest
import suite
from measurement import Table

pytestmark = pytest.mark.oracle

PARTS = ("relocation", "building", "cold", "start")
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
def test_one_round_measures_what_takes_seconds() -> None:
    """But whole kernels, compared and booted, which `make bench-page` measures: see below."""
    done = bench("--sizes", "2", "--rounds", "1", "--json", *OURS)
    assert done.returncode == 0, done.stderr
    tables = {one["name"]: one["rows"] for one in json.loads(done.stdout)["tables"]}
    assert set(tables) <= {found[2] for found in page.PLACE.finditer(page.PAGE.read_text())}
    assert len(tables) == 7
    holds_together(tables)


def test_the_committed_page_measures_everything() -> None:
    tables = {one["name"]: one["rows"] for one in json.loads(page.KEPT.read_text())["tables"]}
    assert tables.keys() == {found[2] for found in page.PLACE.finditer(page.PAGE.read_text())}
    rows = holds_together(tables)
    # A size, another, and what a MiB more takes: guest memory has it twice.
    memory = rows["Memory", "each MiB more, from 25 MiB to 2048 MiB"]
    assert memory["guest memory touched"] == 2
    assert 1 < memory["plain"] < 6
    boot = rows["Boot", "To its banner: CPU"], rows["Boot", "To its user space: CPU"]
    assert all(boot[0][one] < boot[1][one] for one in boot[0])
    [bound] = tables["Two whole kernels"][0]["bounds"]
    assert f"{bound['ratio']:.3g} of GNU objdump, one of them, at most 0.5: " in bound["text"]


def holds_together(tables: dict[str, Any]) -> dict[tuple[str, str], dict[str, float]]:
    """Medians by table and row: numbers that can be told to be wrong are none."""
    rows = {(table, row["name"]): row["median"] for table, of in tables.items() for row in of}
    assert all(value > 0 for row in rows.values() for value in row.values())
    cold = rows["From cold to the verdict", "Found in the cache: CPU"]
    # As, ld and QEMU have all of their time in it.
    assert cold["as, ld and qemu"] > 0.02
    start = rows["Start-up", "CPU"]
    assert start["--help"] > start["python -c pass"]
    return rows


def test_a_part_that_fails_takes_no_other_with_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A tool is there and does not work: what needs it not is measured all the same."""

    def broken(*_: object) -> list[Table]:
        subprocess.run(["false"], check=True)
        return []

    monkeypatch.setattr(suite, "building", broken)
    monkeypatch.setattr(suite, "starting", lambda *_: [Table("Start-up", [])])
    asked = [str(BENCH), "--rounds", "1", "--json", "--only=building"]
    monkeypatch.setattr(sys, "argv", [*asked, "--only=start"])
    assert suite.main() == 1
    told = capsys.readouterr()
    assert [one["name"] for one in json.loads(told.out)["tables"]] == ["Start-up"]
    assert "nothing is known of building; try again with --only building" in told.err
    monkeypatch.setattr(sys, "argv", asked)
    assert (suite.main(), capsys.readouterr().out) == (2, "")


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
def test_what_is_no_argument_is_refused(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    why: str,
) -> None:
    monkeypatch.setattr(sys, "argv", [str(BENCH), *options])
    with pytest.raises(SystemExit) as ended:
        suite.main()
    assert ended.value.code == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert why in told.err
