"""Why a run ended badly: a Stop, the CPU and the machine's knowledge, made into a Finding.

The probable causes are a table of (when, what), tried in order; the facts they look at are
gathered once in a Scene.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from relokit.codegen import facts
from relokit.codegen.object import SourceLine
from relokit.codegen.system_registers import decode_system
from relokit.linker.image import Image
from relokit.runtime import descriptors as d
from relokit.runtime.allocator import PageAllocator
from relokit.runtime.cpu import Cpu
from relokit.runtime.disassembly import disassemble, listing
from relokit.runtime.exceptions import (
    ALIGNMENT_STATUS,
    DATA_ABORTS,
    INSTRUCTION_ABORTS,
    VECTOR_TABLE_SIZE,
    ExceptionClass,
    vector_text,
)
from relokit.runtime.outcome import Finding
from relokit.runtime.regime import SCTLR_M, table_range
from relokit.runtime.stop import Stop, StopReason
from relokit.runtime.sysregs import describe
from relokit.runtime.walker import FaultKind, Walk, fault_of

_HVC_MASK, _HVC = 0xFFE0001F, 0xD4000002
_UPPER = 1 << 55
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
        return self.word is not None and self.word & _HVC_MASK == _HVC

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

    @property
    def is_beyond_ips(self) -> bool:
        """Whether a translated access went to a PA that TCR's output size does not allow."""
        access = self.stop.access
        if access is None or not self.mmu:
            return False
        level = max(self.stop.el, 1)
        bits = table_range(self.cpu.walk_registers(level), level, upper=False).pa_bits
        return bool(access.pa >> bits)

    @cached_property
    def owner(self) -> str:
        """Who owns the page the PC is in; empty if nobody does."""
        pa = self.cpu.walk(self.stop.pc).pa
        owner = self.guest.allocator.owner(pa) if pa is not None else None
        return owner.name if owner else ""

    @cached_property
    def linked_word(self) -> int | None:
        """The instruction that the image has where the PC is."""
        located = self.guest.locate(self.stop.pc)
        return _word_of(*located) if located else None

    @property
    def is_elsewhere(self) -> bool:
        """Whether the PC is in code that is known to be at another PA: a wrong identity map."""
        pa = self.cpu.walk(self.stop.pc).pa
        return pa is not None and not self.stop.pc & _UPPER and pa != self.stop.pc

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
        leaf = self.leaf()
        return not leaf & d.VALID and self.in_ram(leaf & d.ADDRESS)

    def leaf(self) -> int:
        """The last descriptor of the walk; 0 if there was none."""
        return self.walk.trail[-1].descriptor if self.walk and self.walk.trail else 0

    def _class_in(self, classes: frozenset[int]) -> bool:
        event = self.stop.event
        ended = self.stop.reason is StopReason.EXCEPTION
        return ended and event is not None and event.exception_class in classes


@dataclass(frozen=True, slots=True)
class Cause:
    """A probable cause: ``when`` it applies, and what to say."""

    when: Callable[[Scene], bool]
    text: str


