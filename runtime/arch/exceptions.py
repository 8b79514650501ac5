"""AArch64 exceptions: syndromes, vectors and the state a level is entered with.

Source: ARM DDI 0487, D1.3 (exceptions), D1.3.1.5 (vector offsets), D19.2 (ESR_ELx: EC and ISS
encodings, SPSR_ELx). Pure functions and tables; the CPU applies them.
"""

from __future__ import annotations

from dataclasses import replace
from enum import IntEnum

from relokit.codegen.base.nouns import dataclass
from relokit.codegen.facts import SPSR_DAIF


class ExceptionClass(IntEnum):
    """ESR_ELx.EC, the AArch64 values this CPU can raise."""

    UNKNOWN = 0x00
    WFX = 0x01
    FP_ACCESS = 0x07
    ILLEGAL_STATE = 0x0E
    SVC64 = 0x15
    HVC64 = 0x16
    SMC64 = 0x17
    SYSTEM_ACCESS = 0x18
    SVE_ACCESS = 0x19
    INSTRUCTION_ABORT_LOWER = 0x20
    INSTRUCTION_ABORT_SAME = 0x21
    PC_ALIGNMENT = 0x22
    DATA_ABORT_LOWER = 0x24
    DATA_ABORT_SAME = 0x25
    SP_ALIGNMENT = 0x26
    FP_EXCEPTION = 0x2C
    SERROR = 0x2F
    BREAKPOINT_LOWER = 0x30
    BREAKPOINT_SAME = 0x31
    STEP_LOWER = 0x32
    STEP_SAME = 0x33
    WATCHPOINT_LOWER = 0x34
    WATCHPOINT_SAME = 0x35
    BRK64 = 0x3C


_EC_TEXT = {
    ExceptionClass.UNKNOWN: "undefined instruction",
    ExceptionClass.WFX: "trapped WFI or WFE",
    ExceptionClass.FP_ACCESS: "trapped floating-point access",
    ExceptionClass.ILLEGAL_STATE: "illegal execution state",
    ExceptionClass.SVC64: "SVC",
    ExceptionClass.HVC64: "HVC",
    ExceptionClass.SMC64: "SMC",
    ExceptionClass.SYSTEM_ACCESS: "trapped MSR, MRS or system instruction",
    ExceptionClass.SVE_ACCESS: "trapped SVE access",
    ExceptionClass.INSTRUCTION_ABORT_LOWER: "instruction abort from a lower level",
    ExceptionClass.INSTRUCTION_ABORT_SAME: "instruction abort",
    ExceptionClass.PC_ALIGNMENT: "misaligned PC",
    ExceptionClass.DATA_ABORT_LOWER: "data abort from a lower level",
    ExceptionClass.DATA_ABORT_SAME: "data abort",
    ExceptionClass.SP_ALIGNMENT: "misaligned SP",
    ExceptionClass.FP_EXCEPTION: "floating-point exception",
    ExceptionClass.SERROR: "SError",
    ExceptionClass.BREAKPOINT_LOWER: "breakpoint from a lower level",
    ExceptionClass.BREAKPOINT_SAME: "breakpoint",
    ExceptionClass.STEP_LOWER: "software step from a lower level",
    ExceptionClass.STEP_SAME: "software step",
    ExceptionClass.WATCHPOINT_LOWER: "watchpoint from a lower level",
    ExceptionClass.WATCHPOINT_SAME: "watchpoint",
    ExceptionClass.BRK64: "BRK",
}

INSTRUCTION_ABORTS = frozenset({0x20, 0x21})
DATA_ABORTS = frozenset({0x24, 0x25})
_WITH_IMMEDIATE = frozenset({0x15, 0x16, 0x17, 0x3C})
_CALLS = frozenset({ExceptionClass.SVC64, ExceptionClass.HVC64})
_TRAPPING_EL = 2
_WITH_ADDRESS = INSTRUCTION_ABORTS | DATA_ABORTS | {0x22, 0x34, 0x35}

