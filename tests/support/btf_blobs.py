"""BTF blobs put together here after Documentation/bpf/btf.rst."""

from __future__ import annotations

import struct

KIMAGE_6_1 = {
    "head": 0,
    "entry": 8,
    "last_entry": 16,
    "start": 24,
    "control_code_page": 32,
    "nr_segments": 56,
    "segment": 64,
    "type": 0x278,
    "arch": 0x280,
}
ARCH = {
    "dtb": 0,
    "dtb_mem": 8,
    "kern_reloc": 0x10,
    "el2_vectors": 0x18,
    "ttbr0": 0x20,
    "ttbr1": 0x28,
    "zero_page": 0x30,
    "phys_offset": 0x38,
    "t0sz": 0x40,
}


class Blob:
    """Types in order, strings as they come."""

    def __init__(self) -> None:
        self.types = b""
        self.strings = b"\0"

    def name(self, text: str) -> int:
        at = len(self.strings)
        self.strings += text.encode() + b"\0"
        return at

    def plain(self, kind: int, count: int, tail: bytes, name: str = "x") -> None:
        self.types += struct.pack("<III", self.name(name), kind << 24 | count, 8) + tail

    def struct(
        self, name: str, size: int, members: dict[str, int], *, bitfields: bool = False
    ) -> None:
        info = bitfields << 31 | 4 << 24 | len(members) + 1
        self.types += struct.pack("<III", self.name(name), info, size)
        self.types += struct.pack("<III", 0, 1, 0)
        for member, offset in members.items():
            width = 1 << 24 if bitfields else 0
            self.types += struct.pack("<III", self.name(member), 1, width | offset * 8)

    def image(self, *, header: int = 24, banner: bytes = b"Linux version 6.1.0-50 (gcc)") -> bytes:
        head = struct.pack(
            "<HBBIIIII",
            0xEB9F, 1, 0, header, 0, len(self.types), len(self.types), len(self.strings),
        ).ljust(header, b"\0")  # fmt: skip
        # The magic alone, twice, is no blob.
        decoys = b"\x9f\xeb\x01\x00" + bytes(40) + b"\x9f\xeb\x01\x00" + b"\xff" * 40
        return decoys + banner + bytes(1) + head + self.types + self.strings + bytes(64)


def all_kinds() -> Blob:
    """One type of each kind, with what follows each: the walk has to step over all of them."""
    blob = Blob()
    tails = {1: 4, 2: 0, 3: 12, 7: 0, 8: 0, 9: 0, 10: 0, 11: 0, 12: 0, 14: 4, 16: 0, 17: 4, 18: 0}
    for kind, size in tails.items():
        blob.plain(kind, 0, b"\xff" * size)
    for kind, size in {5: 12, 6: 8, 13: 8, 15: 12, 19: 12}.items():
        blob.plain(kind, 3, b"\xff" * 3 * size)
    return blob


def kernel(kimage: dict[str, int], arch: dict[str, int] | None, size: int = 0x2E0) -> memoryview:
    blob = all_kinds()
    blob.struct("kimage_other", 8, {"head": 0})
    blob.struct("kimage", size, kimage, bitfields=True)
    if arch is not None:
        blob.struct("kimage_arch", 72, arch)
    return memoryview(blob.image())