CAUSES: tuple[Cause, ...] = (
    Cause(
        lambda s: s.is_exception(ExceptionClass.UNKNOWN) and s.is_hvc,
        "HVC is disabled here (SCR_EL3.HCE = 0 or HCR_EL2.HCD = 1): there is no EL2 to call, "
        "yet the code was told there is",
    ),
    Cause(
        lambda s: s.stub_error,
        "x0 holds HVC_STUB_ERR (0xbadca11): the EL2 vectors refused the function number, and "
        "the caller went on; either the vectors do not know it or its arguments were not set up",
    ),
    Cause(
        lambda s: s.stop.el == 0,
        "the code fell to EL0: an ERET that nobody prepared SPSR and ELR for",
    ),
    Cause(
        lambda s: s.is_exception(ExceptionClass.SVC64),
        "SVC: nobody handles system calls here; HVC #0 is the call to the EL2 stub",
    ),
    Cause(
        lambda s: s.is_exception(ExceptionClass.SMC64),
        "SMC: the firmware has no part in the move; HVC #0 is the call to the EL2 stub",
    ),
    Cause(
        lambda s: s.is_exception(ExceptionClass.BRK64),
        "BRK: the code ran into a trap that it has for the impossible (BUG, WARN)",
    ),
    Cause(
        lambda s: (
            s.vector is not None
            and s.owner.startswith("destination")
            and s.is_exception(ExceptionClass.UNKNOWN)
        ),
        "the vectors that VBAR points to lie in a destination and were overwritten by the move: "
        "they belong into a page of their own",
    ),
    Cause(
        lambda s: s.vector is not None and s.word == 0,
        "VBAR points to zeros: vectors that were never copied, were overwritten, or lie elsewhere",
    ),
    Cause(
        lambda s: s.stop.reason is StopReason.SPIN and s.vector is not None,
        "an exception reached a vector slot that has no handler and spins",
    ),
    Cause(
        lambda s: s.stop.reason is StopReason.BAD_VECTOR,
        "VBAR does not hold the address of vectors in this regime: a virtual address with the "
        "MMU off, a page that was reused, or an unaligned table",
    ),
    Cause(
        lambda s: s.fault is FaultKind.EXTERNAL_ABORT_ON_WALK,
        "a TTBR or a table descriptor points outside RAM",
    ),
    Cause(
        lambda s: s.is_fetch and not s.mmu and s.linked_word is None,
        "a branch to a virtual address with the MMU off: kimage.start and everything else that "
        "is entered from here is a physical address",
    ),
    Cause(
        lambda s: s.is_fetch and not s.mmu,
        "the MMU was turned off while the PC was a virtual address: the code that turns it off "
        "has to run from an identity map",
    ),
    Cause(
        lambda s: s.is_fetch and s.is_null and s.fault is FaultKind.TRANSLATION,
        "a branch through a pointer that nobody set (kimage.arch.kern_reloc, or a link register)",
    ),
    Cause(
        lambda s: s.is_data and s.is_null and s.fault is FaultKind.TRANSLATION,
        "an access through a register that nobody set: the code has no stack, and its list has "
        "to begin with an indirection and a destination",
    ),
    Cause(
        lambda s: (
            s.is_fetch
            and s.fault is FaultKind.TRANSLATION
            and s.linked_word is not None
            and bool(s.stop.pc & _UPPER)
        ),
        "the PC is in the old kernel's image, which is mapped no more: the copy in TTBR1 has the "
        "linear map only, so nothing of the old kernel can be called or returned to",
    ),
    Cause(
        lambda s: s.is_fetch and s.fault is FaultKind.TRANSLATION and s.in_ram(s.aborted),
        "the PC is a physical address that the identity map (TTBR0) does not cover: code runs "
        "past its one mapped page, or branches to a PA with the MMU still on",
    ),
    Cause(
        lambda s: s.is_fetch and s.fault is FaultKind.PERMISSION,
        "the page is mapped, but not executable at this level (PXN, UXN or XN, or writable "
        "with SCTLR.WXN)",
    ),
    Cause(
        lambda s: s.is_data and not s.mmu and s.fault is FaultKind.ADDRESS_SIZE,
        "a virtual address was used with the MMU off",
    ),
    Cause(
        lambda s: s.is_data and s.fault is FaultKind.TRANSLATION and s.in_ram(s.aborted),
        "a physical address was used with the MMU on: list addresses and kimage are reached "
        "through the copy of the linear map (VA = PA - phys_offset)",
    ),
    Cause(
        lambda s: (
            s.is_write
            and s.fault is FaultKind.PERMISSION
            and bool(s.leaf() & d.AP_READ_ONLY)
            and not s.leaf() & d.SOFTWARE_DIRTY
        ),
        "the page is read-only in the copy of the linear map and its software-dirty bit (55) is "
        "clear: read-only is only lifted where that bit is set, and it was lost",
    ),
    Cause(
        lambda s: s.is_write and s.fault is FaultKind.PERMISSION,
        "the page is read-only in these tables: the copy of the linear map has to lift that",
    ),
    Cause(
        lambda s: s.fault is FaultKind.TRANSLATION and s.is_dormant,
        "the entry holds an address but is invalid, as debug_pagealloc, kfence and secretmem "
        "leave it: the copy of the linear map has to make such entries valid",
    ),
    Cause(
        lambda s: s.fault is FaultKind.TRANSLATION and s.leaf() != 0 and not s.leaf() & d.VALID,
        "the entry holds something that is no descriptor: the table was overwritten, or the entry "
        "above leads to what is no table",
    ),
    Cause(
        lambda s: s.fault is FaultKind.TRANSLATION and s.walk is not None and not s.walk.trail,
        "the address is outside the VA range that TCR gives this table base (TxSZ), or the "
        "range is disabled (EPD)",
    ),
    Cause(
        lambda s: (
            s.fault is FaultKind.TRANSLATION and s.aborted is not None and bool(s.aborted & _UPPER)
        ),
        "the copy of the linear map does not cover this address",
    ),
    Cause(
        lambda s: s.fault is FaultKind.ADDRESS_SIZE or s.is_beyond_ips,
        "a table entry or TTBR holds an address beyond TCR.IPS",
    ),
    Cause(
        lambda s: s.fault is FaultKind.ACCESS_FLAG,
        "the entry's access flag (AF) is clear, and nothing here sets it",
    ),
    Cause(
        lambda s: (
            s.is_data and s.stop.event is not None and s.stop.event.status == ALIGNMENT_STATUS
        ),
        "the access is not aligned: exclusives and atomics need it always, every access does "
        "with the MMU off, on Device memory or with SCTLR.A = 1",
    ),
    Cause(
        lambda s: (
            s.is_exception(ExceptionClass.UNKNOWN)
            and s.is_elsewhere
            and s.linked_word not in (None, s.word)
        ),
        "the tables map the PC's page to another PA than its own: the identity map (TTBR0) is "
        "wrong",
    ),
    Cause(
        lambda s: s.is_exception(ExceptionClass.UNKNOWN) and s.linked_word not in (None, s.word),
        "the code was overwritten, or never copied: memory holds another instruction than its "
        "image has there",
    ),
    Cause(
        lambda s: s.is_exception(ExceptionClass.UNKNOWN) and s.owner.startswith("destination"),
        "what was moved is being executed, but not from its entry: the address that was branched "
        "to, or what was moved there, is wrong",
    ),
    Cause(
        lambda s: s.is_exception(ExceptionClass.UNKNOWN) and s.word == 0,
        "zeros are being executed: a branch into memory that was not filled, or was overwritten",
    ),
    Cause(
        lambda s: (
            s.is_exception(ExceptionClass.UNKNOWN)
            and s.word is not None
            and decode_system(s.word) is not None
        ),
        "this CPU has no such register or operation at this exception level (_EL12 names need "
        "EL2 with HCR_EL2.E2H = 1)",
    ),
    Cause(
        lambda s: s.is_exception(ExceptionClass.UNKNOWN),
        "this is no instruction of this CPU: a branch into data, or overwritten code",
    ),
    Cause(
        lambda s: s.stop.access is not None and s.stop.access.kind == "fetch",
        "a branch went to an address with neither RAM nor a device behind it: on hardware, an "
        "external abort or silence",
    ),
    Cause(
        lambda s: s.stop.access is not None,
        "nothing answers at this physical address: on hardware, an external abort or a hang",
    ),
    Cause(
        lambda s: s.stop.reason is StopReason.SPIN,
        "the code waits for ever on purpose: it reached a place it must not reach",
    ),
    Cause(
        lambda s: s.stop.reason in (StopReason.INSTRUCTION_LIMIT, StopReason.TIMEOUT),
        "the code does not come to an end: a list without its done entry, or a loop whose "
        "bound was overwritten",
    ),
    Cause(
        lambda s: s.stop.reason is StopReason.HALTED,
        "WFI, and no interrupt will ever come",
    ),
    Cause(
        lambda s: s.is_fetch and s.fault is FaultKind.TRANSLATION,
        "a branch to an address that nothing maps: a wrong target, or a register that was "
        "computed wrongly",
    ),
    Cause(
        lambda s: s.is_data and s.fault is FaultKind.TRANSLATION,
        "an address that nothing maps: a register that was computed wrongly",
    ),
    Cause(
        lambda s: s.is_data and s.fault is FaultKind.PERMISSION,
        "the page is mapped, but not for this access: LDTR and STTR need what EL0 may do",
    ),
    Cause(
        lambda s: s.is_exception(ExceptionClass.PC_ALIGNMENT),
        "a branch to an address that is no multiple of 4: a register that was computed wrongly",
    ),
    Cause(
        lambda s: s.is_exception(ExceptionClass.ILLEGAL_STATE),
        "an ERET with an SPSR that no exception could have saved",
    ),
    Cause(
        lambda s: (
            s.is_exception(ExceptionClass.FP_ACCESS) or s.is_exception(ExceptionClass.SVE_ACCESS)
        ),
        "a floating-point or vector register, which CPACR or CPTR traps: kernel code has none",
    ),
    Cause(
        lambda s: s.stop.reason is StopReason.EXCEPTION,
        "an exception that nothing here raises on purpose, and that nobody handles",
    ),
    Cause(
        lambda s: s.stop.reason is StopReason.ENGINE,
        "the engine gave up, which says little about the code",
    ),
)

