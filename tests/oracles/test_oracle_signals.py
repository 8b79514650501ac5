"""Signals at random moments; a thousand of them by `python -m support.signalled` in tests/."""

from __future__ import annotations

from support.signalled import campaign


def test_nothing_is_left_of_commands_that_are_told_to_end() -> None:
    told = campaign(25, seed=20261126, workers=1)
    assert told.left == []
    assert sum(told.ended.values()) == 25
