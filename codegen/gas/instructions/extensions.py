"""Instructions of ARMv8.1 to v9 that Keystone does not know, by a table of ours.

Atomics (LSE), pointer authentication, memory tagging, RCPC, limited ordering regions, flag
manipulation, waits with a timeout. Source: ARM DDI 0487, C6.2, the instruction of that name, and
C4.1 for the classes that LSE and CAS fill in a regular way.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from relokit.codegen.base.errors import AssemblyError
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.gas.instructions.operands import register

Operand = Sequence["str | int"]
"""A parsed operand: ``["x0"]``, ``["#", 4]``, ``["[", "x1", ", ", "#", 8, "]"]``."""

# One line a form: mnemonic, the word with nothing in it, operands.
#   X5 W5 S5   a register of 64 or 32 bits, or a 64-bit one that may be SP, in bits 9:5
#   P16        an even 64-bit register in bits 20:16 (p16 a 32-bit one); =P the one that follows it
#   X16?       may be left out: it is XZR then
#   u4:16:6    an unsigned number of 6 bits from bit 16 on, in units of 2^4
#   [S5]       an address; [S5,i4:12:9] with an optional signed number of 9 bits in units of 2^4;
#              [S5,j3] with LDRAA's, whose sign stands apart
_FORMS = """
pacia dac10000 X0 S5 | pacib dac10400 X0 S5 | pacda dac10800 X0 S5 | pacdb dac10c00 X0 S5
autia dac11000 X0 S5 | autib dac11400 X0 S5 | autda dac11800 X0 S5 | autdb dac11c00 X0 S5
paciza dac123e0 X0 | pacizb dac127e0 X0 | pacdza dac12be0 X0 | pacdzb dac12fe0 X0
autiza dac133e0 X0 | autizb dac137e0 X0 | autdza dac13be0 X0 | autdzb dac13fe0 X0
xpaci dac143e0 X0 | xpacd dac147e0 X0 | pacga 9ac03000 X0 X5 S16
braa d71f0800 X5 S0 | brab d71f0c00 X5 S0 | blraa d73f0800 X5 S0 | blrab d73f0c00 X5 S0
braaz d61f081f X5 | brabz d61f0c1f X5 | blraaz d63f081f X5 | blrabz d63f0c1f X5
ldraa f8200400 X0 [S5,j3] | ldraa f8200c00 X0 [S5,j3]! | ldrab f8a00400 X0 [S5,j3]
ldrab f8a00c00 X0 [S5,j3]!
irg 9ac01000 S0 S5 X16? | gmi 9ac01400 X0 S5 X16 | subp 9ac00000 X0 S5 S16
subps bac00000 X0 S5 S16 | cmpp bac0001f S5 S16
addg 91800000 S0 S5 u4:16:6 u0:10:4 | subg d1800000 S0 S5 u4:16:6 u0:10:4
stg d9200800 S0 [S5,i4:12:9] | stg d9200c00 S0 [S5,i4:12:9]! | stg d9200400 S0 [S5] i4:12:9
stzg d9600800 S0 [S5,i4:12:9] | stzg d9600c00 S0 [S5,i4:12:9]! | stzg d9600400 S0 [S5] i4:12:9
st2g d9a00800 S0 [S5,i4:12:9] | st2g d9a00c00 S0 [S5,i4:12:9]! | st2g d9a00400 S0 [S5] i4:12:9
stz2g d9e00800 S0 [S5,i4:12:9] | stz2g d9e00c00 S0 [S5,i4:12:9]! | stz2g d9e00400 S0 [S5] i4:12:9
ldg d9600000 X0 [S5,i4:12:9] | ldgm d9e00000 X0 [S5] | stgm d9a00000 X0 [S5]
stzgm d9200000 X0 [S5] | stgp 69000000 X0 X10 [S5,i4:15:7] | stgp 69800000 X0 X10 [S5,i4:15:7]!
stgp 68800000 X0 X10 [S5] i4:15:7
ldaprb 38bfc000 W0 [S5] | ldaprh 78bfc000 W0 [S5] | ldapr b8bfc000 W0 [S5]
ldapr f8bfc000 X0 [S5]
stlurb 19000000 W0 [S5,i0:12:9] | ldapurb 19400000 W0 [S5,i0:12:9]
ldapursb 19800000 X0 [S5,i0:12:9] | ldapursb 19c00000 W0 [S5,i0:12:9]
stlurh 59000000 W0 [S5,i0:12:9] | ldapurh 59400000 W0 [S5,i0:12:9]
ldapursh 59800000 X0 [S5,i0:12:9] | ldapursh 59c00000 W0 [S5,i0:12:9]
stlur 99000000 W0 [S5,i0:12:9] | ldapur 99400000 W0 [S5,i0:12:9]
ldapursw 99800000 X0 [S5,i0:12:9] | stlur d9000000 X0 [S5,i0:12:9]
ldapur d9400000 X0 [S5,i0:12:9]
ldlarb 08df7c00 W0 [S5] | ldlarh 48df7c00 W0 [S5] | ldlar 88df7c00 W0 [S5] | ldlar c8df7c00 X0 [S5]
stllrb 089f7c00 W0 [S5] | stllrh 489f7c00 W0 [S5] | stllr 889f7c00 W0 [S5] | stllr c89f7c00 X0 [S5]
cfinv d500401f | xaflag d500403f | axflag d500405f | rmif ba000400 X5 u0:15:6 u0:0:4
setf8 3a00080d W5 | setf16 3a00480d W5 | wfet d5031000 X0 | wfit d5031020 X0
"""
_ATOMIC = {"add": 0, "clr": 1, "eor": 2, "set": 3, "smax": 4, "smin": 5, "umax": 6, "umin": 7}
_ORDERS = {"": (0, 0), "a": (1, 0), "l": (0, 1), "al": (1, 1)}
"""Suffix: bit A (acquire) and bit R or o0 (release)."""
_SIZES = (("b", 0, "W"), ("h", 1, "W"), ("", 2, "W"), ("", 3, "X"))
"""Suffix, bits 31:30 and the register."""

_NUMBER = re.compile(r"(?P<kind>[ui])(?P<scale>\d+):(?P<at>\d+):(?P<bits>\d+)")
_MEMORY = re.compile(r"\[S(?P<base>\d+)(?:,(?P<offset>[^\]]+))?\](?P<mark>!?)")


@dataclass(frozen=True, slots=True)
class EncodedForm:
    """``word`` with nothing in it, and what the operands put there."""

    word: int
    operands: tuple[str, ...]


def _atomics() -> Iterator[tuple[str, int, str]]:
    """LSE: C4.1 "Atomic memory operations", "Compare and swap", "Compare and swap pair"."""
    for order, (acquire, release) in _ORDERS.items():
        for size, code, one in _SIZES:
            base = code << 30 | acquire << 23 | release << 22
            for name, operation in _ATOMIC.items():
                yield (
                    f"ld{name}{order}{size}",
                    base | 0x38200000 | operation << 12,
                    f"{one}16 {one}0 [S5]",
                )
                if not acquire:
                    yield (
                        f"st{name}{order}{size}",
                        base | 0x3820001F | operation << 12,
                        f"{one}16 [S5]",
                    )
            yield f"swp{order}{size}", base | 0x38208000, f"{one}16 {one}0 [S5]"
            base = code << 30 | acquire << 22 | release << 15
            yield f"cas{order}{size}", base | 0x08A07C00, f"{one}16 {one}0 [S5]"
        for wide, one in ((0, "p"), (1, "P")):
            word = wide << 30 | acquire << 22 | release << 15 | 0x08207C00
            yield f"casp{order}", word, f"{one}16 ={one} {one}0 ={one} [S5]"


@lru_cache(maxsize=1)
def _table() -> dict[str, tuple[EncodedForm, ...]]:
    found: dict[str, tuple[EncodedForm, ...]] = {}
    plain = (
        one.split(maxsplit=2) for line in _FORMS.strip().splitlines() for one in line.split("|")
    )
    entries = [(name, int(word, 16), " ".join(rest)) for name, word, *rest in plain]
    for name, word, operands in (*entries, *_atomics()):
        found[name] = (*found.get(name, ()), EncodedForm(word, tuple(operands.split())))
    return found


def known(mnemonic: str) -> bool:
    """Whether :func:`encoded` is to be asked."""
    return mnemonic in _table()


def encoded(mnemonic: str, operands: Sequence[Operand]) -> int:
    """The instruction's word; every number in ``operands`` is known. Raises AssemblyError."""
    forms = _table()[mnemonic]
    complaint = ""
    for form in forms:
        word, complaint = _fill(form, operands)
        if not complaint:
            return word
    raise AssemblyError(f"{mnemonic}: {complaint}")


