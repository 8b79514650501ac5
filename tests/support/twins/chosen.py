"""Twins of the rules on /chosen."""

from __future__ import annotations

from dataclasses import replace

from relokit.runtime.guest.payload import PayloadKind
from relokit.runtime.record.given import Given
from relokit.runtime.record.prehistory import Prehistory, merged
from relokit.runtime.record.record import Record, SegmentPlace
from support import records as r
from support.twins.twins import Twins

CRASH = (r.KERNEL, 0x1000_0000)
CORE = (r.KERNEL + 0xFF0_0000, 0x1000)
INITRD = (r.KERNEL + 0x10_0000, 0x3000)
SCRATCH = ((r.KERNEL, 0x10_0000), (r.DTB, 0x1000))


def loaded(record: Record, kind: PayloadKind, extent: tuple[int, int]) -> Record:
    """``record`` with one segment more, of whole pages, which was cleaned before."""
    base, size = extent
    place = SegmentPlace(kind.value, kind, base, -(-size // 4096) * 4096)
    assert isinstance(record.prehistory, Prehistory)
    clean = merged((*record.prehistory.clean, (base, base + place.size)))
    cleaned = replace(record.prehistory, clean=clean)
    return replace(record, segments=(*record.segments, place), prehistory=cleaned)


def crash(**tree: object) -> Record:
    """A crash kernel that is told all it has to be, but for ``tree``."""
    told = {"usable": (CRASH,), "core_header": CORE, "reserved": (CORE,)} | tree
    given = Given(r.IMAGE, replace(r.TREE, **told), CRASH)  # type: ignore[arg-type]
    return loaded(replace(r.GOOD, given=given), PayloadKind.CORE_HEADER, CORE)


def with_initrd(**tree: object) -> Record:
    return loaded(r.tree(**tree), PayloadKind.INITRD, INITRD)


def kho(**tree: object) -> Record:
    told = {
        "kho_tree": (r.KERNEL + 0x80_0000, 0x1000),
        "kho_scratch": (r.KERNEL + 0x90_0000, 32),
        "scratch": SCRATCH,
    }
    return r.tree(**told | tree)


CHOSEN: dict[str, Twins] = {
    "chosen.memory": Twins(r.tree(usable=(CRASH,)), crash()),
    "chosen.core-header": Twins(r.tree(core_header=CORE), crash()),
    "chosen.core-reserved": Twins(crash(reserved=()), crash()),
    "chosen.initrd": Twins(r.tree(initrd=INITRD), with_initrd(initrd=INITRD)),
    "chosen.seeds": Twins(
        r.tree(seeds=("kaslr-seed",), spent_seeds=("kaslr-seed",)), r.tree(seeds=("kaslr-seed",))
    ),
    "chosen.kho": Twins(kho(scratch=SCRATCH[1:]), kho()),
}
