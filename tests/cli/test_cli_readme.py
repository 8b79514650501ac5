"""README's first screen is what the commands on it print, but for numbers."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import relokit.templates

ROOT = Path(__file__).resolve().parents[2]
NAME = "relocate_kernel.S.j2"
Cli = Callable[..., Any]


def screens() -> dict[str, str]:
    """What README has below each command that it shows with its output, by the command."""
    text = (ROOT / "README.md").read_text("utf-8")
    shown = re.findall(r"^    \$ (.+)\n((?:    .*\n|\n(?=    ))+)", text, re.MULTILINE)
    return dict(shown)


def words(text: str) -> str:
    """``text`` without line breaks, every number the same."""
    return re.sub(r"0x[0-9a-f]+|\b[0-9a-f]{8}\b|[\d.,]*\d", "N", " ".join(text.split()))


def is_in_order(screen: str, printed: str) -> None:
    """Each part of ``screen`` between its ``...`` is printed, one behind the other."""
    at, whole = 0, words(printed)
    for part in screen.split("    ...\n"):
        wanted = words(part)
        assert wanted in whole[at:], wanted
        at = whole.index(wanted, at) + len(wanted)


def test_a_good_run(cli: Cli) -> None:
    result = cli("run")
    assert result.code == 0
    is_in_order(screens()["make run"], result.out)


def test_lines_that_are_invalidated_and_not_cleaned(cli: Cli, tmp_path: Path) -> None:
    good = Path(relokit.templates.__path__[0]) / NAME
    bad = good.read_text("utf-8").replace("civac", "ivac")
    (tmp_path / NAME).write_text(bad, "utf-8")
    result = cli("run", "--templates", tmp_path)
    assert result.code == 1
    [screen] = [text for command, text in screens().items() if "--templates" in command]
    is_in_order(screen, result.out)


def test_a_register_that_is_left_over(cli: Cli, tmp_path: Path) -> None:
    """Addresses, too: README has them of one machine."""
    good = Path(relokit.templates.__path__[0]) / NAME
    bad = good.read_text("utf-8").replace("mov\tx3, xzr", "mov\tx3, #0x2a")
    (tmp_path / NAME).write_text(bad, "utf-8")
    printed = {line.strip() for line in cli("run", "--templates", tmp_path).out.splitlines()}
    text = (ROOT / "README.md").read_text("utf-8")
    [block] = re.findall(r"^    handoff[.]x1.*?^    FAIL.*?$", text, re.MULTILINE | re.DOTALL)
    shown = {line.strip() for line in block.splitlines()} - {"..."}
    assert shown - printed == set()


def test_the_walk_that_a_debugger_shows(cli: Cli) -> None:
    """docs/debug.md has the whole answer of 'monitor walk', which is that of 'show tables'."""
    page = (ROOT / "docs" / "debug.md").read_text("utf-8")
    [block] = re.findall(r"monitor walk (0x\w+)\n(.*?)\n    [(]gdb[)]", page, re.DOTALL)
    printed = cli("show", "tables", block[0], "--at", "jump").out
    walks = [line.strip() for line in printed.partition(f"\n{block[0]} by")[2].splitlines()]
    shown = [line.strip() for line in block[1].splitlines()]
    assert shown[1:] == [line for line in walks[1:] if line]
