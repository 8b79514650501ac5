"""``relokit mutate``: what is shown, and the exit code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from relokit.cli.results.mutation_results import mutation_results
from relokit.cli.results.result_cases import CaseEnd
from relokit.cli.terminal.mutation_view import text_of
from relokit.codegen.target import Regime, Target
from relokit.mutation.mutate import SurveyDone, Tried
from relokit.mutation.mutation_report import Campaign
from relokit.runtime.mutation.mutant import (
    FindingPlace,
    Mutant,
    MutantResult,
    MutantStatus,
    RoutineName,
)
from relokit.runtime.mutation.mutant_survey import MutantSurvey

pytestmark = pytest.mark.usefixtures("kept")

Cli = Callable[..., Any]
SOME = ("mutate", "--routine", "relocation", "--jobs", "1", "--operator")


@pytest.fixture(scope="module")
def weaken(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """What tries the mutants of one operator, once."""
    return (
        *SOME,
        "weaken",
        "--el",
        "el1",
        "--results",
        str(tmp_path_factory.mktemp("weaken") / "results"),
    )


def test_survivors_are_listed_and_fail(cli: Cli, weaken: tuple[str, ...]) -> None:
    result = cli(*weaken)
    assert result.code == 1
    assert "dsb sy -> dsb ish" in result.out
    assert "warned: caches.domain" in result.out
    assert "dc civac, x10 -> dc cvac, x10" not in result.out, "no mistake"
    assert "caches.discard" in result.out
    assert "relocation: 69 instructions, 6 of them never executed and not mutated" in result.out
    assert result.out.splitlines()[-1].startswith("FAIL  ")


def test_the_document_has_what_the_screen_has(cli: Cli, weaken: tuple[str, ...]) -> None:
    document = cli(*weaken, "--json").document
    assert (document["schema"], document["status"]) == ("relokit.mutants/1", "fail")
    assert document["all"] == document["operators"]["weaken"] == document["routines"]["relocation"]
    survivors = {one["text"]: one for one in document["survivors"]}
    assert "rules.md S3" in survivors["dc civac, x10 -> dc cvac, x10"]["equivalent"]
    assert "equivalent" not in survivors["dsb sy -> dsb ish"]
    assert len(document["survivors"]) == document["all"]["survived"]
    excused = [one for one in document["survivors"] if "equivalent" in one]
    assert len(excused) == document["all"]["equivalent"]


def test_all_killed_is_a_pass(cli: Cli) -> None:
    result = cli("mutate", "--routine", "soft-restart", "--operator", "condition")
    assert (result.code, result.out.splitlines()[-1].split()[0]) == (0, "PASS")


def test_nothing_to_try_has_an_exit_code_of_its_own(cli: Cli) -> None:
    result = cli(*SOME, "mask")
    assert result.code == 5
    # Some regime executes each.
    assert "relocation: 69 instructions\n" in result.out
    assert result.out.splitlines()[-1] == "NOTHING  no mutants"


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        (("--operator", "rewrite"), "'rewrite' is none of drop, weaken"),
        (("--routine", "main"), "'main' is none of relocation, vectors"),
        (("--series", "15-3"), "ends before it begins"),
        (("--jobs", "0"), "give 1 to 256"),
    ],
)
def test_what_is_no_choice_is_refused(cli: Cli, arguments: tuple[str, ...], wrong: str) -> None:
    result = cli("mutate", *arguments)
    assert result.code == 2
    assert wrong in result.err


def test_help_has_examples(cli: Cli) -> None:
    result = cli("mutate", "--help")
    assert "Examples:" in result.out


def test_results_that_are_known_are_not_tried_again_and_that_is_said(
    cli: Cli, tmp_path: Path
) -> None:
    some = ("mutate", "--routine", "soft-restart", "--operator", "condition", "--jobs", "1")
    file = str(tmp_path / "results")
    first, again = cli(*some, "--results", file), cli(*some, "--results", file)
    assert first.err == f"0 results were in {file}\n"
    assert again.err == f"1 result was in {file}\n"
    assert (first.code, first.out) == (again.code, again.out)


@pytest.mark.parametrize("command", ["mutate", "matrix"])
def test_a_cluster_has_as_many_workers_as_it_has(cli: Cli, command: str) -> None:
    """Whichever of the two options comes first."""
    forms = (("--jobs", "2", "--cluster", "tcp://x:1"), ("--cluster", "tcp://x:1", "-j", "2"))
    for options in forms:
        result = cli(command, *options)
        assert (result.code, "leave it out with --cluster" in result.err) == (2, True)


def test_what_is_no_file_of_results_is_refused(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    for path in (tmp_path, tmp_path / "text"):
        result = cli("mutate", "--results", str(path))
        assert result.code == 2
        assert "so no file of results" in result.err


def test_a_target_that_nobody_could_look_at_is_no_pass() -> None:
    """All mutants of the other one are killed."""
    mutant = Mutant("1", "drop", RoutineName.RELOCATION, "p", "ret -> nop", ())
    killed = MutantResult("1", MutantStatus.KILLED, place=FindingPlace.AT)
    campaign = Campaign()
    campaign.add(SurveyDone(Target(), MutantSurvey((), (), (mutant,))))
    campaign.add(Tried(Target(), mutant, killed))
    assert campaign.report().status == "pass"
    campaign.add(SurveyDone(Target(regime=Regime.EL1), None, "too much\nhint: allow it"))
    assert campaign.report().status == "no answer"
    found = mutation_results("mutate", campaign, (), ended_by=None)
    assert [case.end for case in found.cases] == [CaseEnd.NO_ANSWER, CaseEnd.PASSED]
    lines = text_of(campaign.report()).splitlines()
    assert lines[lines.index("  not tried: too much") + 1] == "  hint: allow it"
