"""How long a register holds a page: word by word, natively, and as capstone says."""

from __future__ import annotations

import capstone
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relokit.building import encoder
from relokit.codegen.gas.assembler import assemble
from relokit.codegen.source import Unit
from relokit.diffing.read.page_register import REACH, loses
from relokit.diffing.read.references import Flag, TextReader

ADRP, ADD = 0x90000000, 0x91000000
NOP = 0xD503201F


def completed(*between: int, register: int) -> bool:
    """Whether an ADRP of ``register`` is completed by an ADD behind those words."""
    words = [ADRP | register, *between, ADD | register << 5 | register]
    text = np.array(words, np.uint32)
    reader = TextReader(text, np.array([0]), np.array([len(text)]), 0)
    return bool(reader.flags[0] & Flag.COMPLETED)


def word(text: str) -> int:
    made = assemble(Unit.from_text("t.S", f"{text}\n"), encoder().encode)
    return int.from_bytes(made.sections[0].data[:4], "little")


@pytest.mark.parametrize(
    ("text", "register", "lost"),
    [
        ("mrs x2, sp_el0", 3, False),
        ("mrs x3, sp_el0", 3, True),
        ("nop", 31, True),  # Rt is 31, which no ADRP is of
        ("nop", 3, False),
        ("stp x29, x30, [sp, #0x50]", 3, False),
        ("ldp x1, x3, [sp]", 3, True),
        ("ldp x1, x2, [x3], #16", 3, True),
        ("ldp x1, x2, [x3, #16]", 3, False),
        ("ldr x1, [x3, #8]!", 3, True),
        ("ldr x1, [x3], #8", 3, True),
        ("ldr x1, [x3, #8]", 3, False),
        ("ldur x1, [x3, #-8]", 3, False),
        ("ldr x1, [x3, x2]", 3, False),
        ("cbz x3, .+64", 3, False),
        ("tbnz x3, #1, .+64", 3, False),
        ("b.eq .+64", 3, False),
        ("b .+64", 3, True),
        ("ret", 19, True),
        ("br x1", 19, True),
        ("bl .+64", 3, True),
        ("bl .+64", 19, False),
        ("blr x1", 28, False),
        ("blr x1", 18, True),
        ("hvc #0", 19, True),
        ("ldxp x1, x3, [x2]", 3, True),
        ("stxr w3, x1, [x2]", 3, True),
        ("casp x2, x3, x4, x5, [x6]", 2, True),
        ("add x4, x3, #1", 3, False),
        ("mov x3, x4", 3, True),
    ],
)
def test_what_ends_it(text: str, register: int, lost: bool) -> None:
    assert loses(word(text), register) is lost
    if register != 31:
        assert completed(word(text), register=register) is not lost


@given(st.lists(st.integers(0, 0xFFFFFFFF), max_size=4), st.integers(0, 30))
def test_native_code_says_the_same(words: list[int], register: int) -> None:
    """Of words that lead to none of these: what is entered from elsewhere ends it, too."""
    reader = TextReader(
        np.array([*words, NOP], np.uint32), np.array([0]), np.array([len(words) + 1]), 0
    )
    inside = reader.flags & np.uint8(Flag.INSIDE | Flag.LITERAL)
    uses = any(one >> 5 & 31 == register and one >> 24 & 0x1F == 0x11 for one in words)
    if inside.any() or uses:
        return
    lost = any(loses(one, register) for one in words)
    assert completed(*words, register=register) is (not lost) or _uses(words, register)


def _uses(words: list[int], register: int) -> bool:
    """Whether one of ``words`` completes the ADRP itself, as a load or store may."""
    return any(one & 0x3B000000 == 0x39000000 and one >> 5 & 31 == register for one in words)


@given(st.integers(0, 0xFFFFFFFF))
def test_whatever_capstone_says_is_written_is_lost(one: int) -> None:
    """Never the other way round: to lose it too early invents no address."""
    decoder = capstone.Cs(capstone.CS_ARCH_ARM64, capstone.CS_MODE_LITTLE_ENDIAN)
    decoder.detail = True
    for instruction in decoder.disasm(one.to_bytes(4, "little"), 0):
        written = {instruction.reg_name(number) for number in instruction.regs_access()[1]}
        for register in range(19, 29):
            if {f"x{register}", f"w{register}"} & written:
                assert loses(one, register), instruction


def test_it_is_looked_for_no_further_than_it_reaches() -> None:
    assert completed(*[NOP] * (REACH - 1), register=3)
    assert not completed(*[NOP] * REACH, register=3)
