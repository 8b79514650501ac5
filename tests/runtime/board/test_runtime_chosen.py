"""/chosen as kexec fills it: nothing of the kernel that is left stays in it."""

from __future__ import annotations

import struct
from collections.abc import Mapping

import pytest

from relokit.runtime.board.chosen import (
    CORE_HEADER,
    EFI_FACTS,
    INITRD_END,
    INITRD_START,
    KHO_SCRATCH,
    KHO_TREE,
    SEEDS,
    STALE_RANGES,
    USABLE_RANGE,
    CrashMemory,
    with_chosen,
    without_old,
)
from relokit.runtime.board.fdt import parse
from support.device_trees import GIB, Board

PLACE = (GIB + 0x10000, 0x3000)
OTHER = (GIB + 0x80000, 0x1000)


def pair(base: int, size: int) -> bytes:
    return struct.pack(">QQ", base, size)


def chosen(blob: bytes) -> Mapping[str, bytes]:
    node = parse(blob).root.child("chosen")
    assert node is not None
    return node.properties


@pytest.mark.parametrize("name", STALE_RANGES)
def test_what_is_stale_goes_with_its_reservation(name: str) -> None:
    board = Board(
        chosen={name: pair(*PLACE), "bootargs": b"quiet\0"}, reservations=(OTHER, PLACE, OTHER)
    )
    left = without_old(board.blob())
    assert chosen(left) == {"bootargs": b"quiet\0"}
    assert parse(left).reservations == (OTHER, OTHER)


def test_all_of_it_at_once_and_ranges_of_several_entries() -> None:
    ranges = {name: pair(*PLACE) + pair(*OTHER) for name in (USABLE_RANGE, KHO_SCRATCH)}
    board = Board(chosen={**ranges, KHO_TREE: pair(*OTHER)}, reservations=(PLACE, OTHER))
    left = parse(without_old(board.blob()))
    assert left.reservations == ()
    assert chosen(left.blob) == {}


@pytest.mark.parametrize("value", [b"", b"123", struct.pack(">III", 1, 2, 3)])
def test_what_is_no_range_goes_too(value: bytes) -> None:
    assert chosen(without_old(Board(chosen={CORE_HEADER: value}).blob())) == {}


@pytest.mark.parametrize("page", [1, 4096, 65536])
@pytest.mark.parametrize("width", [4, 8])
def test_an_initrd_of_before(page: int, width: int) -> None:
    """Firmware may have reserved whole pages for it, and write one cell a number or two."""
    start, size = GIB, 0x12345
    ends = {INITRD_START: start, INITRD_END: start + size}
    values = {name: number.to_bytes(width, "big") for name, number in ends.items()}
    kept = (start, -(-size // page) * page)
    left = without_old(Board(chosen=values, reservations=(kept, OTHER)).blob())
    assert chosen(left) == {}
    assert parse(left).reservations == (OTHER,)


def test_what_efi_left_is_of_another_machine() -> None:
    assert chosen(without_old(Board(chosen=dict.fromkeys(EFI_FACTS, bytes(8))).blob())) == {}


def test_seeds_are_new_and_the_same_every_time() -> None:
    old = {name: bytes(range(size)) for name, size in zip(SEEDS, (8, 100), strict=True)}
    blob = Board(chosen=old).blob()
    left = chosen(without_old(blob, seed=1))
    assert {name: len(value) for name, value in left.items()} == {SEEDS[0]: 8, SEEDS[1]: 100}
    assert left == chosen(without_old(blob, seed=1))
    other = chosen(without_old(blob, seed=2))
    for name in SEEDS:
        assert len({old[name], left[name], other[name]}) == 3
    # Who had none gets none: a kernel without one is as before.
    assert chosen(without_old(Board().blob())) == {}


def test_a_tree_without_chosen_stays_as_it_is() -> None:
    blob = Board().blob()
    assert without_old(blob) == blob


@pytest.mark.parametrize("cells", [1, 2])
def test_a_crash_kernel_is_told_its_memory(cells: int) -> None:
    usable, core = (2 * GIB, GIB), (3 * GIB - 65536, 4096)
    blob = with_chosen(Board(cells=cells).blob(), crash=CrashMemory(usable, core))
    form = ">II" if cells == 1 else ">QQ"
    assert chosen(blob)[USABLE_RANGE] == struct.pack(form, *usable)
    assert chosen(blob)[CORE_HEADER] == struct.pack(form, *core)
    assert parse(blob).reservations == (core,)
    # The next kexec takes it away again.
    assert chosen(without_old(blob)) == {}
    assert parse(without_old(blob)).reservations == ()


def test_the_initrd_is_reserved_as_kexec_does() -> None:
    blob = with_chosen(Board().blob(), initrd=(GIB, GIB + 12345))
    assert parse(blob).reservations == ((GIB, 12345),)
    assert parse(without_old(blob)).reservations == ()
