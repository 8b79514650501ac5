"""Pages of RAM that are others than before, by a number for each."""

from __future__ import annotations

import os
from pathlib import Path

from relokit.codegen.base.host_file import HostFile
from relokit.runtime.capture.load_window import prints_of, seen
from relokit.runtime.snapshot.snapshot import PAGE, LoadSeen

BASE, PAGES = 0x4000_0000, 4096


def test_pages_that_change_are_told_as_extents(tmp_path: Path) -> None:
    path = tmp_path / "ram"
    with path.open("w+b") as file:
        # Most of it is a hole; two pieces that are looked at apart from each other.
        file.truncate(PAGES * PAGE)
        os.pwrite(file.fileno(), b"kernel", 3 * PAGE)
        ram = HostFile(os.dup(file.fileno()), PAGES * PAGE, "ram")
        before = prints_of(ram)
        assert [int(one) for one in before.nonzero()[0]] == [3]
        # The last word, the first of a page that was a hole, and what becomes of the last page.
        os.pwrite(file.fileno(), b"\x01", 4 * PAGE - 1)
        os.pwrite(file.fileno(), b"\x80", 4 * PAGE)
        os.pwrite(file.fileno(), b"x", PAGES * PAGE - 1)
        after = prints_of(ram)
        os.pwrite(file.fileno(), b"\0", 4 * PAGE)
        # Two words change places.
        os.pwrite(file.fileno(), b"kernel".rjust(14, b"\0"), 3 * PAGE)
        found = seen(BASE, before, after, prints_of(ram))
    assert found == LoadSeen(
        stored=((BASE + 3 * PAGE, 2 * PAGE), (BASE + (PAGES - 1) * PAGE, PAGE)),
        changed=((BASE + 3 * PAGE, 2 * PAGE),),
    )
