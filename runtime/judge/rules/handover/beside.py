"""What goes on beside the CPU that leaves: devices and other CPUs, and the memory they use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from relokit.runtime.judge.rules.rule import Broken, Rule, before_the_jump
from relokit.runtime.judge.rules.severity import Severity
from relokit.runtime.record.known import Unknown, UnknownFactError, known
from relokit.runtime.record.record import Record, SegmentPlace

if TYPE_CHECKING:
    from relokit.runtime.guest.around import Around, HeldMemory

NOTHING = {
    "reserved": "the old kernel was told of no memory to leave alone",
    "firmware": "no UEFI is named",
}
ALONE = "nothing is beside the CPU: no other one, no device that uses memory"


def _of(record: Record) -> Around:
    assert record.around is not None
    return known(record.around)


def _has_devices(record: Record) -> str | None:
    around = record.around
    if around is None:
        return ALONE
    if not isinstance(around, Unknown) and around.tables == ():
        return "no table of the interrupt controller is in use"
    return None


def _has_cpus(record: Record) -> str | None:
    around = record.around
    if around is None:
        return ALONE
    if not isinstance(around, Unknown) and not around.cpus:
        return "no other CPU is switched on" if around.count else "there is one CPU"
    return None


def _was_watched(record: Record) -> str | None:
    return ALONE if record.around is None else None


def _holds(part: str) -> Callable[[Record], str | None]:
    def applies(record: Record) -> str | None:
        around = record.around
        if around is None:
            return ALONE
        return None if isinstance(around, Unknown) or getattr(around, part) != () else NOTHING[part]

    return applies


def _held(part: str) -> Callable[[Record], Iterator[Broken]]:
    def check(record: Record) -> Iterator[Broken]:
        found: tuple[HeldMemory, ...] | str = getattr(_of(record), part)
        if isinstance(found, str):
            raise UnknownFactError(found)
        for one in found:
            met = _met(record, one.base, one.size)
            if met is not None:
                yield Broken(
                    f"the {met.name} at PA {met.base:#x}..{met.base + met.size:#x} goes over "
                    f"{one.name}, PA {one.base:#x}..{one.base + one.size:#x}",
                    address=max(one.base, met.base),
                    place=met.name,
                )

    return check


def _prepared(record: Record) -> Iterator[Broken]:
    found = _of(record).prepared
    if isinstance(found, str):
        raise UnknownFactError(found)
    for one in found:
        yield Broken(
            f"PA {one.base:#x}..{one.base + one.size:#x} of the {one.name} is not what it was when "
            "the load was over",
            address=one.base,
        )


def _met(record: Record, base: int, size: int) -> SegmentPlace | None:
    """The first segment that has a byte of these."""
    return next(
        (one for one in record.segments if base < one.base + one.size and one.base < base + size),
        None,
    )


def _tables(record: Record) -> Iterator[Broken]:
    tables = _of(record).tables
    if tables is None:
        raise UnknownFactError("the interrupt controller's registers are not in the snapshot")
    for table in tables:
        met = _met(record, table.base, table.size)
        if met is not None:
            end = met.base + met.size
            yield Broken(
                f"the {met.name} at PA {met.base:#x}..{end:#x} goes over {table.name} = "
                f"{table.register:#x}, PA {table.base:#x}..{table.base + table.size:#x}, "
                "which is in use",
                address=table.base,
                place=met.name,
            )


def _cpus(record: Record) -> Iterator[Broken]:
    for cpu in _of(record).cpus:
        if cpu.at is None:
            raise UnknownFactError(f"where CPU {cpu.number} is cannot be told by its registers")
        met = _met(record, cpu.at, 4)
        if met is not None:
            yield Broken(
                f"CPU {cpu.number} is not switched off, and executes at PA {cpu.at:#x}, where the "
                f"{met.name} goes",
                address=cpu.at,
                place=met.name,
            )


AROUND = (
    Rule(
        name="around.tables",
        must="No segment goes over a table that the interrupt controller uses.",
        source="ARM IHI 0069, 12.11 (GICR_CTLR.EnableLPIs may be RES1 once it is set) and 12.19",
        severity=Severity.ERROR,
        applies=_has_devices,
        check=before_the_jump(_tables),
        executed=False,
        cause="the loader does not know of the old kernel's tables: they are in no device tree",
        consequence="The next kernel cannot switch LPIs off: it goes on using the old tables, "
        "which are now its own text and data.",
        hint="load elsewhere, or switch LPIs off before: on QEMU's virt, its=off",
    ),
    Rule(
        name="around.cpus",
        must="No other CPU executes in memory that a segment goes to.",
        source="Documentation/arch/arm64/booting.rst: secondary CPUs; PSCI, CPU_OFF",
        severity=Severity.ERROR,
        applies=_has_cpus,
        check=before_the_jump(_cpus),
        executed=False,
        cause="it could not be switched off, and is parked in the old kernel",
        consequence="What that CPU executes next is what was copied there.",
        hint="switch it off (PSCI, CPU hotplug) before, or load elsewhere",
    ),
    Rule(
        name="around.prepared",
        must="What the load has prepared is as it was when machine_kexec_post_load returned.",
        source="kernel/kexec_core.c: control pages and sources are allocated, and nobody else's",
        severity=Severity.ERROR,
        applies=_was_watched,
        check=before_the_jump(_prepared),
        executed=False,
        cause="somebody stores to pages that are not theirs, or the load has freed what it needs",
        consequence="What moves the next kernel, or the kernel itself, is not what was loaded.",
        hint="see who owned the page before, or stores through an old pointer",
    ),
    Rule(
        name="around.reserved",
        must="No segment goes to memory that the old kernel's own device tree reserves.",
        source="Documentation/arch/arm64/booting.rst; dt-schema, reserved-memory",
        severity=Severity.ERROR,
        applies=_holds("reserved"),
        check=before_the_jump(_held("reserved")),
        executed=False,
        cause="the loader has another tree, without those reservations, and went by that",
        consequence="Firmware, another processor or a device has its data there, or no RAM is "
        "there at all: it is overwritten, or the CPU takes an SError.",
        hint="hand over the tree that the kernel was booted with (/sys/firmware/fdt)",
    ),
    Rule(
        name="around.firmware",
        must="No segment goes over memory that UEFI goes on using, nor over tables that the next "
        "kernel is told to look for.",
        source="UEFI 2.10, 7.2 (GetMemoryMap); ACPI 6.5, 5.2; Documentation/arch/arm/uefi.rst",
        severity=Severity.ERROR,
        applies=_holds("firmware"),
        check=before_the_jump(_held("firmware")),
        executed=False,
        cause="the loader took all RAM for free: UEFI's memory map is what says",
        consequence="Runtime services, ACPI or the interrupt controller go on with what was "
        "copied there; the next kernel finds no tables, or wrong ones.",
        hint="load into what /proc/iomem calls System RAM, and not reserved",
    ),
)
"""Rules on what nobody stops."""