_RULES: dict[StopReason, str] = {
    StopReason.REACHED: "run.early",
    StopReason.BAD_VECTOR: "exception.vector",
    StopReason.UNMAPPED: "bus.unassigned",
    StopReason.SPIN: "run.spin",
    StopReason.INSTRUCTION_LIMIT: "run.limit",
    StopReason.TIMEOUT: "run.timeout",
    StopReason.HALTED: "run.halted",
    StopReason.POWERED_OFF: "run.off",
    StopReason.ENGINE: "run.engine",
}
_EXCEPTION_RULES = {
    **dict.fromkeys(INSTRUCTION_ABORTS, "exception.instruction-abort"),
    **dict.fromkeys(DATA_ABORTS, "exception.data-abort"),
    int(ExceptionClass.UNKNOWN): "exception.undefined",
}


def diagnose(guest: Guest, cpu: Cpu, stop: Stop) -> Finding:
    """Explain a run that ended as ``stop``; ``cpu`` is still in the state it ended in."""
    scene = Scene(guest, cpu, stop)
    return Finding(
        rule=_rule(stop),
        message=_message(scene),
        address=stop.pc,
        place=place_of(guest, stop.pc),
        listing=listing(cpu.instruction_at, stop.pc, note=lambda pc: _line_text(_line(guest, pc))),
        registers=_registers(scene),
        notes=tuple(_notes(scene)),
        cause=next((cause.text for cause in CAUSES if cause.when(scene)), None),
    )


