"""Real signals to a real process: exit code, one line, no child and no file left behind."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.bounds import eventually

pytestmark = pytest.mark.usefixtures("kept")

# A shell may have had SIGINT ignored, and that would be inherited.
START = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    "from relokit.cli.main import main; raise SystemExit(main())"
)
# As a library's threads (numpy's) do, this one blocks no signal.
START_WITH_A_THREAD = (
    "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    + START
)
DEADLINE = 120.0
"""Seconds for a process to end before the test is given up."""
LOOKS = 2000
"""Times that the terminal is read: each waits for a tenth of a second, or less."""


class Relokit:
    """A relokit that runs, its standard error on a terminal."""

    def __init__(self, *arguments: str, start: str = START) -> None:
        self.mark = f"RELOKIT_TEST={uuid.uuid4()}"
        name, value = self.mark.split("=")
        self.terminal, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", start, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=theirs,
            env=os.environ | {name: value, "TERM": "xterm", "COLUMNS": "100"},
        )
        os.close(theirs)
        self.shown = ""

    def read(self, timeout: float) -> bool:
        """Take what is on the terminal; False at its end."""
        if not select.select([self.terminal], [], [], timeout)[0]:
            return True
        try:
            data = os.read(self.terminal, 1 << 16)
        except OSError:  # EIO: nobody has the other end any more
            return False
        self.shown += data.decode(errors="replace")
        return bool(data)

    def wait_for(self, text: str) -> None:
        """Wait until the terminal shows ``text``."""
        for _ in range(LOOKS):
            if text in self.shown:
                return
            assert self.read(0.1), f"ended before {text!r}: {self.shown[-500:]}"
        pytest.fail(f"no {text!r}: {self.shown[-500:]}")

    def processes(self) -> list[int]:
        """Every process that has our mark in its environment: ours and its children."""
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and self.mark.encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
        return found

    def end(self, number: int) -> tuple[int, str]:
        """Send a signal; returns the exit code and standard output."""
        self.process.send_signal(number)
        out, _ = self.process.communicate(timeout=DEADLINE)
        while self.read(1.0):
            pass
        return self.process.returncode, out.decode()

    def close(self) -> None:
        """End it, whatever the test has come to."""
        self.process.kill()
        self.process.communicate()
        os.close(self.terminal)


@contextlib.contextmanager
def running(*arguments: str, start: str = START) -> Iterator[Relokit]:
    """Start ``relokit arguments``."""
    started = Relokit(*arguments, start=start)
    try:
        yield started
    finally:
        started.close()


def none_left(relokit: Relokit) -> bool:
    """Whether every process is gone, given a moment."""
    return eventually(lambda: not relokit.processes())


STAGES = ("Scattering", "Relocating", "Comparing")


@pytest.mark.parametrize("stage", STAGES)
def test_ctrl_c_in_every_stage_of_a_run(stage: str) -> None:
    with running("run", "--size", "256M") as relokit:
        relokit.wait_for(stage)
        assert len(relokit.processes()) >= 2
        code, out = relokit.end(signal.SIGINT)
        assert (code, out) == (130, "")
        assert relokit.shown.count("interrupted") == 1
        assert relokit.shown.rstrip().endswith("\nrelokit: interrupted")
        assert "Traceback" not in relokit.shown
        # The terminal's cursor is shown again.
        assert relokit.shown.rindex("\x1b[?25h") > relokit.shown.rindex("\x1b[?25l")
        assert none_left(relokit)


def test_ctrl_c_while_building(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELOKIT_CACHE", "")
    with running("run") as relokit:
        assert eventually(lambda: len(relokit.processes()) >= 2)
        code, out = relokit.end(signal.SIGINT)
        assert (code, out) == (130, "")
        assert relokit.shown.rstrip().endswith("relokit: interrupted")
        assert none_left(relokit)


def test_ctrl_c_of_json_is_a_document() -> None:
    with running("run", "--json", "--size", "256M") as relokit:
        relokit.wait_for("Scattering")
        code, out = relokit.end(signal.SIGINT)
        assert code == 130
        assert json.loads(out) == {
            "schema": "relokit.error/1",
            "status": "error",
            "error": {"message": "interrupted"},
        }
        assert "interrupted" not in relokit.shown


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_interrupted_export_leaves_the_old_file_alone(
    tmp_path: Path, number: int, code: int
) -> None:
    out = tmp_path / "out.elf"
    out.write_text("the old one")
    arguments = ("export", "--type", "bootable", "--size", "256M", "-o", str(out))
    with running(*arguments) as relokit:
        relokit.wait_for("Scattering")
        assert len(list(tmp_path.iterdir())) == 2
        assert relokit.end(number)[0] == code
        assert relokit.shown.rstrip().endswith("relokit: interrupted")
        assert none_left(relokit)
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.elf"]
    assert out.read_text() == "the old one"


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_told_twice_to_end_it_ends_once(
    tmp_path: Path, number: int, code: int, second: int
) -> None:
    """The second signal comes while the first one's is tidied up: one line, no file left."""
    out = tmp_path / "out.elf"
    arguments = ("export", "--type", "bootable", "--size", "256M", "-o", str(out))
    with running(*arguments) as relokit:
        relokit.wait_for("Scattering")
        relokit.process.send_signal(number)
        assert relokit.end(second)[0] in ({code, 128 + second} if number != second else {code})
        assert relokit.shown.count("relokit: interrupted") == 1
        assert "Traceback" not in relokit.shown
        assert "KeyboardInterrupt" not in relokit.shown
        assert none_left(relokit)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_told_again_until_it_has_ended_it_ends_as_told_first(number: int) -> None:
    with running("run", "--size", "256M", start=START_WITH_A_THREAD) as relokit:
        relokit.wait_for("Scattering")
        while relokit.process.poll() is None:
            relokit.process.send_signal(number)
            relokit.read(0.001)
        assert relokit.end(number)[0] == 128 + number
        assert relokit.shown.count("relokit: interrupted") == 1
        assert "ignored" not in relokit.shown
        assert none_left(relokit)


def test_killed_parent_takes_its_children_along() -> None:
    with running("run", "--size", "256M") as relokit:
        relokit.wait_for("Scattering")
        assert relokit.end(signal.SIGKILL)[0] == -signal.SIGKILL
        assert none_left(relokit)
