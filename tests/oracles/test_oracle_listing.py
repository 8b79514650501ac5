"""The lines of functions that differ between two shipped kernels against objdump's of both."""

from __future__ import annotations

import json
import random
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import pytest
from oracles.test_oracle_objdump import agree, objdump, spelt

from relokit.diffing.kernels.whole import match_kernels
from relokit.diffing.kernels.whole_changes import FunctionStatus
from relokit.diffing.kernels.whole_listing import WholeListing
from relokit.diffing.read.routine import generic
from relokit.linker.kernel.kernel_file import open_kernel
from relokit.linker.kernel.opened import OpenedKernel

pytestmark = pytest.mark.oracle

CHOSEN = 4
"""Functions of each status."""
_TAKING = re.compile(r"(?:bl?|cbn?z|tbn?z|adrp?|bc?\.\w+) |(?:ldr|ldrsw) [^\[]*$|.*#:lo12:")
_PLACE = re.compile(
    r'<\+0x[0-9a-f]+>|"(?:[^"\\]|\\.)*(?:"$|"\]|"\.\.\.)|(?<![#\w])[A-Za-z_$][\w.$#+]*\]?$|0x\w{9,}'
)
_NUMBER = re.compile(r"-?(?:0x[0-9a-f]+|\d+)(?=\]?$)")


class Shown:
    """A kernel as objdump has it, by function."""

    def __init__(self, path: Path, directory: Path) -> None:
        kernel = OpenedKernel(open_kernel(path))
        self._image, self._symbols = bytes(kernel.file.image), kernel.symbols
        self._directory = directory

    def lines(self, name: str) -> tuple[int, list[tuple[int, str]]] | None:
        """The VA and objdump's lines of a function; of namesakes none."""
        offsets = self._symbols.offsets_of(name)
        if len(offsets) != 1:
            return None
        code = self._image[offsets[0] : self._symbols.end(offsets[0]) & ~3]
        address = self._symbols.link_base + offsets[0]
        return address, objdump(code, self._directory / "code.bin", "-z", base=address)

    @cached_property
    def _numbered(self) -> dict[str, set[int]]:
        """VAs by name, of those that the compiler has numbered without the numbers."""
        found = defaultdict(set)
        for symbol in self._symbols:
            if symbol.name[-1:].isdecimal():
                found[generic(symbol.name)].add(symbol.address)
        return found

    def addresses(self, place: str, start: int) -> set[int]:
        """What a place in the function at VA ``start`` may be, by what it is called."""
        if place.startswith("<"):
            return {start + int(place[2:-1], 16)}
        if place.startswith("0x"):
            return {int(place, 16)}
        if place.startswith('"'):
            whole = json.loads(place.removesuffix("...")).encode()
            return {self._symbols.link_base + at for at in occurrences(self._image, whole)}
        name, _, distance = place.partition("+")
        known = self._numbered[name] if name.endswith("#") else set()
        known |= {self._symbols.link_base + at for at in self._symbols.offsets_of(name)}
        return {at + int(distance or "0", 16) for at in known}


def occurrences(image: bytes, text: bytes) -> Iterator[int]:
    at = image.find(text)
    while at >= 0:
        yield at
        at = image.find(text, at + 1)


def agrees(ours: str, word: int, theirs: str, shown: Shown, start: int) -> bool:
    """Whether a line says what objdump's does; where it names a place, whether that is one."""
    ours = ours.partition("  //")[0]
    if ours.startswith(".word"):
        return ours == f".word {word:#010x}"
    place = _PLACE.search(ours) if _TAKING.match(ours) else None
    if place is None or re.fullmatch(r"(?:[xw](?:\d+|zr)|sp)\]?", place[0]):
        (one,), (other,) = spelt([ours]), spelt([theirs])
        return agree(word, one, other)
    known = shown.addresses(place[0].removesuffix("]"), start)
    theirs = theirs.partition("  //")[0]
    if "#:lo12:" in ours:
        known = {one & 0xFFF for one in known}
    elif ours.startswith("adrp"):
        known = {one & ~0xFFF for one in known}
    number = _NUMBER.search(theirs)
    (one,), (other,) = spelt([ours.split()[0]]), spelt([theirs.split()[0]])
    return one == other and (int(number[0], 0) if number else 0) in known


def test_lines_are_what_objdump_says(
    kernel_6_12: Path, kernel_6_12_16k: Path, tmp_path: Path
) -> None:
    paths = kernel_6_12, kernel_6_12_16k
    sides = [Shown(path, tmp_path) for path in paths]
    found, matched = match_kernels(*paths)
    chance, seen = random.Random(1), [0, 0]
    wrong: list[str] = []
    for status in (FunctionStatus.CHANGED, FunctionStatus.ONLY_LEFT, FunctionStatus.ONLY_RIGHT):
        rows = found.rows(status)
        rows = rows[chance.sample(range(len(rows)), CHOSEN)]
        listing = WholeListing(matched, found.kinds, rows)
        for row in rows.tolist():
            one = found.functions[row]
            theirs = [
                side.lines(name) if name else None
                for side, name in zip(sides, (one.left, one.right), strict=True)
            ]
            at = [0, 0]
            for line in listing.lines(row, 10_000):
                if line.startswith("@@"):
                    at = [int(part[1:].partition(",")[0], 16) for part in line.split()[1:3]]
                    continue
                for side, sign in enumerate("-+"):
                    if line[0] not in (" ", sign):
                        continue
                    known, place = theirs[side], at[side] // 4
                    at[side] += 4
                    # What is around a difference is told as the right has it.
                    if known and (line[0] == sign or side):
                        start, lines = known
                        seen[side] += 1
                        if not agrees(line[1:], *lines[place], sides[side], start):
                            wrong.append(f"{one.name}: {line}: {lines[place][1]}")
    # What is told of the kernels, should it fail, has millions of bytes.
    told, counts = "\n".join(wrong), min(seen)
    del sides, found, matched, listing
    assert not told
    assert counts > 50