def _fill(form: EncodedForm, operands: Sequence[Operand]) -> tuple[int, str]:
    """The word, or why the operands are none of this form."""
    word, last = form.word, 0
    least = sum(not wanted.endswith("?") for wanted in form.operands)
    if not least <= len(operands) <= len(form.operands):
        return 0, f"takes {len(form.operands)} operands, not {len(operands)}"
    for at, wanted in enumerate(form.operands):
        if at == len(operands):
            word |= 31 << int(wanted[1:-1])
            continue
        given = operands[at]
        if wanted[0] == "[":
            bits, complaint = _address(wanted, given, post=at + 1 < len(form.operands))
        elif wanted[0] in "uij":
            bits, complaint = _number(wanted, given)
        elif wanted[0] == "=":
            number = _register("X" if wanted[1] == "P" else "W", given)
            complaint = "" if number == last + 1 else "wants two registers that follow one another"
            bits = 0
        else:
            number = _register(wanted[0], given)
            last = -1 if number is None else number
            complaint = "" if number is not None else f"`{_shown(given)}' is no register for it"
            bits = max(last, 0) << int(wanted[1:].rstrip("?"))
        if complaint:
            return 0, complaint
        word |= bits
    return word, ""


def _shown(operand: Operand) -> str:
    return "".join(map(str, operand))


