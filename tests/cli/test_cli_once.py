"""An option that is given twice: the last one counted, in silence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from relokit.cli.command_list import relokit as group
from relokit.cli.once import Command
from relokit.cli.overview import COMMANDS

Cli = Callable[..., Any]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_looks(name: str) -> None:
    assert isinstance(group.get_command(click.Context(group), name), Command)


@pytest.mark.parametrize(
    ("words", "flag"),
    [
        (("run", "--kernel", "a", "--kernel", "b"), "--kernel"),
        (("run", "--size=4k", "--size", "1m"), "--size"),
        (("run", "--el", "el1", "--path", "crash", "--el=vhe"), "--el"),
        (("generate", "-o", "a", "-ob"), "-o"),
        (("generate", "-oa", "-o", "b"), "-o"),
        (("generate", "-o", "a", "--output", "b"), "--output"),
        (("matrix", "--el", "el1", "--el", "vhe"), "--el"),
        (("diff", "a", "--format", "html", "b", "--format", "html"), "--format"),
        (("diff", "--series", "page=16k", "--series", "el=vhe"), "--series"),
        (("mutate", "--seed", "1", "--seed", "2"), "--seed"),
    ],
)
def test_an_option_with_one_value_is_given_once(
    words: tuple[str, ...], flag: str, cli: Cli
) -> None:
    result = cli(*words)
    assert (result.code, result.out) == (2, "")
    assert f"{flag} is given twice: leave one of them out" in result.err


@pytest.mark.parametrize(
    "words",
    [
        ("--cmdline", "--el", "--el", "el1"),
        ("--cmdline=--el=vhe", "--el", "el1"),
        ("--code-from", "--code-from", "--code-from", "x"),
        ("--plain", "--plain"),
    ],
)
def test_what_is_a_value_or_may_be_repeated_is_no_option_twice(
    words: tuple[str, ...], cli: Cli
) -> None:
    """Whatever else may be wrong with it."""
    assert "given twice" not in cli("run", "--size", "4k", *words).err


def test_behind_two_dashes_nothing_is_an_option(cli: Cli) -> None:
    assert "given twice" not in cli("diff", "--", "--format", "a", "--format", "b").err


@pytest.mark.parametrize(
    "words",
    [
        ("run", "--kernel", "mine", "--trace", "mine"),
        ("run", "--code-from", "other", "--code-from", "mine", "--trace", "link"),
        ("kexec", "--kernel", "mine", "--trace", "./mine"),
        ("kexec", "--kernel", "other", "--initrd", "mine", "--trace", "mine"),
        ("judge", "mine", "--trace", "mine"),
        ("export", "--type", "bootable", "--kernel", "mine", "-o", "mine"),
        ("diff", "mine", "other", "-o", "mine"),
        ("diff", "other", "mine:some_symbol", "-o", "link"),
        ("time", "--trace", "mine", "--plot", "mine"),
    ],
)
def test_what_is_read_is_not_written_over(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    # The file that was read became the trace, in silence.
    monkeypatch.chdir(tmp_path)
    for name in ("mine", "other"):
        Path(name).write_bytes(b"junk")
    Path("link").symlink_to("mine")
    result = cli(*words)
    assert result.code == 2
    assert "it would be written over" in result.err
    assert "give another name to write to" in result.err
    assert Path("mine").read_bytes() == b"junk"


@pytest.mark.parametrize(
    "words",
    [
        ("run", "--format", "junit", "-o", "new", "--report", "./new"),
        ("run", "--write-baseline", "new", "--trace", "new"),
        ("run", "--write-baseline", "link", "--report", "new"),
        ("judge", "mine", "--trace", "new", "--format", "sarif", "-o", "new"),
        ("kexec", "--kernel", "mine", "--report", "new", "--trace", "new"),
        ("mutate", "--results", "new", "--report", "new"),
        ("mutate", "--results", "new", "--format", "ktap", "-o", "new"),
        ("run", "--report", "relokit.toml"),
    ],
)
def test_of_two_outputs_none_is_the_other(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    # The second one that was written stayed, with exit code 0; of --results none were left.
    monkeypatch.chdir(tmp_path)
    Path("mine").write_bytes(b"junk")
    Path("relokit.toml").write_text("")
    Path("link").symlink_to("new")
    result = cli(*words)
    assert result.code == 2
    assert "it would be written over" in result.err
    assert not Path("new").exists()
    assert Path("relokit.toml").read_text() == ""


def test_a_file_of_words_is_not_written_over(cli: Cli, tmp_path: Path) -> None:
    words = tmp_path / "words"
    words.write_text(f"--trace {words}")
    result = cli("run", f"@{words}")
    assert result.code == 2
    assert f"@{words} is that file" in result.err
    assert words.read_text() == f"--trace {words}"


def test_an_old_file_that_is_not_read_is_written_over(cli: Cli, tmp_path: Path) -> None:
    old = tmp_path / "out.elf"
    old.write_bytes(b"junk")
    assert cli("export", "-o", old).code == 0
    assert old.read_bytes()[:4] == b"\x7fELF"


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--snapshot", ("run", "--report")), ("--snapshot", ("run", "--trace")),
        ("--snapshot", ("show", "memory", "--svg")), ("--templates", ("run", "--report")),
    ],
)  # fmt: skip
def test_a_file_of_a_directory_that_is_read_is_not_written_over(
    cli: Cli, tmp_path: Path, option: str, words: tuple[str, ...]
) -> None:
    """A report over registers.json of a snapshot was the end of that snapshot."""
    inner = tmp_path / "given" / "macros"
    inner.mkdir(parents=True)
    file = inner / "registers.json"
    file.write_text("{}")
    result = cli(*words, file, option, tmp_path / "given")
    assert result.code == 2
    assert f"'{option}' has that file: it would be written over" in result.err
    assert file.read_text() == "{}"
