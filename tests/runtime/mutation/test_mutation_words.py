"""Mutants of instruction words: fields and distances against Capstone, operators by their texts."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from relokit.codegen.gas.instructions.encoder import Encoder
from relokit.runtime.judge.rules.disassembly import disassemble
from relokit.runtime.mutation.encodings import (
    ENCODINGS,
    distance_of,
    encoding_of,
    valid_bitmask,
)
from relokit.runtime.mutation.operators import OPERATORS, Surroundings
from relokit.runtime.mutation.rearranging import moved, swapped

AROUND = Surroundings((0, 1, 9, 12, 16))
ENCODER = Encoder()


def word(text: str) -> int:
    [encoded] = ENCODER.encode([text])
    assert isinstance(encoded, bytes), encoded
    return int.from_bytes(encoded, "little")


def made(operator: str, text: str) -> list[str]:
    """What ``operator`` makes of an instruction at address 0x100, as text."""
    [one] = [one for one in OPERATORS if one.name == operator]
    return [disassemble(changed, 0x100) for changed in one.change(word(text), AROUND)]


@pytest.mark.parametrize(
    ("operator", "text", "expected"),
    [
        ("drop", "add x1, x2, x3", ["nop"]),
        ("drop", "nop", []),
        ("weaken", "isb", ["dsb sy"]),
        ("weaken", "dsb nsh", ["dsb nshld", "dsb nshst", "dmb nsh", "isb"]),
        (
            "weaken",
            "dsb ish",
            ["dsb nsh", "dsb osh", "dsb ishld", "dsb ishst", "dmb ish", "isb"],
        ),
        ("weaken", "ic iallu", ["ic ivau"]),
        ("weaken", "dc cvau, x3", ["dc ivac, x3", "dc csw, x3", "dc isw, x3", "dc zva, x3"]),
        ("weaken", "add x1, x2, x3", []),
        ("system-register", "msr ttbr1_el1, x18", ["msr ttbr0_el1, x18", "msr vbar_el1, x18"]),
        ("system-register", "mrs x9, ctr_el0", ["mrs x9, dczid_el0"]),
        (
            "mask",
            "msr daifset, #0xf",
            [f"msr daifset, #{bits}" for bits in (14, 13, 11, 7)] + ["msr daifclr, #15"],
        ),
        (
            "register",
            "add x1, x12, x9",
            [
                "add x9, x12, x9", "add xzr, x12, x9", "add x1, x16, x9", "add x1, xzr, x9",
                "add x1, x12, x12", "add x1, x12, xzr",
            ],
        ),
        ("register", "tlbi vmalle1", []),
        ("register", "dc civac, x10", ["dc civac, x12", "dc civac"]),
        ("target", "b 0x20", ["b #0x124", "b #0x11c"]),
        ("condition", "b.lo 0x20", [f"b.{c} #0x120" for c in ("hs", "ls", "ne", "eq", "lt", "al")]),
        ("condition", "cbz x3, 0x20", ["cbnz x3, #0x120"]),
        ("flags", "cmp x1, x2", ["sub xzr, x1, x2"]),
        ("width", "mov x1, x2", ["mov w1, w2"]),
        ("immediate", "tbz w3, #2, 0x20", [f"tbz w3, #{bit}, #0x120" for bit in (3, 1, 0)]),
        ("kind", "hvc #0", [".inst 0xd4000000", "svc #0", "smc #0"]),
        ("kind", "br x3", ["blr x3", "ret x3", ".inst 0xd67f0060"]),
    ],
)  # fmt: skip
def test_what_an_operator_makes_of_an_instruction(
    operator: str, text: str, expected: list[str]
) -> None:
    assert made(operator, text) == expected


@pytest.mark.parametrize("name", [one.name for one in OPERATORS])
def test_every_operator_says_what_it_is(name: str) -> None:
    [one] = [one for one in OPERATORS if one.name == name]
    assert one.does
    assert one.models


def some_words() -> st.SearchStrategy[int]:
    """Words of the classes that are known, whatever their fields."""
    return st.sampled_from(ENCODINGS).flatmap(
        lambda one: st.integers(0, 0xFFFFFFFF).map(
            lambda bits: bits & ~one.form.mask & 0xFFFFFFFF | one.form.value
        )
    )


@given(some_words(), st.integers(0, 30))
def test_a_register_field_is_where_capstone_reads_it(some: int, register: int) -> None:
    encoding = encoding_of(some)
    assert encoding is not None
    assume(not disassemble(some, 0).startswith(".inst"))
    for field in encoding.registers:
        changed = field.put(some, register)
        assert field.get(changed) == register
        before, after = (disassemble(one, 0).split(" ")[1:] for one in (some, changed))
        assume(len(before) == len(after))
        names = {f"{letter}{register}" for letter in "xwvqdshb"}
        different = [b for a, b in zip(before, after, strict=True) if a != b]
        assert all(any(name in one for name in names) for one in different), (some, changed)


@given(some_words(), st.integers(-64, 64))
def test_a_distance_is_what_capstone_reads(some: int, units: int) -> None:
    distance = distance_of(some)
    assume(distance is not None)
    assert distance is not None
    assert distance.put(some, distance.get(some)) == some
    changed = distance.put(some, units * distance.unit)
    assert changed is not None
    at = 0x10000
    text = disassemble(changed, at)
    if not text.startswith(".inst"):
        assert text.endswith(f"#{at + units * distance.unit:#x}")


@given(st.integers(0, 0xFFFFFFFF))
def test_a_bitmask_is_valid_as_capstone_says(bits: int) -> None:
    some = bits & ~0x1F800000 | 0x12000000
    known = not disassemble(some, 0).startswith(".inst")
    assert valid_bitmask(some) == known


def test_neighbours_change_places_and_branches_lead_where_they_led() -> None:
    words = {0x100: word("cmp x1, x2"), 0x104: word("b.lo 0x20"), 0x108: word("nop")}
    texts = [{va: disassemble(one, va) for va, one in edits.items()} for edits in swapped(words)]
    assert texts == [
        {0x100: "b.lo #0x124", 0x104: "cmp x1, x2"},
        {0x104: "nop", 0x108: "b.lo #0x124"},
    ]


def test_a_barrier_moves_past_what_is_there_and_nothing_else_does() -> None:
    words = {4 * at: word(text) for at, text in enumerate(("nop", "add x1, x1, x1", "isb"))}
    [edits] = moved(words)
    assert {va: disassemble(one, va) for va, one in edits.items()} == {
        0: "isb", 4: "nop", 8: "add x1, x1, x1",
    }  # fmt: skip
