"""What a whole-kernel diff is made of: alignment of codes, kinds of many words, the overview."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from relokit.cli.terminal.diff_overview import SHOWN, WIDTH, overview
from relokit.diffing.kernels.whole import WholeDiff
from relokit.diffing.kernels.whole_align import Aligner, cells, common_anywhere
from relokit.diffing.kernels.whole_changes import FunctionChange, FunctionCount
from relokit.diffing.kernels.whole_places import TAG_SHIFT, Reference, distinct
from relokit.diffing.kernels.whole_tally import tally
from relokit.diffing.kernels.whole_text import KernelText
from relokit.diffing.read.references import Ints
from relokit.diffing.routines.classify import WEIGHT, ChangeKind, kind_of_word, kinds_of_words


def longest(left: Sequence[int], right: Sequence[int]) -> int:
    """The textbook's table of lengths."""
    rows = [[0] * (len(right) + 1)]
    for code in left:
        row = [0]
        for j, other in enumerate(right):
            row.append(rows[-1][j] + 1 if code == other else max(row[-1], rows[-1][j + 1]))
        rows.append(row)
    return rows[-1][-1]


def part(*numbers: int) -> list[Ints]:
    """One part of either side: first code and number of codes."""
    return [np.array([number]) for number in numbers]


def aligned(left: Sequence[int], right: Sequence[int], before: int) -> list[tuple[int, int]]:
    """Pairs found between the two, each ``before`` words into its array."""
    sides = [np.array([1 << 40] * before + [*codes]) for codes in (left, right)]
    size = cells(np.array(len(left)), np.array(len(right)))
    aligner = Aligner(*sides, len(right), int(size))
    partner = np.full(len(sides[0]), -1, np.int32)
    aligner.align(part(before, len(left), before, len(right)), partner)
    assert (partner[:before] == -1).all()
    return [(i - before, int(partner[i]) - before) for i in np.flatnonzero(partner >= 0).tolist()]


CODES = st.lists(st.integers(0, 5) | st.integers(0, (1 << 62) - 1), min_size=1, max_size=150)


@given(CODES, CODES, st.integers(0, 3))
def test_an_alignment_is_a_longest_common_subsequence(
    left: list[int], right: list[int], before: int
) -> None:
    pairs = aligned(left, right, before)
    assert all(left[i] == right[j] for i, j in pairs)
    for column in zip(*pairs, strict=True):
        assert sorted(set(column)) == [*column]
    assert len(pairs) == longest(left, right)


def test_one_aligner_serves_parts_of_all_sizes() -> None:
    generator = random.Random(5)
    codes = np.array([generator.randrange(30) for _ in range(3000)])
    aligner = Aligner(codes, codes[::-1], 400, int(cells(np.array(400), np.array(400))))
    for _ in range(40):
        first, second = generator.randrange(2600), generator.randrange(2600)
        n, m = generator.randint(1, 400), generator.randint(1, 400)
        partner = np.full(len(codes), -1, np.int32)
        aligner.align(part(first, n, second, m), partner)
        expected = longest(
            codes[first : first + n].tolist(), codes[::-1][second : second + m].tolist()
        )
        assert (partner >= 0).sum() == expected


def test_out_of_order_everything_equal_is_found_once() -> None:
    assert common_anywhere([1, 2, 2, 3], [3, 2, 1, 2, 2]) == [(0, 2), (1, 1), (2, 3), (3, 0)]


def test_kinds_of_many_words_are_those_of_each() -> None:
    generator = random.Random(1)
    words = [generator.getrandbits(32) for _ in range(20_000)]
    words += [0xD5000000 | generator.getrandbits(22) | rt for rt in (0, 31) for _ in range(40_000)]
    kinds = kinds_of_words(np.array(words, np.uint32))
    assert [WEIGHT[kind] for kind in kinds] == [kind_of_word(word) for word in words]
    assert set(kinds) == set(range(len(WEIGHT)))


