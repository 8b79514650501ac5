"""What there is to see where a run ended: the facts a diagnosis looks at, gathered once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from relokit.codegen import facts
from relokit.codegen.facts import VECTOR_TABLE_SIZE
from relokit.codegen.instruction_forms import HVC
from relokit.linker.image import Image
from relokit.runtime.arch import descriptors as d
from relokit.runtime.arch.exceptions import DATA_ABORTS, INSTRUCTION_ABORTS, ExceptionClass
from relokit.runtime.arch.translation import SCTLR_M
from relokit.runtime.arch.walker import FaultKind, Walk, fault_of
from relokit.runtime.engine.cpu import Cpu
from relokit.runtime.engine.stop import Stop, StopReason
from relokit.runtime.guest.ledger import PageAllocator

UPPER = 1 << 55
"""The VA bit that chooses TTBR1."""
NULL_PAGE = 4096
"""An address below this is taken for a null pointer and an offset."""


class Guest(Protocol):
    """What a diagnosis asks of the machine: whose code a PC is in, and who owns a page."""

    @property
    def allocator(self) -> PageAllocator:
        """The ledger of physical pages."""

    def locate(self, pc: int) -> tuple[Image, int] | None:
        """The image and link-time VA of the code at ``pc``."""


@dataclass(frozen=True)
class Scene:
    """A Stop with everything the rules look at."""

    guest: Guest
    cpu: Cpu
    stop: Stop

    @cached_property
    def mmu(self) -> bool:
        """Whether the MMU is on at the level that stopped."""
        return bool(self.cpu.read(f"SCTLR_EL{max(self.stop.el, 1)}") & SCTLR_M)

    @cached_property
    def aborted(self) -> int | None:
        """The VA of a data or instruction abort that ended the run."""
        event = self.stop.event
        ended = self.stop.reason is StopReason.EXCEPTION
        return event.far if ended and event and event.status is not None else None

    @cached_property
    def walk(self) -> Walk | None:
        """Our walk of the aborting address."""
        if self.aborted is None or self.stop.event is None:
            return None
        return self.cpu.walk(self.aborted, self.stop.event.source_el)

    @cached_property
    def fault(self) -> FaultKind | None:
        """The kind of the abort's fault, if a walk produced it."""
        event = self.stop.event
        if self.aborted is None or event is None or event.status is None:
            return None
        fault = fault_of(event.status)
        return fault.kind if fault else None

    @property
    def is_fetch(self) -> bool:
        """Whether an instruction fetch ended the run."""
        return self._class_in(INSTRUCTION_ABORTS)

    @property
    def is_data(self) -> bool:
        """Whether a load or store ended the run with an abort."""
        return self._class_in(DATA_ABORTS)

    @property
    def is_write(self) -> bool:
        """Whether that was a store."""
        return self.is_data and self.stop.event is not None and self.stop.event.is_write

    @cached_property
    def word(self) -> int | None:
        """The instruction at the stop."""
        return self.cpu.instruction_at(self.stop.pc)

    @property
    def is_hvc(self) -> bool:
        """Whether the instruction at the stop is an HVC."""
        return self.word is not None and HVC.holds(self.word)

    @cached_property
    def vector(self) -> tuple[int, int] | None:
        """(level, offset) of the vector slot that brought the PC into the vector table.

        A handler may spin in the padding of another slot: the exception says which was entered.
        """
        el, event = self.stop.el, self.stop.event
        if el not in (1, 2):
            return None
        offset = self.stop.pc - self.cpu.read(f"VBAR_EL{el}")
        if not 0 <= offset < VECTOR_TABLE_SIZE:
            return None
        return el, event.vector_offset if event and event.target_el == el else offset

    @property
    def stub_error(self) -> bool:
        """Whether the hyp-stub's refusal is still in x0."""
        return self.cpu.x(0) == facts.HVC_STUB_ERR

    def is_exception(self, exception_class: ExceptionClass) -> bool:
        """Whether an exception of this class ended the run."""
        return self._class_in(frozenset({int(exception_class)}))

    @cached_property
    def in_destination(self) -> bool:
        """Whether the PC is in a page that the move fills."""
        pa = self.cpu.walk(self.stop.pc).pa
        owner = self.guest.allocator.owner(pa) if pa is not None else None
        return owner is not None and owner.owner.is_destination

    @cached_property
    def linked_word(self) -> int | None:
        """The instruction that the image has where the PC is."""
        located = self.guest.locate(self.stop.pc)
        return _word_of(*located) if located else None

    @property
    def is_elsewhere(self) -> bool:
        """Whether the PC is in code that is known to be at another PA: a wrong identity map."""
        pa = self.cpu.walk(self.stop.pc).pa
        return pa is not None and not self.stop.pc & UPPER and pa != self.stop.pc

    @property
    def is_null(self) -> bool:
        """Whether the aborting address is that of a pointer nobody set."""
        return self.aborted is not None and self.aborted < NULL_PAGE

    def in_ram(self, address: int | None) -> bool:
        """Whether ``address``, taken as a PA, is RAM."""
        return address is not None and self.cpu.memory.contains(address)

    @property
    def is_dormant(self) -> bool:
        """Whether the last descriptor of the walk would map RAM if it were valid."""
        if not self.walk or not self.walk.trail:
            return False
        leaf = self.walk.trail[-1]
        return not leaf.descriptor & d.VALID and self.in_ram(leaf.leads_to)

    def leaf(self) -> int:
        """The last descriptor of the walk; 0 if there was none."""
        return self.walk.trail[-1].descriptor if self.walk and self.walk.trail else 0

    def _class_in(self, classes: frozenset[int]) -> bool:
        event = self.stop.event
        ended = self.stop.reason is StopReason.EXCEPTION
        return ended and event is not None and event.exception_class in classes


def guest_owner(guest: Guest, pa: int | None) -> str | None:
    """The region that owns PA ``pa``, in words."""
    owner = guest.allocator.owner(pa) if pa is not None else None
    return str(owner) if owner else None


def _word_of(image: Image, va: int) -> int | None:
    try:
        return int.from_bytes(image.read(va, 4), "little")
    except KeyError:
        return None
