"""Signals at random moments; a thousand of them by ``make docs/signals.json``."""

from __future__ import annotations

from support.signalled import campaign


def test_nothing_is_left_of_commands_that_are_told_to_end() -> None:
    told, others = campaign(40, seed=20261126, workers=1, seconds=1.5, again=(0, 6))
    assert [one for each in told for one in each.left] == []
    assert others == []
    assert len(told) == 40
