"""Usage, errors, exit codes and what standard output takes."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import click
import pytest

from relokit.cli.main import main
from relokit.cli.overview import COMMANDS
from relokit.codegen.base.version import VERSION

Cli = Callable[..., Any]

HEAVY = ("numpy", "unicorn", "lief", "keystone", "rich", "capstone", "jinja2", "lark")


def imported(code: str) -> set[str]:
    """The heavy modules in a fresh interpreter after ``code``."""
    tail = f"\nimport sys; print(*(m for m in {HEAVY!r} if m in sys.modules), sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-c", code + tail], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split()) & set(HEAVY)


def test_version(cli: Cli) -> None:
    result = cli("--version")
    assert (result.code, result.out, result.err) == (0, f"relokit {VERSION}\n", "")


def test_help_names_every_command_and_exit_code(cli: Cli) -> None:
    result = cli("--help")
    assert result.code == 0
    for word in (*COMMANDS, "0 pass", "1 the run failed", "2 bad usage", "130"):
        assert word in result.out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_has_a_help_text(cli: Cli, command: str) -> None:
    assert cli(command, "--help").code == 0
    parameters = import_module(f"relokit.cli.commands.{command}").command.params
    parameters = [part for part in parameters if isinstance(part, click.Option)]
    # This has an argument, which the usage shows.
    assert parameters or command == "completion"
    for parameter in parameters:
        assert parameter.help[0].isupper() or parameter.help.startswith("struct"), parameter.name


def test_no_arguments_is_usage(cli: Cli) -> None:
    result = cli()
    assert result.code == 2
    assert result.out == ""
    assert "Usage: relokit" in result.err


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["nope"], "No such command 'nope'", "relokit --help"),
        (["run", "--nope"], "No such option '--nope'", "relokit run --help"),
        (["run", "--cmdline"], "'--cmdline' requires an argument", "relokit run --help"),
        (["run", "left over"], "unexpected extra argument (left over)", "relokit run --help"),
        (["export"], "Missing option", "relokit export --help"),
        (["generate"], "Missing option", "relokit generate --help"),
        (["run", "--page-size", "8k"], "'8k' is not one of '4k', '16k', '64k'", "run --help"),
        (["run", "--el", "el3"], "'el3' is not one of", "run --help"),
        (["run", "--layout", "2.6"], "'2.6' is not one of", "run --help"),
        (["run", "--series", "16"], "no such state of the series: '16'", "run --help"),
        (["run", "--series", "9" * 6000], "no such state of the series", "run --help"),
    ],
)
def test_usage_errors(cli: Cli, arguments: list[str], message: str, hint: str) -> None:
    result = cli(*arguments)
    assert result.code == 2
    assert result.out == ""
    assert result.err.startswith("relokit: ")
    assert message in result.err
    assert re.search(rf"^hint: see '.*{hint}'$", result.err, re.M)
    as_json = cli(*arguments, "--json") if arguments[-1] != "--cmdline" else None
    if as_json is not None:
        assert as_json.code == 2
        assert as_json.err == ""
        assert as_json.document["status"] == "error"
        assert message in as_json.document["error"]["message"]
        assert hint in as_json.document["error"]["hint"]


def test_error_document_has_nothing_but_strings(cli: Cli) -> None:
    result = cli("run", "--kernel", "nowhere", "--json")
    assert result.code == 2
    assert result.document == {
        "schema": "relokit.error/1",
        "status": "error",
        "error": {"message": "no such file", "where": "nowhere", "hint": "check the path"},
    }


def test_defect_is_one_line_and_no_verdict(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> NoReturn:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr("relokit.facade.run", broken)
    result = cli("run")
    assert result.code == 2
    assert "internal error: ZeroDivisionError: oh" in result.err
    assert "Traceback" not in result.err
    assert "test_cli_main.py" in result.err


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (MemoryError(), 2, "out of memory"),
        (BlockingIOError(11, "Resource temporarily unavailable"), 2, "temporarily unavailable"),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_what_can_happen_to_anyone(
    cli: Cli,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    code: int,
    message: str,
    as_json: bool,
) -> None:
    def stopped(*_: object, **__: object) -> NoReturn:
        raise error

    monkeypatch.setattr("relokit.facade.run", stopped)
    monkeypatch.setattr("relokit.cli.terminal.output.discard_output", lambda: None)
    result = cli("run", *["--json"] * as_json)
    assert result.code == code
    if as_json:
        assert message in result.document["error"]["message"]
        assert result.err == ""
    else:
        assert message in result.err
        assert result.err.count("\n") <= 2
        assert result.out == ""


def test_error_text_cannot_drive_the_terminal(cli: Cli) -> None:
    result = cli("run", "--kernel", "\x1b[2J\x07nowhere")
    assert result.code == 2
    assert "\x1b" not in result.err
    assert "\x07" not in result.err
    assert "nowhere: no such file" in result.err


def test_python_m_and_console_script_are_the_same_program(process: Cli) -> None:
    result = process("--version")
    assert result.code == 0
    assert len(result.out.splitlines()) == 1
    assert process("--nope").code == 2


def test_import_and_version_cost_nothing() -> None:
    assert imported("import relokit, relokit.cli.main") == set()
    assert imported("import relokit; relokit.Target(); relokit.Job()") == set()
    assert imported("from relokit.cli.main import main; main(['--version'])") == set()
    assert imported("from relokit.cli.main import main; main(['run', '--help'])") == set()
    assert imported("from relokit.cli.main import main; main(['series', '--help'])") == set()
    # The parent of a run leaves the machine to its child.
    assert imported("import relokit; relokit.run()") <= {"jinja2", "lark"}


def test_reader_that_left_early_is_no_error(process: Cli, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        for arguments in (["generate", "-o", tmp_path], ["run", "--json"], ["--help"]):
            result = process(*arguments, stdout=writer)
            assert (result.code, result.err) == (0, "")
    finally:
        os.close(writer)


def test_reader_that_left_early_does_not_change_the_verdict(process: Cli) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        result = process("run", "--max-instructions", "9", stdout=writer)
    finally:
        os.close(writer)
    assert (result.code, result.err) == (1, "")


@pytest.mark.parametrize("arguments", [["run"], ["run", "--json"]])
def test_full_disk_is_an_error(process: Cli, arguments: list[str]) -> None:
    with open("/dev/full", "w") as full:
        result = process(*arguments, stdout=full)
    assert result.code == 2
    assert result.err == "relokit: standard output: cannot be written: No space left on device\n"


@pytest.mark.parametrize("buffered", ["", "1"])
@pytest.mark.parametrize("words", [("series", "12", "--json"), ("run", "--help")], ids=" ".join)
def test_what_takes_only_a_part_is_an_error(
    process: Cli, words: tuple[str, ...], buffered: str, tmp_path: Path
) -> None:
    """1,024 bytes of JSON and exit code 0: without a buffer the rest of a write was lost."""
    path = tmp_path / "j"
    # The interpreter takes a part for the whole, too, and would leave what it compiles cut short.
    once = {"PYTHONDONTWRITEBYTECODE": "1"}

    def little() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))

    with path.open("wb") as file:
        result = process(
            *words, stdout=file, preexec_fn=little,
            env={"PYTHONUNBUFFERED": buffered, "RELOKIT_CACHE": ""} | once,
        )  # fmt: skip
    assert (result.code, path.stat().st_size) == (2, 1024)
    assert "File too large" in result.err


def test_help_on_a_full_disk(process: Cli) -> None:
    with open("/dev/full", "w") as full:
        result = process("--help", stdout=full)
    said = "relokit: standard output: cannot be written: No space left on device\n"
    assert (result.code, result.err) == (2, said)


FAMILIES = (
    ("explain", "handoff.x1"),
    ("templates", "--json"),
    ("completion", "zsh"),
    ("man", "run"),
    ("run", "--kernel", "nowhere", "--json"),
    ("diff", "object", "object", "--format", "html"),
)
"""A light command of each."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an object in it."""
    folder = tmp_path_factory.mktemp("families")
    assert main(["export", "--type", "rel", "-o", str(folder / "object")]) == 0
    return folder


