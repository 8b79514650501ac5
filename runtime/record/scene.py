"""What there is to see where a run ended: the facts a diagnosis looks at, gathered once."""

from __future__ import annotations

from functools import cached_property

from relokit.codegen import facts
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.facts import VECTOR_TABLE_SIZE
from relokit.codegen.instruction_forms import HVC
from relokit.runtime.arch import descriptors as d
from relokit.runtime.arch.exceptions import DATA_ABORTS, INSTRUCTION_ABORTS, ExceptionClass
from relokit.runtime.arch.walker import FaultKind, Walk, fault_of
from relokit.runtime.guest.ledger import Region
from relokit.runtime.record.stations import CpuFacts
from relokit.runtime.record.stop import Stop, StopReason

UPPER = 1 << 55
"""The VA bit that chooses TTBR1."""
NULL_PAGE = 4096
"""An address so near to zero, or to the poison of registers, is taken for one and an offset."""
BEFORE, AFTER = 5, 3
"""Instructions that are looked at on either side of the PC."""


def surroundings(pc: int) -> list[int]:
    """Addresses of the instruction at ``pc`` and of those around it, within 64 bits."""
    around = range(pc - 4 * BEFORE, pc + 4 * AFTER + 4, 4)
    return [address for address in around if 0 <= address < 1 << 64]


@dataclass(frozen=True, slots=True)
class SeenWord:
    """The instruction word at ``address``, None if it cannot be fetched, and its source line."""

    address: int
    word: int | None
    source: str | None


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A Stop with everything that rules and causes look at.

    ``cpu`` is its state there, ``walk`` our walk of the aborting address. ``code_pa`` is where the
    VA of the instruction that ended it leads, ``words`` are those around that; ``linked_word`` is
    what the image has there, and ``place`` how it calls that; ``raiser`` is the word before the
    last exception's return address.
    ``*_owner`` own the pages of the PC, of the aborting address and of an access that nothing
    answered. ``ram`` is RAM's first PA and its bytes.
    """

    stop: Stop
    cpu: CpuFacts
    walk: Walk | None
    code_pa: int | None
    words: tuple[SeenWord, ...]
    linked_word: int | None
    raiser: int | None
    place: str | None
    code_owner: Region | None
    aborted_owner: Region | None
    access_owner: Region | None
    ram: tuple[tuple[int, int], ...]

    @property
    def mmu(self) -> bool:
        """Whether the MMU is on at the level that stopped."""
        return self.cpu.mmu

    @cached_property
    def aborted(self) -> int | None:
        """The VA of a data or instruction abort that ended the run."""
        return aborted_address(self.stop)

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
        found = (seen.word for seen in self.words if seen.address == self.stop.at)
        return next(found, None)

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
        vbar = self.cpu.system.get(f"VBAR_EL{el}")
        if vbar is None or not 0 <= (offset := self.stop.pc - vbar) < VECTOR_TABLE_SIZE:
            return None
        return el, event.vector_offset if event and event.target_el == el else offset

    @property
    def stub_error(self) -> bool:
        """Whether the hyp-stub's refusal is still in x0."""
        return self.cpu.x[0] == facts.HVC_STUB_ERR

    def is_exception(self, exception_class: ExceptionClass) -> bool:
        """Whether an exception of this class ended the run."""
        return self._class_in(frozenset({int(exception_class)}))

    @property
    def in_destination(self) -> bool:
        """Whether the PC is in a page that the move fills."""
        return self.code_owner is not None and self.code_owner.owner.is_destination

    @property
    def is_elsewhere(self) -> bool:
        """Whether the PC is in code that is known to be at another PA: a wrong identity map."""
        pa = self.code_pa
        return pa is not None and not self.stop.at & UPPER and pa != self.stop.at

    @property
    def is_unset(self) -> bool:
        """Whether the aborting address is that of a pointer nobody set: zero or poison."""
        if self.aborted is None:
            return False
        return self.aborted < NULL_PAGE or abs(self.aborted - facts.POISON) < NULL_PAGE

    @property
    def is_never_cleaned(self) -> bool:
        """Whether the instruction, or the aborting address, is what memory has of no line."""
        never = facts.NEVER_CLEANED
        near = self.aborted is not None and abs(self.aborted - never) < NULL_PAGE
        return near or self.word == never & 0xFFFF_FFFF

    def in_ram(self, address: int | None) -> bool:
        """Whether ``address``, taken as a PA, is RAM."""
        return address is not None and any(base <= address < base + size for base, size in self.ram)

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


def aborted_address(stop: Stop) -> int | None:
    """The VA of the data or instruction abort that ``stop`` is; None if it is none."""
    event = stop.event
    ended = stop.reason is StopReason.EXCEPTION
    return event.far if ended and event and event.status is not None else None
