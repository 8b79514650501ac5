"""Clocks and chance that a guest reads: by instructions, the same on every host.

The engine answers them from the host's clock and the host's random numbers, and forgets what is
written to a timer's control. The two counters,
which a kernel that waits reads in a loop, are answered in C (clock.c); timers, the cycle counter
and random numbers here. Event counters of the PMU count nothing.

Source: ARM DDI 0487, D11.2 (timers), D13 (PMU), RNDR; of the rate: four instructions a tick.
"""

from __future__ import annotations

from unicorn.arm64_const import UC_ARM64_REG_NZCV

from relokit.codegen.base import native
from relokit.codegen.base.bits import MASK64, signed
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.facts import HCR_EL2_E2H, HCR_EL2_TGE
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


@dataclass(frozen=True, slots=True)
class _Timer:
    """Encodings of a timer's registers; ``has_offset``: it compares with the virtual counter."""

    value: int
    control: int
    compare: int
    has_offset: bool


def _timer(name: str) -> _Timer:
    value, control, compare = (REGISTERS[name.format(part)] for part in ("TVAL", "CTL", "CVAL"))
    return _Timer(value, control, compare, name.startswith("CNTV"))


_TIMERS = tuple(map(_timer, ("CNTP_{}_EL0", "CNTV_{}_EL0", "CNTHP_{}_EL2", "CNTHV_{}_EL2")))
_BY_VALUE = {timer.value: timer for timer in _TIMERS}
_BY_CONTROL = {timer.control: timer for timer in _TIMERS}
_OFFSET = REGISTERS["CNTVOFF_EL2"]
_ENABLE, _IMASK, _ISTATUS = 1, 2, 4
_CYCLES, _RANDOM = REGISTERS["PMCCNTR_EL0"], frozenset({REGISTERS["RNDR"], REGISTERS["RNDRRS"]})
_EVENTS = frozenset(
    {encode_key(3, 3, 9, 13, 2)}  # PMXEVCNTR_EL0
    | {encode_key(3, 3, 14, 8 + number // 8, number % 8) for number in range(31)}
)
_HOST = HCR_EL2_E2H | HCR_EL2_TGE
# CNTKCTL_EL1 (CNTHCTL_EL2 where a host is at EL2): EL0VTEN, EL0PTEN. CNTHCTL_EL2: EL1PCEN, and with
# E2H EL1PTEN. PMUSERENR_EL0: EN, CR, ER. MDCR_EL2: TPM.
_EL0_VIRTUAL, _EL0_PHYSICAL, _EL1_PHYSICAL, _EL1_PHYSICAL_E2H = 1 << 8, 1 << 9, 1 << 1, 1 << 11
_EL0_PMU, _EL0_CYCLES, _EL0_EVENTS, _TRAPS_PMU = 1 << 0, 1 << 2, 1 << 3, 1 << 6

WRITTEN = frozenset({*_BY_VALUE, *_BY_CONTROL})
"""Encodings that :meth:`Clock.write` takes."""
READ = WRITTEN | _RANDOM | _EVENTS | {_CYCLES}
"""Those that :meth:`Clock.read` answers; the counters are not among them."""


class Clock:
    """The time of the guest with these ``registers``, whose instructions ``count`` has."""

    def __init__(self, registers: Registers, count: BlockCount) -> None:
        self._registers = registers
        self._count = count

    def read(self, key: int) -> int:
        """What the register that ``key`` reaches reads as now, at the instruction of the PC."""
        if key in _BY_VALUE:
            timer = _BY_VALUE[key]
            return (self._registers.read_key(timer.compare) - self._now(timer)) & 0xFFFF_FFFF
        if key in _BY_CONTROL:
            return self._status(_BY_CONTROL[key])
        if key in _RANDOM:
            # NZCV says whether there was a number.
            self._registers.uc.reg_write(UC_ARM64_REG_NZCV, 0)
            return _scattered(self._instructions() << 1 | key & 1)
        return self._instructions() if key == _CYCLES else 0

    def write(self, key: int, value: int) -> None:
        """A timer's control, or in how many ticks it is to fire: TVAL has 32 bits, with a sign."""
        if key in _BY_CONTROL:
            self._registers.write_key(key, value & (_ENABLE | _IMASK))
            return
        timer = _BY_VALUE[key]
        self._registers.write_key(timer.compare, self._now(timer) + signed(value, 32))

    def allows(self, key: int) -> bool:
        """Whether the exception level that the CPU is at may have it: else it is trapped."""
        registers = self._registers
        el = registers.el
        if el >= 2 or key in _RANDOM:
            return True
        if key == _CYCLES or key in _EVENTS:
            users = _EL0_PMU | (_EL0_CYCLES if key == _CYCLES else _EL0_EVENTS)
            may = el == 1 or bool(registers.read("PMUSERENR_EL0") & users)
            return may and not registers.read("MDCR_EL2") & _TRAPS_PMU
        timer = _BY_VALUE.get(key) or _BY_CONTROL[key]
        if timer not in _TIMERS[:2]:
            return False
        hcr = registers.read("HCR_EL2")
        is_host = hcr & _HOST == _HOST
        if el == 0:
            control = registers.read("CNTHCTL_EL2" if is_host else "CNTKCTL_EL1")
            may = bool(control & (_EL0_VIRTUAL if timer.has_offset else _EL0_PHYSICAL))
            if is_host or not may:
                return may
        below = _EL1_PHYSICAL_E2H if hcr & HCR_EL2_E2H else _EL1_PHYSICAL
        return timer.has_offset or bool(registers.read("CNTHCTL_EL2") & below)

    def _status(self, timer: _Timer) -> int:
        control = self._registers.read_key(timer.control) & (_ENABLE | _IMASK)
        fired = self._now(timer) >= self._registers.read_key(timer.compare)
        return control | (_ISTATUS if control & _ENABLE and fired else 0)

    def _now(self, timer: _Timer) -> int:
        offset = self._registers.read_key(_OFFSET) if timer.has_offset else 0
        return (UPTIME + self._instructions() // INSTRUCTIONS_PER_TICK - offset) & MASK64

    def _instructions(self) -> int:
        return self._count.done_at(self._registers.pc)


def _scattered(number: int) -> int:
    """``number`` as 64 bits without a pattern (a finaliser of the kind of MurmurHash3's)."""
    value = (number + 1) * 0x9E37_79B9_7F4A_7C15 & MASK64
    for shift, factor in ((30, 0xBF58_476D_1CE4_E5B9), (27, 0x94D0_49BB_1331_11EB)):
        value = (value ^ value >> shift) * factor & MASK64
    return value ^ value >> 31
