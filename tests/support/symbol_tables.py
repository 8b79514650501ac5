"""Symbol tables of kernels, laid out as each generation of kernels lays them out."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

BASE = 0xFFFF_8000_0800_0000
IMAGE_SIZE = 4 << 20
TABLE_AT = 0x20_0000
# One token a character where names need it; the rest are words that no name here uses.
TOKENS = [chr(n) if chr(n).isalnum() or chr(n) in "_." else f"token{n}" for n in range(256)]


def up(data: bytes, align: int) -> bytes:
    return data + bytes(-len(data) % align)


@dataclass
class Synthetic:
    """A kernel's symbols and the form they are stored in."""

    generation: str = "6.1"
    count: int = 2000
    base: int = BASE
    first: int = 0
    """Offset of the lowest symbol; below the series' kernels it is not the Image's start."""
    extra: list[tuple[str, int]] = field(default_factory=list)

    def symbols(self) -> list[tuple[str, int]]:
        start = [("T_text", 0)] if self.first == 0 else []
        start += [("T_stext", self.first)]
        body = [(f"tfunction_{n}", self.first + 16 * n) for n in range(1, self.count)]
        entry = [("Tprimary_entry", self.first + 16 * self.count)]
        return sorted(start + body + entry + self.extra, key=lambda symbol: symbol[1])

    def parts(self) -> dict[str, bytes]:
        symbols = self.symbols()
        names, markers, strings, index = b"", [], b"", []
        for at, (name, _) in enumerate(symbols):
            if at % 256 == 0:
                markers.append(len(names))
            length = len(name)
            if length > 127:
                names += bytes([length & 0x7F | 0x80, length >> 7])
            else:
                names += bytes([length])
            names += name.encode()
        for token in TOKENS:
            index.append(len(strings))
            strings += token.encode() + b"\0"
        offsets = [offset - self.first for _, offset in symbols]
        return {
            "count": struct.pack("<I", len(symbols)),
            "names": names,
            "markers": struct.pack(f"<{len(markers)}I", *markers),
            "seqs": bytes(range(1, 4)) * len(symbols),
            "tokens": strings,
            "index": struct.pack("<256H", *index),
            "offsets": struct.pack(f"<{len(offsets)}I", *offsets),
            "inverted": struct.pack(f"<{len(offsets)}i", *(-1 - offset for offset in offsets)),
            "base": struct.pack("<Q", self.base + self.first),
            "zero": bytes(8),
        }

    def order(self) -> tuple[str, ...]:
        return {
            "5.10": ("offsets", "zero", "count", "names", "markers", "tokens", "index"),
            "percpu": ("inverted", "base", "count", "names", "markers", "tokens", "index"),
            "6.1": ("offsets", "base", "count", "names", "markers", "seqs", "tokens", "index"),
            "6.12": ("count", "names", "markers", "tokens", "index", "offsets", "base", "seqs"),
            "7.2": ("count", "names", "markers", "tokens", "index", "offsets", "seqs"),
        }[self.generation]

    def image(self) -> bytearray:
        align = 4 if self.generation == "7.2" else 8
        parts = self.parts()
        image = bytearray(IMAGE_SIZE)
        entry = self.first + 16 * self.count
        struct.pack_into(
            "<4sIQQQ24x4s", image, 0, b"MZ\0\0", 0x14000000 | (entry - 4) // 4, 0, IMAGE_SIZE, 0xA,
            b"ARM\x64",
        )  # fmt: skip
        at = TABLE_AT
        for name in self.order():
            data = parts[name]
            if name == "offsets" and self.generation == "7.2":
                places = [offset - at - 4 * n for n, (_, offset) in enumerate(self.symbols())]
                data = struct.pack(f"<{len(places)}i", *places)
            image[at : at + len(data)] = data
            at += len(up(data, align))
        # Tables of pointers to functions, as every kernel has.
        for n in range(1, self.count):
            pointer = self.base + self.first + 16 * n
            if self.generation == "7.2":
                struct.pack_into("<Q", image, 0x30_0000 + 8 * n, pointer)
            if self.generation == "5.10":
                # Relocations that boot applies: where, R_AARCH64_RELATIVE, what.
                place = self.base + 0x30_0000 + 8 * n
                struct.pack_into("<QQQ", image, 0x30_0000 + 24 * n, place, 0x403, pointer)
        return image


GENERATIONS = [
    Synthetic("5.10", first=0x1_0000),
    Synthetic("percpu"),
    Synthetic("6.1", first=0x1_0000),
    Synthetic("6.12"),
    Synthetic("7.2"),
]
