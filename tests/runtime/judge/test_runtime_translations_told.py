"""How findings about translations are told: where, by whose tables, and on which CPUs."""

from __future__ import annotations

from dataclasses import replace

from relokit.runtime.arch import descriptors as d
from relokit.runtime.guest.ledger import Region
from relokit.runtime.guest.owner import Owner, OwnerKind
from relokit.runtime.judge.book import judge
from relokit.runtime.judge.rules.profile import Guarantee
from relokit.runtime.judge.rules.rule import Broken
from relokit.runtime.record.known import Unknown
from relokit.runtime.record.record import Record
from support import records as r
from support.tables import leaves
from support.traces import FULL, NON, STORES, Story
from support.twins import rule_named
from support.twins.switching import MAPS, VA, A, B, begun, emptied, invalidated, switched, told


def broken(name: str, record: Record) -> Broken:
    [found] = rule_named(name).check(record)
    return found


def recorded(story: Story) -> Record:
    owned = (
        Region(Owner(OwnerKind.SWAPPER), A, 4096),
        Region(Owner(OwnerKind.LINEAR_MAP), B, 4096),
    )
    return replace(told(story), regions=(*r.GOOD.regions, *owned))


def test_a_switch_without_its_tlbi_is_shown_from_where_the_old_tables_went() -> None:
    found = broken("bbm.switch", recorded(switched(emptied())))
    assert "linear map copy" in found.message
    assert "swapper_pg_dir" in found.message
    assert "4,096 bytes in all: another permission" in found.message
    marked = [line.startswith(">") for line in found.listing]
    assert marked == [False, False, True, False]
    assert any("were in TTBR1_EL1 before machine_kexec began" in note for note in found.notes)
    assert f"VA {VA:#x} was PA {r.SPARE:#x}, a read-only page" in found.notes


def test_a_switch_without_the_empty_table_is_shown_from_before_its_tlbi() -> None:
    found = broken("bbm.switch", recorded(switched(invalidated(begun()))))
    marked = [line.startswith(">") for line in found.listing]
    assert marked == [False, False, False, False, True, False]
    assert "no table that maps nothing comes between" in found.message


def test_a_weak_dsb_is_named_itself_and_a_missing_one_by_its_tlbi() -> None:
    weak = broken("tlb.completion", recorded(switched(emptied().tlbi().dsb(STORES, NON))))
    none = broken("tlb.completion", recorded(switched(emptied().tlbi())))
    assert weak.address is not None
    assert none.address == weak.address - 4
    assert "completes no TLBI" in weak.message
    assert "is not complete" in none.message


def test_one_thing_that_is_wrong_is_told_once() -> None:
    for story in (
        switched(begun()),
        switched(emptied()),
        switched(emptied().tlbi("aside1").dsb()),
        switched(emptied().tlbi()).load(r.SPARE, 16, va=VA).store(r.SPARE, 16, va=VA),
    ):
        assert len(judge(recorded(story)).findings) == 1


def test_with_bbml2_another_size_alone_is_no_conflict() -> None:
    block = leaves(VA, r.SPARE, 1 << 21, level=2)
    for bits, spared in ((d.KERNEL_RW, {Guarantee.BBML2}), (d.KERNEL_RO, set())):
        maps = MAPS | {A: (leaves(VA, r.SPARE, bits=bits),), B: (block,)}
        record = r.traced(switched(begun()).mmu_off(), maps=maps)
        assert broken("bbm.switch", record).spared_by == spared


def test_with_ets2_a_dsb_is_enough_for_data() -> None:
    data = invalidated().load(r.SPARE, 16, va=VA).isb()
    code = invalidated().fetch(r.SPARE, va=VA).isb()
    assert broken("tlb.synchronised", recorded(data)).spared_by == {Guarantee.ETS2}
    assert broken("tlb.synchronised", recorded(code)).spared_by == set()


def test_a_dsb_that_does_not_wait_for_xs_is_warned_of_for_one_cpu_too() -> None:
    """T28: DSB nXS does not complete a TLBI that is no nXS."""
    plain = recorded(switched(emptied().tlbi("vmalle1").dsb(FULL, NON, nxs=True)))
    assert "accesses that have the XS attribute" in broken("tlb.domain", plain).message
    whole = recorded(switched(emptied().tlbi("vmalle1").dsb(FULL, NON)))
    assert not list(rule_named("tlb.domain").check(whole))


def test_what_is_not_known_is_not_judged_and_what_was_found_stays() -> None:
    record = recorded(switched(begun()).store(B + 0x800, 8))
    judged = judge(record, (rule_named("bbm.switch"), rule_named("tlb.stale")))
    assert [one.rule for one in judged.findings] == ["bbm.switch"]
    assert set(judged.answers.not_judged) == {"bbm.switch", "tlb.stale"}
    unknown = judge(replace(record, tables=Unknown("why not")), (rule_named("bbm.switch"),))
    assert unknown.answers.not_judged == {"bbm.switch": "why not"}
    gap = replace(record, trace=switched().trace(full_at=3))
    assert "room" in judge(gap, (rule_named("bbm.switch"),)).answers.not_judged["bbm.switch"]


def test_the_right_order_has_nothing_to_tell() -> None:
    right = switched().dsb(FULL, NON).load(r.SPARE, 16, va=VA).store(r.SPARE, 16, va=VA)
    assert judge(recorded(right)).findings == ()
