"""What is shown of the resume side of hibernation, against what it comes to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from relokit.codegen.target import Regime, Target
from relokit.runtime.kexec.hibernate import HOME, Resume
from relokit.runtime.kexec.job import Job, KexecPath, Shape
from relokit.runtime.run.prepare import prepare_guest
from relokit.runtime.show.answer import answer
from relokit.runtime.show.shown.question import Moment, Question, Topic
from support.machines import linked, quiet

SIZE = 64 << 12


def job_of(shape: Shape = Shape.PLAIN) -> Job:
    return Job(path=KexecPath.HIBERNATE, size=SIZE, shape=shape)


@contextmanager
def resumed(job: Job, regime: Regime = Regime.NVHE, series: int = 15) -> Iterator[Resume]:
    target, built, opened = linked(Target(series=series, regime=regime), job)
    guest = prepare_guest(target, built, job, quiet, opened)
    assert isinstance(guest, Resume)
    try:
        yield guest
    finally:
        guest.close()


def ask(guest: Resume, topic: Topic, **more: Any) -> Any:
    return answer(guest, Question(topic, **more), job_of())


@pytest.mark.parametrize("shape", [Shape.PLAIN, Shape.EDGES])
def test_each_page_of_the_list_is_where_it_says_by_the_end(shape: Shape) -> None:
    """What lies at a source before, is at its destination when the resumed kernel goes on."""
    with resumed(job_of(shape)) as guest:
        page = guest.target.page_size
        listed = ask(guest, Topic.LIST, last=500)
        before = [bytes(guest.memory.read(one.address, page)) for one in listed.rows]
        memory = ask(guest, Topic.MEMORY)
        after = ask(guest, Topic.MEMORY, moment=Moment.KERNEL)
        assert [bytes(guest.memory.read(one.to, page)) for one in listed.rows] == before
    assert listed.problem is None
    assert listed.kimage is None
    assert listed.entries == len(listed.rows) == sum(one.pages for one in memory.moves)
    assert {one.owner for one in listed.rows} == {"safe pages"}
    assert memory.moves[0].name == HOME
    assert memory.moves[0].pages == SIZE // page
    changed = {one.kind: one.changed for one in after.pieces}
    assert changed["destination"] is True
    assert changed["exit_code"] is False


def test_a_list_of_nothing() -> None:
    with resumed(job_of(Shape.LOADED)) as guest:
        listed, memory = ask(guest, Topic.LIST), ask(guest, Topic.MEMORY)
    assert (listed.entries, listed.rows, listed.problem) == (0, (), None)
    assert [one.pages for one in memory.moves] == [0]


def test_a_list_that_leads_elsewhere_is_shown_up_to_there() -> None:
    with resumed(job_of()) as guest:
        at = ask(guest, Topic.LIST, first=3, last=3).rows[0].pa
        guest.memory.write_u64(at + 16, 0x1234)
        listed, memory = ask(guest, Topic.LIST), ask(guest, Topic.MEMORY)
    assert listed.entries == 4
    assert listed.problem == f"entry 3 at PA {at:#x} leads to VA 0x1234"
    assert memory.problem == listed.problem


@pytest.mark.parametrize("series", [0, 15])
@pytest.mark.parametrize("regime", list(Regime))
def test_code_vectors_tables_and_steps(regime: Regime, series: int) -> None:
    with resumed(job_of(), regime, series) as guest:
        code = ask(guest, Topic.CODE).pieces
        first, last = (
            ask(guest, Topic.TABLES, place=guest.entry, moment=moment).walks[0]
            for moment in (Moment.START, Moment.KERNEL)
        )
        vectors = ask(guest, Topic.VECTORS, moment=Moment.JUMP)
        steps = ask(guest, Topic.TRACE, last=5)
    assert code[0].name == "hibernate exit code"
    assert code[0].lines[0].symbol in ("swsusp_arch_suspend_exit", "hibernate_el2_vectors")
    assert first.pa == last.pa
    # By the tables of the kernel that loads, and by those of the one that is resumed.
    assert first.steps[0].owner == "swapper_pg_dir"
    assert last.steps[0].owner == "resumed swapper"
    assert len(vectors.tables) == 1 + (regime is not Regime.EL1)
    assert steps.steps[0].place.startswith("swsusp_arch_resume")
    assert steps.ended == "as many as were asked for"
