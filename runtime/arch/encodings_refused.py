"""Instruction words that a CPU may refuse, though an engine carries them out.

Sources: ARM DDI 0487, C4.1 (which encodings are allocated) and, for each instruction, what C6.2 and
K1.2 have under "CONSTRAINED UNPREDICTABLE behavior": UNDEFINED is always among what may happen.
"""

from __future__ import annotations

from functools import lru_cache

from relokit.codegen.base.nouns import dataclass
from relokit.codegen.instruction_forms import InstructionForm
from relokit.codegen.system_registers import OPERATIONS, decode_system, split_key

_RT, _RN, _RT2, _RS = 0, 5, 10, 16
"""Lowest bits of the register fields."""
_SP_OR_ZERO = 31

_EXCEPTION_RETURN = InstructionForm(0xFFDFFC1F, 0xD69F0000)
"""ERET and, with bit 21, DRPS, whatever bits 9:5 are."""


_SYSTEM_SPACE = InstructionForm(0xFFC80000, 0xD5080000)
"""MSR, MRS, SYS and SYSL with op0 1 or 3."""
_OF_AN_IMPLEMENTATION = frozenset({11, 15})
"""CRn of IMPLEMENTATION DEFINED system instructions and registers (C5.1.2, D22.3)."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """Of the words of ``form``, ``what`` it is where two register fields are the same.

    ``pairs`` are the lowest bits of such fields; ``general`` says that it is about general
    registers only (bit 26 is clear), ``but_31`` that number 31 is two different things in them.
    """

    form: InstructionForm
    pairs: tuple[tuple[int, int], ...]
    what: str
    general: bool = False
    but_31: bool = False

    def is_in(self, word: int) -> bool:
        """Whether ``word`` is one of these."""
        if not self.form.holds(word) or (self.general and word >> 26 & 1):
            return False
        return any(
            word >> one & 31 == word >> other & 31
            and not (self.but_31 and word >> one & 31 == _SP_OR_ZERO)
            for one, other in self.pairs
        )


_BASE = "its base register, which it changes, is one that it loads or stores"
_TWICE = "it loads one register twice"
_STATUS = "its status goes to a register that is its data or its address"
_STORE_EXCLUSIVE = InstructionForm(0x3FE00000, 0x08000000)
_STORE_EXCLUSIVE_PAIR = InstructionForm(0xBFE00000, 0x88200000)
OVERLAPS = (
    # LDNP, LDP, LDPSW.
    Overlap(InstructionForm(0x3A400000, 0x28400000), ((_RT, _RT2),), _TWICE),
    # STP, LDP, LDPSW: behind the access and before it.
    Overlap(
        InstructionForm(0x3A800000, 0x28800000), ((_RT, _RN), (_RT2, _RN)), _BASE,
        general=True, but_31=True,
    ),
    # STR, LDR and the like with nine bits of offset: behind the access and before it.
    Overlap(
        InstructionForm(0x3B200400, 0x38000400), ((_RT, _RN),), _BASE, general=True, but_31=True
    ),
    # LDXP, LDAXP.
    Overlap(InstructionForm(0xBFE00000, 0x88600000), ((_RT, _RT2),), _TWICE),
    # STXR and STLXR of all sizes; STXP and STLXP.
    Overlap(_STORE_EXCLUSIVE, ((_RS, _RT),), _STATUS),
    Overlap(_STORE_EXCLUSIVE, ((_RS, _RN),), _STATUS, but_31=True),
    Overlap(_STORE_EXCLUSIVE_PAIR, ((_RS, _RT), (_RS, _RT2)), _STATUS),
    Overlap(_STORE_EXCLUSIVE_PAIR, ((_RS, _RN),), _STATUS, but_31=True),
)  # fmt: skip
_WITHOUT_OPERAND = frozenset(
    split_key(key)[1:]
    for name, key in OPERATIONS.items()
    if name.partition(" ")[2].startswith(("iallu", "vmall", "alle", "paall"))
)
"""op1, CRn, CRm and op2 of what takes no register."""
_TLBI, _TLBI_NXS = 8, 9
"""CRn of TLBI, and of those that do not wait for XS accesses: else the same."""


def unallocated(word: int) -> str | None:
    """Why ``word`` is no instruction, None if it is one or nothing here says so."""
    if _EXCEPTION_RETURN.holds(word) and word >> _RN & 31 != 31:
        return f"bits 9:5 of an ERET have to be 11111, not {word >> _RN & 31:05b}"
    if _SYSTEM_SPACE.holds(word) and word >> 12 & 0xF in _OF_AN_IMPLEMENTATION:
        return "CRn 11 and 15 are for what a CPU has of its own: on others it is UNDEFINED"
    return None


@lru_cache(1 << 12)
def unpredictable(word: int) -> str | None:
    """Why nobody can say what ``word`` does, None if that is certain, as far as is known here."""
    decoded = decode_system(word)
    if decoded is not None:
        return _with_operand(decoded.form, decoded.key, decoded.rt)
    return next((one.what for one in OVERLAPS if one.is_in(word)), None)


def _with_operand(form: str, key: int, register: int) -> str | None:
    if form != "sys" or register == _SP_OR_ZERO:
        return None
    _, op1, crn, crm, op2 = split_key(key)
    crn = _TLBI if crn == _TLBI_NXS else crn
    if (op1, crn, crm, op2) not in _WITHOUT_OPERAND:
        return None
    return "it takes no register, and bits 4:0 name one"
