"""The ledger of a command: what is counted, when it says no, and what it says then."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from relokit.codegen.base import budget
from relokit.codegen.base.budget import LIMITS, budgeted, set_limits, spend
from relokit.codegen.base.child import Child
from relokit.codegen.base.errors import BudgetError

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def _defaults() -> Iterator[None]:
    yield
    set_limits({})


def test_what_is_spent_adds_up_and_the_error_says_on_what() -> None:
    set_limits({"memory": 10 << 20})
    with budgeted():
        spend(6 << 20, "sections", "x.S:3")
        spend(1 << 20, "text")
        with pytest.raises(BudgetError) as refused:
            spend(5 << 20, "fill", "x.lds:9")
        assert refused.value.message == (
            "12 MiB of memory asked of 10 MiB: 6 MiB of sections, 5 MiB of fill, 1 MiB of text"
        )
        assert refused.value.where == "x.lds:9"
        assert refused.value.hint == "--limit memory=16M allows it"
        spend(3 << 20, "less")  # what was refused was not spent


def test_a_ledger_is_one_until_it_is_closed() -> None:
    set_limits({"memory": 10})
    with budgeted():
        spend(6, "first")
        with budgeted():
            with pytest.raises(BudgetError, match="12 bytes of memory asked of 10"):
                spend(6, "second")
            with budgeted(anew=True):
                spend(6, "of another")
        spend(4, "the rest")
    with budgeted():
        spend(10, "all again")


def test_without_a_ledger_each_is_measured_by_itself() -> None:
    spend(LIMITS["memory"].default, "all")
    spend(LIMITS["memory"].default, "all")
    with pytest.raises(BudgetError):
        spend(LIMITS["memory"].default + 1, "more")


def test_limits_are_the_process_s_and_ledgers_the_thread_s() -> None:
    set_limits({"memory": 10})
    told: list[str] = []

    def work() -> None:
        with budgeted():
            spend(10, "here")
            with pytest.raises(BudgetError) as refused:
                spend(1, "there")
            told.append(refused.value.message)

    with budgeted():
        spend(10, "before")
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert told == ["11 bytes of memory asked of 10 bytes: 10 bytes of here, 1 bytes of there"]


@pytest.mark.parametrize(
    ("name", "amount", "told"),
    [
        ("memory", 19 << 30, "19 GiB"),
        ("memory", (3 << 30) // 2, "1.5 GiB"),
        ("memory", 1023 << 20, "1023 MiB"),
        ("memory", 5, "5 bytes"),
        ("cpu", 3600, "1 h"),
        ("cpu", 90, "90 s"),
        ("time", 7 * 86400, "7 days"),
        ("steps", 1_000_000, "1,000,000"),
    ],
)
def test_amounts_are_told_with_their_unit(name: str, amount: int, told: str) -> None:
    assert budget.told(name, amount) == told


SERVED = """
import json
from relokit.codegen.base.budget import limits, spend

def serve(request, progress):
    spend(int(request), "what is asked")
    return json.dumps(dict(limits())).encode()
"""


def test_a_child_has_the_limits_and_a_ledger_a_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "served_with_limits.py").write_text(SERVED)
    monkeypatch.syspath_prepend(str(tmp_path))
    set_limits({"memory": 100})
    with Child("served_with_limits") as child:
        for _ in range(3):
            assert json.loads(child.call(b"60", timeout=60))["memory"] == 100
        with pytest.raises(BudgetError, match="101 bytes of memory asked of 100"):
            child.call(b"101", timeout=60)


def test_the_page_has_every_limit_with_its_default() -> None:
    page = (ROOT / "docs/limits.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \|", page, re.MULTILINE)
    assert rows == [(name, budget.told(name, one.default)) for name, one in LIMITS.items()]
