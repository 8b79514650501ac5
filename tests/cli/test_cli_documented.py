"""Commands that README and the pages show are commands: each is parsed, with all its options."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import click
import pytest

from relokit.cli.command_list import relokit
from relokit.cli.overview import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
FOLDERS = ("bad", "changed", "DIR", "tools", "stuck", "free")
"""What a command needs as a directory; the other names that it reads are files."""


def documented() -> Iterator[tuple[str, str]]:
    """Page and command of each line of code that begins with relokit, and what `;` puts behind."""
    for page in PAGES:
        text = page.read_text("utf-8").replace("\\\n", "")
        for line in re.findall(r"^    (?:\$ )?(relokit [a-z].*)$", text, re.MULTILINE):
            for part in re.split(r"\s+#\s|\s[|>]\s", line)[0].split("; "):
                # What stands for several, words from a file, and the first line of a trace.
                if not re.search(r"\[|\.\.\.| @|^relokit trace ", part):
                    yield page.name, part.strip()


LINES = sorted(set(documented()))


@pytest.mark.parametrize(("page", "line"), LINES, ids=lambda one: str(one)[:60])
def test_it_is_a_command_with_these_options(
    page: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, name, *words = shlex.split(line)
    assert name in COMMANDS
    monkeypatch.chdir(tmp_path)
    for word in words:
        path = tmp_path / word
        if word.rstrip("/") in FOLDERS:
            path.mkdir(exist_ok=True)
        elif re.fullmatch(r"[\w.-]+", word):
            path.touch()
    with click.Context(relokit, info_name="relokit") as parent:
        command = relokit.get_command(parent, name)
        assert command is not None
        with ExitStack() as stack:
            stack.enter_context(command.make_context(name, words, parent=parent))


def test_they_are_many_and_a_wrong_one_is_seen() -> None:
    assert len(LINES) > 100
    assert {"run", "diff", "show", "matrix", "kexec"} <= {line.split()[1] for _, line in LINES}
    for wrong in ("run --kernle x", "run --el el3", "run --size x"):
        name, *words = wrong.split()
        command = relokit.get_command(click.Context(relokit), name)
        assert command is not None
        with pytest.raises(click.UsageError):
            command.make_context(name, words)
