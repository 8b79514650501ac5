"""What decides a verdict, and how much of it is told: ``--strict``, findings, answers."""

from __future__ import annotations

from collections.abc import Callable
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
    assert ("fetch.in-place" in result.out) == strict
    if strict:
        [command] = {line.strip() for line in result.out.splitlines() if "relokit run" in line}
        assert command.endswith("--strict")
        assert cli(*command.split()[1:]).code == 1


def test_a_list_of_cells_is_not_judged(cli: Cli) -> None:
    result = cli("matrix", "--list", "--strict")
    assert result.code == 2
    assert "leave --strict out" in result.err
