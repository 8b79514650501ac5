"""What one meets first: the way in, help, names that are nearly right, files that are there."""

from __future__ import annotations

import os
import pty
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text

from relokit.cli.command_list import relokit
from relokit.cli.help_groups import GROUPS
from relokit.cli.overview import COMMANDS
from relokit.cli.parameters import Size
from relokit.cli.terminal.view import _folded

pytestmark = pytest.mark.usefixtures("kept")

ROOT = Path(__file__).resolve().parents[2]
Cli = Callable[..., Any]


def test_readmes_first_five_minutes_work_as_typed(tmp_path: Path) -> None:
    """With what 'make shell' does: the command is on the PATH."""
    text = (ROOT / "README.md").read_text("utf-8")
    block = text.split("The first five minutes:\n\n")[1].split("\n\n")[0]
    lines = [line.split("  #")[0].strip() for line in block.splitlines()]
    assert lines.pop(0) == "make shell"
    assert 'PATH="$(abspath $(BIN)):$$PATH" $${SHELL:-/bin/sh}' in (ROOT / "Makefile").read_text()
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    codes, told = [], ""
    for line in lines:
        done = subprocess.run(
            ["sh", "-c", line], cwd=tmp_path, env=os.environ | {"PATH": path}, check=False,
            capture_output=True, text=True,
        )  # fmt: skip
        codes.append(done.returncode)
        told += done.stdout
    assert codes == [0, 0, 0, 1, 0, 1]
    assert "\ncaches.discard  " in told


