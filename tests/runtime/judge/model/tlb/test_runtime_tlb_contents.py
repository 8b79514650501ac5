"""What a TLB may hold, against a TLB that is stepped record by record, and case by case."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relokit.runtime.arch import descriptors as d
from relokit.runtime.judge.model.tlb.tlb_contents import MAX_COMPARED, Clash, Tlb, Why
from relokit.runtime.judge.model.tlb.tlb_uses import Stored, table_stores, uses
from relokit.runtime.judge.model.tlb.translations import Differs
from relokit.runtime.record.known import Unknown, UnknownFactError
from relokit.runtime.record.tables import Leaves, TableFacts, UnknownTables
from relokit.runtime.record.trace import TraceKind
from support import records as r
from support.tables import TCR, UPPER, Maps, changed, leaves, tables_of
from support.traces import FULL, LOADS, NON, STORES, Story
from support.twins.switching import EMPTY, MAPS, VA, A, B, begun, emptied, invalidated, switched

WHERE = VA >> 12 & (1 << 44) - 1
"""VA as the operand of a TLBI."""
ROOTS = (EMPTY, A, B, 0x7500_0000)
ALL: Maps = MAPS | {0x7500_0000: (leaves(VA, r.SPARE, 0x2000),)}


def follow(story: Story, maps: Maps = MAPS) -> Tlb:
    trace = story.trace()
    return Tlb(trace, tables_of(trace, maps))


# A TLB that is stepped ----------------------------------------------------------------------------

STEPS = st.sampled_from(
    [*(("msr", root) for root in ROOTS), ("isb", 0), ("tlbi", 0), ("dsb", FULL), ("dsb", STORES)]
)


def stepped(steps: list[tuple[str, int]]) -> int | None:
    """The step at which tables are put in force while others, that are not the same, are held."""
    possible, held, going = {A}, {A}, [set[int]()]
    for number, (what, value) in enumerate(steps):
        match what:
            case "msr" if value != _latest(possible, steps[:number]):
                rivals = {root for root in held if root not in (EMPTY, value)}
                if value != EMPTY and rivals:
                    return number
                possible.add(value)
                held.add(value)
                # What is walked again is in the TLB again, whatever a TLBI on its way does.
                going = [gone - {value} for gone in going]
            case "isb":
                possible = {_latest(possible, steps[:number])}
            case "tlbi":
                going.append(held - possible)
            case "dsb" if value == FULL:
                held -= set().union(*going)
                going = []
    return None


def _latest(possible: set[int], before: list[tuple[str, int]]) -> int:
    return next((value for what, value in reversed(before) if what == "msr"), A)


def told(steps: list[tuple[str, int]]) -> Story:
    story = Story(pc=r.CONTROL).starting(TCR_EL1=TCR, MAIR_EL1=d.MAIR, TTBR1_EL1=A)
    for what, value in steps:
        match what:
            case "msr":
                story.msr("TTBR1_EL1", value)
            case "isb":
                story.isb()
            case "tlbi":
                story.tlbi()
            case "dsb":
                story.dsb(value, NON)
    return story


@given(st.lists(STEPS, max_size=14))
def test_the_first_clash_is_where_a_stepped_tlb_has_it(steps: list[tuple[str, int]]) -> None:
    clashes = follow(told(steps), ALL).clashes
    assert min((clash.cause for clash in clashes), default=None) == stepped(steps)


# Case by case -------------------------------------------------------------------------------------


def only(tlb: Tlb) -> Clash:
    [clash] = tlb.clashes
    return clash


def test_the_right_order_clashes_nowhere() -> None:
    assert follow(switched()).clashes == []


@pytest.mark.parametrize(
    ("story", "why"),
    [
        (switched(begun()), Why.STEP),
        (switched(invalidated(begun())), Why.STEP),
        (switched(emptied()), Why.NOTHING),
        (switched(emptied().dsb().isb()), Why.NOTHING),
        (switched(invalidated(begun().msr("TTBR1_EL1", EMPTY))), Why.EARLY),
        (switched(emptied().tlbi()), Why.UNCOMPLETED),
        (switched(emptied().tlbi().dsb(LOADS)), Why.UNCOMPLETED),
        (switched(emptied().dsb().tlbi("aside1").dsb()), Why.ASID),
        (switched(emptied().tlbi("vale1", WHERE).dsb()), Why.LAST_LEVEL),
        (switched(emptied().tlbi("vae1", 1).dsb()), Why.OPERAND),
        (switched(emptied().tlbi("vae1", 5 << 48 | WHERE).dsb()), Why.OPERAND),
        (switched(emptied().exception().tlbi("alle2").dsb().eret()), Why.REGIME),
        # The nearest to right is told.
        (switched(emptied().tlbi("aside1").tlbi().tlbi("vae1", 1)), Why.UNCOMPLETED),
    ],
)
def test_a_clash_names_the_step_that_is_missing(story: Story, why: Why) -> None:
    clash = only(follow(story))
    assert clash.why is why
    assert (clash.attempt is None) == (why in (Why.STEP, Why.NOTHING))


@pytest.mark.parametrize(
    ("new", "what"),
    [
        (leaves(VA, r.SPARE + 0x1000, bits=d.KERNEL_RO), Differs.ADDRESS),
        (leaves(VA, r.SPARE), Differs.PERMISSION),
        (leaves(VA, r.SPARE, bits=d.KERNEL_RO | d.NORMAL_NC << 2), Differs.TYPE),
        (leaves(VA, r.SPARE, bits=d.KERNEL_RO & ~d.SH), Differs.TYPE),
        (leaves(VA, r.SPARE, 1 << 21, level=2, bits=d.KERNEL_RO), Differs.SIZE),
        (leaves(VA, r.SPARE, bits=d.KERNEL_RO | d.CONTIGUOUS), Differs.SIZE),
        (leaves(VA, r.SPARE, bits=d.KERNEL_RO | d.NG), Differs.GLOBAL),
    ],
)
def test_what_differs_is_told(new: Leaves, what: Differs) -> None:
    """D8.17.1, RWHZWS; and permission, between whole tables."""
    clash = only(follow(switched(begun()), {A: MAPS[A][:1], B: (new,)}))
    assert clash.where.what == (what,)
    assert (clash.where.va, clash.where.size) == (VA, 4096)


@pytest.mark.parametrize(
    "new",
    [
        (),
        (leaves(VA, r.SPARE, bits=d.KERNEL_RO),),
        (leaves(VA - 0x1000, r.SPARE),),
        (leaves(VA + 0x1000, r.SPARE),),
        (leaves(VA - 0x1000, r.SPARE - 0x1000, 0x3000, bits=d.KERNEL_RO),),
    ],
)
def test_what_is_the_same_or_maps_nothing_there_does_not_clash(new: tuple[Leaves, ...]) -> None:
    assert follow(switched(begun()), {A: MAPS[A][:1], B: new}).clashes == []


def test_an_address_that_is_invalidated_is_a_hole() -> None:
    where = WHERE
    maps = {A: (leaves(VA, r.SPARE, 0x2000, bits=d.KERNEL_RO),), B: (leaves(VA, r.SPARE, 0x2000),)}
    clash = only(follow(switched(emptied().tlbi("vaae1", where).dsb()), maps))
    assert (clash.where.va, clash.where.size) == (VA + 0x1000, 0x1000)
    both = emptied().tlbi("vaae1", where).tlbi("vaae1", where + 1).dsb()
    assert follow(switched(both), maps).clashes == []
    # Of a level that is not this one's nothing has to go (RSQXYZ).
    hinted = emptied().tlbi("vaae1", 0b0110 << 44 | where).tlbi("vaae1", where + 1).dsb()
    assert only(follow(switched(hinted), maps)).where.va == VA


def test_a_range_is_a_hole() -> None:
    base = VA >> 12 & (1 << 37) - 1
    story = emptied().starting(ID_AA64ISAR0_EL1=2 << 56)
    right = 1 << 46 | 4 << 39 | base
    assert follow(switched(story.tlbi("rvaae1", right).dsb())).clashes == []
    other = emptied().starting(ID_AA64ISAR0_EL1=2 << 56).tlbi("rvaae1", 3 << 46 | base).dsb()
    assert only(follow(switched(other))).why is Why.OPERAND


def test_entries_of_another_asid_are_others() -> None:
    """B8: no TLBI is needed if all that is mapped is of an ASID, and that changes too."""
    not_global = {
        A: (leaves(r.SPARE, r.SPARE, bits=d.KERNEL_RO | d.NG),),
        B: (leaves(r.SPARE, r.KERNEL, bits=d.KERNEL_RO | d.NG),),
    }
    start = {"TCR_EL1": TCR, "MAIR_EL1": d.MAIR, "TTBR0_EL1": A | 1 << 48}
    for asid, clashes in ((2, 0), (1, 1)):
        story = Story(pc=r.CONTROL).starting(**start).msr("TTBR0_EL1", B | asid << 48).isb()
        assert len(follow(story, not_global).clashes) == clashes
        ended = Story(pc=r.CONTROL).starting(**start).msr("TTBR0_EL1", EMPTY).isb()
        ended.tlbi("aside1", 1 << 48).dsb().msr("TTBR0_EL1", B | asid << 48).isb()
        assert follow(ended, not_global).clashes == []


def test_user_space_is_held_where_a_kernel_is_left() -> None:
    def kernel() -> Story:
        start = {"TCR_EL1": TCR, "MAIR_EL1": d.MAIR, "TTBR0_EL1": EMPTY, "TTBR1_EL1": A}
        return Story(pc=VA).starting(**start).fetch(r.SPARE, va=VA)

    maps = {A: MAPS[A], B: (leaves(r.CONTROL, r.CONTROL),)}
    clash = only(follow(kernel().msr("TTBR0_EL1", B).isb(), maps))
    assert (clash.old.tables, clash.where.old, clash.why) == (None, None, Why.STEP)
    ended = kernel().msr("TTBR0_EL1", EMPTY).isb().tlbi().dsb().msr("TTBR0_EL1", B).isb()
    assert follow(ended, maps).clashes == []
    early = kernel().tlbi().dsb().msr("TTBR0_EL1", EMPTY).isb().msr("TTBR0_EL1", B).isb()
    assert only(follow(early, maps)).why is Why.NOTHING


def test_what_a_regime_that_is_off_holds_is_not_known() -> None:
    """T8: before EL2's MMU is first turned on."""

    def host() -> Story:
        start = {"TCR_EL2": TCR, "MAIR_EL2": d.MAIR, "TTBR0_EL2": B, "SCTLR_EL1": 0}
        return Story(pc=r.CONTROL, el=2, hcr=1 << 34 | 1 << 27).starting(**start)

    maps = {B: (leaves(r.CONTROL, r.CONTROL),)}
    assert only(follow(host().mmu_on(), maps)).new.register == "SCTLR"
    assert follow(host().tlbi().dsb().isb().mmu_on(), maps).clashes == []
    assert only(follow(host().tlbi("alle1").dsb().isb().mmu_on(), maps)).why is Why.REGIME


