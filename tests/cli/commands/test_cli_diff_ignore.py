"""``relokit diff --ignore``: whatever the form, it says what was ignored and never plainly same."""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.text_images import LDR, MOV, RET, image

Cli = Callable[..., Any]

LEFT = (
    "\t.type go, %function\ngo:\tpaciasp\n\tldr\tx0, [x1, #8]\n\tisb\n\tret\n\t.size go, . - go\n"
)
RIGHT = LEFT.replace("paciasp", "bti\tc").replace("#8", "#16")
COUNTED = "3 differences ignored: 1 pac, 1 bti, 1 offsets"
APART = "same apart from what is ignored"
FORMS = ("unified", "side", "html", "junit", "sarif", "github", "ktap", "json")
IGNORE = ("--ignore", "pac,bti,hints,offsets")


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in (("left.S", LEFT), ("right.S", RIGHT)):
        Path(name).write_text(text)
    Path("bad.S").write_text(RIGHT.replace("isb", "nop"))
    for name, words in (("l", (0xD503233F, LDR, MOV)), ("r", (0xD503245F, LDR | 2 << 10, MOV))):
        Path(name).write_bytes(image([("f", (*words, RET))]))


def form(name: str) -> tuple[str, ...]:
    return ("--json",) if name == "json" else ("--format", name)


def said(name: str, text: str) -> str:
    """What a person or program reads of ``text``."""
    if name == "json":
        document = json.loads(text)
        ignored = document["differences_ignored"]
        named = ", ".join(f"{count} {kind}" for kind, count in ignored.items() if count)
        return f"{document['verdict']}\n{sum(ignored.values())} differences ignored: {named}"
    return html.unescape(text)


@pytest.mark.parametrize("name", FORMS)
def test_each_form_of_two_files_says_what_was_ignored(cli: Cli, files: None, name: str) -> None:
    result = cli("diff", "left.S", "right.S", *IGNORE, *form(name))
    assert (result.code, result.err) == (0, "")
    text = said(name, result.out)
    assert COUNTED in text
    assert APART in text
    assert cli("diff", "left.S", "right.S", *form(name)).code == 1
    # A barrier that became a hint is seen.
    bad = cli("diff", "left.S", "bad.S", *IGNORE, *form(name))
    assert (bad.code, APART in said(name, bad.out)) == (1, False)
    assert "isb" in bad.out
    assert "4 differences ignored: 1 pac, 1 bti, 1 hints, 1 offsets" in said(name, bad.out)


@pytest.mark.parametrize("name", ["auto", "csv", "markdown", *FORMS[2:]])
def test_each_form_of_two_kernels_says_what_was_ignored(cli: Cli, files: None, name: str) -> None:
    result = cli("diff", "l", "r", "--all", *IGNORE, *form(name))
    assert result.code == 0
    text = said(name, result.out + result.err)
    assert COUNTED in text
    # A list of rows has no verdict, and says it beside.
    assert APART in text
    assert cli("diff", "l", "r", "--all", *form(name)).code == 1


def test_what_else_it_goes_with(cli: Cli, files: None) -> None:
    score = cli("diff", "left.S", "right.S", *IGNORE, "--score")
    assert (score.out, score.err) == ("100.00\n", f"{COUNTED}\n")
    series = cli("diff", "--series", "--ignore", "hints,offsets", "--format", "ktap")
    assert (series.code, "# patch 1: no difference ignored" in series.out) == (1, True)
    run = cli("diff", "left.S", "bad.S", *IGNORE, "--run")
    assert "differences ignored (of the code, not of the run): 1 pac" in run.out
    for more, told in (
        (("--ignore", "pac,hint"), "did you mean 'hints'? there are pac, bti, hints, offsets"),
        (("--ignore", "offsets", "--keep", "addresses"), "--keep addresses counts what"),
        (("--ignore", "pac,bti,hints", "--only", "hint"), "leaves nothing of --only hint"),
    ):
        refused = cli("diff", "left.S", "right.S", *more)
        assert (refused.code, told in refused.err) == (2, True)
