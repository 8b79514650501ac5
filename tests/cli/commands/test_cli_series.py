"""``relokit series`` and ``relokit series N``: what is measured, printed and refused."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from relokit.codegen.series import PATCHES

pytestmark = pytest.mark.usefixtures("kept")

Cli = Callable[..., Any]

SUBJECTS = [patch.subject for patch in PATCHES]
UNTOUCHED = (1, 2, 3, 4, 8, 10, 13, 14, 15)
MARKUP = re.compile(r"\x1b\[[0-9;]*m")


def rows(text: str) -> dict[int, list[str]]:
    """The table's rows by state, the last nine columns of each split."""
    found = re.findall(r"^ ?(\d+) (?! )(.+?)  +(\d+ \d+ [pa].*)$", text, re.M)
    return {int(number): rest.split() for number, _, rest in found}


def test_every_state_with_its_evidence(cli: Cli) -> None:
    result = cli("series")
    assert (result.code, result.err) == (0, "")
    for subject in SUBJECTS:
        assert subject in result.out
    table = rows(result.out)
    assert list(table) == list(range(16))
    assert all(row[-1] == "pass" for row in table.values())
    assert "\x1b" not in result.out
    assert max(map(len, result.out.splitlines())) <= 100


def test_the_manual_has_the_table_as_printed(cli: Cli) -> None:
    manual = (Path(__file__).parents[3] / "docs" / "series.md").read_text()
    printed = [line.rstrip() for line in cli("series").out.splitlines()]
    start = next(at for at, line in enumerate(printed) if line.startswith("relokit "))
    for line in printed[start + 1 :]:
        assert f"    {line}\n" in manual, (
            "docs/series.md is stale: paste what 'relokit series' says"
        )


def test_the_table_says_what_the_document_says(cli: Cli) -> None:
    table = rows(cli("series").out)
    states = cli("series", "--json").document["states"]
    assert [state["subject"] for state in states] == [None, *SUBJECTS]
    for state, row in zip(states, table.values(), strict=True):
        ran, placement = state["run"], state["placement"]
        [(name, count)] = [
            (name, n) for name, n in ran["operations"].items() if name.startswith("dc")
        ]
        at = {
            when: sum(r["instructions"] for r in ran["maintenance"] if r["when"] == when)
            for when in ("load", "jump")
        }
        assert row == [
            str(state["code_bytes"]),
            str(placement["bytes_left"]),
            placement["held_by"][0],
            f"{ran['instructions']:,}",
            str(ran["el"]),
            "on" if ran["mmu"] else "off",
            f"{at['load']:,}",
            f"{at['jump']:,}",
            f"{count:,}",
            name.removeprefix("dc "),
            state["status"],
        ]
        assert count == ran["pages"] * 4096 // 64
        assert placement["bytes_left"] == 4096 - state["code_bytes"]
        assert (placement["held_by"] == "assert") == (state["state"] >= 10)


def test_another_target_kernel_size_and_path(cli: Cli) -> None:
    options = ("--el", "vhe", "--page-size", "16k", "--size", "100K", "--path", "crash")
    states = cli("series", *options, "--json").document["states"]
    assert all(state["status"] == "pass" for state in states)
    assert [state["run"]["instructions"] > 0 for state in states] == [True] * 5 + [False] * 11
    text = cli("series", *options).out
    assert "page=16k,va=48,el=vhe" in text
    assert "synthetic payload" in text
    assert rows(text)[15][-2:] == ["0", "pass"]


