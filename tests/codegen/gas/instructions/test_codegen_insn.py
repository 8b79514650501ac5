"""Instruction statements, operand lists and the tables behind them, before any encoding."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relokit.codegen.aarch64_elf import RelocationType as R
from relokit.codegen.base.errors import AssemblyError
from relokit.codegen.gas.instructions import gnu_sysregs
from relokit.codegen.gas.instructions.arithmetic import AsmName
from relokit.codegen.gas.instructions.fields import (
    ADDRESS,
    BRANCH,
    CALL,
    CONDITIONAL,
    LITERAL,
    LO12,
    OPERATORS,
    TEST,
    Field,
    fill_absolute,
    lo12_relocation,
)
from relokit.codegen.gas.instructions.insn import AsmInstruction, parse_instruction
from relokit.codegen.gas.instructions.operands import keyword, register, split_operands


def parse(text: str) -> AsmInstruction:
    mnemonic, _, operands = text.partition(" ")
    return parse_instruction(mnemonic, split_operands(operands))


SPELLED = {
    "nop": "nop",
    "add X0,x1 , #(1<<3)": "add x0, x1, #8",
    "mov fp, LR": "mov x29, x30",
    "ldr x0, [ x1 , #8+8 ] !": "ldr x0, [x1, #16]!",
    "ldr x0, [x1], 0x10": "ldr x0, [x1], #16",
    "ldr w0, [x1, W2, UXTW #2]": "ldr w0, [x1, w2, uxtw #2]",
    "add x0, x1, x2, lsl 3": "add x0, x1, x2, lsl #3",
    "add x0, x1, w2, sxtw": "add x0, x1, w2, sxtw",
    "movk x0, #'a, lsl#16": "movk x0, #97, lsl #16",
    "ccmp x0, #0, #4, NE": "ccmp x0, #0, #4, ne",
    "sub x0, x0, #-4096": "add x0, x0, #4096",
    "cmp w0, -5": "cmn w0, #5",
    "and x0, x0, #~0xfff": "and x0, x0, #-4096",
    "mov w0, #0xffffffffffffffff": "mov w0, #-1",
    "dsb ISH": "dsb ish",
    "dsb #11": "dsb #11",
    "bti jc": "hint #38",
    "PACIASP".lower(): "hint #25",
    "psb csync": "hint #17",
    "ssbb": "dsb #0",
    "mrs x0, SCTLR_EL12": "mrs x0, s3_5_c1_c0_0",
    "mrs x0, sctlr_el1": "mrs x0, s3_0_c1_c0_0",
    "msr mair_el12, x3": "msr s3_5_c10_c2_0, x3",
    "dc CVAP, x1": "sys #3, c7, c12, #1, x1",
    "dc civac, X1": "dc civac, x1",
    "tlbi vmalle1os": "sys #0, c8, c1, #0",
    "prfm PLDL1KEEP, [x0]": "prfm pldl1keep, [x0]",
    "sys #0, C7, c1, #0": "sys #0, c7, c1, #0",
    "ld1 {V0.16B, v1.16b}, [x0], #32": "ld1 {v0.16b, v1.16b}, [x0], #32",
}


@pytest.mark.parametrize("text", SPELLED)
def test_spelling_for_the_encoder(text: str) -> None:
    instruction = parse(text)
    assert instruction.text == SPELLED[text]
    assert instruction.field is None
    assert instruction.word is None


WORDS = {  # ARM DDI 0487, C6.2
    "sb": 0xD50330FF,
    "udf #0x1234": 0x1234,
    "msr daifset, #2": 0xD50342DF,
    "msr DAIFClr, 15": 0xD5034FFF,
    "msr spsel, #1": 0xD50041BF,
    "msr pan, #1": 0xD500419F,
}


@pytest.mark.parametrize("text", WORDS)
def test_words_of_our_own(text: str) -> None:
    assert parse(text).word == WORDS[text]


FIELDS = {
    "b x": ("b #0", BRANCH),
    "bl x": ("bl #0", CALL),
    "b.eq x": ("b.eq #0", CONDITIONAL),
    "bne x": ("bne #0", CONDITIONAL),
    "cbz w3, x": ("cbz w3, #0", CONDITIONAL),
    "tbnz x3, #(1 << 5), x": ("tbnz x3, #32, #0", TEST),
    "adr x3, x": ("adr x3, #0", ADDRESS),
    "adrp x3, x": ("adrp x3, #0", OPERATORS["pg_hi21"]),
    "adrp x3, :pg_hi21_nc:x": ("adrp x3, #0", OPERATORS["pg_hi21_nc"]),
    "ldr x3, x": ("ldr x3, #0", LITERAL),
    "prfm #5, x": ("prfm #5, #0", LITERAL),
    "add x0, x0, :lo12:x": ("add x0, x0, #0", LO12),
    "ldr w0, [x1, #:lo12:x]": ("ldr w0, [x1, #0]", LO12),
    "movk x0, #:abs_g2_nc:x": ("movk x0, #0, lsl #32", OPERATORS["abs_g2_nc"]),
    "movz x0, :abs_g0:x": ("movz x0, #0", OPERATORS["abs_g0"]),
}


@pytest.mark.parametrize("text", FIELDS)
def test_a_symbol_becomes_zero_and_a_field(text: str) -> None:
    instruction = parse(text)
    assert (instruction.text, instruction.field) == FIELDS[text]
    assert instruction.target == AsmName("x")
    assert instruction.pool == 0


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("ldr x0, =x", 8),
        ("ldr w0, =x", 4),
        ("ldrsw x0, =x", 4),
        ("ldr q0, =x", 16),
        ("ldr d0, =x", 8),
    ],
)
def test_literals_ask_for_room_in_the_pool(text: str, size: int) -> None:
    instruction = parse(text)
    assert (instruction.pool, instruction.target) == (size, AsmName("x"))


def test_an_immediate_with_a_symbol_waits() -> None:
    instruction = parse("mov x0, #later + 1")
    assert instruction.text == ""
    assert [piece for piece in instruction.pieces if not isinstance(piece, str)]


@pytest.mark.parametrize(
    "text",
    [
        "b", "b x, y", "b x0", "bl sp", "cbz x0", "adr x0", "adrp x0, :lo12:x", "adrp x0, x1",
        "ldr x0, =", "ldr h0, =1", "prfm #1, =x", "add x0, x0, :lo12:", "add x0, x0, :frob:x",
        "add x0, :lo12:a, :lo12:b", "sub x0, x0, :lo12:x", "mov x0, :lo12:x", "movz x0, :lo12:x",
        "ldr x0, [x1, :abs_g0:x]", "ldr x0, [:lo12:x]", "ldr x0, [x1, :lo12:x]!", "ldr x0, [x1",
        "ldr x0, []", "ldr x0, [[x1]]", "ldr x0, [x1]?", "movz x0, :abs_g1:x, lsl #16",
        "mov x0,, x1",
        "add x0, x1, x2, lsl #", "ld1 {v0.16b; nop}, [x0]", "mrs x0, x1", "mrs x0", "mrs x0, a b",
        "msr pan, #2", "msr daifset, #16", "msr daifset, {x0}", "udf x", "udf #65536", "dc",
        "dc civac, w0", "dc civac, #1", "dc cvap", "dc a-b, x0", "tlbi vmalle1os, x0",
        "mov w0, #0x100000000", "mov w0, #-0x80000001", "orn x0, x1, #1", "sxtw x0, x1",
        "add x0, x1, w2, lsl #3", "cmp sp, w2, lsl #1", "nop é", "svc :x",
    ],
)  # fmt: skip
def test_malformed_instructions_are_errors(text: str) -> None:
    with pytest.raises(AssemblyError):
        parse(text)


@given(st.text("abdlsrtxw0123456789 ,#[]{}:=!'\"()+-.", max_size=40))
def test_any_operands_parse_or_are_an_error(operands: str) -> None:
    for mnemonic in ("add", "ldr", "b", "msr", "dc", "adrp", "tbz", "movk"):
        try:
            parse_instruction(mnemonic, split_operands(operands))
        except AssemblyError:
            continue


def test_operands_are_cut_outside_brackets_and_quotes() -> None:
    assert split_operands(" a ,[b, c], (d, e) , ',' ,\"f,g\" ") == (
        "a", "[b, c]", "(d, e)", "','", '"f,g"',
    )  # fmt: skip
    assert split_operands("   ") == ()
    for text in ("a,", ",a", "a,,b", "(a", "a)", "[(a])", "{", ","):
        with pytest.raises(AssemblyError):
            split_operands(text)


def test_registers_and_keywords() -> None:
    names = ("X0", "wzr", "x31", "x30", "w31", "lr", "Q31", "v3.2D")
    assert [register(name) for name in names] == [
        "x0", "wzr", None, "x30", None, "x30", "q31", "v3.2d",
    ]  # fmt: skip
    assert [keyword(name) for name in ("EQ", "c15", "c16", "pstl2strm", "foo", "sp")] == [
        "eq", "c15", None, "pstl2strm", None, "sp",
    ]  # fmt: skip


# Field arithmetic against the encodings of ARM DDI 0487, C6.2.
FILLED = [
    (BRANCH, 0x14000000, -4, 0x17FFFFFF),
    (BRANCH, 0x14000000, (1 << 27) - 4, 0x15FFFFFF),
    (CALL, 0x94000000, 8, 0x94000002),
    (CONDITIONAL, 0x54000001, -(1 << 20), 0x54800001),
    (CONDITIONAL, 0xB4000003, 16, 0xB4000083),
    (TEST, 0x36180000, -32768, 0x361C0000),
    (ADDRESS, 0x10000000, 5, 0x30000020),
    (ADDRESS, 0x10000000, -1, 0x70FFFFE0),
    (LITERAL, 0x58000000, 12, 0x58000060),
]


@pytest.mark.parametrize(("field", "word", "distance", "filled"), FILLED)
def test_fields_are_filled(field: Field, word: int, distance: int, filled: int) -> None:
    assert field.fill(word, distance) == filled


@pytest.mark.parametrize(
    ("field", "reach"),
    [
        (BRANCH, 1 << 27),
        (CONDITIONAL, 1 << 20),
        (TEST, 1 << 15),
        (ADDRESS, 1 << 20),
        (LITERAL, 1 << 20),
    ],
)
def test_fields_know_their_reach_and_alignment(field: Field, reach: int) -> None:
    step = 1 << field.scale
    field.fill(0, reach - step)
    field.fill(0, -reach)
    for distance in (reach, -reach - step):
        with pytest.raises(AssemblyError, match="out of range"):
            field.fill(0, distance)
    if step > 1:
        with pytest.raises(AssemblyError, match="not aligned"):
            field.fill(0, 2)


@pytest.mark.parametrize(
    ("word", "relocation"),
    [
        (0x91000000, R.ADD_ABS_LO12_NC),  # add x0, x0, #0
        (0x11000000, R.ADD_ABS_LO12_NC),  # add w0, w0, #0
        (0x39400000, R.LDST8_ABS_LO12_NC),  # ldrb
        (0x79000000, R.LDST16_ABS_LO12_NC),  # strh
        (0xB9800000, R.LDST32_ABS_LO12_NC),  # ldrsw
        (0xF9400000, R.LDST64_ABS_LO12_NC),  # ldr x
        (0xF9800000, R.LDST64_ABS_LO12_NC),  # prfm
        (0x3DC00000, R.LDST128_ABS_LO12_NC),  # ldr q
        (0x3D400000, R.LDST8_ABS_LO12_NC),  # ldr b
        (0xFD000000, R.LDST64_ABS_LO12_NC),  # str d
    ],
)
def test_lo12_depends_on_the_access(word: int, relocation: R) -> None:
    assert lo12_relocation(word) is relocation


@pytest.mark.parametrize("word", [0xD503201F, 0xF8400000, 0xA9400000, 0xB1000000, 0xD1000000])
def test_lo12_is_not_for_everything(word: int) -> None:
    with pytest.raises(AssemblyError, match=":lo12:"):
        lo12_relocation(word)


def test_numbers_in_absolute_fields() -> None:
    assert fill_absolute(LO12, 0xF9400000, 0x12348) == 0xF9400000 | (0x348 >> 3) << 10
    assert fill_absolute(OPERATORS["abs_g1"], 0xD2A00000, 0x12345678) == 0xD2A00000 | 0x1234 << 5
    assert fill_absolute(OPERATORS["abs_g3"], 0xD2E00000, -1) == 0xD2E00000 | 0xFFFF << 5
    for field, word, value in (
        (LO12, 0xF9400000, 4),
        (OPERATORS["abs_g0"], 0xD2800000, 0x10000),
        (OPERATORS["pg_hi21"], 0x90000000, 0x1000),
    ):
        with pytest.raises(AssemblyError):
            fill_absolute(field, word, value)


def test_the_el12_names_alias_el1_registers() -> None:
    """ARM DDI 0487, D1 (VHE): _EL12 is the EL1 encoding with op1 = 5."""
    for name, generic in gnu_sysregs.SYSTEM_REGISTERS.items():
        assert generic.count("_") == 4
        if name.endswith(("_el12", "_el02")):
            assert generic.split("_")[1] == "5", name
