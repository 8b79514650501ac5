"""What is shown never forges: one hostile name through every door, and no line is of its making."""

from __future__ import annotations

from pathlib import Path

import pytest

from relokit.cli.results.annotations import github
from relokit.cli.results.junit import junit
from relokit.cli.results.ktap import ktap
from relokit.cli.results.result_cases import CaseEnd, ResultCase, ResultSet
from relokit.cli.terminal.output import plain_lines
from relokit.cli.terminal.view import shown
from relokit.cli.terminal.whole_lists import csv_text, markdown_text
from relokit.codegen.base.errors import RelokitError
from relokit.runtime.judge.outcome import Finding

from .conftest import Cli

MARK = "relokit: FORGED"
EVIL = f"=e\n{MARK}\r{MARK}\x1b[31m\u202e\u2028{MARK}\x85|`<b>%0A::error::x\"'&,-->]]>"
"""A file's name on Linux may be this: no slash, no zero."""
SOURCE = ".text\n.globl foo\n.type foo, %function\nfoo: mov x0, #{}\nret\n.size foo, . - foo\n"


def forged(text: str) -> list[str]:
    """Lines that begin as the name would have them, and characters that do not print."""
    lines = [one for one in text.split("\n") if one.strip().startswith((MARK, "::error::x"))]
    return lines + [hex(ord(c)) for c in text if not c.isprintable() and c not in "\n\t"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a.S and b.S, which differ; their names are EVIL, too."""
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("a.S", "b.S")):
        Path(EVIL + name).write_text(SOURCE.format(number))
    Path(EVIL + "dir").mkdir()
    (Path(EVIL + "dir") / "kernel.lds.j2").write_text("{{ nothing }}")
    return tmp_path


A, B, DIRECTORY, MISSING = EVIL + "a.S", EVIL + "b.S", EVIL + "dir", EVIL + "missing"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        *(
            (("diff", A, B, "--format", shape), 1)
            for shape in ("unified", "side", "html", "junit", "sarif", "github", "ktap")
        ),
        (("diff", A, B, "--json"), 1),
        (("diff", A, MISSING), 2),
        (("diff", A, MISSING, "--json"), 2),
        (("diff", f"{A}:{EVIL}", B), 2),
        (("diff", A, B, "--ignore", EVIL), 2),
        (("run", "--kernel", MISSING), 2),
        (("run", "--kernel", A), 2),
        (("run", "--code-from", A), 2),
        (("run", "--dtb", A), 2),
        (("run", "--dtb", MISSING), 2),
        (("run", "--templates", DIRECTORY), 2),
        (("run", "--templates", MISSING), 2),
        (("run", "--baseline", A), 2),
        (("run", "--layout-from", A), 2),
        (("run", "--series", EVIL), 2),
        (("run", "--el", EVIL), 2),
        (("run", "--limit", EVIL), 2),
        (("run", "--memory-map", EVIL), 2),
        (("run", EVIL), 2),
        (("run", f"@{A}"), 2),
        (("run", f"@{MISSING}"), 2),
        (("kexec", "--kernel", A), 2),
        (("judge", A), 2),
        (("judge", MISSING), 2),
        (("show", "memory", "--snapshot", A), 2),
        (("generate", "-o", A), 2),
        (("generate", "-o", EVIL), 0),
        (("templates", "--copy", EVIL), 0),
        (("explain", EVIL), 2),
        (("man", EVIL), 2),
        (("series", EVIL), 2),
        (("completion", EVIL), 2),
        ((EVIL,), 2),
    ],
    ids=lambda value: (
        " ".join(value).replace(EVIL, "EVIL")[:60] if isinstance(value, tuple) else ""
    ),
)
def test_no_door_lets_a_name_make_a_line(
    cli: Cli, here: Path, words: tuple[str, ...], code: int
) -> None:
    result = cli(*words)
    assert result.code == code, result.err
    assert forged(result.out) == []
    assert forged(result.err) == []
    assert "<b>" not in result.out or "html" not in words
    assert len(result.err) < 3000


EVIL_CASE = ResultCase(
    EVIL,
    EVIL,
    CaseEnd.FAILED,
    findings=(Finding(EVIL, EVIL, place=EVIL, hint=EVIL, listing=(EVIL,), notes=(EVIL,)),),
    why=EVIL,
)


@pytest.mark.parametrize(
    "text",
    [
        ktap(ResultSet(EVIL, (EVIL_CASE,)), timings=False),
        github(ResultSet(EVIL, (EVIL_CASE,))),
        junit(ResultSet(EVIL, (EVIL_CASE,)), timings=False),
        markdown_text(("name",), [(EVIL,)], [EVIL]),
        csv_text(("name",), [(EVIL,)]),
        plain_lines([EVIL]),
        shown([(EVIL, (EVIL, "bold"))]),
        str(RelokitError(EVIL, where=EVIL, text=EVIL, hint=EVIL)),
    ],
    ids=["ktap", "github", "junit", "markdown", "csv", "lines", "view", "error"],
)
def test_no_form_lets_a_name_make_a_line(text: str) -> None:
    assert forged(text) == []


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t=", "\r="])
def test_a_name_is_no_formula(start: str) -> None:
    cell = csv_text(("name",), [(f"{start}cmd|'/C calc'!A0", "1")]).split("\n")[1]
    assert cell.startswith("'")


def test_colours_do_not_let_one_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    text = shown([("a", (EVIL, "bold"))])
    assert not [line for line in text.split("\n") if line.strip().startswith(MARK)]
    assert "\u202e" not in text
    assert "\x1b[31m" not in text


@pytest.mark.parametrize("field", ["message", "where", "text", "hint"])
def test_an_error_quotes_a_line_s_worth(field: str) -> None:
    told = {"message": "wrong"} | {field: "x" * 100_000}
    message = told.pop("message")
    assert len(str(RelokitError(message, **told))) < 1200
