"""A reader of cpio archives that shares nothing with what writes them."""

from __future__ import annotations

FIELDS = 13


def members(data: bytes) -> dict[str, tuple[int, bytes]]:
    """Mode and content by name, read by the format's description alone; a node's are its numbers.

    Files of one inode would be one file with two names, and one without a link is none.
    """
    found, at, inodes = {}, 0, set[int]()
    while True:
        assert data[at : at + 6] == b"070701"
        assert at % 4 == 0
        words = [int(data[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(FIELDS)]
        size, length = words[6], words[11]
        inode, owner, links, of_device = words[0], words[2:4], words[4], words[7:9]
        assert inode not in inodes
        assert (owner, links, of_device) == ([0, 0], 1, [0, 0])
        inodes.add(inode)
        name = data[at + 110 : at + 110 + length - 1].decode("utf-8", "surrogateescape")
        start = (at + 110 + length + 3) & ~3
        if name == "TRAILER!!!":
            assert data[start + size :].strip(b"\0") == b""
            return found
        is_node = words[1] >> 12 == 0o02
        content = bytes(words[9:11]) if is_node else data[start : start + size]
        found[name] = words[1], content
        at = (start + size + 3) & ~3
