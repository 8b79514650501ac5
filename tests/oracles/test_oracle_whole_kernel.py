"""Shipped kernels as a whole, against the detailed diff of single functions and each other."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from relokit.building import encoder
from relokit.diffing.instructions.ignorable import Ignorable
from relokit.diffing.instructions.normalise import Aspect
from relokit.diffing.kernels.whole import WholeDiff, compare_kernels
from relokit.diffing.kernels.whole_changes import FunctionStatus
from relokit.diffing.kernels.whole_text import Numbers, read_text
from relokit.diffing.read.kernel_data import kernel_data
from relokit.diffing.read.routine import Names, Routine, Side
from relokit.diffing.read.sides import read_sides
from relokit.diffing.routines.classify import ChangeKind
from relokit.diffing.routines.compare import compare
from relokit.diffing.routines.model import Diff, DiffVerdict
from relokit.linker.kernel.kallsyms import Kallsyms, read_kallsyms
from relokit.linker.kernel.kernel_file import open_kernel
from relokit.linker.kernel.opened import Files

pytestmark = pytest.mark.oracle

SAMPLE = 300
MAX_WORDS = 400
"""Longer functions take the detailed diff seconds each."""


@dataclass(frozen=True)
class Kernel:
    """A kernel's symbols, read without the code under test."""

    image: memoryview
    symbols: Kallsyms
    names: Names
    unique: frozenset[str]
    """Names of one address only."""
    ends: tuple[int, ...]

    @classmethod
    def read(cls, path: Path) -> Kernel:
        image = open_kernel(path).image
        symbols = read_kallsyms(image)
        counts = Counter(symbols.names)
        return cls(
            image,
            symbols,
            Names(
                ((symbol.address, symbol.name) for symbol in symbols),
                lambda address, size: image[address - symbols.link_base :][:size],
                kernel_data(image, symbols),
            ),
            frozenset(name for name, count in counts.items() if count == 1),
            tuple(sorted(set(symbols.offsets))),
        )

    def side(self, name: str) -> Side:
        at = self.symbols.offset(name)
        end = self.ends[bisect_right(self.ends, at)]
        routine = Routine(name, self.symbols.link_base + at, bytes(self.image[at:end]))
        return Side(name, {name: routine}, self.names)


@pytest.fixture(scope="module")
def kernels(kernel_6_1: Path, kernel_6_12: Path) -> tuple[Kernel, Kernel]:
    return Kernel.read(kernel_6_1), Kernel.read(kernel_6_12)


@pytest.fixture(scope="module")
def whole(kernel_6_1: Path, kernel_6_12: Path) -> WholeDiff:
    return compare_kernels(kernel_6_1, kernel_6_12)


def detailed(kernels: tuple[Kernel, Kernel], left: str, right: str) -> Diff:
    """Registers and encodings count, as they do in the whole diff."""
    sides = kernels[0].side(left), kernels[1].side(right)
    return compare(*sides, kept=[Aspect.REGISTERS, Aspect.ENCODINGS])


@pytest.mark.parametrize("name", ["kernel_5_10", "kernel_6_1", "kernel_6_12", "kernel_7"])
def test_a_kernel_is_the_same_as_itself(name: str, request: pytest.FixtureRequest) -> None:
    path = request.getfixturevalue(name)
    diff = compare_kernels(path, path)
    assert diff.same
    symbols = read_kallsyms(open_kernel(path).image)
    named = {
        offset
        for offset, letter in zip(symbols.offsets, symbols.types, strict=True)
        if letter in "tTwW"
    }
    # All have their place but those that nothing follows in the Image.
    assert len(named) - 8 <= len(diff.unchanged) + len(diff.skipped) <= len(named)


@pytest.mark.slow
def test_what_is_the_same_is_the_same_in_detail(
    whole: WholeDiff, kernels: tuple[Kernel, Kernel]
) -> None:
    both = kernels[0].unique & kernels[1].unique
    names = [name for name in whole.unchanged if name in both]
    assert len(names) > SAMPLE
    for name in random.Random(0).sample(names, SAMPLE):
        assert detailed(kernels, name, name).same, name


@pytest.mark.slow
def test_what_changed_has_changed_in_detail_and_by_about_as_much(
    whole: WholeDiff, kernels: tuple[Kernel, Kernel]
) -> None:
    changes = [
        one
        for one in whole.functions
        if one.status is FunctionStatus.CHANGED
        and one.left in kernels[0].unique
        and one.right in kernels[1].unique
        and max(one.left_bytes, one.right_bytes) <= 4 * MAX_WORDS
    ]
    false = 0
    ours: Counter[ChangeKind] = Counter()
    theirs: Counter[ChangeKind] = Counter()
    for one in random.Random(1).sample(changes, SAMPLE):
        assert one.left is not None
        assert one.right is not None
        diff = detailed(kernels, one.left, one.right)
        false += diff.same
        theirs.update(change.kind for change in diff.changes() if change.left is not None)
        for kind, count in one.kinds.items():
            ours[kind] += count.deleted + count.operands
    assert false <= SAMPLE // 100
    for kind in (ChangeKind.MEMORY, ChangeKind.CONTROL, ChangeKind.ARITHMETIC, ChangeKind.SYSTEM):
        assert ours[kind] == pytest.approx(theirs[kind], rel=0.35), kind


