"""Symbols of shipped kernels against another reader of kallsyms, every one of them.

Debian ships no System.map with these kernels (the file in the package says to look elsewhere).
vmlinux-to-elf's reader knows nothing of ours. It takes seconds, and on 7.x it does not find the
link address: addresses are compared from _stext on.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from relokit.linker.kernel.kallsyms import read_kallsyms
from relokit.linker.kernel.kernel_file import open_kernel

pytestmark = pytest.mark.oracle

KNOWS_BASE = ("kernel_5_10", "kernel_6_1", "kernel_6_12")


def others(path: Path) -> list[tuple[int, str, str]]:
    """(address, type, name) as the other reader has them."""
    finder = Path(sys.executable).with_name("kallsyms-finder")
    done = subprocess.run([finder, path], capture_output=True, text=True, timeout=120, check=True)
    found = []
    for line in done.stdout.splitlines():
        address, letter, name = line.split(maxsplit=2)
        found.append((int(address, 16), letter, name))
    return found


@pytest.mark.parametrize("name", [*KNOWS_BASE, "kernel_7"])
def test_every_symbol_is_what_another_reader_says(
    name: str, request: pytest.FixtureRequest
) -> None:
    path = request.getfixturevalue(name)
    theirs = others(path)
    ours = read_kallsyms(open_kernel(path).image)
    base = next(address for address, _, symbol in theirs if symbol == "_stext")
    if name in KNOWS_BASE:
        assert base == ours.link_base + ours.offset("_stext")
    assert len(theirs) > 30_000
    assert Counter((address - base, symbol) for address, _, symbol in theirs) == Counter(
        zip((at - ours.offset("_stext") for at in ours.offsets), ours.names, strict=True)
    )
