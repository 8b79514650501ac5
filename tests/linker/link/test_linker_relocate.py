"""Relocations: every type's arithmetic, its limits, and what it leaves alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relokit.codegen.aarch64_elf import RelocationType as R
from relokit.linker.link.relocate import (
    RULES,
    RelocationError,
    RelocationFormula,
    relocate,
    type_name,
)

PLACE = 0xFFFF_8000_0800_1000


def field(
    kind: int, symbol: int | None, *, place: int = PLACE, addend: int = 0, word: int = 0
) -> int:
    """The eight bytes at the place after relocating ``word``, as a number."""
    data = bytearray(word.to_bytes(8, "little"))
    relocate(data, 0, kind, symbol, addend, place)
    return int.from_bytes(data, "little")


# The instruction in the comment, at PLACE, encoded as in ARM DDI 0487 C6.2.
ENCODED = [
    (R.JUMP26, 0x14000000, PLACE + 0x100, 0x14000040),  # b .+0x100
    (R.CALL26, 0x94000000, PLACE - 4, 0x97FFFFFF),  # bl .-4
    (R.CONDBR19, 0x54000001, PLACE + 0x8000, 0x54040001),  # b.ne .+0x8000
    (R.CONDBR19, 0xB4000003, PLACE - 8, 0xB4FFFFC3),  # cbz x3, .-8
    (R.TSTBR14, 0x36180000, PLACE + 0x20, 0x36180100),  # tbz x0, #3, .+0x20
    (R.ADR_PREL_LO21, 0x10000000, PLACE + 5, 0x30000020),  # adr x0, .+5
    (R.ADR_PREL_PG_HI21, 0x90000001, PLACE + 0x3FFF, 0xF0000001),  # adrp x1, .+0x3000
    (R.LD_PREL_LO19, 0x58000002, PLACE + 12, 0x58000062),  # ldr x2, .+12
    (R.ADD_ABS_LO12_NC, 0x91000000, PLACE + 0xABC, 0x912AF000),  # add x0, x0, #0xabc
    (R.LDST8_ABS_LO12_NC, 0x39400000, PLACE + 0xABC, 0x396AF000),  # ldrb w0, [x0, #0xabc]
    (R.LDST16_ABS_LO12_NC, 0x79400000, PLACE + 0xABC, 0x79557800),  # ldrh w0, [x0, #0xabc]
    (R.LDST32_ABS_LO12_NC, 0xB9400000, PLACE + 0xABC, 0xB94ABC00),  # ldr w0, [x0, #0xabc]
    (R.LDST64_ABS_LO12_NC, 0xF9400000, PLACE + 0xAB8, 0xF9455C00),  # ldr x0, [x0, #0xab8]
    (R.LDST128_ABS_LO12_NC, 0x3DC00000, PLACE + 0xAB0, 0x3DC2AC00),  # ldr q0, [x0, #0xab0]
    (R.MOVW_UABS_G0_NC, 0xF2800006, 0x1234_5678_9ABC_DEF0, 0xF29BDE06),  # movk x6, #0xdef0
    (R.MOVW_UABS_G1_NC, 0xF2A00006, 0x1234_5678_9ABC_DEF0, 0xF2B35786),
    (R.MOVW_UABS_G2_NC, 0xF2C00006, 0x1234_5678_9ABC_DEF0, 0xF2CACF06),
    (R.MOVW_UABS_G3, 0xD2E00006, 0x1234_5678_9ABC_DEF0, 0xD2E24686),
]


@pytest.mark.parametrize(("kind", "word", "symbol", "expected"), ENCODED)
def test_instructions_come_out_as_the_architecture_encodes_them(
    kind: int, word: int, symbol: int, expected: int
) -> None:
    assert field(kind, symbol, word=word) == expected


def test_the_rest_of_the_instruction_and_its_neighbours_stay() -> None:
    for kind, rule in RULES.items():
        if not rule.bits:
            continue
        small = rule.low == 0 or rule.inverts
        ones = field(kind, PLACE & 0xFFFF if small else PLACE, word=(1 << 64) - 1)
        mask = (0x3 << 29 | 0x7FFFF << 5) if rule.split else ((1 << rule.bits) - 1) << rule.lsb
        assert ones | mask == (1 << 64) - 1, type_name(kind)


def test_data() -> None:
    assert field(R.ABS64, PLACE, addend=-8) == PLACE - 8
    assert field(R.PREL64, PLACE - 16) == 2**64 - 16
    assert field(R.ABS32, 0x8765_4321, word=0xFF << 32) == 0xFF_8765_4321
    assert field(R.ABS32, 0, addend=-1) == 0xFFFF_FFFF
    assert field(R.PREL32, PLACE, addend=-4) == 0xFFFF_FFFC
    assert field(R.ABS16, 0xFFFF) == 0xFFFF
    assert field(R.PREL16, PLACE + 0x7FFF) == 0x7FFF
    assert field(R.NONE, 1, word=7) == 7


# (type, the lowest and highest displacement or value it can hold)
LIMITS = [
    (R.JUMP26, -(1 << 27), (1 << 27) - 4),
    (R.CALL26, -(1 << 27), (1 << 27) - 4),
    (R.CONDBR19, -(1 << 20), (1 << 20) - 4),
    (R.LD_PREL_LO19, -(1 << 20), (1 << 20) - 4),
    (R.TSTBR14, -(1 << 15), (1 << 15) - 4),
    (R.ADR_PREL_LO21, -(1 << 20), (1 << 20) - 1),
    (R.ADR_PREL_PG_HI21, -(1 << 32), (1 << 32) - 1),
    (R.PREL32, -(1 << 31), (1 << 31) - 1),
    (R.PREL16, -(1 << 15), (1 << 15) - 1),
    (R.ABS32, -(1 << 31), (1 << 32) - 1),
    (R.ABS16, -(1 << 15), (1 << 16) - 1),
    (R.MOVW_UABS_G0, 0, (1 << 16) - 1),
    (R.MOVW_UABS_G1, 0, (1 << 32) - 1),
    (R.MOVW_UABS_G2, 0, (1 << 48) - 1),
]


@pytest.mark.parametrize(("kind", "low", "high"), LIMITS)
def test_limits(kind: int, low: int, high: int) -> None:
    rule = RULES[kind]
    base = 0 if rule.operation is RelocationFormula.ABSOLUTE else PLACE
    step = rule.multiple
    for value in (low, high):
        field(kind, base + value)
    for value in (low - step, high + step):
        with pytest.raises(RelocationError, match=f"R_AARCH64_{R(kind).name} out of range"):
            field(kind, base + value)


def test_unaligned_targets() -> None:
    for kind in (R.JUMP26, R.CONDBR19, R.TSTBR14, R.LD_PREL_LO19):
        with pytest.raises(RelocationError, match="misaligned"):
            field(kind, PLACE + 2)
    for kind, step in ((R.LDST16_ABS_LO12_NC, 2), (R.LDST128_ABS_LO12_NC, 16)):
        with pytest.raises(RelocationError, match=f"multiple of {step}"):
            field(kind, PLACE + step // 2)


def test_a_page_distance_ignores_the_low_bits() -> None:
    for place in (PLACE, PLACE + 0xFFC):
        for symbol in (PLACE + 0x2000, PLACE + 0x2FFF):
            assert field(R.ADR_PREL_PG_HI21, symbol, place=place, word=0x90000000) == 0xD0000000


def test_nobody_defines_a_weak_symbol() -> None:
    assert field(R.CALL26, None, word=0x94000000) == 0xD503201F
    assert field(R.JUMP26, None, word=0x14000000) == 0xD503201F
    assert field(R.CONDBR19, None, word=0xB4000000) == 0xB4000000
    assert field(R.ADR_PREL_PG_HI21, None, word=0x90000000) == 0x90000000
    assert field(R.ABS64, None) == 0


def test_unknown_types_and_places_outside_are_named() -> None:
    with pytest.raises(RelocationError, match="type 1026 is not supported"):
        field(1026, PLACE)
    for offset in (-1, 5, 8, 1 << 70):
        with pytest.raises(RelocationError, match="outside its section"):
            relocate(bytearray(8), offset, R.CALL26, PLACE, 0, PLACE)


@given(st.integers(-(1 << 25), (1 << 25) - 1), st.integers(0, 2**62 - 1))
def test_a_branch_reaches_its_target_from_anywhere(words: int, place: int) -> None:
    place *= 4
    target = (place + 4 * words) % 2**64
    immediate = field(R.JUMP26, target, place=place) & 0x3FFFFFF
    signed = immediate - (1 << 26) if immediate >> 25 else immediate
    assert (place + 4 * signed) % 2**64 == target
