"""The command line as a function, and as a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import relokit.templates
from relokit.cli.main import main

TEMPLATES = Path(relokit.templates.__path__[0])


@dataclass(frozen=True)
class Result:
    """An exit code and what was printed."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Standard output as the one JSON document it has to be."""
        return json.loads(self.out)


Cli = Callable[..., Result]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """``cli("run", "--json")`` in this process, with its warm children."""

    def run(*arguments: str | Path) -> Result:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def programs_kept(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A cache of programs of this run, for all processes of its workers; in the end it is gone."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    return str(root / "programs")


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch, programs_kept: str) -> None:
    """For tests of something else than building: what a process needs another may have built."""
    monkeypatch.setenv("RELOKIT_CACHE", programs_kept)


@pytest.fixture(scope="session")
def process(programs_kept: str) -> Cli:
    """``process("run")`` as a process of its own; keywords go to subprocess.run."""

    def run(*arguments: str | Path, **more: Any) -> Result:
        environment = os.environ | {"RELOKIT_CACHE": programs_kept} | more.pop("env", {})
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | more
        done = subprocess.run(
            [sys.executable, "-m", "relokit", *map(str, arguments)],
            env=environment,
            text=True,
            timeout=120,
            check=False,
            **streams,
        )
        return Result(done.returncode, done.stdout or "", done.stderr or "")

    return run


Edit = Callable[[str, str, str], Path]


@pytest.fixture
def edited(tmp_path: Path) -> Edit:
    """A directory with one built-in template in which a text is replaced, for ``--templates``."""

    def edit(name: str, old: str, new: str) -> Path:
        text = (TEMPLATES / name).read_text()
        assert old in text, f"{name} no longer has {old!r}"
        directory = tmp_path / "templates"
        directory.mkdir(exist_ok=True)
        (directory / name).write_text(text.replace(old, new))
        return directory

    return edit
