"""Cpu and guest to Scene: everything there is to see where a run ended."""

from __future__ import annotations

from typing import Protocol

from relokit.linker.image import Image
from relokit.runtime.engine.cpu import Cpu
from relokit.runtime.guest.ledger import PageAllocator, Region
from relokit.runtime.guest.memory import GuestMemory
from relokit.runtime.record.scene import Scene, SeenWord, aborted_address, surroundings
from relokit.runtime.record.stop import Stop, StopReason
from relokit.runtime.run.cpu_facts import cpu_facts


class Guest(Protocol):
    """What is asked of a guest: its RAM, who owns a page, and whose code a PC is in."""

    @property
    def memory(self) -> GuestMemory:
        """Guest RAM."""

    @property
    def allocator(self) -> PageAllocator:
        """The ledger of physical pages."""

    def locate(self, pc: int) -> tuple[Image, int] | None:
        """The image and link-time VA of the code at ``pc``."""


def scene_of(guest: Guest, cpu: Cpu, stop: Stop) -> Scene:
    """What there is to see at ``stop``; ``cpu`` is still in the state it ended in."""
    event, aborted = stop.event, aborted_address(stop)
    walk = None
    if aborted is not None and event is not None:
        walk = cpu.walk(aborted, event.source_el)
    code_pa = cpu.walk(stop.at).pa
    raiser = None
    if event is not None and stop.reason is not StopReason.EXCEPTION:
        raiser = cpu.instruction_at(event.return_address - 4)
    located = guest.locate(stop.at)
    code_owner = _owner(guest, code_pa)
    return Scene(
        stop=stop,
        cpu=cpu_facts(cpu),
        walk=walk,
        code_pa=code_pa,
        words=tuple(
            SeenWord(address, cpu.instruction_at(address), _source(guest, address))
            for address in surroundings(stop.at)
        ),
        linked_word=linked_word(*located) if located else None,
        raiser=raiser,
        place=place_of(guest, stop.at),
        code_owner=code_owner,
        aborted_owner=_owner(guest, walk.pa if walk else aborted),
        access_owner=_owner(guest, stop.access.pa if stop.access else None),
        ram=guest.memory.banks,
    )


def place_of(guest: Guest, pc: int) -> str | None:
    """``symbol+0x10 (relocate.S.j2:41)`` of an address in code we know."""
    located = guest.locate(pc)
    if located is None:
        owner = guest.allocator.owner(pc)
        return f"in {owner.owner}" if owner else None
    return place_in(*located)


def place_in(image: Image, va: int) -> str:
    """The same of link-time VA ``va`` in ``image``."""
    symbol = image.symbol_at(va)
    name = f"{symbol[0]}+{symbol[1]:#x}" if symbol else f"{image.name}, {va:#x}"
    line = image.line_at(va)
    return f"{name} ({line})" if line else name


def _source(guest: Guest, pc: int) -> str | None:
    located = guest.locate(pc)
    line = located[0].line_at(located[1]) if located else None
    return str(line) if line else None


def _owner(guest: Guest, pa: int | None) -> Region | None:
    return guest.allocator.owner(pa) if pa is not None else None


def linked_word(image: Image, va: int) -> int | None:
    """The instruction that ``image`` has at ``va``."""
    try:
        return int.from_bytes(image.read(va, 4), "little")
    except KeyError:
        return None
