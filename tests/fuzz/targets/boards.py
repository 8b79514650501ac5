"""Device trees."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache

from fuzz.door import Door
from fuzz.mutations import within
from relokit.codegen.target import Regime
from relokit.runtime.board import chosen, devicetree
from support.device_trees import Board

GIB = 1 << 30
CHOSEN = {
    "bootargs": b"quiet\0",
    "linux,initrd-start": struct.pack(">Q", 0x4800_0000),
    "linux,initrd-end": struct.pack(">Q", 0x4900_0000),
    "linux,usable-memory-range": struct.pack(">QQ", GIB, GIB),
    "kaslr-seed": bytes(8),
    "rng-seed": bytes(32),
}


def _trees() -> Sequence[bytes]:
    rest = {"reserved": ((GIB + (1 << 27), 1 << 20),), "reservations": ((GIB + (1 << 28), 4096),)}
    return [
        devicetree.virt_dtb(GIB, GIB),
        devicetree.virt_dtb(GIB, GIB, regime=Regime.VHE, more=((4 * GIB, GIB),)),
        Board(chosen=CHOSEN, **rest).blob(),
        Board(memory=((GIB, GIB), (3 * GIB, GIB)), no_map=True, cells=1, **rest).blob(),
    ]


@lru_cache(maxsize=16)
def _fields(data: bytes) -> Sequence[int]:
    """The header, the reservations, and the structure."""
    structure, reservations = struct.unpack_from(">8xI4xI", data)
    size = struct.unpack_from(">36xI", data)[0]
    return [*range(0, 40, 2), *range(reservations, reservations + 48, 4),
            *range(structure, structure + size, 4)]  # fmt: skip


def _tree(case: bytes) -> object:
    """As a run takes it up."""
    dtb = devicetree.check_dtb(case)
    banks = devicetree.memory_of(dtb)
    found = (devicetree.empty_memory(dtb), devicetree.reserved_of(dtb), devicetree.unmapped_of(dtb))
    devicetree.reserved_by(dtb, GIB, 4096)
    dtb = chosen.without_old(dtb, seed=1)
    if not banks:
        dtb = devicetree.with_memory(dtb, ((GIB, GIB),))
    crash = chosen.CrashMemory((GIB, 1 << 24), (GIB + (1 << 24), 4096))
    dtb = chosen.with_chosen(dtb, cmdline="quiet", initrd=(GIB, GIB + 4096), crash=crash)
    return found, devicetree.in_whole_pages(dtb, 65536)


DOORS = (Door("device-tree", "device trees", _trees, within(_fields), _tree, 0.5),)
