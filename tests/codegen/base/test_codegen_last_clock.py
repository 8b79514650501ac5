"""What ends a command that is in a library and does not come back from it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Protocol

import pytest

from support.bounds import eventually

COMMAND = """
import sys
from pathlib import Path
from threading import Thread
from relokit.cli import limit_option
from relokit.cli.command_list import relokit
from relokit.cli.main import main
from relokit.codegen.base import budget, told_to_end
from relokit.codegen.base.atomic import _staged, replacing
from relokit.codegen.base.child import Child
from served_never import serve

told_to_end.GRACE = 0.2
sys.argv[1:] = {arguments!r}
set_limits = budget.set_limits
budget.set_limits = lambda given: set_limits({{{limit!r}: 1}})
limit_option.limits = lambda: {{**budget.limits(), {limit!r}: 0.3}}


def work(*_given):
    child.start()
    with replacing("whole") as path, _staged(Path(), "folder", {{"deep/file": b"1"}}):
        path.write_text("half")
        told_to_end.start_last_clock()
        {within}


relokit.carry_out = work
with Child("served_never") as child:
    raise SystemExit(main())
"""
NEVER = """
def serve(request, progress, deep=64):
    "Python's own comparison, which no signal reaches: of what is one list, so deep."
    one, other = [], []
    for _ in range(deep):
        one, other = [one, one], [other, other]
    return b"" if one == other else b"1"
"""


class Run(Protocol):
    def __call__(self, limit: str, within: str, *arguments: str) -> tuple[int, str, str]: ...


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A command that writes, is then ``within`` something, and has less than a second; how it
    has ended. No process is left, and no file.
    """
    mark = uuid.uuid4().hex
    (tmp_path / "served_never.py").write_text(NEVER)
    place = tmp_path / "here"
    place.mkdir()

    def start(limit: str, within: str, *arguments: str) -> tuple[int, str, str]:
        program = COMMAND.format(arguments=arguments, within=within, limit=limit)
        done = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True, text=True, check=False, cwd=place,
            env=os.environ | {"MARK": mark, "PYTHONPATH": str(tmp_path)},
        )  # fmt: skip
        assert eventually(lambda: not processes_with(mark))
        assert not list(place.iterdir())
        return done.returncode, done.stdout, done.stderr

    return start


IN_MAIN = "serve(b'', None)"
IN_CHILD = "child.call(b'', timeout=60)"


@pytest.mark.parametrize(("limit", "what"), [("cpu", "CPU time"), ("time", "time")])
def test_a_library_that_does_not_come_back_does_not_keep_the_command(
    run: Run, limit: str, what: str
) -> None:
    """It went on for as long as the library did."""
    assert run(limit, IN_MAIN) == (
        3,
        "",
        f"relokit: more than 1 s of {what}, and what it was in has not ended 20 s later\n"
        f"hint: --limit {limit}=2s allows more\n",
    )


def test_the_document_of_an_error_is_told_as_ever(run: Run) -> None:
    code, out, err = run("cpu", IN_MAIN, "--json")
    assert (code, err) == (3, "")
    assert "has not ended 20 s later" in json.loads(out)["error"]["message"]


def test_a_child_that_is_in_a_library_ends_with_the_command(run: Run) -> None:
    """Also where both are: the child waits for nobody, and its own thread has no turn."""
    over = "relokit: more than 1 s of time\nhint: --limit time=2s allows more\n"
    assert run("time", IN_CHILD) == (3, "", over)
    code, _, _ = run("time", f"Thread(target=lambda: {IN_CHILD}, daemon=True).start(); {IN_MAIN}")
    assert code == 3


def test_a_command_that_leaves_in_order_is_left_to_it(run: Run) -> None:
    """What is put into its places all or nothing is not ended in the middle of it."""
    within = "with told_to_end.whole_at_last(): serve(b'', None, 25)"
    over = "relokit: more than 1 s of CPU time\nhint: --limit cpu=2s allows more\n"
    assert run("cpu", within) == (3, "", over)


def processes_with(mark: str) -> list[Path]:
    return [one for one in Path("/proc").glob("[0-9]*") if mark.encode() in environ(one)]


def environ(process: Path) -> bytes:
    try:
        return (process / "environ").read_bytes()
    except OSError:
        return b""
