"""A reader of cpio archives that shares nothing with what writes them."""

from __future__ import annotations

FIELDS = 13


def members(data: bytes) -> dict[str, tuple[int, bytes]]:
    """Mode and content by name, read by the format's description alone."""
    found, at = {}, 0
    while True:
        assert data[at : at + 6] == b"070701"
        assert at % 4 == 0
        words = [int(data[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(FIELDS)]
        size, length = words[6], words[11]
        name = data[at + 110 : at + 110 + length - 1].decode()
        start = (at + 110 + length + 3) & ~3
        if name == "TRAILER!!!":
            assert data[start + size :].strip(b"\0") == b""
            return found
        found[name] = words[1], data[start : start + size]
        at = (start + size + 3) & ~3
