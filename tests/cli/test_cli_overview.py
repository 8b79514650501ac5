"""The page that ``relokit --help`` shows, which is made without click."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relokit.cli.command_list import relokit
from relokit.cli.overview import ABOUT, COMMANDS, EXIT_CODES, overview

Cli = Callable[..., Any]
UNBROKEN = "\u2011"
"""A hyphen at which click breaks no line; we break none at any."""


class _InOrder(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


def page_of_click(width: int) -> str:
    """What click makes of the same commands, in so many columns."""
    words = [text.replace("-", UNBROKEN) for text in (ABOUT, EXIT_CODES)]
    group = _InOrder(help=words[0], epilog=words[1], params=list(relokit.params))
    for name, about in COMMANDS.items():
        group.add_command(click.Command(name, short_help=about.replace("-", UNBROKEN)))
    names = ["-h", "--help"]
    context = click.Context(
        group, info_name="relokit", help_option_names=names, terminal_width=width
    )
    return group.get_help(context).replace(UNBROKEN, "-")


@given(st.integers(1, 300))
def test_the_page_is_the_one_that_click_would_make(columns: int) -> None:
    assert overview(columns) == page_of_click(max(min(columns, 100) - 2, 50))


@pytest.mark.parametrize(
    ("columns", "width"),
    [("60", 60), ("400", 100), ("1", 52), ("0", 80), ("-60", 80), ("9" * 5000, 80), ("x", 80)],
)
def test_columns_are_taken_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, cli: Cli, columns: str, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setattr(os, "get_terminal_size", lambda _: os.terminal_size((0, 0)))
    assert cli("--help").out == cli("-h").out == f"{overview(width)}\n"
    # Whatever else is asked with it, click is asked, and has the same page.
    assert cli("run", "-h").out != cli("--help", "run").out == f"{overview(width)}\n"
    assert cli().err == f"{overview(width)}\n"


def test_columns_are_the_terminals() -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, 64, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key != "COLUMNS"}
    subprocess.run(
        [sys.executable, "-m", "relokit", "--help"], stdout=theirs, env=environment, check=True
    )
    os.close(theirs)
    shown = b""
    while chunk := _read(ours):
        shown += chunk
    os.close(ours)
    assert shown.decode().replace("\r\n", "\n") == f"{overview(64)}\n"


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # EIO: nobody has the other end any more
        return b""


@pytest.mark.parametrize("word", ["--help", "--version"])
def test_a_page_that_cannot_be_printed_is_an_error(process: Cli, word: str) -> None:
    for unbuffered in ("", "1"):
        with open("/dev/full", "w") as full:
            done = process(word, stdout=full, env={"PYTHONUNBUFFERED": unbuffered})
        assert done.code == 2
        assert done.err == (
            "relokit: standard output: cannot be written: No space left on device\n"
        )
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as left:
        done = process(word, stdout=left)
    assert (done.code, done.err) == (0, "")
