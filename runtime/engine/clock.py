"""Clocks and chance that a guest reads: by instructions, the same on every host.

The engine answers them from the host's clock and the host's random numbers. What a kernel uses all
the time is answered in C: the two counters (clock.c) and the timers (timers.c). The cycle counter
and random numbers are, here. Event counters of the PMU count nothing.

Source: ARM DDI 0487, D11.2 (timers), D13 (PMU), RNDR; of the rate: four instructions a tick.
"""

from __future__ import annotations

from unicorn.arm64_const import UC_ARM64_REG_NZCV

from relokit.codegen.base import native
from relokit.codegen.base.bits import MASK64
from relokit.codegen.system_registers import REGISTERS, encode_key
from relokit.runtime.engine.block_count import BlockCount
from relokit.runtime.engine.registers import Registers

INSTRUCTIONS_PER_TICK = 4
"""Of the counter's 62.5 MHz (CNTFRQ_EL0)."""
UPTIME = 225_000_000_000
"""Ticks of the counter when a machine is made: it has been up for an hour."""

native.check_shared(
    native.library(),
    "clock_shared",
    {"INSTRUCTIONS_PER_TICK": INSTRUCTIONS_PER_TICK, "UPTIME": UPTIME},
)
native.check_shared(native.library(), "timers_shared", {"TIMERS": 4})


TIMERS = frozenset(
    REGISTERS[f"{timer}_{part}_{level}"]
    for timer, level in (("CNTP", "EL0"), ("CNTV", "EL0"), ("CNTHP", "EL2"), ("CNTHV", "EL2"))
    for part in ("TVAL", "CTL", "CVAL")
)
"""Encodings of the timers' registers, which timers.c answers."""
_CYCLES, _RANDOM = REGISTERS["PMCCNTR_EL0"], frozenset({REGISTERS["RNDR"], REGISTERS["RNDRRS"]})
_EVENTS = frozenset(
    {encode_key(3, 3, 9, 13, 2)}  # PMXEVCNTR_EL0
    | {encode_key(3, 3, 14, 8 + number // 8, number % 8) for number in range(31)}
)
# PMUSERENR_EL0: EN, CR, ER. MDCR_EL2: TPM.
_EL0_PMU, _EL0_CYCLES, _EL0_EVENTS, _TRAPS_PMU = 1 << 0, 1 << 2, 1 << 3, 1 << 6

READ = _RANDOM | _EVENTS | {_CYCLES}
"""Encodings that :meth:`Clock.read` answers; counters and timers are not among them."""


class Clock:
    """The time of the guest with these ``registers``, whose instructions ``count`` has."""

    def __init__(self, registers: Registers, count: BlockCount) -> None:
        self._registers = registers
        self._count = count

    def read(self, key: int) -> int:
        """What the register that ``key`` reaches reads as now, at the instruction of the PC."""
        if key in _RANDOM:
            # NZCV says whether there was a number.
            self._registers.uc.reg_write(UC_ARM64_REG_NZCV, 0)
            return _scattered(self._instructions() << 1 | key & 1)
        return self._instructions() if key == _CYCLES else 0

    def allows(self, key: int) -> bool:
        """Whether the exception level that the CPU is at may have it: else it is trapped."""
        registers = self._registers
        el = registers.el
        if el >= 2 or key in _RANDOM:
            return True
        users = _EL0_PMU | (_EL0_CYCLES if key == _CYCLES else _EL0_EVENTS)
        may = el == 1 or bool(registers.read("PMUSERENR_EL0") & users)
        return may and not registers.read("MDCR_EL2") & _TRAPS_PMU

    def _instructions(self) -> int:
        return self._count.done_at(self._registers.pc)


def _scattered(number: int) -> int:
    """``number`` as 64 bits without a pattern (a finaliser of the kind of MurmurHash3's)."""
    value = (number + 1) * 0x9E37_79B9_7F4A_7C15 & MASK64
    for shift, factor in ((30, 0xBF58_476D_1CE4_E5B9), (27, 0x94D0_49BB_1331_11EB)):
        value = (value ^ value >> shift) * factor & MASK64
    return value ^ value >> 31
