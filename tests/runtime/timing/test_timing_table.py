"""The table of what is reported: what was fitted, what is predicted, and that nothing is bent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from relokit.runtime.judge.model.caches.memory_type import MemoryType
from relokit.runtime.timing.counts import Count, MoveCounts, Phase, Quantity
from relokit.runtime.timing.model import time_table as module
from relokit.runtime.timing.model.reported import FigureUse, Reported, reported_rows
from relokit.runtime.timing.model.time_table import RowStatus, TableRow, TimeTable, time_table

PAGE = 4096


def counts_for(series: int, size: int) -> MoveCounts:
    """As a move has them, a page at a time: four loads and four stores a line."""
    pages = size // PAGE
    lines = pages * 64
    memory = MemoryType.WRITE_BACK if series >= 12 else MemoryType.DEVICE
    operation = "dc civac" if series >= 12 else "dc ivac"
    return MoveCounts(
        "made up", PAGE, 64, pages, 1,
        (
            Count(Phase.COPY, Quantity.LOADS, 4 * lines, size=16, memory=memory),
            Count(Phase.COPY, Quantity.STORES, 4 * lines, size=16, memory=memory),
            Count(Phase.COPY, Quantity.LINES_LOADED, lines, memory=memory),
            Count(Phase.COPY, Quantity.LINES_STORED, lines, memory=memory),
            Count(Phase.MAINTENANCE, Quantity.OPERATIONS, lines, of=operation),
            Count(Phase.MAINTENANCE, Quantity.OPERATIONS, pages, of="dsb sy"),
        ),
    )  # fmt: skip


@pytest.fixture(scope="module")
def table() -> TimeTable:
    return time_table(counts_for)


def row(table: TimeTable, name: str) -> TableRow:
    [found] = (one for one in table.rows if one.id == name)
    return found


def test_fewer_parameters_than_numbers_that_are_fitted(table: TimeTable) -> None:
    assert table.free < table.fitted
    free = [one for one in table.parameters if one.learnt == "by the measurements"]
    assert len(free) == table.free
    assert not [one for one in table.parameters if one.learnt == "not determined"]


def test_only_predicted_rows_have_an_error(table: TimeTable) -> None:
    for one in table.rows:
        if one.status is not RowStatus.PREDICTED:
            assert one.error is None
            assert one.residual is not None
        elif one.value is not None and one.up_to is None and not one.at_least:
            assert one.error == pytest.approx(one.value / one.reported - 1)
            assert one.residual is None


def test_what_has_to_be_predicted_is(table: TimeTable) -> None:
    held_out = (
        "stingray-25-off", "stingray-25b-off", "stingray-25b-on", "stingray-380-off",
        "stingray-380-on", "stingray-380-saved", "sha256-off", "arm64-2019-off", "tester-off",
    )  # fmt: skip
    for name in held_out:
        assert row(table, name).status is RowStatus.PREDICTED, name
    assert row(table, "thunderx2-ratio").status is RowStatus.DERIVED
    for one in ("tester-off", "tester-on", "arm64-2019-off", "sha256-off"):
        assert row(table, one).value is None, "the machine is not named: a range"
        assert row(table, one).machines == ("thunderx2", "stingray")


def test_no_predicted_row_has_a_say(table: TimeTable, monkeypatch: pytest.MonkeyPatch) -> None:
    """Were they reported to be twice as much, the model would say the same of them."""
    changed = tuple(
        one if one.use is FigureUse.FIT else replace(one, value=2 * one.value)
        for one in reported_rows()
    )
    monkeypatch.setattr(module, "reported_rows", lambda: changed)
    for one, other in zip(table.rows, time_table(counts_for).rows, strict=True):
        assert (one.value, one.low, one.high) == (other.value, other.low, other.high)


def test_what_is_fitted_has_a_say(table: TimeTable, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = tuple(
        replace(one, value=2 * one.value) if one.id == "thunderx2-off" else one
        for one in reported_rows()
    )
    monkeypatch.setattr(module, "reported_rows", lambda: changed)
    other = time_table(counts_for)
    before, after = (row(one, "thunderx2-off").value for one in (table, other))
    assert before is not None
    assert after == pytest.approx(2 * before, rel=1e-3)
    assert row(other, "stingray-380-off").value == row(table, "stingray-380-off").value


def test_contradictions_are_said(table: TimeTable) -> None:
    pairs = {(one.one, one.other) for one in table.contradictions}
    assert pairs == {
        ("stingray-25-off", "stingray-380-off"),
        ("stingray-25b-off", "stingray-380-off"),
    }
    rates = next((one.one_ns, one.other_ns) for one in table.contradictions)
    assert rates == pytest.approx((0.440510736e9 / (25 << 20), 3.9e9 / (380 << 20)))


def test_figures_that_follow_from_others_are_reported_so() -> None:
    """The shares, ratios and differences of the rows are those of their times."""
    rows = {one.id: one for one in reported_rows()}
    for one in rows.values():
        if not one.of:
            continue
        times = [rows[name].value for name in one.of]
        value, _ = module._combined(one, times)
        assert value == pytest.approx(one.value, rel=0.01), one.id


def every_source() -> Iterator[Reported]:
    return iter(reported_rows())


def test_every_row_says_where_it_is_from() -> None:
    assert all(one.source for one in every_source())
    assert len({one.id for one in every_source()}) == len(reported_rows())
