"""What is shown of a machine, against what is known of it otherwise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from relokit.codegen.base.errors import MachineError
from relokit.codegen.target import Regime, Target
from relokit.runtime.guest.owner import OwnerKind
from relokit.runtime.kexec.job import Job, KexecPath, Shape
from relokit.runtime.kexec.kimage import walk_list
from relokit.runtime.kexec.machine import Machine
from relokit.runtime.show.answer import answer
from relokit.runtime.show.shown.question import Moment, Question, Topic
from support.machines import prepared

SMALL = Job(size=1 << 20)
LIST, TABLES, CODE, VECTORS, TRACE = (
    Topic.LIST, Topic.TABLES, Topic.CODE, Topic.VECTORS, Topic.TRACE,
)  # fmt: skip


def ask(machine: Machine, topic: Topic, job: Job = SMALL, **more: object) -> object:
    return answer(machine, Question(topic, **more), job)  # type: ignore[arg-type]


@pytest.mark.parametrize("first", [0, 100, 500, 600])
def test_entries_are_those_that_the_move_asks_for(first: int) -> None:
    job = Job(size=3 << 20)
    with prepared(Target(regime=Regime.EL1), job) as machine:
        found = answer(machine, Question(LIST, first=first, last=first + 199), job)
        destinations, sources = walk_list(machine.memory, machine.kimage.head, 4096)
        everything = answer(machine, Question(LIST, last=5000), job).rows
    assert found.problem is None
    assert found.entries == machine.kimage.list_words + 1
    assert found.rows == everything[first : first + 200]
    pairs = [(one.to, one.address) for one in everything if one.kind == "source"]
    assert pairs == list(zip(destinations.tolist(), sources.tolist(), strict=True))
    assert [one.number for one in everything] == list(range(found.entries))
    assert everything[-1].kind == "done"
    assert {one.owner for one in everything if one.kind == "source"} == {"source pages"}


def loop(machine: Machine) -> None:
    page = machine.kimage.list_pages[0].base
    machine.memory.write_u64(page + 16, page | 2)


def leave_ram(machine: Machine) -> None:
    machine.memory.write_u64(machine.kimage.list_pages[0].base + 16, 1 << 44 | 2)


def two_flags(machine: Machine) -> None:
    machine.memory.write_u64(machine.kimage.list_pages[0].base + 16, 0x4000_0009)


def no_end(machine: Machine) -> None:
    page = machine.kimage.list_pages[0].base
    machine.memory.u64(page, 512).fill(0x4000_0008)


@pytest.mark.parametrize(
    ("spoil", "why", "entries"),
    [
        (loop, "it loops", 4),
        (leave_ram, "not RAM", 4),
        (two_flags, "is none", 4),
        (no_end, "runs off its page", 513),
    ],
)
def test_a_bad_list_is_shown_as_far_as_it_goes(
    spoil: Callable[[Machine], None], why: str, entries: int
) -> None:
    with prepared(Target(), SMALL) as machine:
        spoil(machine)
        found = answer(machine, Question(LIST, last=9999), SMALL)
    assert why in found.problem
    assert len(found.rows) == found.entries == entries


def test_more_entries_than_are_shown_are_refused() -> None:
    with prepared(Target(), SMALL) as machine, pytest.raises(MachineError, match="entries"):
        ask(machine, LIST, first=0, last=1 << 16)


@pytest.mark.parametrize("regime", list(Regime))
@pytest.mark.parametrize("page_size", [4096, 65536])
def test_tables_map_what_owners_say(regime: Regime, page_size: int) -> None:
    """By the ledger: the kernel's text where it runs, and at the jump the control page."""
    target = Target(page_size=page_size, regime=regime)
    with prepared(target, SMALL) as machine:
        start = answer(machine, Question(TABLES), SMALL)
        walked = answer(machine, Question(TABLES, place="machine_kexec"), SMALL).walks[0]
        text = machine.old.pa("machine_kexec")
        control = machine.kimage.control_page
        jump = answer(machine, Question(TABLES, Moment.JUMP), SMALL)
        at_jump = answer(machine, Question(TABLES, Moment.JUMP, control), SMALL).walks[0]
    upper = f"TTBR1_EL{start.el}"
    assert (walked.pa, walked.register, walked.owner) == (text, upper, "old kernel")
    assert (walked.writable, walked.executable) == (False, True)
    assert walked.steps[-1].words[0].startswith("page at") or "block" in walked.steps[-1].words[0]
    [own] = [one for one in start.ranges if one.register == upper]
    held = [one for one in own.maps if one.va <= walked.va < one.va + one.bytes]
    assert [one.pa + walked.va - one.va for one in held] == [text]
    assert (at_jump.pa, at_jump.executable) == (control, True)
    [idmap] = [one for one in jump.ranges if one.register == f"TTBR0_EL{jump.el}"]
    assert [one.owner for one in idmap.maps] == ["control code page"]
    assert sum(one.count for one in idmap.levels) == len(
        [one for one in machine.allocator.regions if one.owner.kind is OwnerKind.CONTROL_IDMAP]
    )


