"""Commands on a host that is short of something: addresses, descriptors. The cause is named."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import resource, sys
resource.setrlimit(resource.{what}, ({limit}, resource.getrlimit(resource.{what})[1]))
from relokit.cli.main import main
sys.exit(main())
"""


def short_of(what: str, limit: int, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    script = SCRIPT.format(what=what, limit=limit)
    return subprocess.run(
        [sys.executable, "-c", script, *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)),
    )


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        (60, ("run",)),
        (120, ("run",)),
        (400, ("run",)),
        (60, ("export", "-o", "out")),
        (30, ("explain", "handoff.x1")),
        (60, ("time",)),
    ],
)
def test_too_few_addresses(tmp_path: Path, limit: int, words: tuple[str, ...]) -> None:
    done = short_of("RLIMIT_AS", limit << 20, *words, cwd=tmp_path)
    assert done.returncode in (2, 3)
    assert done.stdout == ""
    assert done.stderr.startswith("relokit: ")
    assert "ulimit -v" in done.stderr or "RLIMIT_AS" in done.stderr
    assert "Traceback" not in done.stderr
    assert "defect of relokit" not in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("limit", [5, 8])
def test_too_few_descriptors(tmp_path: Path, limit: int) -> None:
    done = short_of("RLIMIT_NOFILE", limit, "run", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("relokit: ")
    assert "Too many open files" in done.stderr
    assert len(done.stderr.splitlines()) <= 2
