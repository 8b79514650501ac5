"""Two whole kernels with differences that do not count: counted apart, and nothing behind them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from relokit.codegen.base.documents import to_data
from relokit.diffing.instructions.ignorable import Ignorable, ignorable_word, words_of
from relokit.diffing.kernels.whole import WholeDiff, compare_kernels
from relokit.diffing.kernels.whole_limits import not_compared
from relokit.diffing.routines.classify import ChangeKind
from relokit.diffing.routines.model import DiffVerdict
from support.text_images import ADD, ISB, LDR, MOV, NOP, RET, TEXT_AT, Body, Functions, image

PAC, BTI, HINTS, OFFSETS = Ignorable
PACIASP, AUTIASP, BTI_C = 0xD503233F, 0xD50323BF, 0xD503245F
LDR_8, LDR_16, LDR_SP, LDR_SP_8 = LDR | 1 << 10, LDR | 2 << 10, LDR | 31 << 5, LDR | 0x7E0
BODY: Body = (MOV, LDR_8, ("bl", "filler_3"), ("b", -2), ADD, RET)


def compared(
    tmp_path: Path,
    left: Functions,
    right: Functions,
    ignore: tuple[Ignorable, ...],
    kinds: tuple[ChangeKind, ...] = tuple(ChangeKind),
) -> WholeDiff:
    paths = tmp_path / "left", tmp_path / "right"
    for path, functions in zip(paths, (left, right), strict=True):
        path.write_bytes(image(functions))
    return compare_kernels(*paths, ignore=ignore, kinds=kinds)


@pytest.mark.parametrize(
    ("body", "ignored"),
    [
        ((PACIASP, *BODY[:-1], AUTIASP, RET), {PAC: 2}),
        ((BTI_C, *BODY), {BTI: 1}),
        ((*BODY[:4], NOP, *BODY[4:]), {HINTS: 1}),
        ((BTI_C, PACIASP, MOV, LDR_16, *BODY[2:-1], AUTIASP, RET), {PAC: 2, BTI: 1, OFFSETS: 1}),
        ((MOV, LDR_16, *BODY[2:]), {OFFSETS: 1}),
    ],
)
def test_functions_are_the_same_apart_from_what_is_ignored(
    tmp_path: Path, body: Body, ignored: dict[Ignorable, int]
) -> None:
    left: Functions = [("f", BODY), ("g", BODY)]
    right: Functions = [("f", body), ("g", BODY)]
    assert not compared(tmp_path, left, right, ()).same
    for one, other in ((left, right), (right, left)):
        found = compared(tmp_path, one, other, tuple(Ignorable))
        assert (found.verdict, found.same, found.changed) == (DiffVerdict.APART, True, 0)
        assert found.same_apart == ("f",)
        assert found.differences_ignored == dict.fromkeys(Ignorable, 0) | ignored
        assert to_data(found)["totals"]["changed"] == 0
        total = sum(ignored.values())
        assert next(iter(not_compared(found))).startswith(
            f"{total} difference{'s' if total > 1 else ''} ignored: "
        )


@pytest.mark.parametrize(
    "body",
    [
        (ISB, *BODY),
        (BTI_C, ISB, *BODY),
        (MOV, LDR_16 | 1, *BODY[2:]),  # another register
        (MOV, LDR_16 | 1 << 5, *BODY[2:]),  # another base
        (MOV, LDR_8, ("bl", "filler_4"), *BODY[3:]),
        (*BODY[:3], ("b", -3), *BODY[4:]),  # leads elsewhere
        (MOV, *BODY[2:]),
    ],
)
def test_what_hides_behind_it_is_seen(tmp_path: Path, body: Body) -> None:
    found = compared(tmp_path, [("f", BODY)], [("f", body)], tuple(Ignorable))
    assert (found.changed, found.verdict, found.same_apart) == (1, DiffVerdict.DIFFERENT, ())


def test_a_slot_of_the_stack_is_no_member(tmp_path: Path) -> None:
    sides: list[Functions] = [[("f", (MOV, word, RET))] for word in (LDR_SP, LDR_SP_8)]
    assert compared(tmp_path, *sides, (OFFSETS,)).changed == 1


def test_a_function_of_one_side_and_of_other_kinds(tmp_path: Path) -> None:
    left: Functions = [("f", BODY)]
    alone = compared(tmp_path, left, [("f", BODY), ("g", (NOP, NOP, RET))], tuple(Ignorable))
    (one,) = alone.functions
    assert (one.name, one.kinds[ChangeKind.HINT].inserted) == ("g", 2)
    # Of kinds that were not asked for nothing is said to be ignored.
    right: Functions = [("f", (BTI_C, *BODY))]
    barriers = compared(tmp_path, left, right, (BTI,), (ChangeKind.BARRIER,))
    assert (barriers.verdict, barriers.differences_ignored) == (DiffVerdict.SAME, {BTI: 0})
    right = [("f", (MOV, LDR_16, *BODY[2:]))]
    barriers = compared(tmp_path, left, right, (OFFSETS,), (ChangeKind.BARRIER,))
    assert (barriers.verdict, barriers.differences_ignored) == (DiffVerdict.SAME, {OFFSETS: 0})


def test_data_that_looks_like_a_hint_is_none(tmp_path: Path) -> None:
    load = 0x18000041  # ldr w1, of what is behind the RET
    left, right = (NOP, load, RET, NOP), (load, RET, BTI_C)
    found = compared(tmp_path, [("f", left)], [("f", right)], tuple(Ignorable))
    assert (found.changed, found.differences_ignored[BTI]) == (1, 0)


def test_a_place_taken_by_one_symbol_at_another_distance(tmp_path: Path) -> None:
    def taking(name: str, add: int) -> Functions:
        at = TEXT_AT + (16 if name == "h" else 48) + add
        body: Body = (("adrp", name), 0x91000000 | (at & 0xFFF) << 10, MOV, RET)
        return [
            ("f", body),
            ("h", (MOV, ADD, LDR, MOV, ADD, LDR, MOV, RET)),
            ("i", (MOV, ADD, RET)),
        ]

    for ignore, verdict, counts in (
        ((OFFSETS,), DiffVerdict.APART, {OFFSETS: 2}),  # ADRP, and what completes it
        ((HINTS,), DiffVerdict.DIFFERENT, {HINTS: 0}),
    ):
        found = compared(tmp_path, taking("h", 4), taking("h", 8), ignore)
        assert (found.verdict, found.differences_ignored) == (verdict, counts)
    assert compared(tmp_path, taking("h", 4), taking("i", 4), (OFFSETS,)).changed == 1


def test_a_call_of_another_place_in_a_function_is_seen(tmp_path: Path) -> None:
    def calling(add: int) -> Functions:
        body: Body = (0x94000000 | (16 + add) >> 2, MOV, ADD, RET)
        return [("f", body), ("h", (MOV, ADD, LDR, RET))]

    assert compared(tmp_path, calling(0), calling(4), tuple(Ignorable)).changed == 1


def test_many_words_are_of_the_kinds_that_one_is() -> None:
    random = np.random.default_rng(7)
    words = np.concatenate(
        [
            0xD503201F | np.arange(128) << 5,
            0xDAC10000 | random.integers(0, 1 << 16, 3000),
            random.integers(0, 1 << 32, 1000),
        ]
    ).astype(np.uint32)
    for kind in (PAC, BTI, HINTS):
        expected = [ignorable_word(word) is kind for word in words.tolist()]
        assert words_of(words, kind).tolist() == expected
        assert any(expected)
