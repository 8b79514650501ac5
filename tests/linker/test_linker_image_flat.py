"""A linked Image as flat bytes, as objcopy -O binary has them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relokit.codegen.base.errors import LinkError
from relokit.codegen.object import SectionFlag, SectionType
from relokit.linker.image import MAX_FLAT, Image, PlacedSection


def section(
    pa: int,
    data: bytes,
    *,
    size: int | None = None,
    kind: SectionType = SectionType.PROGBITS,
    flags: SectionFlag = SectionFlag.ALLOC,
) -> PlacedSection:
    length = len(data) if size is None else size
    return PlacedSection(f".s{pa:x}", pa + (1 << 40), pa, length, 1, kind, flags, data)


def image(*sections: PlacedSection) -> Image:
    return Image("test", sections, (), (), 0)


def test_gaps_are_zero_and_order_is_that_of_addresses() -> None:
    assert image(section(0x108, b"def"), section(0x100, b"abc")).flat == (
        b"abc" + bytes(5) + b"def"
    )


def test_what_is_not_loaded_is_left_out() -> None:
    nothing = SectionFlag(0)
    linked = image(
        section(0x10, b"ab"),
        section(0x20, b"", size=64, kind=SectionType.NOBITS),
        section(0x0, b"comment", flags=nothing),
        section(0x1000, b""),
    )
    assert linked.flat == b"ab"


def test_nothing_loaded_is_nothing() -> None:
    assert image().flat == b""
    assert image(section(0, b"", size=8, kind=SectionType.NOBITS)).flat == b""


def test_sections_far_apart_are_refused() -> None:
    far = image(section(0, b"a"), section(MAX_FLAT, b"b"))
    with pytest.raises(LinkError, match="span 0x40000001 bytes") as caught:
        _ = far.flat
    assert caught.value.hint


@given(st.lists(st.tuples(st.integers(0, 40), st.binary(max_size=30)), max_size=8))
def test_every_byte_is_at_its_address(pieces: list[tuple[int, bytes]]) -> None:
    at, sections = 0x4000, []
    wanted: dict[int, int] = {}
    for gap, data in pieces:
        at += gap
        sections.append(section(at, data))
        wanted |= {at + n: byte for n, byte in enumerate(data)}
        at += len(data)
    flat = image(*sections).flat
    if not wanted:
        assert flat == b""
        return
    base = min(wanted)
    assert len(flat) == max(wanted) + 1 - base
    assert flat == bytes(wanted.get(base + n, 0) for n in range(len(flat)))
