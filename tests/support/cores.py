"""ELF vmcores, put together here."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from relokit.runtime.snapshot.snapshot import GENERAL

BASE, PAGE = 0x4000_0000, 4096
INFO = b"OSRELEASE=6.1\nSYMBOL(_stext)=ffff800008010000\nNUMBER(TCR_EL1_T1SZ)=0x19\n"
VALUES = range(100, 100 + len(GENERAL))


def note(name: bytes, kind: int, data: bytes) -> bytes:
    """A note of the gABI."""
    padded = [one + bytes(-len(one) % 4) for one in (name + b"\0", data)]
    return struct.pack("<III", len(name) + 1, len(data), kind) + b"".join(padded)


def status(values: Sequence[int] = VALUES) -> bytes:
    """An NT_PRSTATUS of arm64."""
    return note(b"CORE", 1, bytes(112) + struct.pack("<34Q", *values) + bytes(8))


Load = tuple[int, bytes]


def core(
    notes: bytes, loads: Sequence[Load], *, kind: int = 4, machine: int = 183, more: int = 0
) -> bytes:
    """An ELF core of these; ``more`` bytes of each load are not in the file."""
    count = len(loads) + 1
    at = 64 + 56 * count
    headers = struct.pack("<IIQQQQQQ", 4, 0, at, 0, 0, len(notes), len(notes), 0)
    at += len(notes)
    for base, data in loads:
        size = len(data)
        headers += struct.pack("<IIQQQQQQ", 1, 7, at, 0, base, size, size + more, 0)
        at += size
    ident = b"\x7fELF\2\1\1" + bytes(9)
    head = struct.pack("<16sHHIQQQIHHHHHH", ident, kind, machine, 1, 0, 64, 0, 0, 64, 56, count,
                       0, 0, 0)  # fmt: skip
    return head + headers + notes + b"".join(data for _, data in loads)


TWO = ((BASE + 2 * PAGE, b"c" * PAGE), (BASE, b"a" * PAGE + b"b" * PAGE))
GOOD = core(status() + note(b"VMCOREINFO", 0, INFO) + status(range(34)), TWO)