def test_wide_addresses_have_their_formats() -> None:
    for page_size, name in ((4096, "LPA2"), (65536, "LPA")):
        target = Target(page_size=page_size, va_bits=52, regime=Regime.VHE)
        with prepared(target, SMALL) as machine:
            found = answer(machine, Question(TABLES), SMALL)
        assert {one.format for one in found.ranges if one.walked} == {name}
        assert {one.va_bits for one in found.ranges if one.register == "TTBR1_EL2"} == {52}


def test_an_address_that_nothing_maps_has_a_fault() -> None:
    with prepared(Target(), SMALL) as machine:
        el1, el2 = answer(machine, Question(TABLES, place=0x1234), SMALL).walks
        with pytest.raises(MachineError, match="no symbol 'nobody'"):
            ask(machine, TABLES, place="nobody")
    assert (el1.pa, el1.fault) == (None, "translation fault, level 0")
    assert (el2.register, el2.pa, el2.steps) == (None, 0x1234, ())


def test_code_is_what_is_in_ram() -> None:
    with prepared(Target(), SMALL) as machine:
        pieces = answer(machine, Question(CODE), SMALL).pieces
        routines = machine.routines
        restart = answer(machine, Question(CODE, place="cpu_soft_restart"), SMALL).pieces[0]
        by_address = answer(machine, Question(CODE, place=restart.address), SMALL).pieces[0]
        with pytest.raises(MachineError, match="nothing can be fetched"):
            ask(machine, CODE, place=0x1000)
        with pytest.raises(MachineError, match="no address of code"):
            ask(machine, CODE, place=0x1001)
    copied = [b"".join(line.word.to_bytes(4, "little") for line in one.lines) for one in pieces]
    assert copied == [routines.relocation, routines.vectors]
    assert pieces[0].lines[0].symbol == "arm64_relocate_new_kernel"
    assert all(line.source for line in pieces[0].lines)
    assert restart.lines[0].symbol == "cpu_soft_restart"
    assert by_address.lines[: len(restart.lines)] == restart.lines


def test_vectors_are_those_in_force() -> None:
    with prepared(Target(regime=Regime.NVHE), SMALL) as machine:
        start = answer(machine, Question(VECTORS), SMALL)
        kernel = answer(machine, Question(VECTORS, Moment.KERNEL), SMALL)
        machine.memory.fill(machine.old.region.base, machine.old.region.size)
    assert [one.register for one in start.tables] == ["VBAR_EL1", "VBAR_EL2"]
    assert [one.register for one in kernel.tables] == ["VBAR_EL2", "VBAR_EL1"]
    assert kernel.tables[0].owner == "EL2 vectors copy"
    assert [len(one.slots) for one in start.tables] == [16, 16]
    assert start.tables[0].slots[5].name == "IRQ from the same level using SP_ELx"


@pytest.mark.parametrize("first", [0, 60, 3000])
def test_steps_are_the_same_from_wherever_they_are_shown(first: int) -> None:
    """At full speed up to shortly before the first one, or one by one from the start."""
    with prepared(Target(), SMALL) as machine:
        late = answer(machine, Question(TRACE, first=first, last=first + 20), SMALL)
    with prepared(Target(), SMALL) as machine:
        early = answer(machine, Question(TRACE, first=0, last=first + 20), SMALL)
    assert [one.number for one in early.steps] == list(range(first + 21))
    assert late.steps == early.steps[first:]


def test_steps_end_where_they_are_told_to() -> None:
    with prepared(Target(), SMALL) as machine:
        jump = machine.jump
        found = answer(machine, Question(TRACE, until="arm64_relocate_new_kernel"), SMALL)
    with prepared(Target(), SMALL) as machine:
        by_address = answer(machine, Question(TRACE, until=jump), SMALL)
        far = answer(machine, Question(TRACE, last=9, until=jump), SMALL)
    assert found.steps == by_address.steps
    assert found.ended == "arm64_relocate_new_kernel comes next"
    assert found.steps[0].changed == {"pstate": 0x3C5}
    assert len(far.steps) == 10
    assert far.ended.endswith("was not reached")


def test_the_last_step_is_the_one_before_the_new_kernel() -> None:
    small = Job(size=4096)
    with prepared(Target(regime=Regime.EL1), small) as machine:
        found = answer(machine, Question(TRACE, last=9999), small)
        with pytest.raises(MachineError, match="no instruction number 9,000,000"):
            ask(machine, TRACE, small, first=9_000_000)
        with pytest.raises(MachineError, match="10,001 steps"):
            ask(machine, TRACE, small, last=10_000)
    assert found.ended == "the new kernel is entered"
    assert found.steps[-1].text.startswith("br ")


@pytest.mark.parametrize("shape", [Shape.PLAIN, Shape.OWN_PLACE])
def test_where_segments_come_from(shape: Shape) -> None:
    job = replace(SMALL, shape=shape)
    with prepared(Target(), job) as machine:
        found = answer(machine, Question(Topic.MEMORY), job)
        loop(machine)
        broken = answer(machine, Question(Topic.MEMORY), job)
    assert sum(one.pages for one in found.moves) == 256 + 1
    assert any(one.at_home for one in found.moves) == (shape is Shape.OWN_PLACE)
    assert broken.problem.startswith("the list loops")


def test_hibernation_is_no_machine_about_to_kexec() -> None:
    with (
        pytest.raises(MachineError, match="no machine about to kexec"),
        prepared(Target(), Job(path=KexecPath.HIBERNATE)),
    ):
        pass