@given(
    st.lists(st.sampled_from([0xD5087622, 0xD503201F, 0x94000000, 0xF9400000, 7]), max_size=60),
    st.randoms(use_true_random=False),
)
def test_words_are_counted_as_one_by_one(words: list[int], chance: random.Random) -> None:
    cuts = sorted(chance.sample(range(len(words) + 1), min(3, len(words) + 1)))
    starts = np.array([0, *cuts[1:]], np.int64)[: max(len(cuts), 1)]
    ends = np.append(starts[1:], len(words))
    lengths = np.array([chance.randint(0, size) for size in (ends - starts).tolist()], np.int64)
    units = np.array([chance.choice([-1, 0, 1]) for _ in starts], np.int64)
    literal = np.array([chance.random() < 0.2 for _ in words], np.bool_)
    chosen, data = (np.array([chance.random() < 0.7 for _ in words], np.bool_) for _ in range(2))
    raw = np.array(words, np.uint32)
    text = SimpleNamespace(
        raw=raw, places=literal * (int(Reference.LITERAL) << TAG_SHIFT), starts=starts,
        lengths=lengths, kinds_of=lambda numbers: kinds_of_words(raw[numbers]),
    )  # fmt: skip
    expected = np.zeros((2, len(WEIGHT)), np.int64)
    for start, length, unit in zip(starts.tolist(), lengths.tolist(), units.tolist(), strict=True):
        for at in range(start, start + length):
            if unit >= 0 and chosen[at]:
                kind = ChangeKind.DATA if literal[at] or data[at] else kind_of_word(words[at])
                expected[unit, WEIGHT.index(kind)] += 1
    found = tally(cast(KernelText, text), chosen, units, 2, data)
    assert found.tolist() == expected.tolist()


@given(st.lists(st.lists(st.integers(-70, 300), max_size=20), max_size=3), st.integers(0, 200))
def test_distinct_places_are_those_of_a_set(places: list[list[int]], size: int) -> None:
    found = distinct(size, *(np.array(some, np.int64) for some in places))
    assert found.tolist() == sorted({at for some in places for at in some if 0 <= at < size})


def change(name: str, inserted: int, *, aligned: bool = True) -> FunctionChange:
    kinds = {ChangeKind.MEMORY: FunctionCount(inserted, 1, 1)}
    if inserted % 2:
        kinds[ChangeKind.BARRIER] = FunctionCount(1, 0, 0)
    return FunctionChange(name, name, 40, 40 + 4 * inserted, kinds, aligned)


LARGE = 60_000


def diff() -> WholeDiff:
    changes = [change(f"function_{n}", n) for n in range(100)]
    changes.append(change("x" * 300, LARGE, aligned=False))
    changes.append(FunctionChange("old", None, 4, 0, {ChangeKind.CONTROL: FunctionCount(0, 1, 0)}))
    changes.append(
        FunctionChange(None, "new\x1b[2J", 0, 8, {ChangeKind.BARRIER: FunctionCount(2, 0, 0)})
    )
    return WholeDiff("a", "b", tuple(changes), ("same",) * 7, ("_etext",))


def test_the_overview_fits_and_tells_what_it_leaves_out() -> None:
    lines = overview(diff()).split("\n")
    (command,) = (line for line in lines if line.startswith("  relokit diff"))
    assert command == f"  relokit diff a b:{'x' * 300}"
    assert all(len(line) <= WIDTH for line in lines if line != command)
    assert all(line.isprintable() for line in lines)
    rows = [line.split() for line in lines if line.startswith("  function_")]
    weights = [int(row[2]) + int(row[3]) for row in rows]
    assert weights == sorted(weights, reverse=True)
    # The largest one is before them.
    assert {row[0] for row in rows} == {f"function_{99 - n}" for n in range(SHOWN - 1)}
    assert any(line.startswith("  xxx") and f"~{LARGE:,}" in line for line in lines)
    assert f"  ... and {101 - SHOWN} more" in lines
    assert any(line.startswith("  old") for line in lines)
    assert any(line.startswith("  new\ufffd[2J") for line in lines)
    assert lines[-1] == "110 functions: 7 same, 101 changed, 1 only left, 1 only right"
    assert lines[-2].startswith("1 left out")


def test_the_overview_of_chosen_kinds_has_no_others() -> None:
    lines = overview(replace(diff(), kinds=frozenset({ChangeKind.BARRIER}))).split("\n")
    assert next(line for line in lines if line.startswith("  barriers")).split()[1:] == [
        "52", "0", "0", "51",
    ]  # fmt: skip
    assert not any(line.startswith(("  memory", "  old")) for line in lines)
    assert lines[-1] == "51 differ in barriers"


def test_functions_of_two_names_are_looked_at_by_both() -> None:
    both = FunctionChange("f.isra.0", "f", 4, 4, {ChangeKind.MEMORY: FunctionCount(1, 1, 0)})
    text = overview(WholeDiff("a", "b", (both,), ()))
    assert "relokit diff a:f.isra.0 b:f\n" in text


def test_nothing_to_tell_is_one_line() -> None:
    text = overview(WholeDiff("a", "b", (), ("f", "g")))
    assert text == "--- a\n+++ b\n\n2 functions: 2 same, 0 changed, 0 only left, 0 only right"
