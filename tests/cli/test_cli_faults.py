"""Hosts that fail at one moment: every command that writes, at every call by which it does."""

from __future__ import annotations

import errno
import io
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from relokit.cli.main import main
from relokit.codegen.base import child
from relokit.codegen.base.child import Child
from relokit.session import ROOM
from support.failing import contents, failing_at

Cli = Callable[..., Any]

SAYING = (
    ("explain", "handoff.x1"),
    ("explain", "handoff.x1", "--json"),
    ("templates",),
    ("templates", "--json"),
    ("init", "--print"),
    ("completion", "bash"),
    ("man", "run"),
    ("run", "--size", "64k"),
    ("run", "--size", "64k", "--json"),
    ("run", "--size", "64k", "--format", "junit"),
    ("run", "--size", "64k", "--format", "sarif"),
    ("run", "--size", "64k", "--format", "github"),
    ("run", "--size", "64k", "--format", "ktap"),
    ("show", "list"),
    ("show", "tables", "--json"),
    ("diff", "series:11", "series:12"),
    ("diff", "series:11", "series:12", "--format", "unified"),
    ("run", "--kernel", "nowhere", "--json"),
)


PIECE = 99
"""Bytes that are taken of a write."""


def without_times(text: str) -> str:
    """``text`` without what is another in the next run: numbers, and what stands aligned."""
    return re.sub(r"[\d.e-]+|\s+", " ", text)


class Slow(io.RawIOBase):
    """Takes a few bytes of each write, and nothing once it has taken ``room``."""

    def __init__(self, room: int | None = None) -> None:
        self.taken = bytearray()
        self.room = room

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if self.room is not None and len(self.taken) >= self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        piece = bytes(data[:PIECE])
        self.taken += piece
        return len(piece)


def unbuffered(raw: Slow) -> io.TextIOWrapper:
    """As standard output is with PYTHONUNBUFFERED."""
    return io.TextIOWrapper(raw, "utf-8", write_through=True)  # type: ignore[type-var]


