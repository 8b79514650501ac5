"""docs/handovers.json: from one snapshot QEMU and this machine reach the next kernel, by each."""

from __future__ import annotations

from relokit.codegen.target import Regime
from support.bye_and_nothing import TOLD, lines
from support.hand_overs import CASES, COMMITTED, KERNELS, LIVE_TABLES, table, trouble


def test_the_committed_hand_overs_are_of_this_code() -> None:
    COMMITTED.check_age()


def test_every_kernel_is_handed_over_alike_in_every_regime_and_by_a_crash() -> None:
    rows = COMMITTED.rows
    assert [(one["el"], one["by"], one["cpus"]) for one in rows] == [
        (case.regime, case.way, case.cpus) for case in CASES
    ]
    assert len({one["kernel"] for one in rows}) == len(KERNELS)
    assert {case.regime for case in CASES} == set(Regime)
    assert [wrong for one in rows if (wrong := trouble(one))] == []
    COMMITTED.check_page(table)


def test_what_is_not_judged_of_them_is_of_caches_alone() -> None:
    for one in COMMITTED.rows:
        # How kexec-tools' purgatory hashes is not recorded.
        beside = {"purgatory"} if one["by"].startswith("kexec-tools") else set()
        groups = {rule.partition(".")[0] for rule in one["not_judged"]}
        assert groups == {"caches", "fetch"} | beside


def test_a_row_that_differs_or_is_judged_otherwise_is_trouble() -> None:
    good = COMMITTED.rows[0]
    told = next(one for one in COMMITTED.rows if one["errors"] == LIVE_TABLES)
    assert trouble(good) is trouble(told) is None
    for change in (
        {"other_registers": ["X3"]},
        {"other_pages": 1},
        {"registers": 0},
        {"pages": 1},
        {"errors": ["setup.list"]},
    ):
        assert trouble({**good, **change}) is not None
    assert trouble({**told, "errors": []}) is not None


def test_the_recipe_has_a_line_for_each_answer() -> None:
    """What ``make bye-and-nothing`` types."""
    assert len(lines()) == len(TOLD)
    assert all(one.startswith(("relokit record ", "relokit run ")) for one in lines())
