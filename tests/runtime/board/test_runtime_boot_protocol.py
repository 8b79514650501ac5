"""Placements against the rules, restated here in their own words; then every rule broken."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relokit.codegen.base.errors import MachineError
from relokit.linker.kernel.kernel_file import ImageHeader
from relokit.runtime.board.boot_protocol import Placement, PlacementRule, place

MIB = 1 << 20
GIB = 1 << 30
RAM = [(0x4000_0000, GIB)]


def header(image_size: int = 32 * MIB, text_offset: int = 0, flags: int = 0xA) -> ImageHeader:
    return ImageHeader(0, 0, text_offset, image_size, flags, 0)


def placed(
    *,
    ram: list[tuple[int, int]] = RAM,
    reserved: list[tuple[int, int]] = [],  # noqa: B006
    kernel: ImageHeader | None = None,
    initrd_size: int = 5 * MIB + 1,
    dtb_size: int = 5000,
    page_size: int = 4096,
    **at: int,
) -> Placement:
    return place(
        kernel or header(), 30 * MIB, initrd_size, dtb_size, ram, reserved, page_size, **at
    )


def test_as_kexec_file_places_it() -> None:
    found = placed()
    assert found.kernel.at == 0x4000_0000
    assert found.kernel.memsz == 32 * MIB
    assert found.initrd is not None
    assert found.initrd.at == 0x4000_0000 + 32 * MIB
    assert found.initrd.memsz == 5 * MIB + 4096
    assert found.dtb.at == 0x8000_0000 - 2 * MIB
    assert found.dtb.memsz == 8192
    assert [segment.name for segment in found.segments] == ["kernel", "initrd", "device tree"]


def test_without_initrd() -> None:
    found = placed(initrd_size=0)
    assert found.initrd is None
    assert [segment.name for segment in found.segments] == ["kernel", "device tree"]


def test_text_offset_is_kept_free_before_the_kernel() -> None:
    kernel = header(text_offset=0x80000)
    assert placed(kernel=kernel).kernel.at == 0x4008_0000
    # Something reserved below the Image, but above its 2 MiB base, moves it on.
    assert placed(kernel=kernel, reserved=[(0x4000_0000, 4096)]).kernel.at == 0x4028_0000


@pytest.mark.parametrize("offset", [2 * MIB, 0x108_0000])
def test_a_text_offset_beyond_2_mib_is_kept_free_too(offset: int) -> None:
    kernel = header(text_offset=offset)
    assert placed(kernel=kernel).kernel.at == 0x4000_0000 + offset
    by_hand = 0x4200_0000 + offset % (2 * MIB)
    assert placed(kernel=kernel, kernel_at=by_hand).kernel.at == by_hand
    # What is reserved below the Image, and above its base, moves it on.
    found = placed(kernel=kernel, reserved=[(0x4000_0000 + offset - 4096, 4096)])
    assert found.kernel.at == 0x4000_0000 + -(-offset // (2 * MIB)) * 2 * MIB + offset


def test_a_kernel_that_may_not_be_placed_anywhere_has_the_rest_above_it() -> None:
    """Flags bit 3 is clear: its linear map begins at its own base."""
    low, anywhere = header(flags=0b10), header(flags=0b1010)
    where = {"kernel_at": 0x6000_0000}
    for other in ({"initrd_at": 0x5000_0000}, {"dtb_at": 0x5000_0000}):
        assert placed(kernel=anywhere, **where, **other)
        with pytest.raises(MachineError, match="ABOVE_BASE"):
            placed(kernel=low, **where, **other)
    top = 0x8000_0000 - 32 * MIB
    assert placed(kernel=anywhere, kernel_at=top, initrd_size=0).dtb.at < top
    with pytest.raises(MachineError, match=r"FITS: .*device tree"):
        placed(kernel=low, kernel_at=top, initrd_size=0)


def test_a_device_tree_keeps_off_blocks_of_what_may_not_be_mapped() -> None:
    """A kernel maps the tree by blocks of 2 MiB, cacheable."""
    top = 0x8000_0000
    kept = [(top - MIB, MIB)]
    assert placed(reserved=kept).dtb.at == top - 2 * MIB
    found = place(header(), 1, 0, 5000, RAM, kept, 4096, unmapped=kept)
    assert found.dtb.at == top - 4 * MIB
    with pytest.raises(MachineError, match="DTB_MAPPED"):
        place(header(), 1, 0, 5000, RAM, kept, 4096, unmapped=kept, dtb_at=top - 2 * MIB)


def test_reserved_and_split_ram_are_kept_off() -> None:
    ram = [(0x4000_0000, 33 * MIB), (0x4210_0000, 100 * MIB)]
    found = placed(ram=ram, reserved=[(0x4000_1000, 1)])
    # Neighbouring RAM nodes are one RAM.
    assert found.kernel.at == 0x4020_0000


def test_chosen_places_are_taken_and_the_rest_keeps_off() -> None:
    found = placed(initrd_at=0x4000_0000, dtb_at=0x4060_0000)
    assert found.initrd is not None
    assert found.initrd.at == 0x4000_0000
    assert found.dtb.at == 0x4060_0000
    assert found.kernel.at == 0x4080_0000


@pytest.mark.parametrize(
    ("rule", "options"),
    [
        (PlacementRule.KERNEL_BASE, {"kernel_at": 0x4010_0000}),
        (
            PlacementRule.KERNEL_BASE,
            {"kernel_at": 0x4020_0000, "kernel": header(text_offset=0x80000)},
        ),
        (
            PlacementRule.KERNEL_48_BIT,
            {"kernel_at": (1 << 48) - 2 * MIB, "ram": [*RAM, ((1 << 48) - GIB, 2 * GIB)]},
        ),
        (PlacementRule.KERNEL_48_BIT, {"ram": [(1 << 48, GIB)]}),
        (PlacementRule.INITRD_WINDOW, {"initrd_at": 33 * GIB, "ram": [(GIB, 40 * GIB)]}),
        (
            PlacementRule.INITRD_WINDOW,
            {"kernel_at": 33 * GIB, "initrd_at": GIB, "ram": [(GIB, 40 * GIB)]},
        ),
        (PlacementRule.DTB_ALIGN, {"dtb_at": 0x4800_0004}),
        (PlacementRule.DTB_SIZE, {"dtb_size": 2 * MIB + 1}),
        (PlacementRule.DTB_SIZE, {"dtb_size": 0}),
        (PlacementRule.DTB_BLOCK, {"dtb_at": 0x481F_F000, "dtb_size": 4097}),
        (PlacementRule.PAGE_ALIGN, {"dtb_at": 0x4800_0008}),
        (PlacementRule.PAGE_ALIGN, {"initrd_at": 0x4800_1000, "page_size": 65536}),
        (PlacementRule.IN_RAM, {"kernel_at": 0x2000_0000}),
        (PlacementRule.IN_RAM, {"kernel_at": 0x8000_0000 - 2 * MIB}),
        (PlacementRule.IN_RAM, {"initrd_at": 0x8000_0000 - 4096}),
        (PlacementRule.IN_RAM, {"dtb_at": 0x8000_0000}),
        (PlacementRule.IN_RAM, {"kernel_at": -2 * MIB}),
        (PlacementRule.IN_RAM, {"initrd_at": 1 << 64}),
        (PlacementRule.NOT_RESERVED, {"kernel_at": 0x4000_0000, "reserved": [(0x41FF_FFFF, 1)]}),
        (PlacementRule.NO_OVERLAP, {"kernel_at": 0x4000_0000, "initrd_at": 0x41FF_F000}),
        (PlacementRule.NO_OVERLAP, {"kernel_at": 0x4000_0000, "dtb_at": 0x4000_0000}),
        (PlacementRule.NO_OVERLAP, {"initrd_at": 0x4800_0000, "dtb_at": 0x4840_0000}),
        (PlacementRule.FITS, {"initrd_size": 2 * GIB}),
        (PlacementRule.FITS, {"kernel": header(GIB)}),
        (PlacementRule.FITS, {"ram": []}),
        (PlacementRule.FITS, {"ram": [(0x4000_0000, 38 * MIB)]}),
        (PlacementRule.FITS, {"ram": [(0x4010_0000, 32 * MIB)]}),
    ],
)
def test_broken_rule_is_named(rule: PlacementRule, options: dict[str, object]) -> None:
    with pytest.raises(MachineError, match=rf"^{rule.name}: "):
        placed(**options)  # type: ignore[arg-type]


def test_edges_that_are_still_allowed() -> None:
    # The last byte of the device tree is the last one of its 2 MiB.
    assert placed(dtb_at=0x481F_F000, dtb_size=4096).dtb.at == 0x481F_F000
    # The last byte of the initrd is the last one of RAM, the device tree goes elsewhere.
    assert (
        placed(initrd_at=0x8000_0000 - 6 * MIB, initrd_size=6 * MIB).dtb.at < 0x8000_0000 - 6 * MIB
    )
    # The initrd ends exactly where the window does.
    ram = [(GIB, 64 * GIB)]
    assert placed(ram=ram, kernel_at=GIB, initrd_at=33 * GIB - 8 * MIB, initrd_size=8 * MIB)
    with pytest.raises(MachineError, match=r"^INITRD_WINDOW"):
        placed(ram=ram, kernel_at=GIB, initrd_at=33 * GIB - 8 * MIB + 4096, initrd_size=8 * MIB)


PAGES = st.sampled_from([4096, 16384, 65536])
RANGES = st.lists(
    st.tuples(st.integers(0, 1 << 20), st.integers(0, 1 << 18)).map(
        lambda pages: (pages[0] * 4096, pages[1] * 4096)
    ),
    max_size=6,
)


@settings(max_examples=400)
@given(
    ram=RANGES,
    reserved=RANGES,
    page_size=PAGES,
    image_size=st.integers(1, 64 * MIB),
    initrd_size=st.integers(0, 600 * MIB),
    dtb_size=st.integers(1, 2 * MIB),
    text_offset=st.sampled_from([0, 0x80000, 0x10000]),
)
def test_every_placement_keeps_every_rule(
    ram: list[tuple[int, int]],
    reserved: list[tuple[int, int]],
    page_size: int,
    image_size: int,
    initrd_size: int,
    dtb_size: int,
    text_offset: int,
) -> None:
    kernel = header(image_size, text_offset)
    try:
        found = place(kernel, image_size, initrd_size, dtb_size, ram, reserved, page_size)
    except MachineError as error:
        assert "FITS" in error.message  # noqa: PT017
        return
    assert (found.kernel.at - text_offset) % (2 * MIB) == 0
    assert found.kernel.memsz >= image_size
    assert found.dtb.at % 8 == 0
    assert found.dtb.at // (2 * MIB) == (found.dtb.at + dtb_size - 1) // (2 * MIB)
    assert (found.initrd is not None) == (initrd_size > 0)
    if found.initrd is not None:
        window = min(found.initrd.at, found.kernel.at) // GIB * GIB
        assert max(found.initrd.end, found.kernel.end) <= window + 32 * GIB
    ends = 0
    for segment in sorted(found.segments, key=lambda segment: segment.at):
        assert segment.at >= ends
        ends = segment.end
        assert segment.at % page_size == 0
        assert segment.memsz % page_size == 0
        assert segment.memsz >= segment.size
        for page in (segment.at, segment.end - 1):
            assert any(low <= page < low + size for low, size in ram)
        for low, size in reserved:
            assert size == 0 or segment.end <= low or low + size <= segment.at
