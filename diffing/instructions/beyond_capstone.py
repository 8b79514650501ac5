"""Instructions that Capstone 5 does not decode, or not as the architecture has them.

Source of every pattern: the encoding diagrams of ARM DDI 0487, C6.2 and C7.2 (C8.2 for SVE and
SME), written as they are printed there, from bit 31 down. Numbers are spelt as Capstone spells
them: decimal up to 9, then hexadecimal.

Three sorts are missing: what is newer (FEAT_LSUI, FEAT_GCS, the ZT0 of SME2), what Capstone left
out (STGP, FEAT_CSSC, streaming vector lengths), and what it refuses because its result is
CONSTRAINED UNPREDICTABLE (K1.2): should-be-one bits that are zero, and a register loaded twice or
both loaded and written back. That sort is in kernels too: as data between functions, and in LDTR
from its own base, which Capstone believes to write back.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from relokit.codegen.base.nouns import dataclass

WORD = 32
TOP = 24
"""Forms are looked up by the byte from this bit on."""

# Words that Capstone takes for memory copies and sets (C6.2, CPY* and SET*) though the size would
# be in XZR; GNU tools too have them undefined.
_REFUSED_MASK, _REFUSED = 0xFB200FE0, 0x190007E0

# What stands for a field: <Wt> a register, <Xn|SP> a base, <#si*8> a signed and <#ui> an unsigned
# number, <, #si> one that is left out if it is 0.
_FIELD = re.compile(
    r"<(?:(?P<bank>[A-Z])(?P<register>[a-z])(?P<base>\|SP)?"
    r"|(?P<comma>, )?#(?P<sign>[su])(?P<number>[a-z])(?:\*(?P<scale>\d+))?)>"
)


@dataclass(frozen=True, slots=True)
class Form:
    """Words of which the bits under ``mask`` are ``value``.

    ``operands`` is how they are spelt, with fields as ``_FIELD`` has them; ``fields`` has the
    numbers of the bits of each letter, highest first.
    """

    mask: int
    value: int
    mnemonic: str
    operands: str
    fields: dict[str, tuple[int, ...]]

    def spelt(self, word: int) -> str:
        """The operands of ``word``, which is of this form."""

        def field(match: re.Match[str]) -> str:
            bits = self.fields[match["register"] or match["number"]]
            value = 0
            for bit in bits:
                value = value << 1 | word >> bit & 1
            if match["bank"]:
                return _register(value, match["bank"].lower(), base=bool(match["base"]))
            if match["sign"] == "s" and value >> len(bits) - 1:
                value -= 1 << len(bits)
            if match["comma"] and not value:
                return ""
            return (match["comma"] or "") + _number(value * int(match["scale"] or 1))

        return _FIELD.sub(field, self.operands)


def decode_beyond(word: int) -> tuple[str, str] | None:
    """Mnemonic and operands of ``word`` if it is of a form here.

    The place that a literal is at is ``#0``: it is the caller's to fill in.
    """
    for form in _forms_by_top()[word >> TOP]:
        if word & form.mask == form.value:
            return form.mnemonic, form.spelt(word)
    return None


def is_refused(word: int) -> bool:
    """Whether ``word`` is no instruction, whatever Capstone makes of it."""
    return word & _REFUSED_MASK == _REFUSED


def _register(number: int, bank: str, *, base: bool) -> str:
    if number < 31 or bank not in "wx":
        return f"{bank}{number}"
    return "sp" if base else f"{bank}zr"


def _number(value: int) -> str:
    shown = str(abs(value)) if abs(value) < 10 else f"{abs(value):#x}"
    return f"#{'-' if value < 0 else ''}{shown}"


def _form(diagram: str, text: str) -> Form:
    """A row: 0 and 1 are fixed, a dot is any bit, a letter is a field."""
    bits = diagram.replace(" ", "")
    assert len(bits) == WORD, diagram
    mnemonic, _, operands = text.partition(" ")
    return Form(
        mask=int("".join("01"[bit in "01"] for bit in bits), 2),
        value=int("".join("01"[bit == "1"] for bit in bits), 2),
        mnemonic=mnemonic,
        operands=operands,
        fields={
            letter: tuple(WORD - 1 - at for at, bit in enumerate(bits) if bit == letter)
            for letter in set(bits) - set("01.")
        },
    )


@cache
def _forms_by_top() -> tuple[tuple[Form, ...], ...]:
    """Of each top byte, the forms that it can be the top of, in order."""
    forms = tuple(_forms())
    return tuple(
        tuple(form for form in forms if not (top ^ form.value >> TOP) & form.mask >> TOP)
        for top in range(256)
    )


def _forms() -> Iterator[Form]:
    yield from _loads()
    yield from _pairs()
    yield from _exclusives()
    yield from _prefetches()
    for size, bank in (("0", "W"), ("1", "X")):
        yield from _short_sequences(size, bank)
        yield from _unprivileged_atomics(size, bank)
    # FEAT_LSUI: compare and swap of a doubleword.
    for acquire, release, order in (
        ("0", "0", ""),
        ("1", "0", "a"),
        ("0", "1", "l"),
        ("1", "1", "al"),
    ):
        yield _form(
            f"11 001001 1 {acquire} 0 mmmmm {release} 11111 nnnnn ttttt",
            f"cas{order}t <Xm>, <Xt>, [<Xn|SP>]",
        )
    # FEAT_GCS.
    yield _form("11011001 00011111 000011 nnnnn ttttt", "gcsstr <Xt>, [<Xn|SP>]")
    yield _form("11011001 00011111 000111 nnnnn ttttt", "gcssttr <Xt>, [<Xn|SP>]")
    # FEAT_SME: streaming vector and predicate length; FEAT_SME2: the lookup table.
    yield _form("00000100 101 11111 01011 iiiiii ttttt", "rdsvl <Xt>, <#si>")
    yield _form("00000100 001 nnnnn 01011 iiiiii ttttt", "addsvl <Xt|SP>, <Xn|SP>, <#si>")
    yield _form("00000100 011 nnnnn 01011 iiiiii ttttt", "addspl <Xt|SP>, <Xn|SP>, <#si>")
    yield _form("11100001 00011111 100000 nnnnn 00000", "ldr zt0, [<Xn|SP>]")
    yield _form("11100001 00111111 100000 nnnnn 00000", "str zt0, [<Xn|SP>]")


def _loads() -> Iterator[Form]:
    """Loads whose base is their target: unprivileged, post-indexed, pre-indexed, authenticated."""
    for size, opc, name, bank in (
        ("00", "01", "rb", "W"), ("00", "10", "rsb", "X"), ("00", "11", "rsb", "W"),
        ("01", "01", "rh", "W"), ("01", "10", "rsh", "X"), ("01", "11", "rsh", "W"),
        ("10", "01", "r", "W"), ("10", "10", "rsw", "X"), ("11", "01", "r", "X"),
    ):  # fmt: skip
        for prefix, index, operands in (
            ("ldt", "10", "[<Xn|SP><, #si>]"),
            ("ld", "01", "[<Xn|SP>], <#si>"),
            ("ld", "11", "[<Xn|SP>, <#si>]!"),
        ):
            yield _form(
                f"{size} 111 0 00 {opc} 0 iiiiiiiii {index} nnnnn ttttt",
                f"{prefix}{name} <{bank}t>, {operands}",
            )
    for key, name in (("0", "ldraa"), ("1", "ldrab")):
        yield _form(
            f"11 111 0 00 {key} i 1 iiiiiiiii 11 nnnnn ttttt", f"{name} <Xt>, [<Xn|SP>, <#si*8>]!"
        )


def _pairs() -> Iterator[Form]:
    """Pairs: with a register that is in them twice; and STGP, which Capstone has not at all."""
    for opc, vector, load, name, bank, scale in (
        ("00", 0, 0, "st", "W", 4), ("10", 0, 0, "st", "X", 8), ("01", 0, 0, "stg", "X", 16),
        ("00", 0, 1, "ld", "W", 4), ("10", 0, 1, "ld", "X", 8),
        ("00", 1, 1, "ld", "S", 4), ("01", 1, 1, "ld", "D", 8), ("10", 1, 1, "ld", "Q", 16),
    ):  # fmt: skip
        for index, suffix, operands in (
            ("000", "np", f"[<Xn|SP><, #si*{scale}>]"),
            ("001", "p", f"[<Xn|SP>], <#si*{scale}>"),
            ("010", "p", f"[<Xn|SP><, #si*{scale}>]"),
            ("011", "p", f"[<Xn|SP>, <#si*{scale}>]!"),
        ):
            if (name, suffix) != ("stg", "np"):
                yield _form(
                    f"{opc} 101 {vector} {index} {load} iiiiiii uuuuu nnnnn ttttt",
                    f"{name}{suffix} <{bank}t>, <{bank}u>, {operands}",
                )


def _exclusives() -> Iterator[Form]:
    """Exclusive and ordered accesses with a field that should be ones; pairs of one register."""
    for size, letter, bank in (
        ("00", "b", "W"),
        ("01", "h", "W"),
        ("10", "", "W"),
        ("11", "", "X"),
    ):
        for kind, status, rest, name in (
            ("010", ".....", "0.....", "ldxr"), ("010", ".....", "1.....", "ldaxr"),
            ("100", ".....", "0.....", "stllr"), ("100", ".....", "1.....", "stlr"),
            # GNU tools are less lenient with LDAR than with the others, and so are we.
            ("110", ".....", "0.....", "ldlar"), ("110", ".1111", "111111", "ldar"),
        ):  # fmt: skip
            yield _form(
                f"{size} 001000 {kind} {status} {rest} nnnnn ttttt",
                f"{name}{letter} <{bank}t>, [<Xn|SP>]",
            )
    for size, bank in (("0", "W"), ("1", "X")):
        for acquire, name in (("0", "ldxp"), ("1", "ldaxp")):
            yield _form(
                f"1{size} 001000 011 ..... {acquire} uuuuu nnnnn ttttt",
                f"{name} <{bank}t>, <{bank}u>, [<Xn|SP>]",
            )


def _prefetches() -> Iterator[Form]:
    """Prefetches of which the operation has no name."""
    yield _form("11 111 0 01 10 iiiiiiiiiiii nnnnn ttttt", "prfm <#ut>, [<Xn|SP><, #ui*8>]")
    yield _form("11 111 0 00 10 0 iiiiiiiii 00 nnnnn ttttt", "prfum <#ut>, [<Xn|SP><, #si>]")
    yield _form("11 011 0 00 ................... ttttt", "prfm <#ut>, #0")
    for option, bank, extension in (
        ("010", "W", ", uxtw"), ("011", "X", ""), ("110", "W", ", sxtw"), ("111", "X", ", sxtx"),
    ):  # fmt: skip
        for shift, amount in (("0", extension), ("1", f"{extension or ', lsl'} #3")):
            yield _form(
                f"11 111 0 00 10 1 mmmmm {option} {shift} 10 nnnnn ttttt",
                f"prfm <#ut>, [<Xn|SP>, <{bank}m>{amount}]",
            )


def _short_sequences(size: str, bank: str) -> Iterator[Form]:
    """FEAT_CSSC: minima, maxima and bit counts of general registers."""
    for opc, name in (("00", "smax"), ("01", "umax"), ("10", "smin"), ("11", "umin")):
        yield _form(
            f"{size} 0 0 100011 1 00{opc} iiiiiiii nnnnn ttttt",
            f"{name} <{bank}t>, <{bank}n>, <#{name[0]}i>",
        )
        yield _form(
            f"{size} 0 0 11010110 mmmmm 0110 {opc} nnnnn ttttt",
            f"{name} <{bank}t>, <{bank}n>, <{bank}m>",
        )
    for opc, name in (("1000", "abs"), ("0111", "cnt"), ("0110", "ctz")):
        yield _form(
            f"{size} 1 0 11010110 00000 00{opc} nnnnn ttttt", f"{name} <{bank}t>, <{bank}n>"
        )


def _unprivileged_atomics(size: str, bank: str) -> Iterator[Form]:
    """FEAT_LSUI: atomics, swaps and exclusives on user memory."""
    for opc, name in (("000", "add"), ("001", "clr"), ("011", "set")):
        for release, order in (("0", ""), ("1", "l")):
            yield _form(
                f"0{size} 011001 0 {release} 1 mmmmm 0 {opc} 01 nnnnn 11111",
                f"stt{name}{order} <{bank}m>, [<Xn|SP>]",
            )
    for swap, opc, name in (
        ("0", "000", "ldtadd"), ("0", "001", "ldtclr"), ("0", "011", "ldtset"),
        ("1", "000", "swpt"),
    ):  # fmt: skip
        for bits, order in (("00", ""), ("10", "a"), ("01", "l"), ("11", "al")):
            yield _form(
                f"0{size} 011001 {bits} 1 mmmmm {swap} {opc} 01 nnnnn ttttt",
                f"{name}{order} <{bank}m>, <{bank}t>, [<Xn|SP>]",
            )
    for ordered, load, store in (("0", "ldtxr", "sttxr"), ("1", "ldatxr", "stltxr")):
        yield _form(
            f"1{size} 001001 010 11111 {ordered} 11111 nnnnn ttttt", f"{load} <{bank}t>, [<Xn|SP>]"
        )
        yield _form(
            f"1{size} 001001 000 mmmmm {ordered} 11111 nnnnn ttttt",
            f"{store} <Wm>, <{bank}t>, [<Xn|SP>]",
        )
