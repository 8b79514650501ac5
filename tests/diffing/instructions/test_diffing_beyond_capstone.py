"""Words that Capstone does not decode, against what GNU objdump 2.47 prints for them.

objdump's numbers are decimal; they are written here as everywhere in this package.
"""

from __future__ import annotations

import struct

import pytest

from relokit.diffing.instructions.beyond_capstone import decode_beyond
from relokit.diffing.instructions.decode import decode_words

# Loads and pairs of a register with itself, fields that should be ones, MTE, CSSC, SME.
KNOWN_TO_ALL = """
b8400800 ldtr w0, [x0]              38400821 ldtrb w1, [x1]
384aa884 ldtrb w4, [x4, #0xaa]      78dfe8c6 ldtrsh w6, [x6, #-2]
b8810863 ldtrsw x3, [x3, #0x10]     38c00842 ldtrsb w2, [x2]
b8400421 ldr w1, [x1], #0           f8488f7b ldr x27, [x27, #0x88]!
78de6fde ldrsh w30, [x30, #-0x1a]!  f8687eb5 ldraa x21, [x21, #-0xbc8]!
f8bb3f39 ldrab x25, [x25, #0xd98]!  69bbc38c stgp x12, x16, [x28, #-0x90]!
690bffb4 stgp x20, xzr, [x29, #0x170]
68817fff stgp xzr, xzr, [sp], #0x20
29e81c63 ldp w3, w7, [x3, #-0xc0]!  2cd11565 ldp s5, s5, [x11], #0x88
acfd1b46 ldp q6, q6, [x26], #-0x60  2863e93a ldnp w26, w26, [x9, #-0xe4]
a9400000 ldp x0, x0, [x0]           a9acbfde stp x30, x15, [x30, #-0x138]!
08d22d88 ldlarb w8, [x12]           8841496a ldxr w10, [x11]
c85697c2 ldaxr x2, [x30]            c88ff3b9 stlr x25, [x29]
889f5b62 stllr w2, [x27]            c8cffe4c ldar x12, [x18]
c8645455 ldxp x21, x21, [x2]        8875895f ldaxp wzr, w2, [x10]
f98577da prfm #0x1a, [x30, #0xae8]  f881705b prfum #0x1b, [x2, #0x17]
11c917ef smin w15, wzr, #0x45       91cebfff umin xzr, xzr, #0xaf
1ad96865 smin w5, w3, w25           dac02041 abs x1, x2
5ac01e22 cnt w2, w17                dac0185f ctz xzr, x2
04bf5820 rdsvl x0, #1               04bf5fff rdsvl xzr, #-1
043f5bdf addsvl sp, sp, #0x1e       04675cb2 addspl x18, x7, #-0x1b
"""
# FEAT_GCS, FEAT_SME2, FEAT_LSUI: those of Linux 7.2's text and their like.
NEWER = """
d91f1c01 gcssttr x1, [x0]           d91f0fe2 gcsstr x2, [sp]
e11f8040 ldr zt0, [x2]              e13f83e0 str zt0, [sp]
c9817e76 cast x1, x22, [x19]        c9c0fc81 casalt x0, x1, [x4]
c98ffe5a caslt x15, x26, [x18]      c9c07fff casat x0, xzr, [sp]
19e30401 ldtaddal w3, w1, [x0]      19231441 ldtclr w3, w1, [x2]
5934351f sttset x20, [x8]           596b369f sttsetl x11, [x20]
19e38401 swptal w3, w1, [x0]        19a31c5f .inst 0x19a31c5f
895f7eac ldtxr w12, [x21]           c95ffcd6 ldatxr x22, [x6]
89027f1f sttxr w2, wzr, [x24]       c903fe25 stltxr w3, x5, [x17]
"""
# Register offsets of prefetches without a name, as 2.40 has them: to 2.47 they are RPRFM.
INDEXED = """
f8a548b8 prfm #0x18, [x5, w5, uxtw]         f8a558b8 prfm #0x18, [x5, w5, uxtw #3]
f8bf7bfe prfm #0x1e, [sp, xzr, lsl #3]      f8bf6bfe prfm #0x1e, [sp, xzr]
f8a3c85a prfm #0x1a, [x2, w3, sxtw]         f8a3f85a prfm #0x1a, [x2, x3, sxtx #3]
"""


def rows(table: str) -> list[tuple[int, str]]:
    cells = [cell for line in table.splitlines() for cell in line.split("  ") if cell]
    return [(int(cell.split()[0], 16), cell.strip().partition(" ")[2]) for cell in cells]


@pytest.mark.parametrize(("word", "text"), [*rows(KNOWN_TO_ALL), *rows(NEWER), *rows(INDEXED)])
def test_words_are_spelt_as_objdump_spells_them(word: int, text: str) -> None:
    (decoded,) = decode_words(struct.pack("<I", word), 0)
    assert " ".join(decoded) == text


def test_a_literal_prefetch_without_a_name_has_its_place() -> None:
    code = struct.pack("<3I", 0xD8000058, 0xD8FFFFDA, 0xD8000040)
    assert [" ".join(text) for text in decode_words(code, 0x1000)] == [
        "prfm #0x18, #0x1008",
        "prfm #0x1a, #0xffc",
        "prfm pldl1keep, #0x1010",
    ]


def test_a_copy_of_a_size_in_the_zero_register_is_no_instruction() -> None:
    assert list(decode_words(struct.pack("<2I", 0x190507E1, 0x19050441), 0)) == [
        (".inst", "0x190507e1"),
        ("cpyfp", "[x1]!, [x5]!, x2!"),
    ]


@pytest.mark.parametrize("word", [0, 0xFFFFFFFF, 0xD503201F, 0xF9400000, 0x428A2F98])
def test_other_words_are_not_taken(word: int) -> None:
    assert decode_beyond(word) is None
