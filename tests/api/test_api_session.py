"""A Session: verbs in machine rooms, several at a time, and what an end of a room does."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

import relokit.session
from relokit import Job, Session, Target
from relokit.codegen.base.errors import FormatError, MachineError, NativeCrashError
from relokit.runtime.behaviour.flat_machine import CODE, Callee, level_of
from relokit.runtime.behaviour.trials import TRIALS

RET = bytes.fromhex("c0035fd6")
LYING_ROOM = """
import json
from relokit.runtime.room import machine_room

def serve(request, progress):
    answer = json.loads(machine_room.serve(request, progress))
    if isinstance(answer, dict):
        answer |= {"verified_bytes": "all"}
    return json.dumps(answer).encode()
"""


def test_all_verbs_in_one_room(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    with Session() as session:
        outcome = session.run(
            Target(series="complete"),  # type: ignore[arg-type]
            progress=lambda *report: seen.append(report),
        )
        assert outcome.passed
        process = session._rooms[0]._process
        done = session.export(tmp_path / "boot.elf", Target())
        assert done.size == (tmp_path / "boot.elf").stat().st_size
        assert done.ram
        observed = session.observe(Target(), Job(memory=1 << 28))
        assert observed.counts.instructions == outcome.relocation.instructions
        called = session.call(Callee(RET, CODE, level_of("f")))
        assert [one.trial for one in called] == [trial.name for trial in TRIALS]
        assert session._rooms[0]._process is process
    assert {stage for stage, _, _ in seen} >= {"prepare", "verify"}
    assert all(0 <= done <= total for _, done, total in seen)


def test_a_room_that_is_not_needed_is_not_started() -> None:
    with Session(3) as session:
        for _ in range(3):
            assert session.run().passed
        assert [room._process is not None for room in session._rooms] == [True, False, False]


def test_as_many_at_a_time_as_there_are_rooms() -> None:
    with Session(2) as session:
        threads = [threading.Thread(target=session.run) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert session._idle.qsize() == 2
        assert session.run().passed


@pytest.mark.parametrize("rooms", [0, -1, 257])
def test_a_number_of_rooms_that_is_impossible_is_refused(rooms: int) -> None:
    with pytest.raises(MachineError, match="machine rooms"):
        Session(rooms)


def test_bad_input_leaves_the_room_usable(tmp_path: Path) -> None:
    with Session() as session:
        with pytest.raises(FormatError, match="no such file"):
            session.run(job=Job(kernel=tmp_path / "nothing"))
        assert session.run().passed


def test_after_an_abort_nothing_is_carried_out() -> None:
    with Session() as session:
        assert session.run().passed
        session.abort()
        with pytest.raises(NativeCrashError):
            session.run()


def test_an_answer_is_believed_in_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lying_room.py").write_text(LYING_ROOM)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(relokit.session, "ROOM", "lying_room")
    with Session() as session, pytest.raises(FormatError, match="verified_bytes: str"):
        session.run()