def _register(kind: str, operand: Operand) -> int | None:
    """The number of a register of ``kind``; None if the operand is none."""
    name = register(str(operand[0])) if len(operand) == 1 else None
    if name is None:
        return None
    if name in ("sp", "xzr", "wzr"):
        return 31 if name == {"S": "sp", "X": "xzr", "W": "wzr"}.get(kind) else None
    if name[0] != ("w" if kind in "Wp" else "x"):
        return None
    number = int(name[1:])
    return None if kind in "Pp" and number % 2 else number


def _number(wanted: str, operand: Operand) -> tuple[int, str]:
    if len(operand) != 2 or operand[0] != "#" or not isinstance(operand[1], int):
        return 0, f"`{_shown(operand)}' is no number"
    value = operand[1]
    if value >> 63 == 1:
        value -= 1 << 64
    if wanted[0] == "j":
        # LDRAA, LDRAB: ten bits, the sign of them apart.
        scale, bits, signed = 3, 10, True
    else:
        match = _NUMBER.fullmatch(wanted)
        assert match is not None
        scale, bits, signed = int(match["scale"]), int(match["bits"]), match["kind"] == "i"
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    if value % (1 << scale) or not low <= value >> scale <= high:
        unit = f", in steps of {1 << scale}" if scale else ""
        return 0, f"{value} is outside {low << scale} to {high << scale}{unit}"
    field = (value >> scale) & ((1 << bits) - 1)
    if wanted[0] == "j":
        return (field >> 9) << 22 | (field & 0x1FF) << 12, ""
    assert match is not None
    return field << int(match["at"]), ""


def _address(wanted: str, operand: Operand, *, post: bool) -> tuple[int, str]:
    """``[x1]``, ``[x1, #8]``, ``[x1, #8]!``, in the pieces that the parser makes of them.

    With ``post`` the offset follows behind the address.
    """
    match = _MEMORY.fullmatch(wanted)
    assert match is not None
    wrong = f"`{_shown(operand)}' is no address for it"
    if operand[0] != "[" or len(operand) not in (3, 6) or operand[-1] != "]" + match["mark"]:
        return 0, wrong
    base = _register("S", [operand[1]])
    if base is None:
        return 0, f"`{operand[1]}' is no base register"
    bits = base << int(match["base"])
    if len(operand) == 3:
        needed = match["mark"] and match["offset"][0] != "j"
        return (0, "needs its offset") if needed else (bits, "")
    if operand[2] != ", " or post:
        return 0, wrong
    if match["offset"] is None:
        return (bits, "") if operand[3] == "#" and operand[4] == 0 else (0, "takes no offset")
    offset, complaint = _number(match["offset"], operand[3:5])
    return bits | offset, complaint
