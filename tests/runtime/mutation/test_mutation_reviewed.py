"""What is no mistake: whether an order matters, by operands; and the reviewed list by entry."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

from relokit.codegen.gas.instructions.encoder import Encoder
from relokit.codegen.target import Regime, Target
from relokit.runtime.kexec.job import Job
from relokit.runtime.mutation.independence import independent
from relokit.runtime.mutation.layouts import layouts_for
from relokit.runtime.mutation.mutant import Likeness, Mutant, RoutineName
from relokit.runtime.mutation.mutant_survey import survey
from relokit.runtime.mutation.mutated import CodeSet
from relokit.runtime.mutation.reviewed import Reviewed, entry_of, reviewed
from support.machines import programs

ENCODER = Encoder()


def word(text: str) -> int:
    [encoded] = ENCODER.encode([text])
    assert isinstance(encoded, bytes), encoded
    return int.from_bytes(encoded, "little")


@pytest.mark.parametrize(
    ("one", "other", "free"),
    [
        ("mov x1, x2", "mov x3, x4", True),
        ("mov x1, x2", "mov x2, x4", False),
        ("mov x1, x2", "mov x3, x1", False),
        ("mov x1, x2", "mov x1, x4", False),
        ("add x1, x1, #1", "cmp x2, x3", True),
        ("add x2, x2, #1", "cmp x2, x3", False),
        ("cmp x1, x2", "csel x3, x4, x5, eq", False),
        ("cmp x1, x2", "cmp x3, x4", False),
        ("mov x1, x2", "ldr x3, [x4]", True),
        ("mov x4, x2", "ldr x3, [x4]", False),
        ("mov x1, x4", "ldr x3, [x4], #8", False),
        ("mov x3, x2", "str x3, [x4]", False),
        ("ldr x1, [x2]", "ldr x3, [x4]", False),
        ("movk x1, #1, lsl #16", "mov x1, #2", False),
        ("bfi x1, x2, #0, #6", "mov x1, x3", False),
        ("mov x1, x2", "isb", True),
        ("mov x1, x2", "msr ttbr1_el1, x3", True),
        ("mov x1, x2", "msr ttbr1_el1, x1", False),
        ("mov x1, x2", "mrs x2, ctr_el0", False),
        ("isb", "msr ttbr1_el1, x3", False),
        ("dc civac, x10", "add x10, x10, x15", False),
        ("mov x1, x2", "b.lo 0x20", False),
        ("mov x1, x2", "br x3", False),
        ("mov x1, xzr", "mov x2, xzr", True),
    ],
)
def test_whether_an_order_matters(one: str, other: str, free: bool) -> None:
    assert independent(word(one), word(other)) is free
    assert independent(word(other), word(one)) is free


@cache
def mutants() -> tuple[Mutant, ...]:
    found: list[Mutant] = []
    for target in (Target(series=15), Target(series=0), Target(series=15, va_bits=52)):
        layouts = layouts_for(target, Job(), [Regime.NVHE, Regime.EL1])
        found += survey(target, CodeSet(programs(target)), layouts, RoutineName).mutants
    return tuple(found)


SHIPPED = {
    "source and destination come to the end of a page together": (
        "register",
        "tst x12, #0xfff -> tst x13, #0xfff",
    ),
}
"""Of what shipped kernels have and our code has not."""


@pytest.mark.parametrize("entry", reviewed(), ids=lambda entry: entry.name)
def test_every_entry_is_of_something_and_cites(entry: Reviewed) -> None:
    assert entry.cites
    assert entry.text.pattern != ".*" or entry.independent
    if entry.name in SHIPPED:
        operator, text = SHIPPED[entry.name]
        assert entry.is_of(replace(mutants()[0], operator=operator, text=text))
    else:
        assert any(entry.is_of(one) for one in mutants())


def one(text: str, operator: str | None = None) -> Mutant:
    return next(one for one in mutants() if one.text == text and operator in (None, one.operator))


def test_an_entry_without_a_proof_excuses_nothing() -> None:
    entry = entry_of(one("dc civac, x10 -> dc cvac, x10"))
    assert entry is not None
    assert entry.proved_by(Likeness.STATE)
    assert entry.proved_by(Likeness.EFFECTS)
    assert not entry.proved_by(Likeness.NONE)
    assert not entry.proved_by(None)


@pytest.mark.parametrize(
    "text",
    [
        "dc civac, x10 -> dc ivac, x10",
        "dc civac, x10 -> nop",
        "tlbi vmalle1 -> nop",
        "dsb sy -> nop",
        "ldr x28, [x0, #0x18] -> nop",
        "cmp x12, x11 -> cmp w12, w11",
    ],
)
def test_what_is_a_mistake_is_on_no_list(text: str) -> None:
    assert entry_of(one(text)) is None


def test_a_barrier_is_excused_by_where_it_is_only() -> None:
    """A DSB before IC may go, behind TLBI it may not; so with an ISB."""
    dropped = [each for each in mutants() if each.text == "dsb nsh -> nop"]
    excused = [each.before for each in dropped if entry_of(each)]
    assert len(dropped) > len(excused)
    assert set(excused) == {"ic iallu"}


def test_a_barrier_of_a_resume_is_excused_by_what_warns_of_it_only() -> None:
    """CPUs that are off do not need it; what this one enters is another matter."""
    entry = entry_of(one("dsb ish -> dsb nsh"))
    assert entry is not None
    assert entry.proved_by(Likeness.STATE, ["fetch.domain"])
    assert not entry.proved_by(Likeness.STATE, ["fetch.domain", "caches.domain"])
    assert not entry.proved_by(Likeness.NONE, ["fetch.domain"])
    assert entry_of(one("ic ialluis -> nop")) is None


def test_the_order_of_what_depends_is_not_free() -> None:
    swaps = [each for each in mutants() if each.operator == "swap"]
    assert {each.independent for each in swaps} == {True, False}
    for each in swaps:
        if "mrs x9, ctr_el0" in each.text and "ubfx x9" in each.text:
            assert not each.independent