def place_of(guest: Guest, pc: int) -> str | None:
    """``symbol+0x10 (relocate.S.j2:41)`` of an address in code we know."""
    located = guest.locate(pc)
    if located is None:
        owner = guest.allocator.owner(pc)
        return f"in {owner.name}" if owner else None
    image, va = located
    symbol = image.symbol_at(va)
    name = f"{symbol[0]}+{symbol[1]:#x}" if symbol else f"{image.name}, {va:#x}"
    line = _line_text(image.line_at(va))
    return f"{name} ({line})" if line else name


def _rule(stop: Stop) -> str:
    if stop.reason is StopReason.EXCEPTION and stop.event:
        return _EXCEPTION_RULES.get(stop.event.exception_class, "exception.stray")
    return _RULES.get(stop.reason, "exception.stray")


def _message(scene: Scene) -> str:
    stop = scene.stop
    at = f"at EL{stop.el}, MMU {'on' if scene.mmu else 'off'}"
    if stop.reason is StopReason.EXCEPTION and stop.event:
        return f"{stop.event.text}, {at}"
    if stop.reason is StopReason.UNMAPPED and stop.access:
        access = stop.access
        return (
            f"{access.kind} of {access.size} bytes at PA {access.pa:#x}, which nothing owns, {at}"
        )
    if stop.reason is StopReason.SPIN and scene.vector:
        el, offset = scene.vector
        return f"spins at {stop.pc:#x}, entered by VBAR_EL{el} {vector_text(offset)}"
    if stop.reason is StopReason.SPIN:
        return f"spins at {stop.pc:#x}, {at}"
    if stop.reason in (StopReason.INSTRUCTION_LIMIT, StopReason.TIMEOUT):
        return (
            f"no end after {stop.instructions} instructions, {stop.seconds:.3g} s "
            f"({stop.reason}), {at}"
        )
    detail = f": {stop.detail}" if stop.detail else ""
    return f"{stop.reason}{detail}, {at}"


