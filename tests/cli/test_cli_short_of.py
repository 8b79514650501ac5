"""Commands on a host that is short of something: addresses, descriptors. The cause is named."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from relokit.codegen.base import process_limits
from relokit.codegen.base.errors import RelokitError

Cli = Callable[..., Any]

SCRIPT = """
import resource, sys
resource.setrlimit(resource.{what}, ({limit}, resource.getrlimit(resource.{what})[1]))
from relokit.cli.main import main
sys.exit(main())
"""

LARGEST = 100_000
"""Bytes of a file: the interpreter's own modules that come before ours are smaller."""
IMPORTED = """
import sys
from relokit.cli.main import main
sys.argv[1:] = ["templates"]
assert main() == 0
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
    ("what", "limit", "words"),
    [
        ("AS", 20, ("run",)),
        ("AS", 60, ("run",)),
        ("AS", 130, ("run",)),
        ("AS", 180, ("run",)),
        ("AS", 400, ("run",)),
        ("AS", 130, ("export", "-o", "out")),
        ("AS", 75, ("explain", "handoff.x1")),
        ("AS", 60, ("time",)),
        ("AS", 180, ("diff", "series:14", "series:15", "--run")),
        ("DATA", 24, ("explain", "handoff.x1")),
        ("DATA", 36, ("export", "-o", "out")),
        ("DATA", 200, ("run",)),
    ],
)
def test_too_little_memory(tmp_path: Path, what: str, limit: int, words: tuple[str, ...]) -> None:
    """OpenBLAS ended `explain` with 1, as if checks had failed, and LIEF aborted."""
    done = short_of(f"RLIMIT_{what}", limit << 20, *words, cwd=tmp_path)
    assert done.returncode in (2, 3)
    assert done.stdout == ""
    assert done.stderr.startswith("relokit: ")
    option = {"AS": "v", "DATA": "d"}[what]
    named = f"ulimit -{option}" in done.stderr or f"RLIMIT_{what}" in done.stderr
    assert named or done.stderr == "relokit: out of memory\n"
    assert len(done.stderr.splitlines()) <= 3
    assert "Traceback" not in done.stderr
    assert "defect of relokit" not in done.stderr
    assert "brought the engine down" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_where_the_host_does_not_say_what_is_used_that_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without /proc a limit of addresses was one."""
    monkeypatch.setattr(process_limits, "_STATM", tmp_path / "statm")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1 << 30, 1 << 30))
    process_limits.check_space(1 << 29, "a library")
    with pytest.raises(RelokitError, match="no room for a library, which takes 1024 MiB"):
        process_limits.check_space((1 << 30) + 1, "a library")


def test_no_library_starts_threads(tmp_path: Path) -> None:
    """OpenBLAS sends SIGINT where there is no room for them: that was called interrupted."""
    script = f"{IMPORTED}\nimport numpy, os; print(len(os.listdir('/proc/self/task')))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "1"


@pytest.mark.parametrize("limit", [5, 8])
def test_too_few_descriptors(tmp_path: Path, limit: int) -> None:
    done = short_of("RLIMIT_NOFILE", limit, "run", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("relokit: ")
    assert "Too many open files" in done.stderr
    assert len(done.stderr.splitlines()) <= 2


def test_a_module_that_was_compiled_is_whole(process: Cli, tmp_path: Path) -> None:
    """Where files are limited the interpreter kept the half of one, and each later start failed."""
    compiled = {"PYTHONPYCACHEPREFIX": str(tmp_path)}

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST, LARGEST))

    assert process("series", "--help", preexec_fn=limited, env=compiled).code == 0
    assert all(one.stat().st_size < LARGEST for one in tmp_path.rglob("*.pyc"))
    assert process("series", "--help", env=compiled).code == 0
    (module,) = tmp_path.rglob("cli/command_list.*.pyc")
    module.write_bytes(module.read_bytes()[:-20])
    result = process("series", "--help", env=compiled)
    assert (result.code, result.out) == (2, "")
    assert "a module that the interpreter has compiled is cut short" in result.err
