"""The flat machine a routine is called in: where things lie, at which level, and what they are
called.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from relokit.codegen import facts
from relokit.codegen.base.nouns import dataclass

PAGE = 4096
ARGUMENTS = 8
DATA = 0x4000_0000
BLOCK = 0x2000
POINTER = 0x400
"""Offset into its block of what an argument points to: there is something before it."""
STACK_SIZE = 0x4000
STACK = DATA + ARGUMENTS * BLOCK
DATA_SIZE = ARGUMENTS * BLOCK + STACK_SIZE
STACK_POINTER = STACK + STACK_SIZE // 2

# Out of reach of ADRP from the data: an address near the code can only mean what is near it in its
# own program. Nor is there anything where it was called from.
CODE = 0x10_0000_0000
RETURN = 0x30_0000_0000
EXCEPTION_RETURN = 0x30_0010_0000
REACH = 1 << 32

CALL_SECONDS = 30.0
"""Wall time for all trials of one routine; instructions bound each one long before."""

LOWER_EL_SYNC = 0x400
"""Offset in a vector table of synchronous exceptions from a lower level (DDI 0487, D1.3.1.5)."""


@dataclass(frozen=True, slots=True)
class Level:
    """Where a routine runs: its exception level, HCR_EL2, and the offset it is entered at."""

    el: int
    hcr: int
    entry: int = 0


EL1 = Level(1, facts.HCR_EL2_NVHE)
# Routines of the EL2 stub, and what turns E2H on, by name in any kernel since 5.10.
LEVELS: Mapping[str, Level] = {
    "__hyp_stub_vectors": Level(2, facts.HCR_EL2_NVHE, LOWER_EL_SYNC),
    "trans_pgd_stub_vectors": Level(2, facts.HCR_EL2_NVHE, LOWER_EL_SYNC),
    "elx_sync": Level(2, facts.HCR_EL2_NVHE),
    "el1_sync": Level(2, facts.HCR_EL2_NVHE),
    "__finalise_el2": Level(2, facts.HCR_EL2_NVHE),
    "mutate_to_vhe": Level(2, facts.HCR_EL2_NVHE),
    "enter_vhe": Level(2, facts.HCR_EL2_VHE),
}


def level_of(*names: str) -> Level:
    """Where a routine called any of ``names`` runs: EL1 unless one is known to run at EL2."""
    return next((LEVELS[name] for name in names if name in LEVELS), EL1)


@dataclass(frozen=True, slots=True)
class Callee:
    """``code`` is what is put at PC ``start``.

    ``unresolved`` are the instructions, by offset, that refer to what is not there, with its name.
    """

    code: bytes = field(repr=False)
    start: int
    level: Level
    unresolved: Mapping[int, str] = field(default_factory=dict)


def placed(address: int) -> int:
    """Where code linked at ``address`` is put: at the same offset into a page."""
    return CODE + address % PAGE


def block_of(argument: int) -> int:
    """PA of what x0..x7 (by ``argument``) point to, when they do."""
    return DATA + argument * BLOCK + POINTER


def owners() -> tuple[tuple[str, int, int], ...]:
    """(name, base, size) of all data."""
    blocks = ((f"x{n} data", DATA + n * BLOCK, BLOCK) for n in range(ARGUMENTS))
    return *blocks, ("stack", STACK, STACK_SIZE)


def data_text(value: int) -> str | None:
    """``[x1 + 0x10]``, ``[sp - 0x20]`` or ``the caller``, of an address; None for others."""
    if value == RETURN:
        return "the caller"
    if not DATA <= value < DATA + DATA_SIZE:
        return None
    if value >= STACK:
        name, offset = "sp", value - STACK_POINTER
    else:
        number = (value - DATA) // BLOCK
        name, offset = f"x{number}", value - block_of(number)
    if not offset:
        return f"[{name}]"
    return f"[{name} {'-' if offset < 0 else '+'} {abs(offset):#x}]"
