"""Keystone behind glass: 4 bytes for a good instruction, words for a bad one, never a crash."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relokit.codegen.base.errors import NativeCrashError
from relokit.codegen.gas.instructions import encoder as module
from relokit.codegen.gas.instructions.encoder import Encoder


@pytest.fixture(scope="module")
def encoder() -> Iterator[Encoder]:
    encoder = Encoder()
    yield encoder
    encoder.close()


def words(encoder: Encoder, *statements: str) -> list[int | str]:
    return [
        struct.unpack("<I", answer)[0] if isinstance(answer, bytes) else answer
        for answer in encoder.encode(statements)
    ]


# Encodings from ARM DDI 0487, C6.2.
KNOWN = {
    "nop": 0xD503201F,
    "ret": 0xD65F03C0,
    "mov x0, #1": 0xD2800020,
    "mov x0, #-1": 0x92800000,
    "add x0, x0, #1, lsl #12": 0x91400400,
    "ldr x0, [x1]": 0xF9400020,
    "msr sctlr_el1, x0": 0xD5181000,
    "mrs x0, s3_5_c1_c0_0": 0xD53D1000,
    "sys #3, c7, c12, #1, x0": 0xD50B7C20,
    "hint #34": 0xD503245F,
    "dc civac, x0": 0xD50B7E20,
    "isb": 0xD5033FDF,
    "hvc #0": 0xD4000002,
}

# With every field zero these depend on nothing but the register, wherever they stand.
PLACED = {
    "b #0": 0x14000000,
    "bl #0": 0x94000000,
    "b.ne #0": 0x54000001,
    "bne #0": 0x54000001,
    "cbz x1, #0": 0xB4000001,
    "cbnz w1, #0": 0x35000001,
    "tbz x2, #33, #0": 0xB6080002,
    "tbnz w2, #3, #0": 0x37180002,
    "adr x3, #0": 0x10000003,
    "adrp x3, #0": 0x90000003,
    "ldr x4, #0": 0x58000004,
    "ldr w4, #0": 0x18000004,
    "ldrsw x4, #0": 0x98000004,
    "prfm pldl1keep, #0": 0xD8000000,
}


def test_encodings(encoder: Encoder) -> None:
    assert words(encoder, *KNOWN) == list(KNOWN.values())


def test_a_field_that_is_zero_stays_zero_at_any_place_in_a_batch() -> None:
    with Encoder() as fresh:
        statements = [s for placed in PLACED for s in (f"add x9, x9, #{len(placed)}", placed)]
        statements += ["nop", *PLACED]
        answer = dict(zip(statements, words(fresh, *statements), strict=True))
        assert {s: answer[s] for s in PLACED} == PLACED


@pytest.mark.parametrize(
    "statement",
    [
        "dc cvap, x0",  # Keystone returns None for these two, without an error
        "tlbi rvae1is, x0",
        "bti c",
        "frob x0",
        "mov x0, #0x12345",
        "msr sctlr_el12, x0",
        "ldr x0, [x1, #3000000]",
    ],
)
def test_a_refusal_names_nothing_but_its_own_statement(encoder: Encoder, statement: str) -> None:
    before, answer, after = words(encoder, "nop", statement, "ret")
    assert (before, after) == (KNOWN["nop"], KNOWN["ret"])
    assert isinstance(answer, str)
    assert "Keystone" in answer
    # A refusal is not remembered as an encoding.
    assert words(encoder, statement) == [answer]


@pytest.mark.parametrize(
    "statement",
    [
        ".inst 0xd503201f",
        ".incbin x",
        "nop; nop",
        "nop\nnop",
        "label: nop",
        "add x0, x0, :lo12:x",
        "ldr x0, =1",
        "b target\\",
        'svc "x"',
        "",
        " nop",
        "NOP",
        "nop\0",
        "nop é",
        "mov x0, #" + "1" * 300,
    ],
)
def test_only_plain_instructions_reach_keystone(encoder: Encoder, statement: str) -> None:
    def refuse(_: object) -> bytes:
        raise AssertionError("asked Keystone")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoder, "_ask", refuse)
        (answer,) = encoder.encode([statement])
    assert answer == "not a plain instruction"


def test_encodings_are_remembered(encoder: Encoder) -> None:
    first = encoder.encode(["nop", "ret", "nop"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoder, "_ask", None)
        assert encoder.encode(["nop", "ret", "nop"]) == first


def test_memory_is_bounded_and_nothing_asked_for_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMEMBERED", 4)
    with Encoder() as encoder:
        for at in range(0, 40, 2):
            got = words(encoder, "nop", f"mov x0, #{at}", f"mov x0, #{at + 1}")
            assert got == [KNOWN["nop"], 0xD2800000 | at << 5, 0xD2800000 | (at + 1) << 5]
            assert len(encoder._known) <= 4


def test_many_statements_cross_the_batch_size() -> None:
    with Encoder() as encoder:
        statements = [f"movz x{n % 31}, #{n}" for n in range(module.BATCH + 100)]
        want = [0xD2800000 | n << 5 | n % 31 for n in range(module.BATCH + 100)]
        assert words(encoder, *statements) == want


@pytest.mark.parametrize(
    ("deadly", "words_of_it"),
    [
        ("tbz x0, #1, far; .space 0x100000; far: nop", "LLVM ERROR"),
        (".text; nop; .data; .text; nop", "SIGSEGV"),
    ],
)
def test_the_statement_that_ends_the_child_is_named(
    monkeypatch: pytest.MonkeyPatch, deadly: str, words_of_it: str
) -> None:
    class Lenient:
        def fullmatch(self, _: str) -> bool:
            return True

    monkeypatch.setattr(module, "_INSTRUCTION", Lenient())
    with Encoder() as encoder:
        before, answer, after = words(encoder, "nop", deadly, "ret")
        assert (before, after) == (KNOWN["nop"], KNOWN["ret"])
        assert isinstance(answer, str)
        assert words_of_it in answer
        (alone,) = words(encoder, deadly)
        assert isinstance(alone, str)
        assert words_of_it in alone
        assert words(encoder, "isb") == [KNOWN["isb"]]
        monkeypatch.setattr(module, "CRASH_LIMIT", 1)
        with pytest.raises(NativeCrashError, match="Keystone"):
            encoder.encode([deadly])


def test_a_child_that_cannot_work_at_all_is_not_blamed_on_a_statement() -> None:
    with Encoder() as encoder:
        encoder._child.module = "no_such_module_anywhere"
        with pytest.raises(NativeCrashError, match="ModuleNotFoundError"):
            encoder.encode(["isb sy"])


@settings(max_examples=200)
@given(
    st.lists(
        st.text(st.sampled_from("adlrs0123456789wx ,#[]{}!-.tbzmovcspd"), max_size=30), max_size=6
    )
)
def test_garbage_gives_4_bytes_or_words(encoder: Encoder, statements: list[str]) -> None:
    answers = encoder.encode(statements)
    assert len(answers) == len(statements)
    for answer in answers:
        assert answer if isinstance(answer, str) else len(answer) == 4