# DFSC and IFSC values that no table walk produces.
_STATUS_TEXT = {
    0x10: "synchronous external abort",
    0x21: "alignment fault",
    0x30: "TLB conflict abort",
    0x34: "unsupported access (lockdown)",
    0x35: "unsupported exclusive or atomic access",
}
ALIGNMENT_STATUS = 0x21
ESR_IL = 1 << 25  # a 32-bit instruction; also set where it cannot be told
WRITE_NOT_READ = 1 << 6
CACHE_MAINTENANCE = 1 << 8

# Offsets from VBAR_ELx: where the exception comes from, then its type.
_FROM = {
    0x000: "the same level using SP_EL0",
    0x200: "the same level using SP_ELx",
    0x400: "a lower level in AArch64",
    0x600: "a lower level in AArch32",
}
_KIND = {0x000: "synchronous", 0x080: "IRQ", 0x100: "FIQ", 0x180: "SError"}
VECTOR_SLOT_SIZE = 0x80
IRQ_OFFSET = 0x080

PSTATE_NZCV = 0xF << 28
PSTATE_PAN = 1 << 22
PSTATE_DAIF = SPSR_DAIF
PSTATE_SPSEL = 1


@dataclass(frozen=True, slots=True)
class ExceptionEvent:
    """One exception, as it would be taken: synchronous, or an IRQ, which has no syndrome.

    ``esr`` is the syndrome, ``far`` the faulting VA (None where the class has none),
    ``return_address`` what ELR gets, ``spsr`` the PSTATE that SPSR gets.
    """

    esr: int
    far: int | None
    source_el: int
    target_el: int
    return_address: int
    spsr: int
    is_irq: bool = False

    @property
    def exception_class(self) -> int:
        """ESR.EC."""
        return self.esr >> 26 & 0x3F

    @property
    def raised_at(self) -> int:
        """VA of the instruction that raised it: a call returns to what is behind it (ARM DDI 0487,
        D1.3.1: preferred return addresses); an SMC that EL2 traps has not been executed.
        """
        called = self.exception_class in _CALLS or (
            self.exception_class == ExceptionClass.SMC64 and self.target_el > _TRAPPING_EL
        )
        return self.return_address - 4 if called and not self.is_irq else self.return_address

    @property
    def vector_offset(self) -> int:
        """Offset from VBAR of the target level."""
        kind = IRQ_OFFSET if self.is_irq else 0
        if self.source_el < self.target_el:
            return 0x400 + kind
        return (0x200 if self.spsr & PSTATE_SPSEL else 0x000) + kind

    @property
    def status(self) -> int | None:
        """The DFSC or IFSC of an abort."""
        if self.exception_class in INSTRUCTION_ABORTS | DATA_ABORTS:
            return self.esr & 0x3F
        return None

    @property
    def is_write(self) -> bool:
        """Whether this is the data abort of a store (or of cache maintenance)."""
        return self.exception_class in DATA_ABORTS and bool(self.esr & WRITE_NOT_READ)

    @property
    def text(self) -> str:
        """``data abort at 0x1000 (write): translation fault, level 2``."""
        return "interrupt" if self.is_irq else describe_syndrome(self.esr, self.far)


def abort_syndrome(
    fault: int, *, fetch: bool, write: bool, maintenance: bool, source_el: int, target_el: int
) -> int:
    """ESR of an abort of the first stage with the fault status ``fault`` (DFSC or IFSC).

    ISV is 0: only the second stage describes the access. Cache maintenance counts as a write.
    """
    classes = (
        (ExceptionClass.INSTRUCTION_ABORT_LOWER, ExceptionClass.INSTRUCTION_ABORT_SAME)
        if fetch
        else (ExceptionClass.DATA_ABORT_LOWER, ExceptionClass.DATA_ABORT_SAME)
    )
    kind = classes[source_el == target_el]
    flags = WRITE_NOT_READ * (write or maintenance) | CACHE_MAINTENANCE * maintenance
    return kind << 26 | ESR_IL | flags | fault


def make_event(esr: int, far: int, *, pc: int, pstate: int, target_el: int) -> ExceptionEvent:
    """An event from the engine's fault state; ``pc`` is the preferred return address."""
    return ExceptionEvent(
        esr=esr,
        far=far if esr >> 26 in _WITH_ADDRESS else None,
        source_el=pstate >> 2 & 3,
        target_el=target_el,
        return_address=pc,
        spsr=pstate,
    )