@pytest.mark.parametrize("columns", [80, 100, 200])
def test_it_fits_a_terminal(cli: Cli, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    text = cli("series").out
    assert "\x1b" in text
    table = [line for line in MARKUP.sub("", text).splitlines() if re.search(r"vac pass", line)]
    assert len(table) == 16
    assert max(map(len, table)) <= min(columns, 100)
    assert min(map(len, table)) >= min(columns, 100) - 2


@pytest.mark.parametrize("number", [1, 14, 15])
def test_rows_without_a_byte_say_so(cli: Cli, number: int) -> None:
    text = cli("series", str(number)).out
    assert "no byte of the relocation code changes" in text
    assert "no difference: pass" in text


@pytest.mark.parametrize("number", range(1, 16))
def test_every_patch_has_its_document(cli: Cli, number: int) -> None:
    result = cli("series", str(number), "--json")
    assert result.code == 0
    document = result.document
    assert document["patch"] == number
    assert document["subject"] == SUBJECTS[number - 1]
    code, run = document["code"], document["run"]
    assert code["relocation_changed"] is (number not in UNTOUCHED)
    changed = [one["name"] for one in code["routines"] if one["change"] == "changed"]
    assert ("arm64_relocate_new_kernel" in changed) is (number not in UNTOUCHED)
    assert bool(document["text"]) is (number not in (1, 4, 13, 15))
    # 1 and 15 change nothing, 10 the placement, 2, 3 and 14 what a kexec does not run.
    assert (run["before"] != run["after"]) is (number not in (1, 2, 3, 10, 14, 15))
    assert document["is_hyp_nvhe"] == {"modes": 16, "other_answers": []}


def test_the_diff_of_a_patch(cli: Cli) -> None:
    text = cli("series", "6").out
    assert text.startswith("patch 6  arm64: kexec: Use dcache ops macros instead of open-coding\n")
    assert re.search(r"^--- a/relocate_kernel\.S$", text, re.M)
    assert re.search(r"^\+\s+b\.lo\s+\.Linvalidate$", text, re.M)
    assert re.search(r"^-   0x\w\w         54\w{6}  b\.hi <\+0x\w\w>$", text, re.M)
    assert re.search(r"^\+          0x\w\w  54\w{6}  b\.lo <\+0x\w\w>$", text, re.M)
    assert re.search(r"^  instructions: [\d,]+ -> [\d,]+$", text, re.M)


def test_the_run_of_a_patch(cli: Cli) -> None:
    text = cli("series", "12").out
    assert "MMU: off -> on" in text
    assert re.search(r"dc civac: 0 -> \d,\d+ executed", text)
    assert re.search(r"dc ivac: \d,\d+ -> 0 executed", text)
    assert re.search(r"machine_kexec reads of kimage: .* -> .*ttbr0, t0sz, kern_reloc", text)
    moved = cli("series", "4").out
    assert "C half, before: at jump, source pages: clean+invalidate to PoC" in moved
    assert "C half, after:  at load, source pages: clean+invalidate to PoC" in moved
    level = cli("series", "9").out
    assert "exception level: EL2 -> EL1" in level


def test_comments_alone_are_named(cli: Cli) -> None:
    text = cli("series", "14").out
    assert "machine_kexec.S: only comments change" in text
    assert "cpu_reset.S: only comments change" not in text
    assert "cpu_soft_restart: was __cpu_soft_restart, the same 56 bytes" in text


def test_padding_is_folded(cli: Cli) -> None:
    text = cli("series", "2").out
    assert len(text.splitlines()) < 300
    assert re.search(r"^\+ +\.\.\. 30 more of these$", text, re.M)


def test_the_last_patch_by_name(cli: Cli) -> None:
    assert cli("series", "complete").out == cli("series", "15").out


@pytest.mark.parametrize(
    ("number", "message"),
    [
        ("0", "no patch leads to the state before the series; give 1 to 15"),
        ("before", "no patch leads to the state before the series; give 1 to 15"),
        ("16", "no patch '16'; give 1 to 15, or 'complete'"),
        ("-1", "no patch '-1'; give 1 to 15, or 'complete'"),
        ("", "no patch ''; give 1 to 15, or 'complete'"),
        ("9" * 5000, "give 1 to 15, or 'complete'"),
        ("\u0663", "give 1 to 15, or 'complete'"),
    ],
)
def test_what_is_no_patch(cli: Cli, number: str, message: str) -> None:
    result = cli("series", "--", number)
    assert result.code == 2
    assert result.out == ""
    assert message in result.err
    assert len(result.err) < 300


def test_a_layout_that_the_series_needs_more_of(cli: Cli) -> None:
    result = cli("series", "--layout", "5.10")
    assert result.code == 2
    assert "5.10 has no struct kimage_arch" in result.err
    assert cli("series", "6", "--layout", "5.10").code == 0


def test_a_state_that_fails_is_shown_and_the_exit_code_says_so(
    cli: Cli, edited: Callable[[str, str, str], Path]
) -> None:
    templates = edited(
        "relocate_kernel.S.j2", "\tmov\tx0, x26\n\tmov\tx1, xzr", "\tmov\tx1, xzr\n\tmov\tx0, xzr"
    )
    result = cli("series", "--templates", templates)
    assert result.code == 1
    table = rows(result.out)
    # As of patch 9 an nVHE kernel is left by another way.
    assert [row[-1] for row in table.values()] == ["FAIL"] * 9 + ["pass"] * 7
    assert "state 0: " in result.out
    assert "state 9: " not in result.out
    assert cli("series", "3", "--templates", templates).code == 1
    assert cli("series", "9", "--templates", templates).code == 1
    assert cli("series", "10", "--templates", templates).code == 0


def test_templates_cannot_drive_the_terminal(
    cli: Cli, edited: Callable[[str, str, str], Path]
) -> None:
    templates = edited(
        "relocate_kernel.S.j2",
        "\tmov\tx25, x0\n",
        "\tmov\tx25, x0\t// \x1b[2J [red]not markup[/]\n",
    )
    result = cli("series", "7", "--templates", templates)
    assert result.code == 0
    assert "\x1b" not in result.out
    assert "[red]not markup[/]" in result.out
