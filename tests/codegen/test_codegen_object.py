"""Source lines in columns, against a plain list of rows."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from relokit.codegen.object import SourceLine, SourceLines

LINES = st.builds(
    SourceLine,
    st.sampled_from(["a.S", "b.S", ""]),
    st.sampled_from([0, 1, 2, (1 << 32) - 1]),
    st.sampled_from(["", "nop", "\u00fc\ud800"]),
)
OFFSETS = st.one_of(st.integers(0, 40), st.just((1 << 64) - 1))
ROWS = st.lists(st.tuples(OFFSETS, LINES), max_size=8).map(
    lambda rows: sorted(rows, key=lambda row: row[0])
)


@settings(max_examples=150)
@given(ROWS, ROWS, st.integers(0, 45), st.integers(1, 20))
def test_columns_are_the_rows(
    rows: list[tuple[int, SourceLine]],
    others: list[tuple[int, SourceLine]],
    start: int,
    size: int,
) -> None:
    lines = SourceLines(rows)
    assert [*lines] == rows
    assert len(lines) == len(rows)
    assert (lines == SourceLines(others)) is (rows == others)
    assert lines == SourceLines.of_columns(
        [offset for offset, _ in rows],
        [line.file for _, line in rows],
        [line.line for _, line in rows],
        [line.text for _, line in rows],
    )
    before = [line for offset, line in rows if offset <= start]
    assert lines.at(start) == (before[-1] if before else None)
    # What holds at the first byte, and what begins behind it.
    within = [(0, line) for line in before[-1:]]
    within += [(offset - start, line) for offset, line in rows if start < offset < start + size]
    assert [*lines.within(start, size)] == within


@given(ROWS)
def test_a_line_that_goes_on_is_one_row(rows: list[tuple[int, SourceLine]]) -> None:
    lines, wanted = SourceLines(), []
    for offset, line in rows:
        lines.mark(offset, line)
        if not wanted or wanted[-1][1] != line:
            wanted.append((offset, line))
    assert [*lines] == wanted


def test_lines_behind_others_keep_their_files() -> None:
    one = SourceLines([(0, SourceLine("a.S", 1, "nop"))])
    one.extend(SourceLines([(0, SourceLine("b.S", 1, "ret")), (4, SourceLine("a.S", 9, "b ."))]), 4)
    assert [(offset, str(line), line.text) for offset, line in one] == [
        (0, "a.S:1", "nop"),
        (4, "b.S:1", "ret"),
        (8, "a.S:9", "b ."),
    ]
