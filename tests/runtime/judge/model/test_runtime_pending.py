"""Windows in which either value of a register counts, and what uses it in them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.either_value import Machine, Step

from relokit.codegen.facts import HCR_EL2_E2H, HCR_EL2_TGE
from relokit.runtime.judge.model.pending import (
    SCTLR_EIS,
    SCTLR_EOS,
    Pending,
    pending_writes,
    unsynchronised_results,
)
from relokit.runtime.judge.model.pending_uses import (
    SCTLR_A,
    SCTLR_C,
    SCTLR_EE,
    counts_at_entry,
    first_use,
)
from relokit.runtime.record.code_seen import CodeSeen
from relokit.runtime.record.scene import SeenWord
from relokit.runtime.record.trace import TraceKind
from support.traces import MMU_OFF, NON_CACHEABLE, SCTLR_ON, UNALIGNED, WRITE_BACK, Story

OLD, NEW, NEWER = 0x6100_0000, 0x6200_0000, 0x6300_0000
PA, UPPER = 0x4000_0000, 0xFFFF_0000_4000_0000
NOTHING = CodeSeen({}, {})
EXS = 1 << 44


def windows(story: Story) -> list[Pending]:
    return list(pending_writes(story.trace()))


def use(story: Story, code: CodeSeen = NOTHING) -> int | None:
    """The first use of the first write."""
    trace = story.trace()
    return first_use(trace, code, next(iter(pending_writes(trace))))


def switch(register: str = "TTBR1_EL1", **start: int) -> Story:
    return Story().starting(**({register: OLD} | start)).msr(register, NEW)


@pytest.mark.parametrize("name", ["isb", "eret", "exception"])
def test_what_synchronises_ends_a_window(name: str) -> None:
    story = switch().dsb()
    [one] = windows(getattr(story, name)().dsb())
    assert (one.register, one.number, one.end, one.open) == ("TTBR1_EL1", 0, 2, False)
    assert (one.olds, one.value) == ((OLD,), NEW)


@pytest.mark.parametrize("name", ["dsb", "dmb", "hvc", "tlbi", "ic"])
def test_what_does_not_ends_none(name: str) -> None:
    story = switch()
    if name == "dmb":
        story._event(TraceKind.DMB, encoding=15)
    else:
        getattr(story, name)()
    [one] = windows(story)
    assert (one.end, one.open) == (2, True)


@pytest.mark.parametrize(
    ("name", "bit", "el"), [("exception", SCTLR_EIS, 2), ("eret", SCTLR_EOS, 2)]
)
@pytest.mark.parametrize("has_exs", [False, True])
@pytest.mark.parametrize("is_set", [False, True])
def test_exs_can_take_it_away(name: str, bit: int, el: int, has_exs: bool, is_set: bool) -> None:
    story = Story(el=2) if name == "eret" else Story()
    register = f"VBAR_EL{story.el}"
    story.starting(**{register: OLD, "SCTLR_EL2": bit * is_set, "ID_AA64MMFR0_EL1": EXS * has_exs})
    [one] = windows(getattr(story.msr(register, NEW), name)().dsb())
    assert one.open == (has_exs and not is_set)


def test_the_same_value_opens_none() -> None:
    assert not windows(Story().starting(TTBR1_EL1=OLD).msr("TTBR1_EL1", OLD))


def test_written_twice_it_may_be_any_of_three() -> None:
    first, second = windows(switch().msr("TTBR1_EL1", NEWER).isb())
    assert (first.end, first.olds) == (1, (OLD,))
    assert (second.end, second.olds) == (2, (OLD, NEW))


def test_back_to_what_it_was_it_may_still_be_what_was_between() -> None:
    _, second = windows(switch().msr("TTBR1_EL1", OLD))
    assert second.olds == (NEW,)


def test_of_an_unknown_register_every_bit_may_differ() -> None:
    [one] = windows(Story().msr("CPACR_EL1", 0))
    assert (one.olds, one.changed) == ((), -1)


def test_under_e2h_a_name_is_another_register() -> None:
    story = Story(el=2).starting(HCR_EL2=HCR_EL2_E2H, TTBR1_EL1=OLD, TTBR1_EL2=OLD)
    assert [one.register for one in windows(story.msr("TTBR1_EL1", NEW))] == ["TTBR1_EL2"]
    story = Story(el=2).starting(HCR_EL2=HCR_EL2_E2H, TTBR1_EL1=OLD, TTBR1_EL2=OLD)
    assert [one.register for one in windows(story.msr("TTBR1_EL12", NEW))] == ["TTBR1_EL1"]


@pytest.mark.parametrize(("register", "upper"), [("TTBR0_EL1", False), ("TTBR1_EL1", True)])
def test_a_ttbr_is_used_by_its_own_half(register: str, upper: bool) -> None:
    low, high = (0, PA), (0, UPPER)
    for _, va in (low, high):
        story = switch(register).load(PA, 8, va=va)
        assert (use(story) is not None) == ((va == UPPER) == upper)
        fetched = switch(register).fetch(PA, va=va)
        assert (use(fetched) is not None) == ((va == UPPER) == upper)


@pytest.mark.parametrize(("asid", "used"), [(7 << 48, PA), (0, UPPER)])
def test_an_asid_alone_counts_for_a_processs_half(asid: int, used: int) -> None:
    """As a kernel writes it into TTBR1 before it changes TTBR0."""
    new = OLD | asid if asid else NEW
    for va in (PA, UPPER):
        story = Story().starting(TTBR1_EL1=OLD).msr("TTBR1_EL1", new).load(PA, 8, va=va)
        assert (use(story) is not None) == (va == used)


def test_with_the_mmu_off_no_table_is_used() -> None:
    story = switch()
    story.attributes = MMU_OFF
    assert use(story.load(PA, 8, va=UPPER)) is None


def test_at_another_level_another_register_counts() -> None:
    assert use(switch("TTBR1_EL2").load(PA, 8, va=UPPER)) is None


def test_at_el2_without_e2h_one_table_has_all_addresses() -> None:
    story = Story(el=2).starting(TTBR0_EL2=OLD, TCR_EL2=0)
    assert use(story.msr("TTBR0_EL2", NEW).load(PA, 8, va=UPPER)) == 1
    story = Story(el=2).starting(TCR_EL2=0)
    assert use(story.msr("TCR_EL2", 1 << 16).load(PA, 8)) == 1


@pytest.mark.parametrize(
    ("bits", "low", "high"),
    [(0x3F, True, False), (1 << 7, True, False), (0x3F << 16, False, True), (1 << 23, False, True),
     (1 << 22, True, True), (7 << 32, True, True), (1 << 59, True, True)],
)  # fmt: skip
def test_fields_of_tcr_count_for_their_half(bits: int, low: bool, high: bool) -> None:
    for va, used in ((PA, low), (UPPER, high)):
        story = Story().starting(TCR_EL1=0).msr("TCR_EL1", bits).load(PA, 8, va=va)
        assert (use(story) == 1) == used, hex(va)


def test_mair_counts_where_the_byte_is_one_that_changes() -> None:
    normal, other = WRITE_BACK & 0xFF, NON_CACHEABLE & 0xFF
    story = Story().starting(MAIR_EL1=normal | other << 8).msr("MAIR_EL1", normal | normal << 8)
    assert use(story.load(PA, 8)) == 1
    story = Story().starting(MAIR_EL1=normal | 0x44 << 16).msr("MAIR_EL1", normal | 0x04 << 16)
    assert use(story.load(PA, 8)) is None


@pytest.mark.parametrize(
    ("bit", "unaligned", "used"),
    [(SCTLR_C, False, True), (SCTLR_EE, False, True), (SCTLR_A, False, False),
     (SCTLR_A, True, True), (1 << 12, False, False)],
)  # fmt: skip
def test_bits_of_sctlr_count_for_data(bit: int, unaligned: bool, used: bool) -> None:
    story = Story().msr("SCTLR_EL1", SCTLR_ON ^ bit)
    story.load(PA + 1, 8, flags=UNALIGNED if unaligned else 0)
    assert (use(story) == 1) == used
    assert use(Story().msr("SCTLR_EL1", SCTLR_ON ^ bit).fetch(PA)) is None


def off() -> Story:
    """The MMU goes off in a page that is mapped at its own PA."""
    story = Story().executed(PA).msr("SCTLR_EL1", 0)
    story.attributes = MMU_OFF
    return story


def test_where_va_is_pa_the_mmu_may_be_on_or_off() -> None:
    assert use(off().fetch(PA + 64)) is None
    assert use(off().fetch(PA + 0x1000)) == 3
    assert use(off().load(PA, 8)) == 3
    story = Story().executed(PA).msr("SCTLR_EL1", 0)
    assert use(story.fetch(PA, va=UPPER)) == 3


def test_at_el1_an_mmu_of_el2_is_of_no_account() -> None:
    story = Story(el=2).starting(SCTLR_EL2=1).msr("SCTLR_EL2", 0)
    story.el = 1
    assert use(story.fetch(PA, va=UPPER)) is None


def test_an_at_is_a_use_of_all_that_translates() -> None:
    assert use(switch().at()) == 1
    assert use(Story().msr("SCTLR_EL1", 0).at()) == 1


def test_vmid_and_host_decide_what_a_tlbi_of_el1_means() -> None:
    assert use(Story(el=2).starting(VTTBR_EL2=OLD).msr("VTTBR_EL2", NEW).tlbi("vmalle1")) == 1
    assert use(Story(el=2).starting(VTTBR_EL2=OLD).msr("VTTBR_EL2", NEW).tlbi("alle1")) is None
    host = HCR_EL2_E2H | HCR_EL2_TGE
    assert use(Story(el=2).msr("HCR_EL2", host).tlbi("vmalle1")) == 1
    assert use(Story(el=2).msr("HCR_EL2", host).msr("TTBR1_EL12", NEW)) == 1
    assert use(Story(el=2).msr("HCR_EL2", 1 << 29).tlbi("vmalle1").eret()) is None


@pytest.mark.parametrize(
    ("word", "used"),
    [
        (0x1E602820, True),  # fadd d0, d1, d0
        (0x3DC00000, True),  # ldr q0, [x0]
        (0x4C407000, True),  # ld1 {v0.16b}, [x0]
        (0x04200000, True),  # add z0.b, z0.b, z0.b
        (0xF9400000, False),  # ldr x0, [x0]
        (0x8B000000, False),  # add x0, x0, x0
        (0xD503201F, False),  # nop
        (0x58000000, False),  # ldr x0, .
    ],
)
def test_vectors_may_be_trapped(word: int, used: bool) -> None:
    code = CodeSeen({PA + 4: SeenWord(PA + 4, word, None)}, {})
    story = Story().msr("CPACR_EL1", 3 << 20).fetch(PA, 8)
    assert (use(story, code) == 1) == used
    assert use(Story().msr("CPACR_EL1", 3 << 20).fetch(PA, 4), code) is None
    assert use(Story(el=2).msr("CPTR_EL2", 0).msr("ZCR_EL2", 15)) == 1


@pytest.mark.parametrize(
    ("register", "bits", "el", "mmu", "counts"),
    [
        ("SCTLR_EL1", 1, 1, False, True),
        ("SCTLR_EL1", 1, 0, False, True),
        ("SCTLR_EL1", 1, 2, False, False),
        ("SCTLR_EL2", SCTLR_EE, 2, False, True),
        ("SCTLR_EL1", SCTLR_C, 1, False, False),
        ("SCTLR_EL1", SCTLR_C, 1, True, True),
        ("TTBR1_EL1", 2, 1, False, False),
        ("TTBR1_EL1", 2, 1, True, True),
        ("VBAR_EL1", 0x800, 1, True, False),
        ("HCR_EL2", HCR_EL2_E2H, 2, False, True),
        ("HCR_EL2", HCR_EL2_E2H, 1, False, False),
    ],
)
def test_what_counts_where_a_kernel_is_entered(
    register: str, bits: int, el: int, mmu: bool, counts: bool
) -> None:
    one = Pending(register, 0, 1, bits, (0,), 1, {}, open=True)
    assert counts_at_entry(one, el, mmu=mmu) == counts


def test_a_result_of_at_is_read_behind_an_isb() -> None:
    assert list(unsynchronised_results(Story().at().dsb().mrs().mrs().trace())) == [(0, 2)]
    assert not list(unsynchronised_results(Story().mrs().at().isb().mrs().trace()))


STEPS = st.lists(
    st.one_of(
        st.builds(Step, st.just("write"), st.sampled_from(["TTBR0", "TTBR1"]), st.integers(0, 2)),
        st.builds(Step, st.sampled_from(["synchronise", "wait", "low", "high"])),
    ),
    max_size=12,
)


@given(steps=STEPS)
@settings(max_examples=300, deadline=None)
def test_every_window_begins_to_matter_where_the_oracle_says(steps: list[Step]) -> None:
    """Values of 0 to 2 stand for tables, so that writes often change nothing, or change back."""
    story = Story().starting(TTBR0_EL1=0, TTBR1_EL1=0)
    for step in steps:
        match step.what:
            case "write":
                story.msr(f"{step.register}_EL1", step.value << 12)
            case "synchronise":
                story.isb()
            case "wait":
                story.dsb()
            case "low":
                story.load(PA, 8)
            case "high":
                story.load(PA, 8, va=UPPER)
    trace = story.trace()
    uses = [(one, first_use(trace, NOTHING, one)) for one in pending_writes(trace)]
    doubtful = Machine().doubtful(steps)
    assert {use for _, use in uses if use is not None} <= set(doubtful)
    for number in doubtful:
        name = "TTBR0_EL1" if steps[number].what == "low" else "TTBR1_EL1"
        [window] = [
            use for one, use in uses if one.register == name and one.number < number < one.end
        ]
        assert window is not None
        assert window <= number
