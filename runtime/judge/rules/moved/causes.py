"""Probable causes of a bad end, as a table of (when, what), tried in order."""

from __future__ import annotations

from collections.abc import Callable

from relokit.codegen.base.nouns import dataclass
from relokit.codegen.system_registers import decode_system
from relokit.runtime.arch import descriptors as d
from relokit.runtime.arch.exceptions import (
    ALIGNMENT_STATUS,
    ExceptionClass,
)
from relokit.runtime.arch.walker import FaultKind
from relokit.runtime.record.scene import UPPER, Scene
from relokit.runtime.record.stop import StopReason

_UNMAPPED = frozenset({FaultKind.TRANSLATION, FaultKind.ADDRESS_SIZE})


@dataclass(frozen=True, slots=True)
class Cause:
    """A probable cause: ``when`` it applies, and what to say."""

    when: Callable[[Scene], bool]
    text: str


CAUSES: tuple[Cause, ...] = (
    Cause(
        lambda s: s.is_never_cleaned,
        "no cache was cleaned to this memory, and caches have no part in the access (--effects): "
        "the rules on caches say where that should have been done",
    ),
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
            s.vector is not None and s.in_destination and s.is_exception(ExceptionClass.UNKNOWN)
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
        lambda s: s.is_fetch and s.is_unset and s.fault is FaultKind.TRANSLATION,
        "a branch through a pointer that nobody set (kimage.arch.kern_reloc, or a link register)",
    ),
    Cause(
        lambda s: s.is_data and s.is_unset and s.fault in _UNMAPPED,
        "an access through a register that nobody set: the code has no stack, and its list has "
        "to begin with an indirection and a destination",
    ),
    Cause(
        lambda s: (
            s.is_fetch
            and s.fault is FaultKind.TRANSLATION
            and s.linked_word is not None
            and bool(s.stop.at & UPPER)
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
            s.fault is FaultKind.TRANSLATION and s.aborted is not None and bool(s.aborted & UPPER)
        ),
        "the copy of the linear map does not cover this address",
    ),
    Cause(
        lambda s: s.fault is FaultKind.ADDRESS_SIZE,
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
        lambda s: s.is_exception(ExceptionClass.UNKNOWN) and s.in_destination,
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
        lambda s: s.stop.reason is StopReason.HALTED,
        "WFI, and no interrupt will ever come",
    ),
    Cause(
        lambda s: (
            s.stop.reason
            in (StopReason.POWERED_OFF, StopReason.STORM, StopReason.PRINTED, StopReason.PANICKED)
        ),
        "firmware was asked to turn the machine off or to reset it: nothing of a move does that",
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
