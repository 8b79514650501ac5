"""What is at an offset of a section belongs to the routine that is there."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from relokit.diffing.read.extents import ByOffset


@given(st.dictionaries(st.integers(0, 64), st.text(max_size=1)), st.integers(0, 64), st.integers(0))
def test_a_routine_has_what_is_in_it(found: dict[int, str], start: int, size: int) -> None:
    inside = {at - start: text for at, text in found.items() if start <= at < start + size}
    assert ByOffset(found).within(start, size) == inside
