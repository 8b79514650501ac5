"""The demo kernel's Image file: header, size, and the checksum it knows itself by."""

from __future__ import annotations

import struct

import pytest

from relokit.building import build_programs
from relokit.codegen.target import PAGE_SIZES, Target
from relokit.linker.kernel.kernel_file import parse_header
from relokit.runtime.kexec.programs import demo_kernel


def checksum(words: list[int]) -> int:
    """Word i times 2i + 1, summed: spelt out."""
    return sum(word * (2 * n + 1) for n, word in enumerate(words)) & (1 << 64) - 1


@pytest.mark.parametrize("page", PAGE_SIZES.values())
def test_it_is_an_image_that_knows_itself(page: int) -> None:
    programs = build_programs(Target(page_size=page))
    data = demo_kernel(programs.demo)
    header = parse_header(data, where="demo")
    assert (header.image_size, header.page_size) == (len(data), page)
    assert len(data) % page == 0
    at = programs.demo.symbol("__checksum") - programs.demo.symbol("_head")
    words = list(struct.unpack_from(f"<{at // 8}Q", data))
    assert struct.unpack_from("<Q", data, at)[0] == checksum(words) != 0
    # Two pages that change places change the sum.
    size = 4096 // 8
    swapped = [*words[:size], *words[2 * size : 3 * size], *words[size : 2 * size]]
    assert checksum(swapped + words[3 * size :]) != checksum(words)


def test_it_is_the_same_every_time() -> None:
    one, two = (demo_kernel(build_programs(Target()).demo) for _ in range(2))
    assert one == two
