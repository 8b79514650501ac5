"""What decides a verdict, and how much of it is told: ``--strict``, findings, answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]

IN_PLACE = ("run", "--path", "in-place")
"""A run that is right but for one warning."""


def test_a_warning_fails_a_strict_run_only(cli: Cli) -> None:
    result = cli(*IN_PLACE)
    assert (result.code, result.out.splitlines()[-1]) == (0, "PASS  1 warning")
    result = cli(*IN_PLACE, "--strict")
    assert result.code == 1
    assert result.out.splitlines()[-1] == "FAIL  1 warning; a warning fails it: --strict"


def test_the_document_says_that_it_was_strict(cli: Cli) -> None:
    result = cli(*IN_PLACE, "--strict", "--json")
    assert result.code == 1
    assert (result.document["status"], result.document["strict"]) == ("fail", True)
    assert [finding["severity"] for finding in result.document["findings"]] == ["warning"]
    document = cli(*IN_PLACE, "--json").document
    assert document["status"] == "pass"
    assert "strict" not in document


def test_a_strict_run_without_a_warning_passes(cli: Cli) -> None:
    result = cli("run", "--strict")
    assert (result.code, result.out.splitlines()[-1]) == (0, "PASS")


@pytest.mark.parametrize("strict", [False, True])
def test_a_strict_matrix_fails_the_cells_that_warn(cli: Cli, strict: bool) -> None:
    cell = ("matrix", "--series", "15", "--page-size", "4k", "--va-bits", "48", "--el", "el1")
    flags = ["--strict"] if strict else []
    result = cli(*cell, "--path", "in-place", *flags)
    assert result.code == int(strict)
    assert "fetch.in-place" in result.out
    if strict:
        [command] = {line.strip() for line in result.out.splitlines() if "relokit run" in line}
        assert command.endswith("--strict")
        assert cli(*command.split()[1:]).code == 1


def test_a_list_of_cells_is_not_judged(cli: Cli) -> None:
    result = cli("matrix", "--list", "--strict")
    assert result.code == 2
    assert "leave --strict out" in result.err


# What was judged --------------------------------------------------------------------------------


def test_the_screen_counts_what_was_judged_and_names_what_was_not(cli: Cli) -> None:
    lines = cli("run", "--plain").out.splitlines()
    [row] = [line for line in lines if line.startswith("  rules")]
    assert "not applicable" in row
    assert "caches, fetch" in row.partition("; not judged: ")[2]
    assert lines[-1].endswith("(not recorded: a plain run)")


def test_verbose_lists_every_answer(cli: Cli) -> None:
    text = cli(*IN_PLACE, "--verbose").out
    answers = cli(*IN_PLACE, "--json").document["rules"]
    for rule in answers["applied"]:
        word = "warning" if rule == "fetch.in-place" else "holds"
        assert f"    {word:<14}  {rule}\n" in text
    for rule, why in answers["not_applicable"].items():
        assert f"    not applicable  {rule}  {why}\n" in text
    for rule, why in cli("run", "--plain", "--json").document["rules"]["not_judged"].items():
        assert f"    not judged      {rule}  {why}\n" in cli("run", "--plain", "--verbose").out


def test_verbose_is_for_people(cli: Cli) -> None:
    result = cli("run", "--verbose", "--json")
    assert result.code == 2
    assert "leave --verbose out" in result.document["error"]["message"]


# Profiles ---------------------------------------------------------------------------------------


def test_a_profile_is_shown_beside_the_verdict_and_decides_nothing(cli: Cli) -> None:
    result = cli(*IN_PLACE, "--profile", "coherent-fetch", "--strict")
    assert result.code == 1
    assert "  does not bite here: it has DIC\n" in result.out
    assert "1 of these would not bite on coherent-fetch" in result.out.splitlines()[-1]
    document = cli(*IN_PLACE, "--profile", "coherent-fetch", "--json").document
    assert document["profile"] == "coherent-fetch"
    assert [finding["spared"] for finding in document["findings"]] == ["it has DIC"]


def test_the_emulated_cpu_is_the_profile_by_default(cli: Cli) -> None:
    document = cli(*IN_PLACE, "--json").document
    assert document["profile"] == "Cortex-A72 (emulated)"
    assert "spared" not in document["findings"][0]


def test_a_stored_trace_is_judged_beside_another_cpu(cli: Cli, tmp_path: Path) -> None:
    assert cli(*IN_PLACE, "--trace", tmp_path / "trace").code == 0
    judged = ("judge", tmp_path / "trace")
    assert cli(*judged, "--json").document["profile"] == "Cortex-A72 (emulated)"
    document = cli(*judged, "--profile", "best", "--json").document
    assert [finding["spared"] for finding in document["findings"]] == ["it has DIC"]


def test_a_profile_that_is_none_is_refused(cli: Cli, tmp_path: Path) -> None:
    assert cli("run", "--trace", tmp_path / "trace").code == 0
    for command in (["run"], ["judge", tmp_path / "trace"]):
        result = cli(*command, "--profile", "cortex")
        assert result.code == 2
        assert "no profile 'cortex'" in result.err
        assert "one of cortex-a55, " in result.err
