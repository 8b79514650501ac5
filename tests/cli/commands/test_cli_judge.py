"""``relokit judge``: a stored trace judged again, by the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from relokit.codegen.base.version import VERSION

Cli = Callable[..., Any]
Edit = Callable[[str, str, str], Path]

CLEANS = 'dcache_by_line("civac"'
INVALIDATES = 'dcache_by_line("ivac"'


@pytest.fixture(name="bad")
def _bad(cli: Cli, edited: Edit, tmp_path: Path) -> tuple[Any, Path]:
    """A run that fails, and its trace."""
    path = tmp_path / "bad.trace"
    templates = edited("relocate_kernel.S.j2", CLEANS, INVALIDATES)
    return cli("run", "--json", "--templates", templates, "--trace", path), path


def comparable(document: dict[str, Any]) -> dict[str, Any]:
    """What does not depend on the host's clock."""
    moved = {**document["relocation"], "seconds": 0}
    return {**document, "timings": {}, "relocation": moved}


def test_it_says_what_the_run_said(cli: Cli, bad: tuple[Any, Path]) -> None:
    run, path = bad
    judged = cli("judge", "--json", path)
    assert (judged.code, judged.err) == (run.code, "") == (1, "")
    assert comparable(judged.document) == comparable(run.document)
    assert judged.document["timings"] == {}
    assert any(one["rule"] == "caches.discard" for one in judged.document["findings"])


def test_the_screen_is_that_of_the_run(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "a.trace"
    options = ("--series", "9", "--el", "el1", "--size", "1M")
    run, judged = cli("run", *options, "--trace", path), cli("judge", path)
    assert (run.code, judged.code) == (0, 0)
    lines = [line.split(" in 0.")[0] for line in run.out.splitlines()]
    assert judged.out.splitlines() == lines
    assert lines[0] == f"relokit {VERSION}  series:9,page=4k,va=48,el=el1"


def test_a_warning_fails_it_if_it_is_strict(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "a.trace"
    assert cli("run", "--path", "in-place", "--trace", path).code == 0
    assert cli("judge", path).code == 0
    strict = cli("judge", "--strict", "--json", path)
    assert strict.code == 1
    assert strict.document["strict"] is True


def test_a_trace_of_the_first_version_is_refused(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "old.trace"
    path.write_bytes(b"relokit trace 1\n{}\n" + bytes(32))
    result = cli("judge", path)
    assert (result.code, result.out) == (2, "")
    assert "version '1', not 2" in result.err
    assert "relokit run --trace" in result.err


@pytest.mark.parametrize("content", [b"", b"\x7fELF", b"relokit trace 2\n{}\n"])
def test_what_is_no_trace_is_refused(cli: Cli, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    result = cli("judge", path)
    assert (result.code, result.out) == (2, "")
    assert str(path) in result.err


def test_a_file_that_is_not_there_is_refused(cli: Cli, tmp_path: Path) -> None:
    assert cli("judge", tmp_path / "none").code == 2


# --trace-format ---------------------------------------------------------------------------------


def test_a_trace_is_written_for_another_tool_by_either_command(cli: Cli, tmp_path: Path) -> None:
    ours, one, other = (tmp_path / name for name in ("ours", "one.json", "other.json"))
    form = ("--trace-format", "perfetto")
    assert cli("run", "--trace", ours).code == 0
    assert cli("run", "--trace", one, *form).code == 0
    assert cli("judge", ours, "--trace", other, *form).code == 0
    assert one.read_bytes() == other.read_bytes()
    assert json.loads(one.read_bytes())["traceEvents"]


def test_a_trace_that_is_written_again_is_the_same(cli: Cli, tmp_path: Path) -> None:
    ours, again = tmp_path / "ours", tmp_path / "again"
    assert cli("run", "--trace", ours).code == 0
    assert cli("judge", ours, "--trace", again).code == 0
    assert again.read_bytes() == ours.read_bytes()


@pytest.mark.parametrize("command", [["run"], ["judge", "x"]])
def test_a_format_without_a_trace_is_refused(cli: Cli, command: list[str]) -> None:
    result = cli(*command, "--trace-format", "perfetto")
    assert result.code == 2
    assert "--trace FILE" in result.err


def test_another_tools_trace_is_not_judged(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    assert cli("run", "--trace", path, "--trace-format", "perfetto").code == 0
    result = cli("judge", path)
    assert result.code == 2
    assert "no trace that relokit wrote" in result.err