def test_a_python_that_is_too_old_is_told_before_it_makes_anything(tmp_path: Path) -> None:
    """Its environment would stay, and the Python that is named then would not get into it."""
    python = tmp_path / "python3"
    script = "import sys; sys.version_info = (3, 10, 13); exec(sys.argv[2])"
    python.write_text(f"#!/bin/sh\nexec {sys.executable} -c '{script}' \"$@\"\n")
    python.chmod(0o755)
    done = subprocess.run(
        ["make", "run", f"VENV={tmp_path}/env", f"PYTHON={python}"],
        cwd=ROOT, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert f"needs Python 3.11 or later, and {python} is 3.10: name another one" in done.stderr
    assert not (tmp_path / "env").exists()


@pytest.mark.parametrize(
    ("word", "meant"),
    [("runn", "'run'"), ("martix", "'matrix'"), ("expain", "'explain'"), ("qqqq", None)],
)
def test_a_command_that_is_nearly_one(cli: Cli, word: str, meant: str | None) -> None:
    result = cli(word)
    assert result.code == 2
    said = f"No such command '{word}'" + (f": did you mean {meant}" if meant else "\n")
    assert said in result.err


@pytest.mark.parametrize(
    ("text", "size"),
    [("3.5G", 3_758_096_384), ("0.5k", 512), ("1.5MiB", 1_572_864), ("2.0", 2), ("0x10K", 16384)],
)
def test_sizes_with_a_fraction(text: str, size: int) -> None:
    assert Size().convert(text, None, None) == size


@pytest.mark.parametrize("text", ["0.3K", "1.5", "0x1.8K", ".5K", "1.K", "1.1.1K", "-0.5K", "0.0G"])
def test_sizes_that_are_no_whole_bytes(text: str) -> None:
    with pytest.raises(click.BadParameter):
        Size().convert(text, None, None)


def test_run_has_its_options_in_groups_with_examples(cli: Cli) -> None:
    told = cli("run", "--help").out
    assert re.findall(r"^(\S[^:\n]*):$", told, re.MULTILINE) == [*GROUPS, "Others"]
    examples = re.findall(r"^  relokit (run .*?)(?:   .*)?$", told, re.MULTILINE)
    assert len(examples) == 6
    known = set(re.findall(r"--[a-z-]+", told))
    for example in examples:
        assert {one for one in shlex.split(example) if one.startswith("--")} <= known
    assert not re.search(r"^Others:", cli("explain", "--help").out, re.MULTILINE)


def test_every_option_is_in_one_group_at_most() -> None:
    names = [name for group in GROUPS.values() for name in group]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_a_manual_page_has_every_option(cli: Cli, name: str) -> None:
    page = cli("man", *name.split())
    assert page.code == 0
    command = relokit.get_command(click.Context(relokit), name) if name else relokit
    for option in command.params:
        for flag in option.opts if isinstance(option, click.Option) else ():
            assert flag.replace("-", "\\-") in page.out
    requests = set(re.findall(r"^\.(\S+)", page.out, re.MULTILINE))
    assert requests <= {"TH", "SH", "PP", "TP", "B", "nf", "fi"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_names_the_command(cli: Cli, shell: str) -> None:
    result = cli("completion", shell)
    assert (result.code, "_RELOKIT_COMPLETE" in result.out) == (0, True)


def test_bash_completes_a_command(process: Cli) -> None:
    given_words = {"COMP_WORDS": "relokit ma", "COMP_CWORD": "1"}
    done = process(env={"_RELOKIT_COMPLETE": "bash_complete", **given_words})
    assert done.out.split() == ["plain,matrix", "plain,man"]


def test_templates_are_copied_whole_and_not_over_others(cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "mine"
    listed = cli("templates").out.split()
    assert cli("templates", "--copy", out).code == 0
    copied = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert copied == set(listed)
    assert "macros/copy.j2" in copied
    # What says the same is no loss.
    assert cli("templates", "--copy", out).code == 0
    changed = out / "relocate_kernel.S.j2"
    changed.write_text("mine")
    (out / "note.S.j2").unlink()
    refused = cli("templates", "--copy", out)
    assert (refused.code, "--force" in refused.err, str(changed) in refused.err) == (2, True, True)
    assert changed.read_text() == "mine"
    assert not (out / "note.S.j2").exists()
    assert cli("templates", "--copy", out, "--force").code == 0
    assert changed.read_text() != "mine"
    assert "--force is of --copy" in cli("templates", "--force").err


def test_generate_refuses_to_write_over_what_is_not_its_own(cli: Cli, tmp_path: Path) -> None:
    assert cli("generate", "-o", tmp_path).code == 0
    assert cli("generate", "-o", tmp_path).code == 0
    (tmp_path / "Makefile").write_text("all:\n")
    refused = cli("generate", "-o", tmp_path)
    assert (refused.code, "--force" in refused.err) == (2, True)
    assert (tmp_path / "Makefile").read_text() == "all:\n"
    assert cli("generate", "-o", tmp_path, "--force").code == 0
    assert (tmp_path / "Makefile").read_text() != "all:\n"


def on_a_terminal(
    *arguments: str | Path, answer: bytes = b"", columns: int = 80
) -> tuple[int, str]:
    """Exit code, and all that is on the terminal, without its colours."""
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": str(columns), "LINES": "40"}
    written = bytearray()

    def drain() -> None:
        while True:
            try:
                written.extend(os.read(ours, 65536))
            except OSError:
                return

    with subprocess.Popen(
        [sys.executable, "-m", "relokit", *map(str, arguments)],
        stdin=theirs, stdout=theirs, stderr=theirs, env=environment,
    ) as process:  # fmt: skip
        os.close(theirs)
        reader = threading.Thread(target=drain)
        reader.start()
        os.write(ours, answer)
        code = process.wait(timeout=120)
        reader.join()
    os.close(ours)
    return code, re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written.decode()).replace("\r", "")


def test_generate_asks_on_a_terminal(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text("all:\n")
    code, told = on_a_terminal("generate", "-o", tmp_path, answer=b"n\n")
    assert (code, "Makefile would be written over. Go on? [y/N]" in told) == (2, True)
    assert (tmp_path / "Makefile").read_text() == "all:\n"
    assert on_a_terminal("generate", "-o", tmp_path, answer=b"y\n")[0] == 0
    assert (tmp_path / "Makefile").read_text() != "all:\n"


@pytest.mark.parametrize("columns", [60, 80])
def test_a_terminals_lines_hold_numbers_with_their_units(columns: int) -> None:
    code, told = on_a_terminal("run", "--el", "vhe", columns=columns)
    assert code == 0
    # Progress bars are drawn over each other, in one line.
    lines = [line for line in told.split("\n") if "━" not in line]
    assert max(map(len, lines)) <= columns
    assert any(re.search(r"65,113 instructions", line) for line in lines)
    for line, after in pairwise(lines):
        assert not (re.search(r"[0-9]$", line) and re.match(r" {4}[A-Za-z]", after)), (line, after)


@given(st.lists(st.sampled_from(["12", "MiB", "a", "x" * 30, "0x40000000,", "é"]), max_size=30))
def test_folding_loses_nothing(words: list[str]) -> None:
    text = "  " + " ".join(words)
    lines = [part.plain for part in _folded(Text(text), 40)]
    assert " ".join(" ".join(lines).split()) == " ".join(text.split())
    assert all(len(line) <= 40 for line in lines)


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [({}, False), ({"FORCE_COLOR": "1"}, True), ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False)],
)
def test_colours_are_forced_and_forbidden(
    process: Cli, environment: dict[str, str], coloured: bool
) -> None:
    done = process("run", env=environment)
    assert (done.code, "\x1b[" in done.out) == (0, coloured)