def test_an_old_translation_is_used() -> None:
    tlb = follow(emptied().load(r.SPARE, 16, va=VA))
    [use] = uses(tlb)
    assert (use.va, use.now, use.why) == (VA, None, Why.NOTHING)
    late = follow(invalidated().load(r.SPARE, 16, va=VA).isb())
    assert [one.why for one in uses(late)] == [Why.UNSYNCHRONISED]
    assert list(uses(follow(invalidated().isb().load(r.SPARE, 16, va=VA)))) == []
    # What the new tables map the same way is none.
    same = {A: MAPS[A], B: MAPS[A]}
    assert list(uses(follow(switched(begun()).load(r.SPARE, 16, va=VA), same))) == []


@pytest.mark.parametrize(
    ("story", "found"),
    [
        (begun().store(A, 8), [Stored.VALID]),
        (begun().store(A - 4096, 8192), [Stored.VALID]),
        (begun().store(A - 8, 8), []),
        (begun().store(A + 4096, 8), []),
        (emptied().store(A, 8), [Stored.VALID]),
        (invalidated().store(A, 4096), []),
        (emptied().store(EMPTY + 64, 8), [Stored.EMPTY]),
        (switched().store(EMPTY, 4096), []),
        (switched().store(B, 8), [Stored.VALID]),
        (switched().mmu_off().store(B, 4096), []),
        (begun().store(B, 8).msr("TTBR1_EL1", B), [Stored.UNSEEN]),
        (begun().store(B, 8).dsb(LOADS).msr("TTBR1_EL1", B), [Stored.UNSEEN]),
        (begun().store(B, 8).dsb(STORES).msr("TTBR1_EL1", B), []),
    ],
)
def test_stores_to_tables(story: Story, found: list[Stored]) -> None:
    tlb = follow(story)
    assert [one.what for one in table_stores(tlb)] == found


def test_a_table_that_is_filled_while_it_is_in_force_is_unknown() -> None:
    tlb = follow(begun().store(A + 0x800, 8))
    assert list(table_stores(tlb)) == []
    assert [one.why for one in tlb.unknown] == ["entries were added to tables that are in a TTBR"]


def test_tables_that_are_not_known_are_said_to_be() -> None:
    trace = switched().trace()
    facts = tables_of(trace, MAPS)
    some = TableFacts(48, tuple(UnknownTables(one.key, Unknown("why not")) for one in facts.tables))
    assert {one.why for one in Tlb(trace, some).unknown} == {"why not"}
    assert Tlb(trace, TableFacts(48, ())).unknown


def test_more_than_is_compared_is_not_judged() -> None:
    trace = switched().trace()
    many = tuple(leaves(UPPER + at * 0x2000, r.SPARE) for at in range(2000))
    facts = changed(tables_of(trace, MAPS), A, leaves=many)
    more = changed(facts, A, leaves=many * (1 + MAX_COMPARED // len(many)))
    assert Tlb(trace, facts).clashes == []
    with pytest.raises(UnknownFactError, match="ranges"):
        Tlb(trace, replace(more))
    assert (trace.records["kind"] == TraceKind.TLBI).any()
