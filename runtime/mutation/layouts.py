"""Which moves a mutant is tried in: enough for every instruction of its routine to matter."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace

from relokit.codegen.base.host_file import HostFile
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.series import Feature
from relokit.codegen.target import MIB, WIDE, Regime, Target
from relokit.runtime.board.devicetree import virt_dtb
from relokit.runtime.guest.order import Order
from relokit.runtime.kexec.guest_ram import DEFAULT_RAM, OLD_KERNEL_ALIGN
from relokit.runtime.kexec.job import Job, KexecPath, Shape
from relokit.runtime.mutation.mutant import RoutineName

SECONDS = 10.0
"""What a mutant may take, by the host's clock, before there is no answer."""
PAGES = 4
"""Pages of the payload: as many as it takes for a first, a last and two between."""
_ALIKE = frozenset({Shape.EDGES, Shape.LOADED, Shape.OLD_KERNEL})
"""Shapes that are the same for every regime: what they are about are addresses and lists."""
HIGH = 0x8081_400D_0000
"""PA of RAM where addresses do not fit 32 bits, nor 47: a cut one must not be right by chance.
Nor does one do for CTR_EL0: by bits 19:16 of what is allocated first lines have 32 KiB and more."""
_WIDE_BANK, _WIDE_SIZE = 1 << 48, 128 * MIB
"""RAM whose addresses need more than 48 bits."""
_BELOW_WIDE = {"": 2 * PAGES, " but for the empty table": 4 * PAGES}
"""Pages of RAM below that: the new kernel's, or what is allocated first as well."""


@dataclass(frozen=True, slots=True)
class MoveLayout:
    """A move by name: in which regime, what is moved, which way, and what its list looks like.

    ``ram`` is the PA of its RAM, None for the machine's own.
    """

    name: str
    regime: Regime
    job: Job
    ram: int | None = None

    def target(self, target: Target) -> Target:
        """The same code is the old kernel's in every regime."""
        return replace(target, regime=self.regime)

    def device_tree(self) -> HostFile | None:
        """Of a machine with its RAM where the layout has it."""
        if self.ram is None:
            return None
        tree = virt_dtb(self.ram, DEFAULT_RAM, regime=self.regime)
        file = os.memfd_create("device-tree")
        os.write(file, tree)
        return HostFile(file, len(tree), f"the device tree of {self.name}")


def layouts_for(target: Target, base: Job, regimes: Iterable[Regime]) -> tuple[MoveLayout, ...]:
    """All that a target's mutants are tried in; ``base`` has templates, code and seed.

    The first ones kill most: addresses that do not fit 32 bits, where a stub waits at EL2.
    Where addresses have 52 bits there are some more that need them, but for the new kernel, which
    has to be within 48, and in one of two for what is allocated first.
    """
    job = replace(base, size=PAGES * target.page_size, timeout=SECONDS)
    resume = replace(job, path=KexecPath.HIBERNATE)
    moves: dict[str, tuple[Job, int | None]] = {
        "shuffled": (replace(job, order=Order.SHUFFLED), HIGH),
        "own-place": (replace(job, shape=Shape.OWN_PLACE), None),
        "in-place": (replace(job, path=KexecPath.IN_PLACE), HIGH),
        "hibernate": (resume, HIGH),
        "edges": (replace(job, shape=Shape.EDGES), None),
        "old-kernel": (replace(job, shape=Shape.OLD_KERNEL), None),
        "hibernate, edges": (replace(resume, shape=Shape.EDGES), None),
        "hibernate, loaded": (replace(resume, shape=Shape.LOADED), None),
    }
    order = [one for one in (Regime.NVHE, Regime.EL1, Regime.VHE) if one in set(regimes)]
    found = [
        MoveLayout(f"{name}, {regime}", regime, asked, ram)
        for name, (asked, ram) in moves.items()
        for regime in (order[:1] if asked.shape in _ALIKE else order)
    ]
    if target.pa_bits_at_run == WIDE:
        for name, asked in (("wide", moves["shuffled"][0]), ("hibernate, wide", resume)):
            for what, pages in _BELOW_WIDE.items():
                low = _WIDE_BANK - OLD_KERNEL_ALIGN, pages * target.page_size
                job = replace(asked, memory_map=(low, (_WIDE_BANK, _WIDE_SIZE)))
                found.append(MoveLayout(f"{name}{what}, {order[0]}", order[0], job))
    return tuple(found)


def fits(layout: MoveLayout, routine: RoutineName, target: Target) -> bool:
    """Whether ``routine`` is executed in ``layout`` at all."""
    return layout.job.path in _paths(routine, target)


def _paths(routine: RoutineName, target: Target) -> Iterator[KexecPath]:
    match routine:
        case RoutineName.DATA:
            yield KexecPath.NORMAL
        case RoutineName.RELOCATION:
            yield KexecPath.NORMAL
            if not target.has(Feature.SKIP_IN_PLACE):
                yield KexecPath.IN_PLACE
        case RoutineName.VECTORS:
            yield from (KexecPath.NORMAL, KexecPath.HIBERNATE)
        case RoutineName.SOFT_RESTART:
            if not target.has(Feature.MMU_ON):
                yield KexecPath.NORMAL
            yield KexecPath.IN_PLACE
        case RoutineName.HIBERNATE_EXIT:
            yield KexecPath.HIBERNATE
