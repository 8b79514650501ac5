"""What differs in each function of two kernels, line by line."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import relokit
from relokit.diffing.instructions.ignorable import Ignorable
from relokit.diffing.instructions.normalise import Aspect
from relokit.diffing.kernels import whole_match
from relokit.diffing.kernels.whole import ReportedFunction, match_kernels
from relokit.diffing.kernels.whole_listing import TOO_LARGE, WholeListing, fair
from relokit.diffing.routines.classify import ChangeKind
from support.text_images import (
    ADD,
    DATA_AT,
    DMB,
    ISB,
    LDR,
    MOV,
    MRS_X1,
    NOP,
    RET,
    Body,
    Functions,
    image,
)

WORDS: tuple[Body, ...] = (
    (MOV,), (ADD,), (LDR,), (ISB,), (DMB,), (MRS_X1,), (NOP,), (("bl", "filler_3"),),
    (("bl", "filler_4"),), (("adrp", "table"), ("lo12", "table")), (("b", -2),), (("b", 3),),
)  # fmt: skip
ALL = frozenset(ChangeKind)


def written(directory: Path, left: Functions, right: Functions) -> tuple[str, str]:
    paths = directory / "left", directory / "right"
    for path, functions in zip(paths, (left, right), strict=True):
        path.write_bytes(image(functions, data={"table": DATA_AT + 0x128}))
    return str(paths[0]), str(paths[1])


def listed(
    paths: tuple[str, str],
    kinds: Collection[ChangeKind] = ALL,
    ignore: Collection[Ignorable] = (),
    most: int = 10_000,
) -> list[tuple[ReportedFunction, list[str]]]:
    """Functions that differ, with all lines of theirs."""
    found, matched = match_kernels(*paths, kinds=kinds, ignore=ignore)
    rows = found.rows()
    listing = WholeListing(matched, found.kinds, rows)
    texts = [listing.lines(row, most) for row in rows.tolist()]
    assert [min(most, listing.length(row)) for row in rows.tolist()] == [len(one) for one in texts]
    return [*zip(found.reported, texts, strict=True)]


def signs(lines: list[str]) -> Counter[str]:
    return Counter(line[0] for line in lines)


def body(chance: random.Random) -> list[int | tuple[str, str | int]]:
    words = [word for _ in range(40) for word in chance.choice(WORDS)]
    return [MOV, MOV, *words, RET, RET, RET, RET]


def edited(chance: random.Random, words: Body) -> list[int | tuple[str, str | int]]:
    changed = [*words]
    for _ in range(chance.randrange(1, 6)):
        at = chance.randrange(2, len(changed) - 4)
        changed[at : at + chance.randrange(3)] = chance.choice(WORDS)
    return changed


@pytest.fixture(name="pair", scope="module")
def _pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Two kernels of twenty functions, edited at random, and one more on each side."""
    chance = random.Random(14)
    left: list[tuple[str, Body]] = [(f"f{n}", body(chance)) for n in range(20)]
    right: list[tuple[str, Body]] = [(name, edited(chance, words)) for name, words in left]
    return written(
        tmp_path_factory.mktemp("pair"),
        [*left, ("gone", (ISB, RET))],
        [*right, ("new", (NOP, RET))],
    )


def test_a_listing_is_what_a_person_reads(tmp_path: Path) -> None:
    left: Body = (NOP, MOV, LDR, ("bl", "filler_3"), ADD, ("b", -4), ISB, RET)
    right: Body = (NOP, MOV, LDR, ("bl", "filler_4"), DMB, ADD, ("b", -4), ISB, RET)
    ((one, lines),) = listed(written(tmp_path, [("f", left)], [("f", right)]))
    assert lines == [
        "@@ -0x0,8 +0x0,9 @@",
        " nop",
        " mov x0, x1",
        " ldr x0, [x0]",
        "-bl filler_3",
        "+bl filler_4",
        "+dmb ish",
        " add x0, x0, x2",
        "-b <+0x4>",
        "+b <+0x8>",
        " isb",
        " ret",
    ]
    assert one.count == (2, 1, 1)
    ((_, some),) = listed(written(tmp_path, [("f", left)], [("f", right)]), most=4)
    assert some == lines[:4]


def test_as_many_lines_as_are_counted(pair: tuple[str, str]) -> None:
    for kinds, ignore in (
        (ALL, ()),
        (frozenset({ChangeKind.BARRIER, ChangeKind.CONTROL}), ()),
        (ALL, (Ignorable.HINTS, Ignorable.OFFSETS)),
    ):
        functions = listed(pair, kinds, ignore)
        assert len(functions) > 10
        for one, lines in functions:
            counted = signs(lines)
            assert counted["-"] == one.count.deleted + one.count.operands, one.function.name
            assert counted["+"] == one.count.inserted + one.count.operands, one.function.name


def test_lines_are_those_of_the_detailed_comparison(pair: tuple[str, str]) -> None:
    """Its decoded text of both sides at the places that the listing says, and nothing that is the
    same there differs here.
    """
    seen = 0
    for one, lines in listed(pair):
        if one.function.left is None or one.function.right is None:
            continue
        name = one.function.left
        detailed = relokit.diff(
            f"{pair[0]}:{name}", pair[1], kept=[Aspect.REGISTERS, Aspect.ENCODINGS]
        )
        rows = detailed.routines[0].rows
        texts = [
            {each.offset: each.text for each in column if each}
            for column in ([row.left for row in rows], [row.right for row in rows])
        ]
        at = [0, 0]
        for line in lines:
            if line.startswith("@@"):
                at = [int(part[1:].partition(",")[0], 16) for part in line.split()[1:3]]
                continue
            text = line[1:].partition("  //")[0]
            for side, sign in enumerate("-+"):
                # What is around a difference is told as the right has it.
                if line[0] == sign or (line[0] == " " and side):
                    assert texts[side][at[side]] == text, name
                    seen += 1
                at[side] += 4 * (line[0] in (" ", sign))
        assert signs(lines)["-"] + signs(lines)["+"] >= detailed.changed > 0
    assert seen > 300


def test_of_what_only_one_side_has_it_is_all_of_it(pair: tuple[str, str]) -> None:
    texts = {one.function.name: lines for one, lines in listed(pair)}
    assert texts["gone"] == ["@@ -0x0,2 +0x0,0 @@", "-isb", "-ret"]
    assert texts["new"] == ["@@ -0x0,0 +0x0,2 @@", "+nop", "+ret"]


def test_what_was_only_counted_is_not_listed(
    pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole_match, "MAX_CELLS", 1)
    assert [TOO_LARGE] in [lines for _, lines in listed(pair)]


@given(st.lists(st.integers(0, 50), max_size=12), st.integers(0, 200))
def test_a_fair_limit_is_the_largest_that_fits(lengths: list[int], total: int) -> None:
    limit = fair(np.array(lengths, np.int64), total)

    def used(most: int) -> int:
        return sum(min(length, most) for length in lengths)

    assert used(limit) <= total
    assert used(limit + 1) > total or used(limit) == sum(lengths)
