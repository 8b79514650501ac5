"""What is promised to what is entered after the move: a purgatory, and the new kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from relokit.codegen import facts
from relokit.codegen.target import Regime
from relokit.runtime.arch.translation import SCTLR_EE, SCTLR_M, SCTLR_NMI
from relokit.runtime.guest.owner import OwnerKind
from relokit.runtime.judge.rules.handover.provenance import (
    Whence,
    called_with,
    leaving,
    located,
    mask_writer,
    origin,
    system_writer,
)
from relokit.runtime.judge.rules.rule import Broken, Check, Rule
from relokit.runtime.judge.rules.severity import Severity
from relokit.runtime.record.known import Unknown, UnknownFactError, known
from relokit.runtime.record.record import Record
from relokit.runtime.record.stations import CpuFacts, Promise, StationRole

ALL_MASKED = 0b1111
IMAGE_BIG_ENDIAN = 1
"""Bit 0 of an Image's flags (booting.rst)."""
_ALLINT = 1 << 13
"""Of PSTATE, as SPSR has it."""
BOOTING = "Documentation/arch/arm64/booting.rst"

Wrong = Callable[[Record, Promise, CpuFacts], str | None]
"""What is wrong with a CPU that has entered something, or None."""
Where = Callable[[Record, int], Whence | None]
"""The instruction at which that is told, for a station by its number."""


def enters_a_kernel(record: Record) -> str | None:
    """Why no kernel is booted."""
    for promise in record.promises:
        if promise.role is StationRole.RESUMED:
            return "a kernel is resumed, none is booted"
    return None


def _stub_was_called(record: Record) -> str | None:
    if record.regime in (Regime.EL1, Regime.VHE):
        return "no stub waits at EL2 in this regime"
    return enters_a_kernel(record)


def _at_each(broken: Wrong, where: Where) -> Check:
    """A check of everything that is entered, as far as the record goes, told at ``where``."""

    def check(record: Record) -> Iterator[Broken]:
        for number, promise, cpu in record.stations():
            message = broken(record, promise, cpu)
            if message:
                yield _told(record, message, number, where)
        if not record.complete:
            raise UnknownFactError("the new kernel was never entered")

    return check


def _told(record: Record, message: str, number: int, where: Where) -> Broken:
    if isinstance(record.trace, Unknown):
        return Broken(message, address=record.reached[number].pc, station=number)
    return located(record, message, number, where(record, number) or leaving(record, number))


def _left(record: Record, station: int) -> Whence | None:
    """At the instruction by which the code was left."""
    return None


def _set_in(register: int) -> Where:
    def where(record: Record, station: int) -> Whence | None:
        return origin(record, station, register)

    return where


def _sctlr_written(record: Record, station: int) -> Whence | None:
    return system_writer(record, f"SCTLR_EL{_moving_level(record)}")


def _masks_written(record: Record, station: int) -> Whence | None:
    return mask_writer(record)


def _zero(number: int) -> Wrong:
    def broken(record: Record, promise: Promise, cpu: CpuFacts) -> str | None:
        value = cpu.x[number]
        return f"x{number} = {value:#x}, and it is reserved: 0" if value else None

    return broken


def _entry(record: Record, promise: Promise, cpu: CpuFacts) -> str | None:
    wanted = known(promise.pc)
    if cpu.pc == wanted:
        return None
    return f"the {promise.role.value} is entered at {cpu.pc:#x} instead of {wanted:#x}"


def _dtb(record: Record, promise: Promise, cpu: CpuFacts) -> str | None:
    if promise.x0 is None:
        return None
    wanted, x0 = known(promise.x0), cpu.x[0]
    if x0 == wanted:
        return None
    if wanted == 0:
        return f"x0 = {x0:#x}, and the {promise.role.value} is promised 0"
    return f"x0 = {x0:#x}, but the device tree is at {wanted:#x}"


def _mmu(record: Record, promise: Promise, cpu: CpuFacts) -> str | None:
    if cpu.mmu == known(promise.mmu):
        return None
    return f"the MMU is {'on' if cpu.mmu else 'off'} (SCTLR_EL{cpu.level} = {cpu.sctlr:#x})"


def _byte_order(record: Record, promise: Promise, cpu: CpuFacts) -> str | None:
    given = known(record.given)
    image = given.image if given and promise.role is StationRole.KERNEL else None
    wanted, held = bool(image and image.flags & IMAGE_BIG_ENDIAN), bool(cpu.sctlr & SCTLR_EE)
    if held == wanted:
        return None
    orders = "little-endian", "big-endian"
    return (
        f"SCTLR_EL{cpu.level} = {cpu.sctlr:#x} has data {orders[held]}, and the "
        f"{promise.role.value} is {orders[wanted]}"
    )


def _daif(record: Record, promise: Promise, cpu: CpuFacts) -> str | None:
    if cpu.daif == ALL_MASKED:
        return None
    return f"PSTATE.DAIF = {cpu.daif:04b}: D, A, I and F must be masked"


