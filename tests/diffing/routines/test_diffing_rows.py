"""Rows that are made on demand, against instructions that are decoded anew."""

from __future__ import annotations

import pytest

from relokit.diffing.instructions.decode import decode
from relokit.diffing.instructions.normalise import Aspect
from relokit.diffing.routines.classify import ChangeKind
from relokit.diffing.routines.model import Change, DiffRow, RoutineDiff, Rows
from relokit.diffs import diff


@pytest.mark.parametrize(("left", "right"), [(11, 12), (14, 15)])
def test_rows_are_what_was_compared(left: int, right: int) -> None:
    found = diff(f"series:{left}", f"series:{right}", kept=[Aspect.FIELDS])
    made = 0
    for routine in found.routines:
        rows = [*routine.rows]
        assert len(rows) == len(routine.rows)
        for side, one in ((found.left, routine.left), (found.right, routine.right)):
            there = [row.left if side is found.left else row.right for row in rows]
            shown = [instruction for instruction in there if instruction is not None]
            assert shown == ([*decode(one, side.names)] if one else [])[: len(shown)]
        layout = [(row.left is not None, row.right is not None) for row in rows]
        assert [*routine.rows.layout()] == layout
        changes: dict[int, Change] = {id(row.change): row.change for row in rows if row.change}
        assert [*routine.rows.changes()] == [*changes.values()]
        made += len(rows) - len(routine.rows.told)
        for part in (slice(2, 7), slice(-3, None), slice(None, None, 3), slice(5, 5)):
            assert [*routine.rows[part]] == rows[part]
        assert routine.rows[-1] == rows[-1]
    assert made > 50


def test_fields_of_a_kimage_are_kept_by_name() -> None:
    rows = [row for one in diff("series:14", "series:15").routines for row in one.rows]
    texts = [row.left.text for row in rows if row.left]
    assert any("#kimage." in text for text in texts)


def test_hunks_are_runs_of_changed_rows() -> None:
    for routine in diff("series:11", "series:12").routines:
        runs: list[list[int]] = []
        for number, row in enumerate(routine.rows):
            if row.change is not None:
                if not runs or runs[-1][-1] != number - 1:
                    runs.append([])
                runs[-1].append(number)
        hunks = [
            *RoutineDiff(routine.left, routine.right, routine.rows).hunks(frozenset(ChangeKind))
        ]
        assert [(one.first, one.last) for one in hunks] == [(run[0], run[-1] + 1) for run in runs]


def test_no_rows_are_no_rows() -> None:
    assert [*Rows()] == []
    assert Rows()[0:3] == ()
    with pytest.raises(IndexError):
        Rows()[0]
    assert isinstance(Rows([DiffRow(None, None, None)])[0], DiffRow)
