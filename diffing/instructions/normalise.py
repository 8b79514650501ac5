"""What does not matter, taken out: instructions as keys, equal where the code does the same.

A Key has the registers apart from the rest, so that a renaming can be found and undone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import StrEnum
from functools import cache

from relokit.codegen.base.bits import MASK64
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.instruction_forms import ADR, ADRP, NOP
from relokit.codegen.kimage_layouts import KimageLayout
from relokit.diffing.instructions.decode import KIMAGE, PLACE, Instruction
from relokit.diffing.instructions.ignorable import without_offset

Register = tuple[str, int]
"""Bank (``r`` general, ``v`` vector, ``p`` predicate) and number."""


class Aspect(StrEnum):
    """What is normalised, unless it is asked to be kept."""

    ADDRESSES = "addresses"
    REGISTERS = "registers"
    PADDING = "padding"
    ENCODINGS = "encodings"
    FIELDS = "fields"


@dataclass(frozen=True, slots=True)
class Key:
    """``shape`` is the instruction without register numbers; ``target`` a place in the routine.

    ``form`` is the shape before the place that it refers to was put in: the kind of instruction.
    ``variable`` is where the variable is (VA) that the shape does not name. ``offset`` is what was
    taken out of the shape because offsets are ignored.
    """

    shape: str
    registers: tuple[Register, ...]
    target: int | None
    form: str
    variable: int | None = None
    offset: str = ""


_BANKS = dict.fromkeys("xw", "r") | dict.fromkeys("vqdshbz", "v") | {"p": "p"}
# x30 is not renamed: BL, BLR and RET use it without saying so (DDI 0487, C6.2.36, C6.2.276).
_REGISTER = re.compile(r"\b([xwvqdshbzp])(?!30\b)(\d{1,2})\b")

BLANK = re.compile(r"\b[xwvqdshbzp]_(?!\w)")
"""A register without its number, in a form."""

_PADDING = (NOP, 0)
_ACCESS_BYTES = {"b": 1, "h": 2, "x": 8, "w": 4}


def _wide_move(match: re.Match[str]) -> str:
    value = int(match[2], 0) & 0xFFFFFFFF
    return f"mov x{match[1]}, #{value:#x}"


def _move_64(match: re.Match[str]) -> str:
    return f"mov x{match[1]}, #{int(match[2], 0) & MASK64:#x}"


def _scaled(match: re.Match[str]) -> str:
    suffix, bank = match[2], match[3][0]
    if bank not in "xw" or suffix.startswith("s"):
        return match[0]
    size = _ACCESS_BYTES[suffix or bank]
    offset = int(match[5] or "0", 0)
    if offset < 0 or offset % size:
        return match[0]
    shown = f", #{match[5]}" if offset else ""
    return f"{match[1]}r{suffix} {match[3]}, [{match[4]}{shown}]"


_Rewrite = str | Callable[[re.Match[str]], str]
ENCODINGS: tuple[tuple[re.Pattern[str], _Rewrite], ...] = (
    # ADD and SUB of nothing, shifts by nothing, ORR and AND of a register with itself: a move.
    (re.compile(r"(?:add|sub) (x\d+), (x\d+), #(?:0|0x0)"), r"mov \1, \2"),
    (re.compile(r"(?:lsl|lsr|asr|ror) (x\d+), (x\d+), #(?:0|0x0)"), r"mov \1, \2"),
    (re.compile(r"(?:and|orr) (x\d+), (x\d+), \2"), r"mov \1, \2"),
    # EOR and SUB of a register with itself, and the zero register: a move of zero.
    (re.compile(r"(?:eor|sub) ([xw]\d+), ([xw]\d+), \2"), r"mov \1, #0x0"),
    (re.compile(r"mov ([xw]\d+), [xw]zr"), r"mov \1, #0x0"),
    # A write to Wn clears the upper half of Xn (DDI 0487, B1.2.1).
    (re.compile(r"mov w(\d+), #(-?(?:0x[0-9a-f]+|\d+))"), _wide_move),
    (re.compile(r"mov x(\d+), #(-?(?:0x[0-9a-f]+|\d+))"), _move_64),
    # LDUR and STUR reach what LDR and STR reach by a multiple of the size.
    (
        re.compile(r"(ld|st)ur([bh]?|s[bhw]) ([a-z]\w*), \[(x\d+|sp)(?:, #(-?\w+))?\]"),
        _scaled,
    ),
)
"""Different words that do the same (DDI 0487, C6.2): pattern of the text, and one spelling."""


def trimmed(code: Sequence[Instruction]) -> tuple[Instruction, ...]:
    """``code`` without the nops and zeros at its end, unless it has nothing else."""
    end = len(code)
    # A pointer that the linker fills in is zero, too, and no padding.
    while end > 1 and code[end - 1].word in _PADDING and not code[end - 1].place:
        end -= 1
    return tuple(code[:end])


def key_of(instruction: Instruction, kept: frozenset[Aspect], *, offsets: bool = True) -> Key:
    """What ``instruction`` is compared by, but for the aspects that are ``kept``, and without
    ``offsets`` for what is one.
    """
    text = f"{instruction.mnemonic} {instruction.operands}".rstrip()
    if Aspect.ENCODINGS not in kept:
        for pattern, spelling in ENCODINGS:
            match = pattern.fullmatch(text)
            if match:
                text = match.expand(spelling) if isinstance(spelling, str) else spelling(match)
    else:
        # The top of the word tells forms apart that are spelt alike; no register is in it, and
        # of ADR and ADRP two bits of the distance are.
        adr = ADR.holds(instruction.word) or ADRP.holds(instruction.word)
        text += f" [{instruction.word >> 26 & (0x27 if adr else 0x3F):#x}]"
    registers: list[Register] = []

    def blank(match: re.Match[str]) -> str:
        registers.append(_register(match[1], match[2]))
        return f"{match[1]}_"

    form = shape = _REGISTER.sub(blank, text)
    if instruction.target is None and PLACE in shape:
        shape = shape.replace(PLACE, _place(instruction, kept))
    if instruction.at_boot:
        shape += f" {{{', '.join(f'{word:08x}' for word in instruction.at_boot)}}}"
    variable = None
    if instruction.variable and instruction.target is None and Aspect.ADDRESSES not in kept:
        variable = instruction.address - _beyond(instruction.variable)
    shape, offset = (shape, "") if offsets else without_offset(shape, instruction)
    return Key(shape, tuple(registers), instruction.target, form, variable, offset)


@cache
def _register(name: str, number: str) -> Register:
    """The same one each time: there are few, and they are in most keys."""
    return _BANKS[name], int(number)


def _beyond(variable: str) -> int:
    """The distance from the beginning of a variable."""
    return int(variable.partition("+")[2] or "0", 0)


_CONSTANT = re.compile(r"mov ([xw]\d+), #(-?(?:0x[0-9a-f]+|\d+))")
_REPLACED = re.compile(r"movk ([xw]\d+), #(0x[0-9a-f]+|\d+)(?:, lsl #(0x[0-9a-f]+|\d+))?")


def keys_of(
    code: Sequence[Instruction], kept: frozenset[Aspect], *, offsets: bool = True
) -> tuple[Key, ...]:
    """The keys of a whole routine: one constant in as many moves is the same, whatever these put.

    MOVK keeps the other bits of a register (DDI 0487, C6.2.226).
    """
    keys = [key_of(one, kept, offsets=offsets) for one in code]
    if Aspect.ENCODINGS in kept:
        return tuple(keys)
    targets = {one.target for one in code}
    start = 0
    while start < len(code):
        value, end = _constant(code, start, targets)
        if end - start > 1:
            for index in range(start, end):
                shape = f"mov x_, #{value:#x} ({index - start + 1} of {end - start})"
                keys[index] = replace(keys[index], shape=shape)
        start = end
    return tuple(keys)


def _constant(code: Sequence[Instruction], start: int, targets: set[int | None]) -> tuple[int, int]:
    """What the moves from ``start`` on put into one register, and where they end."""
    first = _CONSTANT.fullmatch(f"{code[start].mnemonic} {code[start].operands}")
    if not first:
        return 0, start + 1
    bits = 64 if first[1][0] == "x" else 32
    value = int(first[2], 0) & (1 << bits) - 1
    end = start + 1
    while end < len(code) and end not in targets:
        more = _REPLACED.fullmatch(f"{code[end].mnemonic} {code[end].operands}")
        if not more or more[1] != first[1]:
            break
        shift = int(more[3] or "0", 0)
        value = value & ~(0xFFFF << shift) | int(more[2], 0) << shift
        end += 1
    return value, end


def _place(instruction: Instruction, kept: frozenset[Aspect]) -> str:
    if Aspect.ADDRESSES in kept:
        return f"{instruction.address:#x}"
    if instruction.datum:
        return "data"  # what is there is compared by itself, wherever that is
    if instruction.variable:
        return instruction.variable  # which one it is, is looked at where rows are paired
    # Without a name, what stays the same when code moves as a whole.
    return instruction.place if instruction.named else f".{instruction.distance:+#x}"


_FIELD = re.compile(r"\[(x\d+)(?:, #(0x[0-9a-f]+|\d+))?\]")
_COPY = re.compile(r"(x\d+), (x\d+)")
_WRITTEN = re.compile(r"[xw](\d+)(?:, [xw](\d+))?")
_READERS = ("st", "cb", "tb", "cmp", "cmn", "tst", "ccm", "msr", "b", "ret", "prf", "dc", "ic")
_CALLER_SAVED = 19


def with_fields(code: Sequence[Instruction], layout: KimageLayout) -> tuple[Instruction, ...]:
    """``code`` of a routine that gets a struct kimage in x0, with the fields it reads by name.

    Follows copies of x0 in the order of addresses, which is not always that of execution.
    """
    fields = field_names(layout)
    holders = {0}
    result = []
    for instruction in code:
        mnemonic, operands = instruction.mnemonic, instruction.operands
        match = _FIELD.search(operands)
        if match and match.end() == len(operands) and int(match[1][1:]) in holders:
            name = fields.get(int(match[2] or "0", 0))
            if name:
                shown = f"{operands[: match.start()]}[{match[1]}, {KIMAGE}{name}]"
                instruction = replace(instruction, operands=shown)
        result.append(instruction)
        copy = _COPY.fullmatch(operands) if mnemonic == "mov" else None
        holds = copy is not None and int(copy[2][1:]) in holders
        if mnemonic in ("bl", "blr"):
            holders = {number for number in holders if number >= _CALLER_SAVED}
        elif not mnemonic.startswith(_READERS) and (written := _WRITTEN.match(operands)):
            holders.discard(int(written[1]))
            if written[2] and mnemonic.startswith("ldp"):
                holders.discard(int(written[2]))
        if holds and copy is not None:
            holders.add(int(copy[1][1:]))
    return tuple(result)


def field_names(layout: KimageLayout) -> dict[int, str]:
    """Byte offsets in struct kimage, and the field that begins there."""
    own = ("head", "entry", "last_entry", "start", "control_code_page", "nr_segments", "segment")
    names = {getattr(layout, name): name for name in own}
    if layout.arch is not None:
        inner = (
            "dtb_mem", "kern_reloc", "el2_vectors", "ttbr0", "ttbr1", "zero_page", "phys_offset",
            "t0sz",
        )  # fmt: skip
        names |= {getattr(layout, name): f"arch.{name}" for name in inner}
    return names