@pytest.mark.parametrize("words", SAYING, ids=" ".join)
def test_whatever_takes_a_part_of_a_write_gets_all_or_is_told(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    whole = cli(*words)
    slow = Slow()
    monkeypatch.setattr(sys, "stdout", unbuffered(slow))
    assert main([*words]) == whole.code
    assert without_times(slow.taken.decode()) == without_times(whole.out)
    full = Slow(room=(len(slow.taken) - 1) // PIECE * PIECE)
    monkeypatch.setattr(sys, "stdout", unbuffered(full))
    assert main([*words]) == 2
    assert len(full.taken) <= len(slow.taken)


WRITING = (
    ("export", "-o", "out"),
    ("export", "--type", "rel", "-o", "out"),
    ("generate", "-o", "out"),
    ("generate", "--force", "-o", "full"),
    ("templates", "--copy", "out"),
    ("init",),
    ("run", "--size", "64k", "--trace", "out"),
    ("run", "--size", "64k", "--format", "junit", "-o", "out"),
    ("show", "memory", "--svg", "out"),
)


@pytest.mark.parametrize("words", WRITING, ids=" ".join)
def test_whichever_call_fails_a_command_writes_all_or_nothing(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    failed, number = 0, 0
    wholes: list[dict[str, bytes | None]] = []
    made: list[str] = []
    while len(made) >= number:
        number += 1
        place = tmp_path / str(number)
        (place / "full").mkdir(parents=True)
        for name in ("Makefile", "relocate_kernel.S", "mine"):
            (place / "full" / name).write_text("old")
        before = contents(place)
        monkeypatch.chdir(place)
        with failing_at(number) as made:
            result = cli(*words)
        after = contents(place)
        if result.code != 0:
            failed += 1
            assert result.code == 2
            assert "cannot be written: No space left" in result.err
            assert result.err.startswith("relokit: ")
            assert len(result.err.splitlines()) == 2
            assert after == before
        else:
            # Also what need not have worked, as bringing a name to the disk.
            wholes.append(after)
    assert wholes == [wholes[0]] * len(wholes)
    assert wholes[0] != before
    assert failed >= 3


def test_a_cache_that_cannot_be_written_changes_nothing(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does one that was left by a host that failed."""
    monkeypatch.chdir(tmp_path)
    assert cli("export", "-o", "right").code == 0
    right = (tmp_path / "right").read_bytes()
    number, made, done = 0, [""], 0
    while len(made) >= number:
        number += 1
        monkeypatch.setenv("RELOKIT_CACHE", str(tmp_path / f"cache-{number}"))
        with failing_at(number) as made:
            result = cli("export", "-o", "out")
        if result.code == 0:
            done += 1
            assert (tmp_path / "out").read_bytes() == right
        else:
            assert result.err.startswith("relokit: out: cannot be written: No space left")
        assert not [one for one in contents(tmp_path) if Path(one).name.startswith(".")]
    assert cli("export", "-o", "out").code == 0
    assert (tmp_path / "out").read_bytes() == right
    assert done >= 5


def test_two_commands_on_one_cache_and_one_output(tmp_path: Path) -> None:
    """They end with one file or the other, and what they have kept is right."""
    environment = os.environ | {"RELOKIT_CACHE": str(tmp_path / "cache")}

    def export(state: str, name: str) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-m", "relokit", "export", "--series", state, "-o", name]
        return subprocess.Popen(
            words, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    for one in [export(state, "out") for state in ("12", "15")]:
        assert (one.communicate()[1], one.returncode) == (b"", 0)
    found = (tmp_path / "out").read_bytes()
    for state in ("12", "15"):
        export(state, state).communicate()
    assert found in [(tmp_path / state).read_bytes() for state in ("12", "15")]
    assert {path.name for path in tmp_path.iterdir()} == {"cache", "out", "12", "15"}


ASKING = (
    ("run", "--size", "64k", "--trace", "out"),
    ("export", "--type", "bootable", "--size", "64k", "-o", "out"),
    ("show", "memory", "--svg", "out"),
)


@pytest.mark.parametrize("words", ASKING, ids=" ".join)
def test_whichever_request_a_machine_is_killed_at_there_is_no_answer(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    exchange = Child._exchange
    number, asked = 0, [""]

    def killed(self: Child, process: subprocess.Popen[bytes], *more: Any) -> tuple[bytes, bytes]:
        if self.module == ROOM:
            asked.append(self.module)
        if len(asked) == number:
            process.kill()
        return exchange(self, process, *more)

    monkeypatch.setattr(Child, "_exchange", killed)
    assert cli(*words).code == 0
    for path in tmp_path.iterdir():
        path.unlink()
    while len(asked) >= number:
        number += 1
        asked.clear()
        result = cli(*words)
        if len(asked) >= number:
            assert result.code == 3
            assert "SIGKILL" in result.err + result.out
            assert "Traceback" not in result.err
            assert not list(tmp_path.iterdir())
    assert result.code == 0
    assert number > 1


BEGINNING = (
    *ASKING,
    ("run", "--size", "64k", "--json"),
    ("run", "--size", "64k", "--format", "junit"),
    ("time", "--size", "64k"),
    ("diff", "series:14", "series:15", "--run"),
    ("matrix", "--series", "15", "--va-bits", "48", "--page-size", "4k", "--path", "in-place"),
    ("mutate", "--el", "el1", "--operator", "entry"),
)
"""A machine for each kind of request."""


def test_on_a_host_without_processes_that_is_said(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`run --json` said nothing at all."""

    def none(*_: object) -> None:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.chdir(tmp_path)
    child._close_all()
    with monkeypatch.context() as host:
        host.setattr(subprocess, "_fork_exec", none)
        for words in (*BEGINNING, ("export", "-o", "out"), ("series", "14")):
            result = cli(*words)
            assert result.code == 2, words
            told = result.document["error"]["message"] if "--json" in words else result.err
            cause = "no process or thread can be started: Resource temporarily unavailable"
            assert told.removeprefix("relokit: ").splitlines()[0] == cause
            assert not list(tmp_path.iterdir())
        for words in (("explain", "handoff.x1"), ("completion", "bash"), ("man", "run")):
            assert cli(*words).code == 0
    assert cli("run", "--size", "64k").code == 0


def test_no_process_has_anything_in_dev_shm(cli: Cli) -> None:
    """Neither mapped nor open: a container may have none."""
    assert cli("run", "--size", "64k").code == 0
    running = [one._process.pid for one in child._children if one._process is not None]
    assert running
    for number in (os.getpid(), *running):
        place = Path(f"/proc/{number}")
        opened = [os.readlink(one) for one in (place / "fd").iterdir() if one.is_symlink()]
        assert not [one for one in opened if "/dev/shm" in one]
        assert "/dev/shm" not in (place / "maps").read_text()


ENDS = {
    "SIGABRT": "__import__('os').abort()",
    "SIGSEGV": "__import__('ctypes').string_at(0)",
    "UC_ERR_MAP": "exec('import unicorn; raise unicorn.UcError(11)')",
    "exit code 0": "__import__('os')._exit(0)",
}
SPOILT = """
import relokit.runtime.room.machine_room as room
room.prepare, room.serve = lambda: None, lambda *_: {end}
from relokit"""


@pytest.mark.parametrize(
    ("words", "end"),
    [*((words, "SIGABRT") for words in BEGINNING), *((("run",), end) for end in ENDS)],
)
def test_an_engine_that_goes_down_is_no_answer_and_nothing_else(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], end: str
) -> None:
    """A campaign whose targets nobody could look at said that nothing was to be tried."""
    monkeypatch.chdir(tmp_path)
    program = Child._program

    def spoilt(self: Child) -> str:
        spoiling = SPOILT.format(end=ENDS[end]) if self.module == ROOM else "\nfrom relokit"
        return program(self).replace("\nfrom relokit", spoiling, 1)

    child._close_all()
    with monkeypatch.context() as host:
        host.setattr(Child, "_program", spoilt)
        result = cli(*words)
        child._close_all()
    assert result.code == 3
    assert end in result.err + result.out
    assert "Traceback" not in result.err
    assert len(result.err.splitlines()) <= 2
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", [("templates", "--copy"), ("export", "--type", "rel", "-o")])
def test_a_path_as_long_as_paths_get(cli: Cli, tmp_path: Path, words: tuple[str, ...]) -> None:
    """The longest name in the deepest folder that it fits in, and in one that is deeper."""
    most = os.pathconf(tmp_path, "PC_PATH_MAX") - 1
    name = "n" * os.pathconf(tmp_path, "PC_NAME_MAX")
    folder = tmp_path
    while (left := most - len(name) - 1 - len(str(folder))) > 1:
        folder /= "d" * min(left - 1, 200 if left != 202 else 100)
        folder.mkdir()
    assert len(str(folder / name)) == most
    assert cli(*words, str(folder / name)).code == 0
    longer = folder / "dd"
    longer.mkdir()
    result = cli(*words, str(longer / name))
    assert result.code == 2
    assert "File name too long" in result.err
    assert len(result.err.splitlines()) <= 2
    assert not list(longer.iterdir())
