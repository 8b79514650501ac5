"""Bytes to instructions: Capstone's text with targets, literals and system registers by name.

Encodings: ARM DDI 0487, C4.1. The spelling is ours where Capstone and GNU tools differ.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import field, replace
from functools import cache
from sys import intern
from typing import Any, ClassVar

from relokit.codegen.aarch64_elf import RelocationType
from relokit.codegen.base.bits import MASK64, signed
from relokit.codegen.base.budget import spend
from relokit.codegen.base.documents import ABSENT, Table, shown
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.gas.instructions.gnu_sysregs import HINTS
from relokit.codegen.instruction_forms import (
    ADD,
    ADR,
    ADR_FIELD,
    ADRP,
    HINT,
    LITERAL,
    RELATIVE,
    UNSIGNED_OFFSET,
    WITHIN_PAGE,
)
from relokit.codegen.system_registers import decode_system
from relokit.diffing.instructions.beyond_capstone import decode_beyond, is_refused
from relokit.diffing.read.page_register import REACH, loses
from relokit.diffing.read.routine import Names, Routine, generic

PLACE = "@"
"""Stands in ``Instruction.operands`` where a place in code or data is referred to."""

_HINT_NAMES = {number: name for name, number in HINTS.items()} | {
    0: "nop", 1: "yield", 2: "wfe", 3: "wfi", 4: "sev", 5: "sevl",
}  # fmt: skip
_SYSTEM = 0b1101010100
"""Bits 31:22 of system instructions, hints and barriers (C4.1)."""

_IMMEDIATE = re.compile(r"#-?(?:0x[0-9a-f]+|\d+)")


KIMAGE = "#kimage."
"""Stands in front of a field of struct kimage by name, where the word has its offset."""
PAGE = "page"
"""What is known of a page of which no more is known than that an ADRP takes it."""
NAMELESS = "variable"
"""What is known of data that may change and has no name."""
_LEAVING = 0b101
"""Bits 28:26 of branches and exceptions (C4.1)."""

INSTRUCTION_BYTES = 1500
"""What an instruction takes with its texts, and with what is compared of it."""
LEAST_ADDRESS = 1 << 16
"""Below this a literal is taken for a number, whatever lies there."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """One word of a routine, ``offset`` bytes into it.

    ``operands`` has PLACE where the instruction refers to a place: to instruction number ``target``
    of the routine itself, or else to ``place``, by name or, ``named`` being false, by address.
    ``address`` is that place's VA, ``distance`` its distance from the routine's start, in bytes.
    ``taken`` says that it takes or accesses this place, which is not all that it may do with one:
    it may go there, or take a page. ``datum`` says that the place is data without a name, the same
    wherever it lies. ``variable`` is what is known of a place that no name tells from others: the
    generic name and the distance, or nothing but that it is data that may change.
    ``at_boot`` are the words, without their distances, that boot may put in its place (0 where a
    function makes them), ``note`` says so in words, or that it is such a word itself.
    """

    DOCUMENT: ClassVar[Table] = {"offset": "offset", "word": "hex", **shown("text", "note")}

    offset: int
    word: int
    mnemonic: str
    operands: str
    target: int | None = None
    place: str = ""
    named: bool = False
    address: int = 0
    distance: int = 0
    taken: bool = False
    datum: bool = False
    variable: str = ""
    at_boot: tuple[int, ...] = ()
    note: str = field(default="", metadata=ABSENT)

    @property
    def hex(self) -> str:
        """The word as eight digits."""
        return f"{self.word:08x}"

    @property
    def text(self) -> str:
        """The instruction as a person reads it; a target in the routine is ``<+offset>``."""
        place = self.place if self.target is None else f"<+{4 * self.target:#x}>"
        return f"{self.mnemonic} {self.operands.replace(PLACE, place)}".rstrip()

    @property
    def is_plain(self) -> bool:
        """Whether all of it but the offset is what its word says."""
        return (
            self.target is None
            and not (self.place or self.note or self.at_boot)
            and self.mnemonic[0] != "."
            and KIMAGE not in self.operands
        )


def plain_instructions(offsets_words: Iterable[tuple[int, int]]) -> Iterator[Instruction]:
    """Such instructions by offset and word, as :func:`decode` makes them."""
    found = [*offsets_words]
    texts, _ = spelt_once(tuple(dict.fromkeys(word for _, word in found)))
    return (Instruction(offset, word, *texts[word]) for offset, word in found)


@cache
def _capstone() -> Any:
    # Some 60 ms to import, so late; one object serves all.
    import capstone

    decoder = capstone.Cs(capstone.CS_ARCH_ARM64, capstone.CS_MODE_LITTLE_ENDIAN)
    decoder.skipdata = True  # go on after a word it does not know
    return decoder


def decode_words(code: bytes, address: int) -> Iterator[tuple[str, str]]:
    """Mnemonic and operands of every word of ``code`` at VA ``address``, as spelt here.

    What is no instruction is ``.inst`` and the word in hexadecimal.
    """
    words = struct.unpack(f"<{len(code) // 4}I", code)
    # Code repeats itself: a word is spelt once, and a PC-relative one gets its place each time.
    fixed, relative = spelt_once(tuple(dict.fromkeys(words)))
    for pc, word in enumerate(words):
        text = fixed.get(word)
        if text is None:
            mnemonic, head, mask, distance = relative[word]
            place = (address + 4 * pc & mask) + distance & MASK64
            text = mnemonic, f"{head}#{place:#x}"
        yield text


def spelt_once(
    words: tuple[int, ...],
) -> tuple[dict[int, tuple[str, str]], dict[int, tuple[str, str, int, int]]]:
    """Text by word, which are all different; of PC-relative ones what stands before the place, and
    :func:`_reach`.
    """
    fixed: dict[int, tuple[str, str]] = {}
    relative: dict[int, tuple[str, str, int, int]] = {}
    code = struct.pack(f"<{len(words)}I", *words)
    decoded = _capstone().disasm_lite(code, 0)
    for word, (_, _, mnemonic, operands) in zip(words, decoded, strict=True):
        text = _spelt(word, mnemonic, operands)
        reach = _reach(word)
        if reach is None or text[0] == ".inst":
            fixed[word] = text
        else:
            head, comma, _ = text[1].rpartition(", ")
            relative[word] = text[0], head + comma, *reach
    return fixed, relative


def _spelt(word: int, mnemonic: str, operands: str) -> tuple[str, str]:
    if word >> 22 == _SYSTEM:
        system = decode_system(word)
        if system:
            mnemonic, _, operands = system.text.partition(" ")
            return mnemonic, operands
        if HINT.holds(word):
            number = word >> 5 & 0x7F
            mnemonic, _, operands = _HINT_NAMES.get(number, f"hint #{number}").partition(" ")
            return mnemonic, operands
    # Not known to Capstone; or a prefetch of which it does not know the operation.
    if mnemonic == ".byte" or operands.startswith(","):
        return decode_beyond(word) or (".inst", f"{word:#010x}")
    if is_refused(word):
        return ".inst", f"{word:#010x}"
    return intern(mnemonic), operands


def decode(routine: Routine, names: Names) -> tuple[Instruction, ...]:
    """All instructions of ``routine``; what a literal load in it loads is shown as data."""
    spend(INSTRUCTION_BYTES * (len(routine.code) // 4), "instructions that are compared")
    words = struct.unpack(f"<{len(routine.code) // 4}I", routine.code)
    data = {*range(len(words))} if routine.data else _data(words, routine)
    pointers = (
        routine.pointers if routine.data else {**_linked(words, data, names), **routine.pointers}
    )
    for offset, (_, size) in routine.pointers.items():
        data.update(range(offset // 4, (offset + size) // 4))
    inside = {
        (place - routine.address) // 4
        for index, word in enumerate(words)
        if index not in data and (place := _relative(word, index, routine)) is not None
    }
    pages: dict[int, tuple[int, int]] = {}
    result: list[Instruction] = []
    for index, (mnemonic, operands) in enumerate(decode_words(routine.code, routine.address)):
        word = words[index]
        if index in data:
            plain = Instruction(4 * index, word, ".word", f"{word:#010x}")
            if 4 * index in pointers:
                to, size = pointers[4 * index]
                plain = replace(plain, mnemonic=".quad" if size == 8 else ".word", operands=PLACE)
                plain = _referring(plain, to, names, routine, pointer=True, taken=True)
            result.append(plain)
            continue
        if index in inside:
            pages.clear()
        base = pages.get(word >> 5 & 31)
        low = _low_part(word, index, routine, base[0] if base else None)
        made = _instruction(index, word, mnemonic, operands, routine, names, low)
        for register, (_, since) in [*pages.items()]:
            if index - since >= REACH or loses(word, register):
                del pages[register]
        if ADRP.holds(word):
            pages[word & 31] = (made.address & ~WITHIN_PAGE, index)
        result.append(made)
        if low is not None and base is not None and not routine.fixups:
            # An ADRP refers to what it is completed to.
            pointer = ADD.holds(word)
            result[base[1]] = _referring(result[base[1]], low, names, routine, pointer, True)
    return _with_alternatives(result, routine)


def _with_alternatives(code: list[Instruction], routine: Routine) -> tuple[Instruction, ...]:
    """``code`` with what boot may make of it."""

    def add(offset: int, note: str, *words: int) -> None:
        index = offset // 4
        if 0 <= index < len(code):
            old = code[index]
            note = f"{old.note}; {note}" if old.note else note
            code[index] = replace(old, at_boot=(*old.at_boot, *words), note=note)

    for one in routine.replaced:
        texts = decode_words(struct.pack(f"<{len(one.words)}I", *one.words), 0)
        spelt = [f"{mnemonic} {operands}".rstrip() for mnemonic, operands in texts]
        for number in range(one.size // 4):
            offset = one.offset + 4 * number
            if not one.words:
                add(offset, f"made at boot by {one.reason}", 0)
                continue
            word = one.words[number]
            fixed = _placeless(word)
            # Where it is put, its distance is another one.
            text = spelt[number] if fixed == word else spelt[number].partition(" ")[0]
            add(offset, f"at boot: {text} ({one.reason})", fixed)
            if one.kept_at is not None:
                place = one.place or f"+{offset:#x}"
                note = f"for {place} at boot ({one.reason})"
                add(one.kept_at + 4 * number, note)
    return tuple(code)


def _placeless(word: int) -> int:
    """``word`` without the distance to a place that it may have."""
    if ADR.holds(word) or ADRP.holds(word):
        return word & ~ADR_FIELD
    for mask, form, low, width in RELATIVE:
        if word & mask == form:
            return word & ~((1 << width) - 1 << low)
    return word


def _instruction(
    index: int,
    word: int,
    mnemonic: str,
    operands: str,
    routine: Routine,
    names: Names,
    low: int | None,
) -> Instruction:
    place = _relative(word, index, routine)
    if place is not None:
        head, comma, _ = operands.rpartition(", ")
        operands = head + comma + PLACE
    elif low is not None:
        place = low
        operands = with_low_half(operands, PLACE)
    if 4 * index in routine.relocated:
        kind, to = routine.relocated[4 * index]
        if place is not None:
            operands = operands.rpartition(", ")[0]
        plain = Instruction(4 * index, word, mnemonic, f"{operands}, :{_relocation(kind)}:{PLACE}")
        return _referring(plain, to, names, routine, pointer=False, taken=False)
    plain = Instruction(4 * index, word, mnemonic, operands)
    if place is None:
        return plain
    distance = place - routine.address
    inside = 0 <= distance < len(routine.code) and not distance % 4
    if inside and low is None and not ADRP.holds(word):
        return replace(plain, target=distance // 4, address=place, distance=distance)
    # Of an ADRP alone it is not known what is in the page; a relocation says it.
    kinds = (ADR, ADRP) if routine.fixups else (ADR,)
    pointer = ADD.holds(word) or any(kind.holds(word) for kind in kinds)
    page = ADRP.holds(word) and not routine.fixups
    taken = word >> 26 & 7 != _LEAVING and not page
    made = _referring(plain, place, names, routine, pointer, taken)
    return replace(made, variable=PAGE) if page else made


def with_low_half(operands: str, place: str) -> str:
    """``operands`` with the low half of ``place`` for the number that they have, or the zero that
    is not shown.
    """
    found = _IMMEDIATE.sub(lambda _: f"#:lo12:{place}", operands)
    return found if found != operands else operands.replace("]", f", #:lo12:{place}]")


def _relocation(kind: int) -> str:
    """``abs_g0`` and the like, as GNU as says it, or the number."""
    try:
        name = RelocationType(kind).name
    except ValueError:
        return f"reloc{kind}"
    return name.removeprefix("MOVW_").replace("UABS", "abs").replace("SABS", "abs").lower()


def _referring(
    plain: Instruction, place: int, names: Names, routine: Routine, pointer: bool, taken: bool
) -> Instruction:
    """``plain`` with the place it refers to; ``pointer`` says that it takes its address."""
    name = names.pointed(place) if pointer else names.name(place)
    nameless = not names.data.named_at(place) and (name is None or name[0] != '"')
    return replace(
        plain,
        place=name or f"{place:#x}",
        named=name is not None,
        address=place,
        distance=place - routine.address,
        taken=taken,
        datum=taken and nameless and names.data.is_constant(place),
        variable=variable_at(place, name, names, taken=taken and nameless),
    )


def variable_at(place: int, name: str | None, names: Names, *, taken: bool) -> str:
    """What is known of VA ``place``, called ``name``, if that does not tell it from others; else
    nothing. Only what is ``taken`` may be data without a name.
    """
    if taken and names.data.is_unknown(place):
        return NAMELESS
    if name is None or name[0] == '"':
        return ""
    symbol, sign, distance = name.partition("+")
    shown = generic(symbol)
    return "" if shown == symbol else shown + sign + distance


def _relative(word: int, index: int, routine: Routine) -> int | None:
    """The address that a PC-relative instruction refers to; for ADRP, that of its page."""
    reach = _reach(word)
    if reach is None:
        return None
    fixed = routine.fixups.get(4 * index)
    if fixed is not None:
        return fixed
    mask, distance = reach
    return (routine.address + 4 * index & mask) + distance & MASK64


def _reach(word: int) -> tuple[int, int] | None:
    """What is taken of the PC, as a mask, and added to it, by a PC-relative instruction."""
    if ADR.holds(word) or ADRP.holds(word):
        value = signed((word >> 5 & 0x7FFFF) << 2 | word >> 29 & 3, 21)
        return (MASK64 & ~WITHIN_PAGE, value << 12) if ADRP.holds(word) else (MASK64, value)
    for mask, form, low, width in RELATIVE:
        if word & mask == form:
            return MASK64, 4 * signed(word >> low, width)
    return None


def _low_part(word: int, index: int, routine: Routine, page: int | None) -> int | None:
    """The address of which an ADD or a load or store has the low 12 bits, ``page`` the others."""
    if ADD.holds(word):
        scale = 0
    elif UNSIGNED_OFFSET.holds(word):
        scale = word >> 30
        if word >> 26 & 1 and word >> 23 & 1:  # 128-bit: size 0, opc<1> set
            scale = 4
    else:
        return None
    fixed = routine.fixups.get(4 * index)
    if fixed is not None:
        return fixed
    return None if page is None else page + ((word >> 10 & WITHIN_PAGE) << scale) & MASK64


def _linked(words: tuple[int, ...], data: set[int], names: Names) -> dict[int, tuple[int, int]]:
    """Literals that hold a VA which has a name, by offset: where it lies is the linker's matter."""
    found: dict[int, tuple[int, int]] = {}
    for index in sorted(data):
        if index + 1 not in data or 4 * (index - 1) in found:
            continue
        value = words[index] | words[index + 1] << 32
        if value >= LEAST_ADDRESS and names.name(value) is not None:
            found[4 * index] = value, 8
    return found


def _data(words: tuple[int, ...], routine: Routine) -> set[int]:
    """Numbers of the words that a literal load in the routine loads."""
    found: set[int] = set()
    for index, word in enumerate(words):
        if not LITERAL.holds(word) or index in found or word >> 30 == 3:
            continue
        place = _relative(word, index, routine)
        assert place is not None
        at, rest = divmod(place - routine.address, 4)
        if not rest and index < at < len(words):
            # opc: 32, 64, 128 bits of a vector register; 32, 64, signed 32 of a general one.
            wide = (1, 2, 4)[word >> 30] if word >> 26 & 1 else (1, 2, 1)[word >> 30]
            found.update(range(at, min(at + wide, len(words))))
    return found