def undefined_call(event: ExceptionEvent) -> ExceptionEvent:
    """What ``event``, an HVC, is instead where there is no EL2: UNDEFINED, taken to EL1.

    Source: ARM DDI 0487, C6.2 (HVC); the return address is that of the instruction itself.
    """
    return replace(
        event,
        esr=ExceptionClass.UNKNOWN << 26 | ESR_IL,
        target_el=1,
        return_address=event.return_address - 4,
    )


def make_irq(*, pc: int, pstate: int, target_el: int) -> ExceptionEvent:
    """An interrupt that comes before the instruction at ``pc``."""
    return ExceptionEvent(
        esr=0,
        far=None,
        source_el=pstate >> 2 & 3,
        target_el=target_el,
        return_address=pc,
        spsr=pstate,
        is_irq=True,
    )


def class_text(exception_class: int) -> str:
    """Name of an ESR.EC value; a reserved one gives its number."""
    if exception_class in _EC_TEXT:
        return _EC_TEXT[ExceptionClass(exception_class)]
    return f"exception class {exception_class:#x}"


def status_text(status: int) -> str:
    """Meaning of a DFSC/IFSC value: ``permission fault, level 3``."""
    # Outcomes name this module's types, and are read where nothing is walked.
    from relokit.runtime.arch.walker import fault_of

    fault = fault_of(status)
    if fault:
        return str(fault)
    return _STATUS_TEXT.get(status, f"fault status {status:#x}")


def describe_syndrome(esr: int, far: int | None) -> str:
    """An ESR value (and FAR, if it has one) in words."""
    exception_class = esr >> 26 & 0x3F
    text = class_text(exception_class)
    if exception_class in _WITH_IMMEDIATE:
        return f"{text} #{esr & 0xFFFF:#x}"
    if far is not None:
        text += f" at {far:#x}"
    if exception_class in INSTRUCTION_ABORTS:
        return f"{text}: {status_text(esr & 0x3F)}"
    if exception_class in DATA_ABORTS:
        kind = "write" if esr & WRITE_NOT_READ else "read"
        if esr & CACHE_MAINTENANCE:
            kind = "cache maintenance"
        return f"{text} ({kind}): {status_text(esr & 0x3F)}"
    return text


def slot_name(offset: int) -> str:
    """What the slot of a vector table is for that an offset below 0x800 is in."""
    return f"{_KIND[offset & 0x180]} from {_FROM[offset & 0x600]}"


def vector_text(offset: int) -> str:
    """Which slot of a vector table an offset below 0x800 is in."""
    return f"slot {offset & ~(VECTOR_SLOT_SIZE - 1):#05x} ({slot_name(offset)})"


def entry_pstate(event: ExceptionEvent, *, set_pan: bool) -> int:
    """PSTATE at the first instruction of the handler.

    DAIF masked, SP_ELx selected, AArch64, IL, SS, UAO, BTYPE clear. ``set_pan``: the CPU has
    FEAT_PAN and SCTLR of the target level has SPAN = 0 (D1.3.2).
    """
    kept = event.spsr & (PSTATE_NZCV | PSTATE_PAN)
    pan = PSTATE_PAN if set_pan else 0
    return kept | pan | PSTATE_DAIF | event.target_el << 2 | PSTATE_SPSEL


@dataclass(frozen=True, slots=True)
class Policy:
    """Which exceptions go on to the guest's handler; any other stops the run with a report.

    ``delivered`` is a set of ESR.EC values, None for all of them.
    """

    delivered: frozenset[int] | None

    def delivers(self, event: ExceptionEvent) -> bool:
        """Whether the guest's handler gets ``event``; of an interrupt, always."""
        return event.is_irq or self.delivered is None or event.exception_class in self.delivered


REPORT = Policy(frozenset({ExceptionClass.HVC64}))
"""While relocation code runs: a hypervisor call is part of it, any other exception is a bug."""

DELIVER = Policy(None)
"""While a kernel runs: it has handlers."""
