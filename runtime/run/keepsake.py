"""What a move needs, kept as it was at the jump and compared with what is there later."""

from __future__ import annotations

import numpy as np

from relokit.runtime.guest.ledger import Region
from relokit.runtime.guest.memory import Words
from relokit.runtime.guest.owner import OwnerKind
from relokit.runtime.kexec.machine import Machine
from relokit.runtime.record.memory_facts import Damage

NEEDED = frozenset(
    {
        OwnerKind.KIMAGE,
        OwnerKind.LIST,
        OwnerKind.CONTROL_PAGE,
        OwnerKind.EL2_VECTORS,
        OwnerKind.LINEAR_MAP,
        OwnerKind.CONTROL_IDMAP,
        OwnerKind.ZERO_PAGE,
    }
)
"""Owners of what the move reads, translates by or executes."""


class Keepsake:
    """A copy of the pages that ``machine``'s move needs, as they are now: some 100 KiB."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        kinds = NEEDED if machine.jump is not None else frozenset({OwnerKind.KIMAGE})
        self._kept: list[tuple[Region, Words]] = [
            (region, machine.memory.u64(region.base, region.size // 8).copy())
            for region in machine.allocator.regions
            if region.owner.kind in kinds
        ]

    def damage(self) -> tuple[Damage, ...]:
        """What has changed since, region by region."""
        found = []
        for region, before in self._kept:
            now = self._machine.memory.u64(region.base, region.size // 8)
            changed = np.flatnonzero(now != before)
            if len(changed):
                at = int(changed[0])
                pa = region.base + 8 * at
                found.append(
                    Damage(
                        owner=region.owner,
                        pa=pa,
                        before=int(before[at]),
                        after=int(now[at]),
                        count=len(changed),
                        in_destination=self._is_destination(pa),
                    )
                )
        return tuple(found)

    def _is_destination(self, pa: int) -> bool:
        page = self._machine.target.page_size
        return any(
            segment.mem <= pa < segment.mem + segment.pages(page) * page
            for segment in self._machine.kimage.segments
        )
