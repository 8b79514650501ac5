"""Projects, baselines, single cells and files of arguments, from the command line."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from relokit.project.project_file import EXAMPLE

Cli = Callable[..., Any]
Edit = Callable[[str, str, str], Path]
X1_NOT_ZERO = ("relocate_kernel.S.j2", "\tmov\tx1, xzr\n", "\tmov\tx1, #1\n")
SUPPRESS = """
[[suppress]]
rule = "handoff.x1"
place = "relocate_kernel.S.j2:131"
reason = "we know"
until = 2027-01-31
"""
BEFORE, AFTER = "1801353600", "1801440000"
"""2027-01-31 and the day after, in seconds since 1970."""
CELL = "series15/4k/va48/vhe/normal/shuffled"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", BEFORE)
    return tmp_path


def test_init_writes_what_is_read(cli: Cli, here: Path) -> None:
    assert cli("init").code == 0
    assert (here / "relokit.toml").read_text() == EXAMPLE == cli("init", "--print").out
    assert cli("run").code == 0
    # With the comments taken away it is a project, too.
    (here / "relokit.toml").write_text(
        "\n".join(line.removeprefix("# ") for line in EXAMPLE.splitlines()[3:])
    )
    assert tomllib.loads((here / "relokit.toml").read_text())["suppress"]
    refused = cli("init")
    assert (refused.code, "--force" in refused.err) == (2, True)
    assert cli("init", "--force").code == 0


def test_options_are_defaults(cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "relokit.toml").write_text('[options]\nel = "el1"\n[run]\nel = "vhe"\nplain = true\n')
    regime = lambda *more: cli("run", *more, "--json").document["target"]["regime"]  # noqa: E731
    assert regime() == "vhe"
    assert regime("--el", "nvhe") == "nvhe"
    listed = cli("matrix", "--series", "15", "--list").out
    assert "/el1/" in listed
    assert "/vhe/" not in listed
    monkeypatch.setenv("RELOKIT_PROJECT", "")
    assert regime() == "nvhe"
    monkeypatch.setenv("RELOKIT_PROJECT", "nowhere.toml")
    assert "nowhere.toml: no such file" in cli("run").err


def test_what_is_accepted_is_told_until_its_day_is_over(
    cli: Cli, here: Path, edited: Edit, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("run", "--el", "vhe", "--templates", edited(*X1_NOT_ZERO))
    assert cli(*arguments).code == 1
    (here / "relokit.toml").write_text(SUPPRESS)
    accepted = cli(*arguments)
    assert accepted.code == 0
    assert "handoff.x1 (note)" in accepted.out
    assert "accepted until 2027-01-31: we know" in accepted.out
    monkeypatch.setenv("SOURCE_DATE_EPOCH", AFTER)
    over = cli(*arguments)
    assert over.code == 1
    assert "was accepted until 2027-01-31, which is over: we know" in over.out
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "soon")
    assert "SOURCE_DATE_EPOCH: 'soon'" in cli(*arguments).err
    # Another line is another finding.
    (here / "relokit.toml").write_text(SUPPRESS.replace(":131", ":130"))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", BEFORE)
    assert cli(*arguments).code == 1


def test_severities_and_thresholds(cli: Cli, here: Path, edited: Edit) -> None:
    arguments = ("run", "--el", "vhe", "--templates", edited(*X1_NOT_ZERO))
    (here / "relokit.toml").write_text('[severities]\n"handoff.x1" = "warning"\n')
    warned = cli(*arguments)
    assert (warned.code, "warning by relokit.toml, by the book it is error" in warned.out) == (
        0,
        True,
    )
    assert cli(*arguments, "--strict").code == 1
    (here / "relokit.toml").write_text("[thresholds]\ninstructions = 100\n")
    slow = cli("run", "--format", "junit")
    assert (slow.code, "threshold.instructions" in slow.out) == (1, True)
    matrix = cli("matrix", "--cell", CELL)
    assert (matrix.code, "threshold.instructions" in matrix.out) == (1, True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[runn]\n", "there is no table [runn]"),
        ("run = 3\n", "run is no table"),
        ("[run]\nels = 1\n", "[run] has no 'els'"),
        ("[run]\njson = true\n", "[run] has no 'json'"),
        ('[run]\nplain = "yes"\n', "run.plain is neither true nor false"),
        ("[run]\nhelp = true\n", "[run] has no 'help'"),
        ("[options]\nhelp = true\n", "[options] has no 'help'"),
        ('[run]\nel = "el3"\n', "'el3'"),
        ("[run]\nel = [{}]\n", "run.el is no text"),
        ('[severities]\n"handoff.x1" = "bad"\n', "relokit.toml:2: severities.handoff.x1 is 'bad'"),
        ("[thresholds]\ninstructions = true\n", "thresholds.instructions is True"),
        ("[thresholds]\ninstructions = -1\n", "relokit.toml:2: thresholds.instructions is -1"),
        ("[thresholds]\ncells = 1\n", "thresholds has no 'cells'"),
        ("[[suppress]]\nrule = 'a.b'\nuntil = 2027-01-31\n", "suppress has no reason"),
        ("[[suppress]]\nrule = 'a.b'\nreason = 'c'\n", "suppress has no until"),
        ("[[suppress]]\nrule='a'\nreason=' '\nuntil=2027-01-31\n", "suppress.reason is empty"),
        ("[[suppress]]\nrule='a'\nreason='b'\nuntil=2027-01-31T10:00:00\n", "has a time of day"),
        ("suppress = [1]\n", "suppress is no array of tables"),
        ("[run\n", "is no TOML"),
        ("a" * (1 << 18) + "\n", "has more than"),
    ],
)
def test_a_project_that_is_wrong_is_refused_by_name(
    cli: Cli, here: Path, text: str, said: str
) -> None:
    (here / "relokit.toml").write_text(text)
    result = cli("run")
    assert (result.code, said in result.err, "Traceback" in result.err) == (2, True, False)
    assert cli("explain", "handoff.x1").code == 0


def test_a_baseline_fails_on_change_only(cli: Cli, here: Path, edited: Edit) -> None:
    arguments = ("run", "--el", "vhe", "--templates", edited(*X1_NOT_ZERO))
    assert cli(*arguments, "--write-baseline", "b.json").code == 1
    known = cli(*arguments, "--baseline", "b.json")
    assert (known.code, "known: it is in the baseline" in known.out) == (0, True)
    stored = json.loads((here / "b.json").read_text())
    (run,) = stored["runs"].values()
    assert run["findings"] == ["handoff.x1 at relocate_kernel.S.j2:131"]
    for key, rule in (("instructions", "instructions"), ("code_bytes", "code-bytes")):
        run[key] += 1
        (here / "b.json").write_text(json.dumps(stored))
        changed = cli(*arguments, "--baseline", "b.json")
        assert (changed.code, f"baseline.{rule}" in changed.out) == (1, True)
        run[key] -= 1
    run["findings"] = []
    (here / "b.json").write_text(json.dumps(stored))
    assert cli(*arguments, "--baseline", "b.json").code == 1
    good = ("run", "--el", "vhe", "--baseline", "b.json")
    run["findings"] = ["handoff.x1 at relocate_kernel.S.j2:131"]
    (here / "b.json").write_text(json.dumps(stored))
    gone = cli(*good)
    assert (gone.code, "baseline.gone (note)" in gone.out) == (0, True)
    assert "baseline.unknown" in cli(*good, "--path", "crash").out


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"schema": "relokit.run/1", "runs": {}}', "\0"])
def test_what_is_no_baseline(cli: Cli, here: Path, text: str) -> None:
    (here / "b.json").write_text(text)
    result = cli("run", "--baseline", "b.json")
    assert (result.code, "b.json: is" in result.err) == (2, True)


def test_one_cell_and_its_baseline(cli: Cli, here: Path) -> None:
    arguments = ("matrix", "--cell", CELL)
    document = cli(*arguments, "--write-baseline", "b.json", "--json").document
    assert [cell["id"] for cell in document["cells"]] == [CELL]
    assert cli(*arguments, "--baseline", "b.json").code == 0
    assert "--cell 'x' is none of what --list shows" in cli("matrix", "--cell", "x").err


KNOWN_CELL = "series9/4k/va48/el1/normal/old-kernel"


@pytest.mark.parametrize("cell", [KNOWN_CELL, CELL.replace("series15", "series3")])
def test_code_and_instructions_of_a_cell_are_in_its_baseline(
    cli: Cli, here: Path, edited: Edit, cell: str
) -> None:
    """A routine that grew by an instruction was seen by no matrix's baseline, or as another count
    only; of a cell with a known defect nothing was in it.
    """
    arguments = ("matrix", "--cell", cell)
    assert cli(*arguments, "--write-baseline", "b.json").code == 0
    (run,) = json.loads((here / "b.json").read_text())["runs"].values()
    assert 150 < run["code_bytes"] < 400
    assert run["instructions"] > 50_000
    assert cli(*arguments, "--baseline", "b.json").code == 0
    # Behind the branch to the kernel: it is never executed.
    longer = edited("relocate_kernel.S.j2", '{{ end("arm64_relocate_new_kernel") }}',
                    '\tnop\n{{ end("arm64_relocate_new_kernel") }}')  # fmt: skip
    grown = cli(*arguments, "--templates", longer, "--baseline", "b.json", "--json")
    assert grown.code == 1
    (found,) = grown.document["cells"]
    told = [one for one in found["findings"] if one["rule"].startswith("baseline.")]
    before, after = f"{run['code_bytes']:,}", f"{run['code_bytes'] + 4:,}"
    assert [(one["rule"], one["message"]) for one in told] == [
        ("baseline.code-bytes", f"{after}, and the baseline has {before}")
    ]
    assert found["status"] == "fail"


def test_foreign_code_has_its_own_size_in_a_baseline(cli: Cli, here: Path) -> None:
    assert cli("export", "--type", "rel", "--el", "vhe", "-o", "code.o").code == 0
    arguments = ("matrix", "--cell", CELL, "--code-from", "code.o")
    assert cli(*arguments, "--write-baseline", "b.json").code == 0
    (run,) = json.loads((here / "b.json").read_text())["runs"].values()
    document = cli("run", "--el", "vhe", "--code-from", "code.o", "--json").document
    sizes = {one["routine"]: one["bytes"] for one in document["code"]["parts"]}
    assert run["code_bytes"] == sizes["relocation"]


def test_a_cell_that_cannot_be_built_is_not_accepted(cli: Cli, here: Path, edited: Edit) -> None:
    """It came to no verdict; by a baseline that was written then, it passed."""
    mine = edited(X1_NOT_ZERO[0], X1_NOT_ZERO[1], "\tmov\tx1, {{ foo }}\n")
    arguments = ("matrix", "--cell", CELL, "--templates", mine)
    assert cli(*arguments, "--write-baseline", "b.json").code == 1
    assert json.loads((here / "b.json").read_text())["runs"] == {}
    assert cli(*arguments, "--baseline", "b.json").code == 1
    (here / "relokit.toml").write_text(
        '[[suppress]]\nrule = "matrix.error"\nreason = "r"\nuntil = 2099-01-01\n'
    )
    refused = cli(*arguments)
    assert (refused.code, "relokit.toml:2: there is no rule 'matrix.error'" in refused.err) == (
        2,
        True,
    )


def test_the_first_failure_ends_it(cli: Cli, edited: Edit) -> None:
    mine = edited(X1_NOT_ZERO[0], X1_NOT_ZERO[1], "\tmov\tx1, {{ foo }}\n")
    result = cli("matrix", "--series", "15", "--templates", mine, "--fail-fast")
    assert result.code == 1
    assert "1 fail" in result.out
    assert "\nended at the first failure: " in result.out


def test_words_from_a_file(cli: Cli, here: Path) -> None:
    (here / "args").write_text(f"# one\nmatrix --cell '{CELL}'  # of many\n--list\n")
    assert cli("@args").out == f"{CELL}\n"
    (here / "bad").write_text("'\n")
    for name, said in (("bad", "is no list of words"), ("none", "no such file"), (".", "@.")):
        result = cli("run", f"@{name}")
        assert (result.code, said in result.err) == (2, True)
    (here / "large").write_text("x " * 40_000)
    assert "@large: has more than" in cli("@large").err


def test_a_nul_is_no_word(cli: Cli, here: Path) -> None:
    # A path with one was an internal error of click's.
    (here / "args").write_bytes(b"run --report a\0b")
    assert "is no list of words: there is a NUL in it" in cli("@args").err
    (here / "relokit.toml").write_text('[run]\nreport = "a\\u0000b"\n')
    result = cli("run")
    assert result.code == 2
    assert "relokit.toml:2: run.report has a NUL" in result.err