def _nmi(record: Record, promise: Promise, cpu: CpuFacts) -> str | None:
    if not cpu.sctlr & SCTLR_NMI or cpu.pstate & _ALLINT:
        return None
    return f"SCTLR_EL{cpu.level} = {cpu.sctlr:#x} has NMI set, and PSTATE.ALLINT is 0"


def _daif_before(record: Record, promise: Promise, cpu: CpuFacts) -> str | None:
    """The exception to EL2 masked everything; SPSR tells what it was when the HVC came."""
    if known(record.regime) is not Regime.NVHE or cpu.el != 2:
        return None
    daif = known(cpu.register("SPSR_EL2")) >> 6 & ALL_MASKED
    if daif == ALL_MASKED:
        return None
    return f"PSTATE.DAIF was {daif:04b} at the HVC to EL2: an interrupt would have had no vector"


def _level(record: Record, promise: Promise, cpu: CpuFacts) -> str | None:
    wanted = known(promise.el)
    if cpu.el == wanted:
        return None
    return f"the {promise.role.value} is entered at EL{cpu.el} instead of EL{wanted}"


def _moving_level(record: Record) -> int:
    """The level that had the MMU on during the move."""
    return 2 if known(record.regime) is Regime.VHE else 1


def _sctlr(record: Record, promise: Promise, cpu: CpuFacts) -> str | None:
    """The level that had the MMU on must be left with the fixed value."""
    name = f"SCTLR_EL{_moving_level(record)}"
    value = known(cpu.register(name))
    if value == facts.SCTLR_EL1_MMU_OFF:
        return None
    return f"{name} = {value:#x} instead of {facts.SCTLR_EL1_MMU_OFF:#x}"


def _why_sctlr(record: Record) -> str:
    value = known(record.reached[-1].register(f"SCTLR_EL{_moving_level(record)}"))
    if value & SCTLR_M:
        return "the MMU of the level that relocated was never turned off"
    return "the fixed value has to be written whole: nothing of the old kernel's SCTLR may stay"


def _why_level(record: Record) -> str:
    """Why EL2 was not reached, or was left."""
    if record.regime is not Regime.NVHE:
        return "there is no stub to call in this regime: the relocation code ends with a branch"
    prepared, came_back = record.prepared, record.reached[-1].register("ELR_EL2")
    if record.stub_by_kimage is True and prepared and not isinstance(prepared, Unknown):
        vectors, code = prepared.word("el2_vectors"), prepared.copy(OwnerKind.CONTROL_PAGE)
        if vectors is not None and vectors.held == 0:
            return "kimage el2_vectors is 0, so the code takes it that no stub waits at EL2"
        if code and isinstance(came_back, int) and 0 <= came_back - 4 - code.base < code.size:
            return (
                f"the HVC at {came_back - 4:#x} came back: its function number in x0 was not "
                f"HVC_SOFT_RESTART ({facts.HVC_SOFT_RESTART}), or the vectors do not know that; "
                "the code fell through to the branch"
            )
    return "no HVC was made on the way out"


def _stub_error(record: Record, promise: Promise, cpu: CpuFacts) -> str | None:
    """HVC that failed leaves HVC_STUB_ERR behind (regression: error ignored)."""
    if cpu.x[0] == facts.HVC_STUB_ERR:
        return f"x0 = {facts.HVC_STUB_ERR:#x}: the EL2 stub refused the call before"
    return None


_DAIF_CAUSE = "DAIF was not masked before the jump, or unmasked since"