def _notes(scene: Scene) -> list[str]:
    notes = []
    stop, cpu = scene.stop, scene.cpu
    event = stop.event
    if event and stop.reason is not StopReason.EXCEPTION:
        notes.append(
            f"last exception: {event.text}, EL{event.source_el} to EL{event.target_el}, "
            f"ELR {event.return_address:#x}"
        )
        word = cpu.instruction_at(event.return_address - 4)
        if event.exception_class == ExceptionClass.HVC64 and word is not None:
            notes.append(
                f"raised by: {disassemble(word, event.return_address - 4)} at "
                f"{event.return_address - 4:#x}"
            )
    if scene.walk:
        notes += [f"page walk: {line.strip()}" for line in str(scene.walk).splitlines()]
    for name, pa in (
        ("fault address", scene.walk.pa if scene.walk else scene.aborted),
        ("accessed address", stop.access.pa if stop.access else None),
        ("code", cpu.walk(stop.pc).pa),
    ):
        owner = guest_owner(scene.guest, pa)
        if owner:
            notes.append(f"{name}: PA {pa:#x} belongs to {owner}")
    if scene.linked_word not in (None, scene.word):
        assert scene.linked_word is not None
        notes.append(f"the image has here: {disassemble(scene.linked_word, stop.pc)}")
    level = max(stop.el, 1)
    notes += [
        f"{name}_EL{level} = {describe(name, cpu.read(f'{name}_EL{level}'))}"
        for name in ("SCTLR", "TCR")
    ]
    notes.append(f"HCR_EL2 = {describe('HCR', cpu.read('HCR_EL2'))}")
    return notes


def guest_owner(guest: Guest, pa: int | None) -> str | None:
    """The name of the region that owns PA ``pa``."""
    owner = guest.allocator.owner(pa) if pa is not None else None
    return str(owner) if owner else None


def _registers(scene: Scene) -> tuple[tuple[str, int], ...]:
    cpu = scene.cpu
    level = max(scene.stop.el, 1)
    general = [(f"x{number}", value) for number, value in enumerate(cpu.registers)]
    names = [f"{name}_EL{level}" for name in ("TTBR0", "VBAR", "ESR", "ELR", "SPSR", "FAR")]
    if cpu.walk_registers(level).ttbr1:
        names.insert(1, f"TTBR1_EL{level}")
    return (
        *general,
        ("sp", cpu.sp),
        ("pc", scene.stop.pc),
        ("pstate", cpu.pstate),
        *((name, cpu.read(name)) for name in names),
    )


def _word_of(image: Image, va: int) -> int | None:
    try:
        return int.from_bytes(image.read(va, 4), "little")
    except KeyError:
        return None


def _line(guest: Guest, pc: int) -> SourceLine | None:
    located = guest.locate(pc)
    return located[0].line_at(located[1]) if located else None


def _line_text(line: SourceLine | None) -> str | None:
    return str(line) if line else None
