"""What the ID registers say of a CPU's address sizes (ARM DDI 0487, ID_AA64MMFR0 and 2_EL1)."""

from __future__ import annotations

from collections.abc import Callable

from relokit.runtime.arch.geometry import CPU_BITS, ips

MMFR0, MMFR2 = "ID_AA64MMFR0_EL1", "ID_AA64MMFR2_EL1"
# Register, lowest bit, value of the 4-bit fields of a CPU with LPA2 and LVA: TGran16 and TGran4
# with 52-bit addresses, VARange.
_WIDE_FIELDS = ((MMFR0, 20, 0b0010), (MMFR0, 28, 0b0001), (MMFR2, 16, 0b0001))
_PARANGE = 0


def address_id(read: Callable[[str], int], cpu_bits: int, pa_bits: int) -> dict[str, int]:
    """The ID registers of a CPU with ``pa_bits`` of PA, and 52-bit addresses if ``cpu_bits`` is 52.

    ``read`` tells what the engine's CPU says; only registers that have to differ are in the result.
    """
    own = {name: read(name) for name in (MMFR0, MMFR2)}
    values = own | {MMFR0: _with(own[MMFR0], _PARANGE, ips(pa_bits))}
    if cpu_bits > CPU_BITS:
        for name, shift, value in _WIDE_FIELDS:
            values[name] = _with(values[name], shift, value)
    return {name: value for name, value in values.items() if value != own[name]}


def _with(register: int, shift: int, value: int) -> int:
    return register & ~(0xF << shift) | value << shift
