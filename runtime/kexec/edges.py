"""Where addresses turn over: multiples of 4 GiB, and the end of RAM; what Shape.EDGES puts there.

An instruction that takes 32 bits of an address for all of it goes unnoticed until one of them is a
multiple of 4 GiB, or a range ends at one; one that goes a step too far, until there is no more RAM.
"""

from __future__ import annotations

from relokit.codegen.base.bits import round_up
from relokit.codegen.base.errors import MachineError
from relokit.codegen.base.nouns import dataclass
from relokit.runtime.kexec.guest_ram import EDGES_RAM as SIZE
from relokit.runtime.kexec.guest_ram import GuestRam

TURN = 1 << 32
"""Addresses that are this far apart have the same low half."""


@dataclass(frozen=True, slots=True)
class Edges:
    """``pa`` is a PA in RAM that is a multiple of 4 GiB; ``begin`` and ``end`` of RAM and ``va``,
    in its middle, are PAs whose VAs in the linear map are.
    """

    begin: int
    pa: int
    va: int
    end: int

    def last_pages(self, page_size: int) -> tuple[int, ...]:
        """PAs of pages that end at an edge, the last one of RAM at the end."""
        return tuple(edge - page_size for edge in (self.pa, self.va, self.end))


def edges_of(ram: GuestRam) -> Edges:
    """Those of ``ram``; raises MachineError if it has not all of them."""
    begin = ram.base
    edges = Edges(begin, round_up(begin + 1, TURN), begin + TURN, begin + SIZE)
    if ram.banks != ((ram.memstart, SIZE),) or ram.reserved or edges.pa == edges.va:
        raise MachineError(
            f"shape edges: RAM is not {SIZE >> 30} GiB in one bank that begins at a GiB, with "
            "nothing reserved",
            hint="leave --memory, --memory-map and --dtb out: this shape chooses RAM that fits",
        )
    return edges
