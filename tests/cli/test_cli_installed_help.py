"""Completion and manual pages, as an installation without make has them; in a real bash."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from relokit.cli.overview import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
Cli = Callable[..., Any]


def completed(cli: Cli, words: str, folder: Path) -> list[str]:
    """What bash offers for the last of ``words``."""
    script = folder / "completion.bash"
    script.write_text(cli("completion", "bash").out)
    line = f"COMP_WORDS=({words}) COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))"
    asked = f'. {script}; {line}; _relokit_completion relokit; echo "${{COMPREPLY[*]}}"'
    told = subprocess.run(
        ["bash", "-c", asked],
        cwd=folder, check=True, capture_output=True, text=True,
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )  # fmt: skip
    return told.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("relokit ma", {"matrix", "man"}),
        ("relokit run --ke", {"--kernel", "--kernel-at"}),
        ("relokit run --el ''", {"el1", "nvhe", "vhe"}),
    ],
)
def test_a_real_bash_completes(cli: Cli, tmp_path: Path, words: str, offered: set[str]) -> None:
    assert set(completed(cli, words, tmp_path)) == offered


def test_bash_takes_the_script_for_the_command(cli: Cli) -> None:
    script = cli("completion", "bash").out + "complete -p relokit"
    told = subprocess.run(["bash", "-c", script], check=True, capture_output=True, text=True)
    assert told.stdout == "complete -o nosort -F _relokit_completion relokit\n"


def test_all_manual_pages_are_written_as_they_are_printed(cli: Cli, tmp_path: Path) -> None:
    pages = tmp_path / "share/man/man1"
    told = cli("man", "--copy", pages)
    names = ["relokit.1", *(f"relokit-{name}.1" for name in COMMANDS)]
    assert (told.code, told.out.split()) == (0, [str(pages / name) for name in names])
    assert (pages / "relokit.1").read_text() == cli("man").out
    assert (pages / "relokit-run.1").read_text() == cli("man", "run").out
    assert sorted(os.listdir(pages)) == sorted(names)


def test_manual_pages_are_not_written_over_others(cli: Cli, tmp_path: Path) -> None:
    mine = tmp_path / "relokit-run.1"
    mine.write_text("mine")
    refused = cli("man", "--copy", tmp_path)
    assert (refused.code, "--force" in refused.err) == (2, True)
    assert (mine.read_text(), os.listdir(tmp_path)) == ("mine", [mine.name])
    assert cli("man", "--copy", tmp_path, "--force").code == 0
    assert mine.read_text() != "mine"


@pytest.mark.parametrize("words", [("run", "--copy", "x"), ("--force",), ("absent",)])
def test_what_man_refuses(cli: Cli, words: tuple[str, ...], tmp_path: Path) -> None:
    assert cli("man", *words).code == 2


def test_make_installs_all_of_it(tmp_path: Path) -> None:
    environment = Path(sys.executable).parents[1]
    stamp = environment / ".relokit-used"
    done = subprocess.run(
        ["make", "-o", stamp, "install-docs", f"VENV={environment}", f"PREFIX={tmp_path}"],
        cwd=ROOT, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    share = tmp_path / "share"
    for script in (
        "bash-completion/completions/relokit",
        "zsh/site-functions/_relokit",
        "fish/vendor_completions.d/relokit.fish",
    ):
        assert "_RELOKIT_COMPLETE" in (share / script).read_text()
    assert len(os.listdir(share / "man/man1")) == len(COMMANDS) + 1