HANDOFF = (
    Rule(
        "handoff.entry",
        "what is entered is entered at its first instruction",
        BOOTING,
        Severity.ERROR,
        enters_a_kernel,
        _at_each(_entry, _left),
        "kimage.start, or the branch that uses it",
        consequence="The first word of an Image branches over its header. Entered elsewhere, "
        "header or data is executed, or a kernel that has skipped its first steps.",
        hint="branch to kimage.start as it is: a PA, with nothing added and the MMU off",
    ),
    Rule(
        "handoff.stub-error",
        "the EL2 stub has refused no call",
        "arch/arm64/include/asm/virt.h: HVC_STUB_ERR",
        Severity.ERROR,
        enters_a_kernel,
        _at_each(_stub_error, _left),
        "an HVC without its arguments, or vectors that do not know the call",
        consequence="The stub answers an unknown number with 0xbadca11 in x0 and returns. Code "
        "that goes on hands that over as the device tree, at EL1 with EL2 left behind.",
        hint="x0 = 1 (HVC_SOFT_RESTART), x1 the entry, x2 to x4 what becomes x0 to x2; then hvc #0",
    ),
    Rule(
        "handoff.el",
        "the new kernel is entered at the level at which the old one was: EL2 where there is one",
        BOOTING,
        Severity.ERROR,
        enters_a_kernel,
        _at_each(_level, called_with),
        _why_level,
        consequence="A kernel entered at EL1 has no KVM, and finds the old kernel's vectors in "
        "VBAR_EL2, whose memory it reuses: the first HVC runs whatever lies there.",
        hint="without VHE leave by HVC_SOFT_RESTART: the stub branches at EL2 and never returns",
    ),
    Rule(
        "handoff.mmu",
        "the MMU is off at the level that is entered",
        BOOTING,
        Severity.ERROR,
        enters_a_kernel,
        _at_each(_mmu, _sctlr_written),
        "SCTLR was not written, or at another exception level",
        consequence="The first instructions run by the old kernel's tables, which the new one "
        "overwrites: it hangs at the first page that is not mapped, or is mapped elsewhere.",
        hint="from an identity map: isb; msr sctlr_elx with M = 0; isb; only then branch",
    ),
    Rule(
        "handoff.byte-order",
        "data is of the byte order of what is entered, as the flags of an Image have it",
        BOOTING,
        Severity.ERROR,
        enters_a_kernel,
        _at_each(_byte_order, _sctlr_written),
        "bit 25 of SCTLR, EE",
        consequence="What is entered reads each word of its data the wrong way round, and so it "
        "stores x0, until it writes SCTLR; a purgatory never does.",
        hint="EE as the flags of the Image have it: 0 for little-endian",
    ),
    Rule(
        "handoff.sctlr",
        "the level that had the MMU on during the move is left with the fixed SCTLR value",
        "series, patch 12: INIT_SCTLR_EL1_MMU_OFF; booting.rst names no bit but M",
        Severity.WARNING,
        enters_a_kernel,
        _at_each(_sctlr, _sctlr_written),
        _why_sctlr,
        consequence="Linux writes SCTLR itself before it relies on any bit, so it boots. What "
        "stays of the old value is in force until then: alignment checks, WXN, endianness.",
        hint="write INIT_SCTLR_EL1_MMU_OFF whole, not what was read with some bits cleared",
    ),
    Rule(
        "handoff.daif",
        "debug exceptions, SErrors, interrupts and fast interrupts are masked",
        BOOTING,
        Severity.ERROR,
        enters_a_kernel,
        _at_each(_daif, _masks_written),
        _DAIF_CAUSE,
        consequence="The first interrupt finds no vectors: VBAR still holds the old kernel's, "
        "which are gone or are no address with the MMU off. Rare on an idle machine, sure on a "
        "busy one.",
        hint="msr daifset, #0xf before the jump, and nothing that clears it again",
    ),
    Rule(
        "handoff.nmi",
        "no interrupt is taken in spite of DAIF: SCTLR.NMI is 0, or PSTATE.ALLINT is 1",
        BOOTING + ": all forms of interrupts are masked; ARM DDI 0487, D24.2, SCTLR_EL1.NMI",
        Severity.ERROR,
        enters_a_kernel,
        _at_each(_nmi, _sctlr_written),
        "bit 61 of SCTLR",
        consequence="An interrupt of superpriority is taken whatever DAIF says, and finds no "
        "vectors: VBAR still holds the old kernel's.",
        hint="leave bit 61 of SCTLR 0, as INIT_SCTLR_EL1_MMU_OFF has it",
    ),
    Rule(
        "relocation.daif",
        "all exceptions are masked when the HVC to EL2 is made: no vector could take one",
        "series: machine_kexec masks DAIF before the jump",
        Severity.ERROR,
        _stub_was_called,
        _at_each(_daif_before, _masks_written),
        _DAIF_CAUSE,
        consequence="The HVC masks everything, so the new kernel looks right; an interrupt during "
        "the move would have gone to vectors that are no longer mapped.",
        hint="msr daifset, #0xf before the jump, and nothing that clears it again",
    ),
    Rule(
        "handoff.dtb",
        "x0 is the PA of the device tree; 0 for a purgatory, which brings its own",
        BOOTING,
        Severity.ERROR,
        enters_a_kernel,
        _at_each(_dtb, _set_in(0)),
        "kimage.arch.dtb_mem, or the register it is kept in",
        consequence="The kernel looks for its memory, its CPUs and its console there. Without a "
        "tree it stops before it can print a word.",
        hint="load kimage.arch.dtb_mem early, keep it in a register the copy does not use, and "
        "move it to x0 (to x2 before an HVC_SOFT_RESTART)",
    ),
    *(
        Rule(
            f"handoff.x{number}",
            f"x{number} is 0: reserved",
            BOOTING,
            Severity.ERROR,
            enters_a_kernel,
            _at_each(_zero(number), _set_in(number)),
            "a register left over from the copy",
            consequence="Linux keeps x0 to x3 and warns that the boot protocol is violated, and "
            "boots: harmless today, until the register is given a meaning.",
            hint=f"mov x{number}, xzr before the branch (x3 and x4 before an HVC_SOFT_RESTART, "
            "which moves them down)",
        )
        for number in (1, 2, 3)
    ),
)
