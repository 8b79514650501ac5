"""What a routine is called with: arguments, all other registers, and the data they point to.

The same for every routine, so that what differs comes from the code. Nothing here is random twice:
the generators are frozen ones.
"""

from __future__ import annotations

import random

import numpy as np

from relokit.codegen import facts
from relokit.codegen.base.nouns import dataclass
from relokit.runtime.behaviour.flat_machine import (
    ARGUMENTS,
    BLOCK,
    DATA,
    DATA_SIZE,
    EXCEPTION_RETURN,
    POINTER,
    RETURN,
    STACK_POINTER,
    block_of,
)
from relokit.runtime.guest.memory import Words

_SHORT, _LONG, _REACH = 128, 4096, 256
_SMALL = 15
_SEED = 20_230_815


@dataclass(frozen=True, slots=True)
class Trial:
    """``arguments`` has a letter for each of x0 to x7, see :func:`_argument`."""

    name: str
    arguments: str
    flags: int


TRIALS = (
    Trial("pointers", "pppppppp", 0b0000),
    Trial("pointers and a length", "ppnsssss", 0b0110),
    Trial("pointers and a long length", "ppNsssss", 0b1001),
    Trial("a pointer and its end", "pepppsss", 0b0010),
    Trial("a pointer and a length", "pnpppsss", 0b1000),
    Trial("zero and pointers", "zppppppp", 0b0100),
    Trial("one and pointers", "oppppppp", 0b1100),
    Trial("small numbers", "ssssssss", 0b0011),
    Trial("zeros", "zzzzzzzz", 0b1111),
    Trial("any numbers", "rrrrrrrr", 0b1010),
    # Each argument of another kind than in the other rows, so that taking one for another shows.
    Trial("mixed 1", "pppzozsn", 0b0101),
    Trial("mixed 2", "ppzpnosz", 0b1101),
    Trial("mixed 3", "poszpzpp", 0b0001),
    Trial("mixed 4", "zpnpsozp", 0b1110),
    Trial("mixed 5", "psnozppz", 0b0111),
    Trial("mixed 6", "opzpszno", 0b1011),
)


# System registers that start as something else than zero, so that a zero written to them shows.
SYSTEM = {
    "SCTLR_EL1": facts.SCTLR_EL1_MMU_OFF | 1 << 12,
    "SCTLR_EL2": facts.SCTLR_EL2_MMU_OFF,
    "TTBR0_EL1": DATA + 0x1000,
    "TTBR1_EL1": DATA + 0x2000,
    "TTBR0_EL2": DATA + 0x3000,
    "TCR_EL1": 0x5_9519_9519,
    "TCR_EL2": 0x8081_3519,
    "MAIR_EL1": 0x0040_FF44_0C04_0400,
    "MAIR_EL2": 0x00FF_4404,
    "VBAR_EL1": DATA + 0x4000,
    "VBAR_EL2": DATA + 0x4800,
    "CONTEXTIDR_EL1": 0x51,
    "TPIDR_EL0": 0x52,
    "TPIDRRO_EL0": 0x53,
    "TPIDR_EL1": 0x54,
    "TPIDR_EL2": 0x55,
    "ESR_EL2": 0x16 << 26 | 1 << 25,  # HVC #0
    "ELR_EL1": EXCEPTION_RETURN,
    "ELR_EL2": EXCEPTION_RETURN,
    "SPSR_EL1": facts.SPSR_DAIF | facts.SPSR_MODE_EL1H,
    "SPSR_EL2": facts.SPSR_DAIF | facts.SPSR_MODE_EL1H,
}


def initial_data() -> Words:
    """All data as 64-bit words: any numbers, among them small ones and pointers to data."""
    generator = np.random.RandomState(_SEED)
    words = np.frombuffer(generator.bytes(DATA_SIZE), dtype=np.uint64).copy()
    words[1::4] &= np.uint64(_SMALL)
    words[2::4] = DATA + POINTER + (words[2::4] % np.uint64(ARGUMENTS)) * np.uint64(BLOCK)
    return words


def initial_registers(trial: Trial) -> list[int]:
    """x0 to x30 for ``trial``: any numbers, but for the arguments, x29 and x30."""
    generator = random.Random(_SEED + TRIALS.index(trial))
    registers = [generator.getrandbits(64) for _ in range(31)]
    for number, letter in enumerate(trial.arguments):
        registers[number] = _argument(letter, number, registers[number])
    registers[29], registers[30] = STACK_POINTER + 0x100, RETURN
    return registers


def _argument(letter: str, number: int, anything: int) -> int:
    """p a pointer, e the end of the one before, n and N lengths, s small, z 0, o 1, r anything."""
    match letter:
        case "p":
            return block_of(number)
        case "e":
            return block_of(number - 1) + _REACH
        case "n":
            return _SHORT
        case "N":
            return _LONG
        case "s":
            return 1 + anything % _SMALL
        case "z" | "o":
            return int(letter == "o")
    return anything
