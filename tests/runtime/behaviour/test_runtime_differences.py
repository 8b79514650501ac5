"""What counts as a difference, and the documents: by hand-made observations."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from relokit.codegen.base.documents import from_data, to_data, to_json
from relokit.codegen.base.errors import FormatError
from relokit.runtime.behaviour.differences import compare_behaviour
from relokit.runtime.behaviour.observation import (
    UNANSWERED,
    BehaviourDiff,
    BehaviourKind,
    Counts,
    Ending,
    Entered,
    Leaving,
    Observation,
    TrialMode,
    Verdict,
    Written,
)
from relokit.runtime.judge.outcome import Finding

COUNTS = Counts(100, 10, 5, 80, 40, {"dc civac": 7}, {"isb": 2}, {"CTR_EL0": 1}, {"VBAR_EL1": 1})
PART = Written("destination: kernel", 0x4000_0000, 0x3000, "aa", 0x1000, ("1", "2", "3"))
WORDS = Written("x1 data", 0x4000_2000, 0x2000, "bb", words=((0x400, 1), (0x408, 2)))
STACK = Written("stack", 0x4001_2000, 0x2000, "cc", words=((0, 1),), on_stack=True)


def seen(leaving: Leaving = Leaving.RETURN) -> Observation:
    return Observation(
        trial="pointers",
        ending=Ending(leaving),
        counts=COUNTS,
        el=1,
        mmu=False,
        flags=4,
        daif=15,
        registers={f"x{n}": n for n in range(31)} | {"sp": 0x100},
        system={"SCTLR_EL1": 0x10, "VBAR_EL1": 0x20},
        memory=(PART, WORDS, STACK),
        jump=Entered(1, mmu=False),
    )


def kinds(
    left: Observation, right: Observation, mode: TrialMode = TrialMode.CALL
) -> dict[str, BehaviourKind]:
    found = compare_behaviour("f", mode, (left,), (right,))
    return {one.what: one.kind for one in found.differences}


def with_register(one: Observation, name: str, value: int = 99) -> Observation:
    return replace(one, registers={**one.registers, name: value})


@pytest.mark.parametrize("leaving", Leaving)
def test_nothing_differs_from_itself(leaving: Leaving) -> None:
    same = compare_behaviour("f", TrialMode.CALL, (seen(leaving),), (seen(leaving),))
    verdict = Verdict.NO_ANSWER if leaving in UNANSWERED else Verdict.SAME
    assert (same.differences, same.verdict) == ((), verdict)


@pytest.mark.parametrize("leaving", sorted(UNANSWERED))
def test_what_only_the_host_ended_is_neither_the_same_nor_different(leaving: Leaving) -> None:
    """But what other trials show is seen."""
    done, stopped = seen(Leaving.RETURN), seen(leaving)
    for pair in ((done, stopped), (stopped, done)):
        found = compare_behaviour("f", TrialMode.CALL, (done, pair[0]), (done, pair[1]))
        assert (found.differences, found.verdict) == ((), Verdict.NO_ANSWER)
    other = with_register(done, "x0")
    found = compare_behaviour("f", TrialMode.CALL, (done, done), (other, stopped))
    assert found.verdict is Verdict.DIFFERENT


KEPT = {f"x{n}" for n in range(18, 30)} | {"sp"}


@pytest.mark.parametrize("name", [*(f"x{n}" for n in range(31)), "sp"])
@pytest.mark.parametrize(
    ("leaving", "relied_on", "looked_at"),
    [
        (Leaving.RETURN, {f"x{n}" for n in range(8)} | KEPT, True),
        (Leaving.BRANCH, {f"x{n}" for n in range(8)} | KEPT, True),
        (Leaving.HAND_OVER, {"x0", "x1", "x2", "x3"}, True),
        (Leaving.CALL, {f"x{n}" for n in range(8)}, True),
        (Leaving.SYSTEM_CALL, {f"x{n}" for n in range(8)}, True),
        (Leaving.FAULT, set(), False),
        (Leaving.OWN_DATA, set(), False),
        (Leaving.ENDLESS, set(), False),
    ],
)
def test_who_relies_on_which_register(
    name: str, leaving: Leaving, relied_on: set[str], looked_at: bool
) -> None:
    found = kinds(seen(leaving), with_register(seen(leaving), name))
    if not looked_at or (name == "x30" and leaving in (Leaving.CALL, Leaving.SYSTEM_CALL)):
        assert found == {}
    else:
        assert found == {
            name: BehaviourKind.RESULT if name in relied_on else BehaviourKind.LEFTOVER
        }


@pytest.mark.parametrize(
    ("leaving", "expected"),
    [
        (Leaving.RETURN, BehaviourKind.LEFTOVER),
        (Leaving.CALL, BehaviourKind.LEFTOVER),
        (Leaving.EXCEPTION_RETURN, BehaviourKind.RESULT),
    ],
)
def test_an_argument_register_that_is_not_handed_on_is_scratch(
    leaving: Leaving, expected: BehaviourKind
) -> None:
    def kind(name: str, handed_on: set[str]) -> BehaviourKind:
        sides = ((seen(leaving),), (with_register(seen(leaving), name),))
        (one,) = compare_behaviour("f", TrialMode.CALL, *sides, handed_on=handed_on).differences
        return one.kind

    assert kind("x1", set()) is expected
    assert kind("x1", {"x1"}) is BehaviourKind.RESULT
    assert kind("x0", set()) is BehaviourKind.RESULT


@pytest.mark.parametrize("leaving", [Leaving.UNRESOLVED, Leaving.OWN_DATA])
def test_nothing_corresponds_in_the_middle_of_a_routine(leaving: Leaving) -> None:
    for left, right in ((seen(leaving), seen()), (seen(), with_register(seen(leaving), "x0"))):
        found = compare_behaviour("f", TrialMode.CALL, (left,), (right,))
        assert (found.differences, found.cut) == ((), 1)


def test_names_of_addresses_are_compared_where_there_are_some() -> None:
    left = replace(with_register(seen(), "x0", 0x1000), named={"x0": "memcpy"})
    right = replace(with_register(seen(), "x0", 0x2000), named={"x0": "memcpy"})
    assert kinds(left, right) == {}
    assert kinds(left, replace(right, named={"x0": "memset"})) == {"x0": BehaviourKind.RESULT}


def test_flags_are_left_over_and_the_level_is_a_result() -> None:
    assert kinds(seen(), replace(seen(), flags=0)) == {"flags": BehaviourKind.LEFTOVER}
    assert kinds(seen(), replace(seen(), daif=0)) == {"DAIF": BehaviourKind.RESULT}
    assert kinds(seen(), replace(seen(), mmu=True)) == {"MMU": BehaviourKind.RESULT}


def test_system_registers_by_mode() -> None:
    other = replace(seen(), system={"SCTLR_EL1": 0x11, "TCR_EL1": 1})
    names = ("SCTLR_EL1", "VBAR_EL1", "TCR_EL1")
    assert kinds(seen(), other) == dict.fromkeys(names, BehaviourKind.RESULT)
    handed = kinds(
        replace(seen(), ending=Ending(Leaving.HAND_OVER, 1)),
        replace(other, ending=Ending(Leaving.HAND_OVER, 1)),
        TrialMode.RELOCATION,
    )
    assert handed == dict.fromkeys(names, BehaviourKind.LEFTOVER) | {
        "SCTLR_EL1": BehaviourKind.RESULT
    }


def test_another_way_out_is_all_that_is_said() -> None:
    other = replace(
        with_register(seen(Leaving.CALL), "x0"), memory=(), counts=Counts(1, 2, 3, 4, 5)
    )
    assert kinds(seen(), other) == {"way out": BehaviourKind.RESULT}
    assert kinds(seen(Leaving.FAULT), replace(seen(), ending=Ending(Leaving.FAULT, 0x10))) == {
        "way out": BehaviourKind.RESULT
    }
    one, two = (replace(seen(), ending=Ending(Leaving.OWN_DATA, place)) for place in ("a", "b"))
    assert kinds(one, two) == {}


def test_arguments_that_neither_can_do_with_are_no_trial() -> None:
    """An instruction that faults by itself is: it names no address."""
    places = [replace(seen(), ending=Ending(Leaving.FAULT, place)) for place in (0x10, 0x18)]
    assert kinds(places[0], places[1]) == {}
    assert kinds(places[0], seen()) == {"way out": BehaviourKind.RESULT}
    undefined = replace(seen(), ending=Ending(Leaving.FAULT, None, "undefined"))
    assert kinds(places[0], undefined) == {"way out": BehaviourKind.RESULT}
    assert kinds(places[0], places[1], TrialMode.RELOCATION) == {"way out": BehaviourKind.RESULT}


def test_maintenance_is_neither_result_nor_cost() -> None:
    counts = replace(COUNTS, operations={"dc ivac": 7}, barriers={"isb": 1})
    found = compare_behaviour("f", TrialMode.CALL, (seen(),), (replace(seen(), counts=counts),))
    assert {(one.what, one.left, one.right) for one in found.differences} == {
        ("dc civac", "7", "0"),
        ("dc ivac", "0", "7"),
        ("isb", "2", "1"),
    }
    assert {one.kind for one in found.differences} == {BehaviourKind.MAINTENANCE}
    assert found.verdict is Verdict.MAINTENANCE


@pytest.mark.parametrize(
    ("counts", "what"),
    [
        (replace(COUNTS, instructions=101), "instructions"),
        (replace(COUNTS, loads=11), "loads"),
        (replace(COUNTS, stores=6), "stores"),
        (replace(COUNTS, loaded=81), "bytes loaded"),
        (replace(COUNTS, stored=41), "bytes stored"),
        (replace(COUNTS, reads={}), "mrs CTR_EL0"),
        (replace(COUNTS, writes={"VBAR_EL1": 2}), "msr VBAR_EL1"),
    ],
)
def test_costs_do_not_make_another_behaviour(counts: Counts, what: str) -> None:
    found = compare_behaviour("f", TrialMode.CALL, (seen(),), (replace(seen(), counts=counts),))
    assert [(one.kind, one.what) for one in found.differences] == [(BehaviourKind.COST, what)]
    assert found.verdict is Verdict.SAME


def test_memory_is_told_by_the_first_word_or_page_that_differs() -> None:
    words = replace(WORDS, digest="dd", words=((0x400, 1), (0x408, 3), (0x410, 4)))
    parts = replace(PART, digest="dd", parts=("1", "9", "9"))
    found = compare_behaviour(
        "f", TrialMode.CALL, (seen(),), (replace(seen(), memory=(parts, words, STACK)),)
    )
    assert [(one.what, one.left, one.right) for one in found.differences] == [
        ("memory: destination: kernel", "written",
         "2 of 3 pieces of 4,096 bytes differ, from PA 0x40001000 on"),
        ("memory: [x1 + 0x8]", "0x2", "0x3"),
    ]  # fmt: skip
    assert found.verdict is Verdict.DIFFERENT
    nothing = replace(seen(), memory=(PART, STACK))
    assert kinds(seen(), nothing) == {"memory: x1 data": BehaviourKind.RESULT}
    # Past the words that are listed, the digest still tells.
    beyond = replace(seen(), memory=(PART, replace(WORDS, digest="ee"), STACK))
    assert kinds(seen(), beyond) == {"memory: x1 data": BehaviourKind.RESULT}


def test_the_stack_counts_once_the_routine_is_over() -> None:
    for leaving, expected in ((Leaving.RETURN, BehaviourKind.RESULT), (Leaving.CALL, None)):
        left, right = seen(leaving), replace(seen(leaving), memory=(PART, WORDS))
        assert kinds(left, right).get("memory: stack") == expected


def test_another_payload_is_another_set_up() -> None:
    other = replace(PART, size=0x4000, digest="dd", parts=("1", "2", "3", "4"))
    right = replace(seen(), memory=(other, WORDS, STACK))
    assert kinds(seen(), right) == {"destination: kernel": BehaviourKind.SETUP}


def test_a_failed_check_on_one_side_is_a_result() -> None:
    failed = replace(seen(), findings=(Finding("handoff.x1", "x1 = 2"),))
    found = compare_behaviour("f", TrialMode.RELOCATION, (seen(),), (failed,))
    [verdict] = found.differences
    assert (verdict.what, verdict.left, verdict.right) == (
        "verdict", "passes", "fails: handoff.x1",
    )  # fmt: skip


def test_trials_are_put_together_and_a_result_is_no_leftover() -> None:
    one, two = seen(), replace(seen(Leaving.HAND_OVER), trial="zeros")
    found = compare_behaviour(
        "f", TrialMode.CALL, (one, two), (with_register(one, "x20"), with_register(two, "x20"))
    )
    [difference] = found.differences
    assert (difference.kind, difference.trials) == (BehaviourKind.RESULT, ("pointers",))
    assert (difference.left, difference.right) == ("0x14", "0x63")


def test_set_up_comes_last_and_only_if_it_differs() -> None:
    setup = [("page size", "4k", "4k"), ("state", "11", "12")]
    found = compare_behaviour("f", TrialMode.RELOCATION, (seen(),), (seen(),), setup)
    assert [(one.kind, one.what) for one in found.differences] == [(BehaviourKind.SETUP, "state")]
    assert found.verdict is Verdict.SAME


def test_documents_are_read_as_they_were_written() -> None:
    left = replace(
        seen(Leaving.CALL),
        ending=Ending(Leaving.CALL, "memcpy", None),
        named={"x0": "memcpy"},
        findings=(Finding("handoff.x1", "x1 = 2", address=4),),
    )
    routine = compare_behaviour("f", TrialMode.CALL, (left,), (with_register(seen(), "x0"),))
    diff = BehaviourDiff("a", "b", (routine,))
    document = json.loads(to_json(diff))
    assert from_data(BehaviourDiff, document) == diff
    assert document["verdict"] == "different"
    assert document["routines"][0]["cut"] == 1
    assert document["routines"][0]["left"][0]["ending"]["text"] == "calls memcpy"


@pytest.mark.parametrize("damage", ["routines", "left", "right"])
def test_what_is_no_document_is_refused(damage: str) -> None:
    routine = compare_behaviour("f", TrialMode.CALL, (seen(),), (seen(),))
    diff = to_data(BehaviourDiff("a", "b", (routine,)))
    del diff[damage]
    with pytest.raises(FormatError, match="document of BehaviourDiff"):
        from_data(BehaviourDiff, diff)
    with pytest.raises(FormatError, match="document of BehaviourDiff"):
        from_data(BehaviourDiff, {"left": "a", "right": "b", "routines": []})
    with pytest.raises(FormatError, match="document of Observation"):
        from_data(Observation, to_data(seen()) | {"ending": {"leaving": "?"}})


def test_the_worst_routine_decides() -> None:
    same = compare_behaviour("f", TrialMode.CALL, (seen(),), (seen(),))
    isb = replace(seen(), counts=replace(COUNTS, barriers={}))
    maintenance = compare_behaviour("g", TrialMode.CALL, (seen(),), (isb,))
    different = compare_behaviour("h", TrialMode.CALL, (seen(),), (with_register(seen(), "x0"),))
    assert BehaviourDiff("a", "b", (same,)).same
    assert BehaviourDiff("a", "b", (same, maintenance)).verdict is Verdict.MAINTENANCE
    assert BehaviourDiff("a", "b", (different, maintenance)).verdict is Verdict.DIFFERENT
