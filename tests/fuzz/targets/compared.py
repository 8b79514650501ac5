"""What diff reads, decodes, pairs and compares."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache

from fuzz import files
from fuzz.door import Door, WrongError
from fuzz.mutations import within
from fuzz.targets import own
from fuzz.targets.elf_files import spots
from relokit.building import encoder
from relokit.cli.pages.whole_behind import behind_functions
from relokit.diffing.instructions.ignorable import Ignorable
from relokit.diffing.kernels.whole import (
    FunctionStatus,
    WholeDiff,
    compare_kernels,
    match_kernels,
)
from relokit.diffing.kernels.whole_limits import not_compared
from relokit.diffing.progress import untold
from relokit.diffing.read.routine import Side
from relokit.diffing.read.sides import read_side
from relokit.diffing.routines.compare import compare
from relokit.linker.foreign.packed import UnpackedFiles
from support import text_images


def _read(case: bytes) -> Side:
    return read_side(str(files.put(case, "case.o")), None, encoder, UnpackedFiles())


@cache
def _ours() -> Side:
    return _read(own.objects()[0])


def _objects() -> Sequence[bytes]:
    _ours()
    return own.objects()[:2]


SPAN = 0x1_4000
"""Bytes of a kernel's text, and of its tables, that a case has: the rest is zeros."""
PARTS = (
    (0, 64),
    (text_images.TEXT_AT, 0x800),
    (text_images.DATA_AT, 64),
    (text_images.TABLE_AT, SPAN),
)


RET = text_images.RET


def _functions(number: int) -> text_images.Functions:
    words = (text_images.NOP, text_images.MOV, text_images.ADD, text_images.LDR, text_images.ISB)
    return [
        (f"one_{number % 2}", [*words, ("bl", "two"), RET]),
        (
            "two",
            [*words[number:], *words[:number], ("adrp", "table"), ("lo12", "table"), 0xD65F03C0],
        ),
        ("three=alias", [words[number]] * (3 + number) + [("b", 2), ("b", -1), RET]),
        ("four", [0x54000040, *words, *words, 0xB4000060, 0x36000041, RET]),
    ]


def _image(number: int) -> bytes:
    return text_images.image(_functions(number), data={"table": text_images.DATA_AT + 16 * number})


@cache
def _kernels() -> Sequence[bytes]:
    whole = [_image(number) for number in range(3)]
    return [b"".join(one[at : at + size] for at, size in PARTS) for one in whole]


def _whole(case: bytes) -> bytes:
    data = bytearray(text_images.IMAGE_SIZE)
    taken = 0
    for at, size in PARTS:
        part = case[taken : taken + size]
        data[at : at + len(part)] = part
        taken += size
    return bytes(data)


def _numbers(found: WholeDiff) -> Mapping[object, int]:
    """How many functions there are of each status, and of each number of what differs."""
    counts = Counter[object](found.functions_by_status())
    counts.update((one.left_bytes, one.right_bytes) for one in found.functions)
    return counts


def _mirrored(found: Mapping[object, int]) -> Mapping[object, int]:
    sides = {FunctionStatus.ONLY_LEFT: FunctionStatus.ONLY_RIGHT,
             FunctionStatus.ONLY_RIGHT: FunctionStatus.ONLY_LEFT}  # fmt: skip
    return {
        key[::-1] if isinstance(key, tuple) else sides.get(key, key): count  # type: ignore[call-overload]
        for key, count in found.items()
    }


def _all(case: bytes) -> object:
    """With itself, and with ours from either side."""
    ours = files.folder() / "ours"
    if not ours.exists():
        ours.write_bytes(_image(0))
    path = files.put(_whole(case))
    if not compare_kernels(path, path).same:
        raise WrongError("a kernel is another than itself")
    there, back = compare_kernels(ours, path), compare_kernels(path, ours)
    if _numbers(there) != _mirrored(_numbers(back)):
        raise WrongError("another difference from the other side")
    ignoring = compare_kernels(ours, path, ignore=Ignorable)
    if ignoring.changed > there.changed:
        raise WrongError("more differs where some is ignored")
    return there.totals, list(not_compared(ignoring))


def _all_of_elf(case: bytes) -> object:
    """Objects, with themselves and ours; and how each function that differs is listed."""
    ours = files.folder() / "ours.o"
    if not ours.exists():
        ours.write_bytes(_elf_files()[0])
    path = files.put(case, "case.o")
    if not compare_kernels(path, path).same:
        raise WrongError("a program is another than itself")
    found, matched = match_kernels(ours, path)
    listed = behind_functions(found, matched, 5, untold)
    return found.reported, listed, list(not_compared(found))


@cache
def _elf_files() -> Sequence[bytes]:
    return [*own.objects()[:2], own.linked()]


def _spots(data: bytes) -> Sequence[int]:
    return [*range(0, 64, 4), *range(64, 64 + 0x100, 4), *range(64 + 0x800, len(data), 8)]


DOORS = (
    Door("diff-all-elf", "objects and linked files as a whole, compared", _elf_files, within(spots),
         _all_of_elf, 15.0, weight=2.0),
    Door("diff-all", "whole kernels, compared with themselves and with another", _kernels,
         within(_spots), _all, 50.0, weight=2.0),
    Door("diff", "objects, compared with one of ours", _objects, within(spots),
         lambda case: compare(_ours(), _read(case)), 8.0),
)  # fmt: skip