@pytest.mark.parametrize("words", FAMILIES, ids=" ".join)
def test_whatever_is_printed_a_full_disk_is_told(
    process: Cli, place: Path, words: tuple[str, ...]
) -> None:
    """Nothing was said of an error that had no place in a document."""
    with open("/dev/full", "w") as full:
        result = process(*words, stdout=full, cwd=place)
    assert result.code == 2
    assert result.err.startswith("relokit: ")
    assert len(result.err.splitlines()) <= 2


@pytest.mark.parametrize(
    ("closed", "code"), [("man run >&-", 0), ("templates --json 2>&-", 0), ("man nothing 2>&-", 2)]
)
def test_closed_streams_change_no_code(closed: str, code: int) -> None:
    shell = f'"{sys.executable}" -m relokit {closed}'
    done = subprocess.run(["sh", "-c", shell], check=False, timeout=60, capture_output=True)
    assert (done.returncode, done.stderr) == (code, b"")


def test_completion_asks_no_bash(process: Cli) -> None:
    """A host without one was told so, on standard error, and with code 0."""
    result = process("completion", "bash", env={"PATH": "/nowhere"})
    assert (result.code, result.err) == (0, "")
    assert "_relokit_completion" in result.out


def test_closed_standard_output_and_error() -> None:
    shell = f'"{sys.executable}" -m relokit run >&- 2>&-'
    assert subprocess.run(["sh", "-c", shell], check=False, timeout=60).returncode == 0
    shell = f'"{sys.executable}" -m relokit nope >&- 2>&-'
    assert subprocess.run(["sh", "-c", shell], check=False, timeout=60).returncode == 2


def test_ascii_terminal(process: Cli) -> None:
    result = process("run", "--kernel", "k\u00e9rnel", env={"PYTHONIOENCODING": "ascii"})
    assert result.code == 2
    assert "no such file" in result.err


@pytest.mark.parametrize("method", ["parse_args", "invoke", "make_context"])
def test_an_interrupt_within_click_is_one_as_well(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """Between its parser and the command click put an empty line before."""

    def interrupted(*_: object, **__: object) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"relokit.cli.command_list.relokit.{method}", interrupted)
    result = cli("explain", "handoff.x1")
    assert (result.code, result.out, result.err) == (130, "", "relokit: interrupted\n")
