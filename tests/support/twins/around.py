"""What goes on beside the CPU that leaves: devices and other CPUs, beside segments or in them."""

from __future__ import annotations

from dataclasses import replace

from relokit.runtime.guest.around import Around, DeviceTable, HeldMemory, OtherCpu
from relokit.runtime.record.record import Record
from support import records as r
from support.twins.twins import Twins

SEGMENT = r.GOOD.segments[0]
FREE = max(one.base + one.size for one in r.GOOD.segments)
"""The first PA behind all segments."""


def _table(base: int, size: int) -> Record:
    table = DeviceTable("GICR_PROPBASER", base | 0x78F, base, size)
    return replace(r.GOOD, around=Around((table,), (), 0))


def _cpu(at: int) -> Record:
    return replace(r.GOOD, around=Around((), (OtherCpu(1, at),), 1))


def _held(part: str, base: int) -> Record:
    around = Around(
        (), (), 0, **{part: (HeldMemory("UEFI's memory (runtime data)", base, 0x1000),)}
    )
    return replace(r.GOOD, around=around)


AROUND: dict[str, Twins] = {
    # With its last byte, and right before.
    "around.tables": Twins(
        _table(SEGMENT.base - 0xFFF, 0x1000), _table(SEGMENT.base - 0x1000, 0x1000)
    ),
    "around.cpus": Twins(_cpu(FREE - 4), _cpu(FREE)),
    "around.prepared": Twins(
        _held("prepared", FREE), replace(r.GOOD, around=Around((), (), 0, prepared=()))
    ),
    "around.reserved": Twins(_held("reserved", FREE - 1), _held("reserved", FREE)),
    "around.firmware": Twins(_held("firmware", FREE - 1), _held("firmware", FREE)),
}