def test_what_is_the_same_apart_from_what_is_ignored_is_so_in_detail(
    whole: WholeDiff, kernels: tuple[Kernel, Kernel], kernel_6_1: Path, kernel_6_12: Path
) -> None:
    """And nothing is the same for it that was not changed before; nothing else is less changed."""
    found = compare_kernels(kernel_6_1, kernel_6_12, ignore=Ignorable)
    counts = found.differences_ignored
    assert min(counts.values()) > 10
    assert {*whole.unchanged} <= {*found.unchanged, *found.same_apart}
    both = kernels[0].unique & kernels[1].unique
    changed = {one.name for one in whole.functions if one.status is FunctionStatus.CHANGED}
    names = [name for name in found.same_apart if name in both]
    assert {*names} <= changed
    for name in random.Random(2).sample(names, 20):
        sides = kernels[0].side(name), kernels[1].side(name)
        kept = [Aspect.REGISTERS, Aspect.ENCODINGS]
        diff = compare(*sides, kept=kept, ignore=Ignorable)
        assert diff.verdict is DiffVerdict.APART, name


def test_totals_of_6_1_and_6_12(whole: WholeDiff) -> None:
    numbers = whole.functions_by_status()
    assert numbers[FunctionStatus.CHANGED] > 30_000
    assert numbers[FunctionStatus.SAME] > 2_000
    assert all(one.aligned for one in whole.functions)
    # Every function is counted once.
    left = (
        numbers[FunctionStatus.SAME]
        + numbers[FunctionStatus.CHANGED]
        + numbers[FunctionStatus.ONLY_LEFT]
    )
    assert left == pytest.approx(44_600, rel=0.02)


def test_the_other_way_round_is_the_mirror_image(
    whole: WholeDiff, kernel_6_1: Path, kernel_6_12: Path
) -> None:
    mirrored = compare_kernels(kernel_6_12, kernel_6_1)
    assert len(mirrored.unchanged) == len(whole.unchanged)
    counts = [
        {(one.left, one.right): one.count(frozenset(ChangeKind)) for one in diff.functions}
        for diff in (whole, mirrored)
    ]
    unlike = 0
    for (left, right), count in counts[0].items():
        other = counts[1].get((right, left))
        unlike += other is None or other != (count.deleted, count.inserted, other.operands)
    # Namesakes may be paired otherwise.
    assert unlike < len(counts[0]) // 100


@pytest.mark.slow
def test_5_10_and_7_are_compared_too(kernel_5_10: Path, kernel_7: Path) -> None:
    diff = compare_kernels(kernel_5_10, kernel_7, kinds=[ChangeKind.BARRIER])
    numbers = diff.functions_by_status()
    assert len(diff.functions) > 25_000
    assert 0 < numbers[FunctionStatus.CHANGED] <= diff.changed < len(diff.functions)
    assert diff.kind_counts().keys() == {ChangeKind.BARRIER}
    assert all(ChangeKind.BARRIER in one.kinds for one in diff.differing())


def test_two_bytes_of_a_switch_table_are_a_difference(kernel_6_12: Path, tmp_path: Path) -> None:
    # A table of bytes: LDRB by a register from the ADRP's page, ADR of the code, ADD of the byte.
    image = bytearray(open_kernel(kernel_6_12).image)
    before = tmp_path / "before"
    before.write_bytes(image)
    text = read_text(str(before), Numbers(), Files())
    tables = np.flatnonzero((text.targets >= 0) & (text.raw & 0xFF800000 == 0x91000000))
    tables = tables[text.jumps[np.searchsorted(text.starts, tables, "right") - 1]]
    tables = tables[text.raw[tables + 1] & 0xFFE00C00 == 0x38600800]
    word = int(tables[len(tables) // 2])
    at = int(text.targets[word])
    other = next(n for n in range(at + 1, at + 64) if image[n] != image[at])
    image[at], image[other] = image[other], image[at]
    after = tmp_path / "after"
    after.write_bytes(image)
    diff = compare_kernels(before, after)
    name = text.names[int(np.searchsorted(text.starts, word, "right")) - 1]
    assert [one.name for one in diff.functions] == [name]
    assert list(diff.functions[0].kinds) == [ChangeKind.DATA]
    assert compare(*read_sides(str(before), f"{after}:{name}", encoder)).changed
