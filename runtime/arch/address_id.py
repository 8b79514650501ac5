"""What ID registers say of addresses, pages and levels (ARM DDI 0487, ID_AA64MMFR0 and 2_EL1)."""

from __future__ import annotations

from collections.abc import Callable

from relokit.runtime.arch.geometry import CPU_BITS, ips

PFR0 = "ID_AA64PFR0_EL1"
MMFR0, MMFR2 = "ID_AA64MMFR0_EL1", "ID_AA64MMFR2_EL1"
_PARANGE, _TGRAN16, _TGRAN4, _VARANGE = 0, 20, 28, 16  # lowest bits of the fields
_EL2 = 8  # the same, of ID_AA64PFR0_EL1
# Register, field, value on a CPU with LPA2 and LVA.
_WIDE_FIELDS = ((MMFR0, _TGRAN16, 0b0010), (MMFR0, _TGRAN4, 0b0001), (MMFR2, _VARANGE, 0b0001))


def address_id(
    read: Callable[[str], int], *, cpu_bits: int, pa_bits: int, has_16k: bool
) -> dict[str, int]:
    """The ID registers of a CPU with ``pa_bits`` of PA, and 52-bit addresses if ``cpu_bits`` is 52.

    ``has_16k``: it has pages of 16 KiB. ``read`` tells what the engine's CPU says; only registers
    that have to differ are in the result.
    """
    own = {name: read(name) for name in (MMFR0, MMFR2)}
    values = own | {MMFR0: _with(own[MMFR0], _PARANGE, ips(pa_bits))}
    if has_16k:
        values[MMFR0] = _with(values[MMFR0], _TGRAN16, 0b0001)
    if cpu_bits > CPU_BITS:
        for name, shift, value in _WIDE_FIELDS:
            values[name] = _with(values[name], shift, value)
    return {name: value for name, value in values.items() if value != own[name]}


def without_el2(read: Callable[[str], int]) -> dict[str, int]:
    """What says that there is no EL2 (ARM DDI 0487, ID_AA64PFR0_EL1)."""
    return {PFR0: _with(read(PFR0), _EL2, 0)}


def _with(register: int, shift: int, value: int) -> int:
    return register & ~(0xF << shift) | value << shift
