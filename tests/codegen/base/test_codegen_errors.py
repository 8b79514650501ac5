"""Errors: what they quote is bounded, wherever it is put."""

from __future__ import annotations

import pytest

from relokit.codegen.base.errors import MAX_MESSAGE, MAX_TEXT, RelokitError


@pytest.mark.parametrize("part", ["message", "where", "text", "hint"])
def test_every_part_is_bounded(part: str) -> None:
    """`diff series:NAME` put all of a name of any length before the message."""
    parts = {"message": "m"} | {part: "x" * 100_000}
    message = parts.pop("message")
    shown = str(RelokitError(message, **parts))
    assert "x" * (MAX_TEXT // 2) in shown
    assert len(shown) < MAX_MESSAGE + 100
