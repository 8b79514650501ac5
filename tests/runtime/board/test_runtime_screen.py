"""What a guest prints is bounded, streamed and searched."""

from __future__ import annotations

from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from relokit.codegen.base.budget import LIMITS
from relokit.runtime.board.screen import Screen


def test_console_output_is_bounded() -> None:
    screen = Screen(limit=3)
    screen.print(b"abc" + b"x" * 10_000 + b"the end")
    assert screen.dropped == 10_007 - Screen.LAST
    text = screen.text
    assert text.startswith(f"abc\n[{screen.dropped:,} bytes more]\nxxx")
    assert text.endswith("xthe end")
    assert len(text) < Screen.LAST + 100


def test_lines_are_bounded_too() -> None:
    """A MiB of newlines is a million rows of somebody's screen."""
    screen = Screen()
    for _ in range(1 << 17):
        screen.put(ord("\n"))
    assert screen.text.count("\n") < LIMITS["lines"].default + Screen.LAST + 10
    assert screen.more().count("\n") == LIMITS["lines"].default
    assert screen.more() == ""
    assert screen.rest().count("\n") < Screen.LAST + 10


@given(st.binary(max_size=60), st.lists(st.integers(0, 60)), st.integers(1, 40), st.integers(1, 5))
def test_what_streams_is_what_is_kept(
    printed: bytes, looks: list[int], limit: int, lines: int
) -> None:
    screen = Screen(limit=limit, lines=lines)
    shown = ""
    for number, byte in enumerate(printed):
        screen.put(byte)
        if number in looks:
            more = screen.more()
            assert more == "" or more.endswith("\n")
            shown += more
    assert shown + screen.rest() == screen.text


@given(st.text("ab\n", max_size=30), st.text("ab\n", min_size=1, max_size=4))
def test_what_is_expected_is_found_wherever_it_is_printed(printed: str, expected: str) -> None:
    found: list[int] = []
    put = count()
    screen = Screen(expected, lambda: found.append(next(put)), limit=3)
    for byte in printed.encode():
        screen.put(byte)
        if not found:
            next(put)
    first = printed.find(expected)
    assert found == ([] if first < 0 else [first + len(expected) - 1])


@given(st.binary(max_size=30), st.text("ab", min_size=1, max_size=3), st.integers(0, 30))
def test_who_prints_next_has_all_the_room(before: bytes, mark: str, after: int) -> None:
    """What a second kernel printed was not kept at all where the first one had used the room up,
    and its banner was missed.
    """
    screen = Screen("never", lambda: None, limit=3)
    screen.print(before)
    screen.begin_anew(mark)
    assert not screen.seen
    assert screen.text == ""
    said = "c" * after + mark
    screen.print(said.encode())
    assert screen.seen
    assert screen.text == said
    assert screen.dropped == 0
