"""How wide the addresses of a run are: what the kernel is built for, its CPU has and RAM needs."""

from __future__ import annotations

from relokit.codegen.base.errors import MachineError
from relokit.codegen.target import NARROW, WIDE, Target
from relokit.runtime.arch import descriptors as d
from relokit.runtime.arch.geometry import A72_PA_BITS, T0SZ_MASK, granule_of, tcr_el1
from relokit.runtime.arch.translation import to_ttbr

IDMAP_VA_BITS = 48
"""VA bits of an identity map, unless the page lies above: RAM may be above the kernel's VA size."""


def output_format(target: Target) -> d.AddressFormat:
    """How descriptors hold PAs in the tables of the running kernel."""
    if target.pa_bits_at_run == NARROW:
        return d.PLAIN
    return d.LPA2 if target.lpa2 else d.LPA


def cpu_pa_bits(target: Target, ram_end: int, where: str | None = None) -> int:
    """PA bits of the CPU (ID_AA64MMFR0_EL1.PARange), so that it reaches all PAs below ``ram_end``.

    Raises MachineError, naming ``where``, if the kernel or the CPU ends below.
    """
    needed = (ram_end - 1).bit_length()
    if needed > target.pa_bits_at_run:
        built = target.pa_bits < WIDE
        raise MachineError(
            f"RAM up to PA {ram_end - 1:#x} needs {needed}-bit physical addresses, and the "
            f"{'kernel is built for' if built else 'CPU has'} {target.pa_bits_at_run}",
            where=where,
            hint=(
                "a kernel of --va-bits 52 has 52-bit physical addresses, too"
                if built and needed <= WIDE
                else "leave --cpu-bits out"
                if needed <= WIDE
                else "no arm64 CPU has more than 52"
            ),
        )
    if target.cpu_bits == WIDE:
        return WIDE
    return A72_PA_BITS if needed <= A72_PA_BITS else NARROW


def kernel_tcr(target: Target, ram_end: int) -> int:
    """TCR of the running kernel: both ranges, and the narrower of its PA size and the CPU's."""
    return tcr_el1(
        granule_of(target.page_size),
        t0_bits=target.va_bits_at_run,
        t1_bits=target.va_bits_at_run,
        pa_bits=min(target.pa_bits, cpu_pa_bits(target, ram_end)),
        ds=target.lpa2,
    )


def kernel_ttbr1(target: Target, tables: int) -> int:
    """TTBR1 for a kernel's tables at PA ``tables``.

    A first table of 52 bits serves a CPU with 48 with its last entries.
    """
    narrower = target.va_bits_at_run < target.table_va_bits
    return to_ttbr(tables, target.pa_bits) | (target.ttbr1_offset if narrower else 0)


def with_t0sz(tcr: int, t0sz: int) -> int:
    """``tcr`` as it is while TTBR0 holds an identity map with ``t0sz``."""
    return tcr & ~T0SZ_MASK | t0sz & T0SZ_MASK


def idmap_va_bits(page_pa: int) -> int:
    """VA bits of the identity map of a page."""
    return IDMAP_VA_BITS if page_pa >> IDMAP_VA_BITS == 0 else WIDE
