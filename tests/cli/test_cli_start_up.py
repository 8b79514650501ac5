"""What a command imports and starts, and ``--no-cache``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from relokit import Job, Session
from relokit.linker.link import build_key
from support.asked import ModulesRequest

Cli = Callable[..., Any]

_HEAVY = """
capstone click hypothesis importlib.metadata jinja2 keystone lark libfdt lief numpy rich tempfile
unicorn zstandard
relokit.codegen.render relokit.codegen.gas.assembler
relokit.linker.link.linking relokit.linker.elf.elf_writer
relokit.runtime.run.verdict relokit.runtime.engine.cpu
scipy matplotlib
relokit.runtime.timing.counts relokit.runtime.timing.model.hardware relokit.timing.timer
"""
HEAVY = frozenset(_HEAVY.split())

COMMAND = """
import json, sys
from relokit.cli.main import main
code = main(sys.argv[1:])
children = []
if "relokit.codegen.base.child" in sys.modules:
    from relokit.codegen.base.child import _children
    children = [child.module for child in _children if child._process is not None]
print(json.dumps([code, sorted(sys.modules), children]), file=sys.stderr)
"""


@pytest.fixture
def warm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that has what the default run needs."""
    cache = tmp_path_factory.getbasetemp() / "warm"
    start("run", cache=cache)
    assert len(os.listdir(cache)) == 2
    return cache


BEFORE_HANDLERS = {
    "relokit", "relokit.cli", "relokit.cli.main",
    "relokit.codegen", "relokit.codegen.base", "relokit.codegen.base.told_to_end",
    "relokit.codegen.base.version",
}  # fmt: skip
"""Modules of ours that are imported before a signal is met by us; each takes its time."""
FOR_THE_PAGE = {
    "relokit.cli.answering", "relokit.cli.exit_codes", "relokit.cli.overview",
    "relokit.codegen.base.errors",
}  # fmt: skip


def start(*arguments: str, cache: Path | None = None) -> tuple[set[str], list[str]]:
    """Heavy modules that a command has imported when it is over, and the children it started."""
    environment = os.environ | {"RELOKIT_CACHE": str(cache or "")}
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *arguments],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    code, modules, children = json.loads(done.stderr)
    assert code == 0
    return HEAVY & set(modules), children


