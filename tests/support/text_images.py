"""Kernels with text and kallsyms, built here word by word, and how two of them compare."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

from relokit.diffing.kernels.whole import FunctionChange, WholeDiff, compare_kernels

BASE = 0xFFFF_8000_0800_0000
TEXT_AT, TABLE_AT, DATA_AT = 0x1_0000, 0x8_0000, 0x4_0000
IMAGE_SIZE = 1 << 20
FILLERS = 800
TOKENS = [
    c if c.isascii() and (c.isalnum() or c in "_.") else f"token{ord(c)}"
    for c in map(chr, range(256))
]

NOP, RET, ISB, DMB = 0xD503201F, 0xD65F03C0, 0xD5033FDF, 0xD5033BBF
MOV, ADD, LDR = 0xAA0103E0, 0x8B020000, 0xF9400000
MRS_X1, MRS_X2 = 0xD5384101, 0xD5384102
"""Reads of SP_EL0."""

Item = int | tuple[str, str | int]
Body = Sequence[Item]
"""Words, or what to refer to: ("bl", name), ("b", words ahead), ("adrp" or "lo12", name)."""
Functions = Sequence[tuple[str, Body]]


def encode(item: Item, at: int, places: dict[str, int]) -> int:
    if isinstance(item, int):
        return item
    form, to = item
    if isinstance(to, int):
        return 0x14000000 | to & 0x3FFFFFF
    target = places[to]
    if form == "bl":
        return 0x94000000 | (target - at >> 2) & 0x3FFFFFF
    if form == "adrp":
        pages = (target >> 12) - (at >> 12)
        return 0x90000000 | (pages & 3) << 29 | (pages >> 2 & 0x7FFFF) << 5
    assert form == "lo12"
    return 0x91000000 | (target & 0xFFF) << 10


def image(
    functions: Functions,
    *,
    data: dict[str, int] | None = None,
    hidden: dict[str, int] | None = None,
) -> bytes:
    """An Image as kernels up to 6.1 lay out their symbols; ``data`` are offsets of more names,
    ``hidden`` of what functions may refer to and has no name in the kernel.
    """
    names: list[tuple[str, int]] = [("T_text", 0)]
    at = TEXT_AT
    starts = []
    for name, body in functions:
        starts.append(at)
        for alias in name.split("="):
            names.append((f"t{alias}", at))
        at += 4 * len(body)
    fillers = range(at, at + 4 * FILLERS, 4)
    names += [(f"tfiller_{n}", place) for n, place in enumerate(fillers)]
    names += [("Tprimary_entry", fillers.stop), ("Dend_of_text", fillers.stop + 4)]
    names += [(f"D{name}", place) for name, place in (data or {}).items()]
    names.sort(key=lambda name: name[1])
    places = {name[1:]: place for name, place in names} | (hidden or {})
    content = bytearray(IMAGE_SIZE)
    entry = 0x14000000 | (fillers.stop - 4) // 4
    struct.pack_into("<4sIQQQ24x4s", content, 0, b"MZ\0\0", entry, 0, IMAGE_SIZE, 0xA, b"ARM\x64")
    for (_, body), start in zip(functions, starts, strict=True):
        words = [encode(item, start + 4 * n, places) for n, item in enumerate(body)]
        struct.pack_into(f"<{len(words)}I", content, start, *words)
    for place in (*fillers, fillers.stop):
        struct.pack_into("<I", content, place, RET)
    packed, markers = b"", []
    for number, (name, _) in enumerate(names):
        if number % 256 == 0:
            markers.append(len(packed))
        packed += bytes([len(name)]) + name.encode()
    tokens = b"".join(token.encode() + b"\0" for token in TOKENS)
    index = [len("\0".join(TOKENS[:n])) + (n > 0) for n in range(256)]
    table = TABLE_AT
    for part in (
        struct.pack(f"<{len(names)}I", *(place for _, place in names)),
        struct.pack("<Q", BASE),
        struct.pack("<I", len(names)),
        packed,
        struct.pack(f"<{len(markers)}I", *markers),
        tokens,
        struct.pack("<256H", *index),
    ):
        content[table : table + len(part)] = part
        table += len(part) + -len(part) % 8
    return bytes(content)


def compared(
    tmp_path: Path, left: Functions, right: Functions, **options: dict[str, int]
) -> WholeDiff:
    paths = tmp_path / "left", tmp_path / "right"
    for path, side, functions in zip(paths, ("left", "right"), (left, right), strict=True):
        path.write_bytes(
            image(
                functions,
                data=options.get(f"{side}_data"),
                hidden=options.get(f"{side}_hidden"),
            )
        )
    return compare_kernels(*paths)


def only(diff: WholeDiff) -> FunctionChange:
    """The one function that differs."""
    (function,) = diff.functions
    return function
