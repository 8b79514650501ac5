"""What a CPU may translate by, moment by moment."""

from __future__ import annotations

import pytest

from relokit.codegen.facts import HCR_EL2_E2H, HCR_EL2_TGE
from relokit.runtime.arch import geometry as g
from relokit.runtime.record.known import UnknownFactError
from relokit.runtime.record.views import MAX_WRITES, NEVER, Span, views_of
from support.tables import TCR, UPPER
from support.traces import SCTLR_ON, Story

A, B, IDMAP = 0x7100_0000, 0x7200_0000, 0x7400_0000
HOST = HCR_EL2_E2H | HCR_EL2_TGE


def begun(**registers: int) -> Story:
    start = {"TCR_EL1": TCR, "TTBR0_EL1": IDMAP, "TTBR1_EL1": A} | registers
    return Story().starting(**start)


def spans(story: Story, *, level: int = 1, upper: bool = True) -> list[Span]:
    found = views_of(story.trace(), 48).spans
    return [one for one in found if (one.view.level, one.view.upper) == (level, upper)]


def roots(story: Story, **which: bool) -> list[tuple[int | None, int, int]]:
    return [
        (one.view.tables.root if one.view.tables else None, one.begin, one.end)
        for one in spans(story, **which)  # type: ignore[arg-type]
    ]


def test_both_values_count_until_the_context_is_synchronised() -> None:
    story = begun().dsb().msr("TTBR1_EL1", B).dsb().isb().isb()
    assert roots(story) == [(A, 0, 4), (B, 2, NEVER)]
    old, new = spans(story)
    assert (old.replaced, old.cause, new.cause, new.register) == (1, None, 1, "TTBR1")
    assert roots(story, upper=False) == [(IDMAP, 0, NEVER)]


@pytest.mark.parametrize("event", ["isb", "exception", "eret"])
def test_isb_exception_and_return_synchronise(event: str) -> None:
    story = begun().msr("TTBR1_EL1", B)
    getattr(story, event)()
    assert roots(story) == [(A, 0, 2), (B, 1, NEVER)]


def test_a_value_that_was_there_is_no_other() -> None:
    assert roots(begun().msr("TTBR1_EL1", A).isb()) == [(A, 0, NEVER)]
    assert roots(begun().msr("TTBR1_EL1", B).msr("TTBR1_EL1", A).isb()) == [
        (A, 0, NEVER),
        (B, 1, 3),
    ]


def test_tcr_makes_other_views_of_the_half_that_it_is_about() -> None:
    narrower = begun().msr("TCR_EL1", TCR + 1).isb()
    assert [one.view.tables.va_bits for one in spans(narrower, upper=False) if one.view.tables] == [
        48, 47,
    ]  # fmt: skip
    assert roots(narrower) == [(A, 0, NEVER)]
    sized = begun().msr("TCR_EL1", TCR & ~(0b111 << g.IPS)).isb()
    assert len(spans(sized)) == len(spans(sized, upper=False)) == 2
    none = begun().msr("TCR_EL1", TCR | 1 << g.EPD1).isb()
    assert roots(none) == [(A, 0, 2), (None, 1, NEVER)]


def test_with_the_mmu_off_there_are_none() -> None:
    story = begun().msr("SCTLR_EL1", 0).isb().msr("TTBR1_EL1", B).isb().msr("SCTLR_EL1", SCTLR_ON)
    assert roots(story) == [(A, 0, 2), (B, 5, NEVER)]
    assert roots(begun(SCTLR_EL1=0)) == []
    assert spans(story)[1].register == "SCTLR"


def test_a_host_names_its_own_registers_as_el1s() -> None:
    start = {"TCR_EL2": TCR, "TTBR1_EL2": A, "SCTLR_EL2": SCTLR_ON}
    story = Story(el=2, hcr=HOST).starting(**start).msr("TTBR1_EL1", B).isb()
    assert roots(story, level=2) == [(A, 0, 2), (B, 1, NEVER)]  # type: ignore[arg-type]
    # EL1's own are out of context there: nothing walks by them, and the new value is the only one.
    guest = begun().starting(HCR_EL2=HOST).exception().msr("TTBR1_EL12", B).dsb().eret()
    assert roots(guest) == [(A, 0, 2), (B, 2, NEVER)]


def test_without_e2h_el2_has_one_range() -> None:
    start = {"TCR_EL2": g.tcr_el2(g.granule_of(4096), va_bits=48, pa_bits=48), "TTBR0_EL2": B}
    story = Story(el=2).starting(SCTLR_EL1=0, SCTLR_EL2=SCTLR_ON, **start)
    assert roots(story, level=2, upper=False) == [(B, 0, NEVER)]  # type: ignore[arg-type]
    assert roots(story, level=2) == []  # type: ignore[arg-type]


def test_what_ttbr0_holds_where_a_kernel_runs_is_not_known() -> None:
    kernel = begun().fetch(0x4000_0000, va=UPPER)
    [user] = spans(kernel, upper=False)
    assert (user.view.unknown, user.view.tables, user.end) == (True, None, NEVER)
    # The same value, written, is known.
    story = kernel.msr("TTBR0_EL1", IDMAP).isb()
    assert roots(story, upper=False) == [(None, 0, 3), (IDMAP, 2, NEVER)]
    assert not any(one.view.unknown for one in spans(begun().fetch(0x4000_0000), upper=False))


def test_the_asid_is_that_of_the_ttbr_that_a1_names() -> None:
    for a1, asid in ((0, 7), (1, 9)):
        story = begun(TCR_EL1=TCR | a1 << 22, TTBR0_EL1=7 << 48, TTBR1_EL1=9 << 48)
        assert {one.view.asid for one in views_of(story.trace(), 48).spans} == {asid}


def test_more_writes_than_code_has_are_no_move() -> None:
    story = begun()
    for number in range(MAX_WRITES + 1):
        story.msr("TTBR1_EL1", number << 12)
    with pytest.raises(UnknownFactError, match="257"):
        views_of(story.trace(), 48)