def test_the_page_of_help_and_the_version_import_next_to_nothing() -> None:
    """Not click either, nor what it needs: for these two it took as long as all else."""
    code = (
        "import sys; before = set(sys.modules); from relokit.cli.main import main\n"
        "handlers = set(sys.modules) - before; sys.argv[1:] = [{word!r}]; main()\n"
        "print(*handlers, file=sys.stderr)\nprint(*sys.modules, file=sys.stderr)"
    )
    for word in ("--help", "-h", "--version"):
        done = subprocess.run(
            [sys.executable, "-c", code.format(word=word)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        before_handlers, at_the_end = (set(line.split()) for line in done.stderr.splitlines())
        assert ours(before_handlers) == BEFORE_HANDLERS
        assert ours(at_the_end) == BEFORE_HANDLERS | FOR_THE_PAGE
        assert not {"click", "inspect", "dataclasses", "json", "shutil"} & at_the_end
        assert "typing" not in before_handlers


def test_the_help_of_a_command_imports_nothing_but_click() -> None:
    assert start("run", "--help") == ({"click"}, [])


def test_a_run_with_a_warm_cache_imports_nothing_that_builds(warm: Path) -> None:
    """And Keystone's process is not started."""
    for more in ([], ["--json"], ["--size", "8K"]):
        assert start("run", *more, cache=warm) == ({"click"}, ["relokit.runtime.room.machine_room"])


def test_an_export_with_a_warm_cache_imports_what_writes(warm: Path, tmp_path: Path) -> None:
    heavy, children = start("export", "-o", str(tmp_path / "elf"), cache=warm)
    assert heavy <= {"click", "lief", "numpy", "tempfile", "relokit.linker.elf.elf_writer"}
    assert children == []


def test_generate_imports_the_templates_half(tmp_path: Path) -> None:
    heavy, children = start("generate", "-o", str(tmp_path))
    assert heavy == {"click", "jinja2", "tempfile", "relokit.codegen.render"}
    assert children == []


def test_the_machine_room_imports_nothing_that_builds() -> None:
    code = (
        "import sys, json; from relokit.runtime.room import machine_room; machine_room.prepare()\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    needed = {"numpy", "unicorn", "tempfile", "relokit.runtime.run.verdict"}
    assert HEAVY & set(json.loads(done.stdout)) <= needed | {"relokit.runtime.engine.cpu"}


MOST_MODULES = 74, 156
"""Modules of ours that a plain run with a warm cache imports: here, and in the machine room.

Each costs the start of every run half a millisecond: what only some runs need is imported by need.
"""
DOORS = "relokit.runtime.judge.trace_book", "relokit.runtime.run.recording"
"""What only these import is for runs with a trace."""
BEHIND = """
import json, sys
import relokit.runtime.run.verdict
before = set(sys.modules)
for door in sys.argv[1:]:
    __import__(door)
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def ours(modules: Iterable[str]) -> set[str]:
    return {name for name in modules if name.partition(".")[0] == "relokit"}


def test_a_plain_run_imports_what_it_uses(warm: Path) -> None:
    """By count: time would not fail, or on a busy machine. See ADR 14."""
    environment = os.environ | {"RELOKIT_CACHE": str(warm)}
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, "run", "--plain"],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert len(ours(json.loads(done.stderr)[1])) <= MOST_MODULES[0]
    with Session() as session:
        assert session.run(job=Job(plain=True)).passed
        there = set(session.ask(ModulesRequest(), tuple[str, ...], 60))
    assert len(ours(there)) <= MOST_MODULES[1]
    done = subprocess.run(
        [sys.executable, "-c", BEHIND, *DOORS], capture_output=True, text=True, check=True
    )
    behind = ours(json.loads(done.stdout))
    assert {
        "relokit.runtime.engine.observing.recorder",
        "relokit.runtime.judge.model.caches.coherence",
    } < behind
    assert behind & there == set()


# --no-cache -----------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RELOKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(build_key, "_started", lambda: 1 << 62)
    return tmp_path / "cache"


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "--size", "4K"],
        ["export", "-o", "elf"],
        ["export", "-o", "elf", "--type", "bootable", "--size", "4K"],
        ["matrix", "--series", "15", "--page-size", "4k", "--va-bits", "39", "--el", "el1",
         "--path", "in-place"],
        ["diff", "series:15", "series:15"],
    ],
)  # fmt: skip
def test_no_cache_is_for_one_command(
    cli: Cli, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli(*arguments, "--no-cache").code == 0
    assert not cache.exists()
    assert cli(*arguments).code == 0
    assert len(os.listdir(cache)) in (1, 2)


def test_with_and_without_a_cache_the_file_is_the_same(
    cli: Cli, cache: Path, tmp_path: Path
) -> None:
    files = []
    for number, more in enumerate(([], [], ["--no-cache"])):
        path = tmp_path / f"{number}"
        assert cli("export", "-o", path, *more).code == 0
        files.append(path.read_bytes())
    assert files[0] == files[1] == files[2]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["export", "-o", "x.o", "--type", "rel"], "--type rel is never cached"),
        (["matrix", "--list"], "--list builds nothing"),
        (["diff", "a.o", "b.o"], "nothing is built here"),
        (["diff", "vmlinuz", "vmlinuz", "--all"], "nothing is built here"),
    ],
)
def test_no_cache_where_nothing_is_cached_is_refused(
    cli: Cli, arguments: list[str], reason: str
) -> None:
    done = cli(*arguments, "--no-cache")
    assert (done.code, done.out) == (2, "")
    assert reason in done.err
    assert "leave --no-cache out" in done.err
