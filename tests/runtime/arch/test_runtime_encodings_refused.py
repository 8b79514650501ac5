"""What a CPU may refuse: known words, and what is no such word though it looks like one."""

from __future__ import annotations

import pytest

from relokit.runtime.arch.encodings_refused import unallocated, unpredictable
from support.edits import encoder

ERET = 0xD69F03E0


def test_an_eret_is_one_word() -> None:
    assert unallocated(ERET) is None
    assert all(unallocated(ERET & ~0x3E0 | register << 5) for register in range(31))


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("mrs x0, s3_1_c15_c2_0", True),
        ("msr s3_0_c11_c0_2, x1", True),
        ("sys #3, c11, c0, #1, x2", True),
        ("mrs x0, ctr_el0", False),
        ("msr vbar_el2, x1", False),
        ("mrs x0, s3_0_c12_c12_5", False),
        ("dc civac, x10", False),
    ],
)
def test_what_a_cpu_has_of_its_own_is_none_of_another(text: str, refused: bool) -> None:
    [word] = encoder().encode([text])
    assert isinstance(word, bytes)
    assert bool(unallocated(int.from_bytes(word, "little"))) is refused


@pytest.mark.parametrize("word", [0xD69F0BFF, 0xD69F0FFF, 0xD65F0000, 0xD61F0000, 0xD503201F])
def test_other_branches_are_left_alone(word: int) -> None:
    """ERETAA, ERETAB, RET x0, BR x0, NOP."""
    assert unallocated(word) is None


@pytest.mark.parametrize(
    "word",
    [
        0xA9400000,  # ldp x0, x0, [x0]
        0x6D400000,  # ldp d0, d0, [x0]
        0xA8810400,  # stp x0, x1, [x0], #16
        0xA8C10020,  # ldp x0, x0, [x1], #16
        0xF8408400,  # ldr x0, [x0], #8
        0x38001C21,  # strb w1, [x1, #1]!
        0xC87F0000,  # ldxp x0, x0, [x0]
        0xC8007C20,  # stxr w0, x0, [x1]
        0xC8007C01,  # stxr w0, x1, [x0]
    ],
)
def test_registers_that_must_not_be_the_same(word: int) -> None:
    assert unpredictable(word)


@pytest.mark.parametrize(
    "text",
    [
        "stp x0, x0, [x1]",
        "stp x29, x30, [sp, #-16]!",
        "ldr x30, [sp], #16",
        "stp d0, d1, [x0], #16",
        "ldr q0, [x0], #16",
        "ldr x0, [x0]",
        "ldp x0, x1, [x0]",
        "stxp w0, x1, x2, [x3]",
        "stxr w0, x1, [sp]",
        "tlbi vae1, x0",
        "tlbi vmalle1",
        "ic iallu",
        "ic ivau, x0",
        "dc civac, x0",
        "msr ttbr1_el1, x0",
    ],
)
def test_registers_that_may_be_the_same(text: str) -> None:
    [word] = encoder().encode([text])
    assert isinstance(word, bytes)
    assert unpredictable(int.from_bytes(word, "little")) is None


@pytest.mark.parametrize("word", [0x48207C82, 0x48207C00, 0xF8E00000])
def test_atomics_may_have_one_register_twice(word: int) -> None:
    """CASP x0, x1, x2, x3, [x4]; CASP x0, x1, x0, x1, [x0]; LDADDAL x0, x0, [x0]."""
    assert unpredictable(word) is None


@pytest.mark.parametrize("text", ["tlbi vmalle1", "tlbi alle2is", "tlbi vmalls12e1", "ic iallu"])
def test_what_takes_no_register_must_name_none(text: str) -> None:
    [word] = encoder().encode([text])
    assert isinstance(word, bytes)
    plain = int.from_bytes(word, "little")
    assert all(unpredictable(plain & ~31 | register) for register in range(31))
    assert unpredictable(plain) is None
