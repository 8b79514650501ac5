"""Running cells: verdicts in order, and what a broken one does to the others (nothing)."""

from __future__ import annotations

import os
import resource
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import relokit.session
import relokit.templates
from relokit.codegen.base.documents import to_data
from relokit.codegen.base.errors import FormatError, TemplateError
from relokit.codegen.target import Regime
from relokit.matrix import CellResult, CellStatus, Tally, default_jobs, run_matrix
from relokit.runtime.campaign.cells import Cell, Payload, Selection, cells
from relokit.runtime.kexec.job import Job, KexecPath
from support.bounds import eventually
from support.processes import children

TEMPLATES = Path(relokit.templates.__path__[0])
RELOCATE = "relocate_kernel.S.j2"
FIRST = "\tldr\tx28, [x0"
ENDLESS = f".Lspin:\n\tadd\tx9, x9, #1\n\tb\t.Lspin\n{FIRST}"


def some(*paths: KexecPath, series: tuple[int, ...] = (15,), **more: object) -> list[Cell]:
    """4k cells of EL1, one a path: shuffled, or without a list."""
    wanted = {Payload.SHUFFLED, Payload.NO_LIST}
    selection = Selection(
        series=series,
        page_sizes=(4096,),
        va_bits=(48,),
        regimes=(Regime.EL1,),
        **more,  # type: ignore[arg-type]
    )
    found = [cell for cell in cells(selection) if cell.payload in wanted]
    return [cell for path in paths or KexecPath for cell in found if cell.path is path]


def edited(directory: Path, old: str, new: str) -> Path:
    """Templates in which one line of the relocation is another."""
    text = (TEMPLATES / RELOCATE).read_text()
    assert old in text
    (directory / RELOCATE).write_text(text.replace(old, new, 1))
    return directory


def rooms() -> set[int]:
    """This process's machine rooms."""
    return {
        pid
        for pid in children(os.getpid())
        if b"runtime.room.machine_room" in Path(f"/proc/{pid}/cmdline").read_bytes()
    }


def statuses(results: list[CellResult]) -> list[str]:
    return [str(result.status) for result in results]


def test_every_path_passes_before_and_after_the_series() -> None:
    chosen = some(series=(0, 15))
    results = list(run_matrix(chosen, jobs=2))
    assert [result.cell for result in results] == chosen
    assert statuses(results) == ["pass"] * 10
    assert not any(result.reason for result in results)
    warned = {(r.cell.series, r.cell.path) for r in results if r.findings}
    assert warned == {(15, KexecPath.IN_PLACE), (15, KexecPath.CRASH)}
    # As of patch 5 an image in place needs no relocation at all.
    ran = {(r.cell.series, r.cell.path): r.instructions for r in results}
    assert ran[0, KexecPath.IN_PLACE] > 0
    assert ran[15, KexecPath.IN_PLACE] == 0
    assert ran[15, KexecPath.NORMAL] > 10_000


def test_results_do_not_depend_on_the_number_of_rooms() -> None:
    chosen = some()
    one, three = (
        [(r.cell, r.status, r.instructions) for r in run_matrix(chosen, jobs=jobs)]
        for jobs in (1, 3)
    )
    assert one == three


def test_unsupported_cells_need_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relokit.session, "ROOM", "no.such.module")
    chosen = list(cells(Selection(series=(15,), va_bits=(40,))))
    results = list(run_matrix(chosen, jobs=1))
    assert len(results) == 9
    for result in results:
        assert result.status is CellStatus.UNSUPPORTED
        assert "40-bit" in (result.reason or "")
        assert to_data(result)["path"] is None


def test_wrong_code_fails_its_cells_and_says_how(tmp_path: Path) -> None:
    mine = edited(tmp_path, "\tmov\tx1, xzr\n", "\tmov\tx1, #1\n")
    chosen = some(KexecPath.NORMAL, KexecPath.IN_PLACE)
    normal, in_place = run_matrix(chosen, Job(templates=mine))
    assert in_place.status is CellStatus.PASS
    assert normal.status is CellStatus.FAIL
    assert normal.findings[0].rule == "handoff.x1"
    assert (normal.reason or "").startswith("handoff.x1: ")
    assert to_data(normal)["findings"][0]["rule"] == "handoff.x1"


def test_code_that_cannot_be_built_fails_its_cells_with_the_line(tmp_path: Path) -> None:
    mine = edited(tmp_path, FIRST, f"\tnonsense\tx1\n{FIRST}")
    # Before patch 12 that line is not there.
    new, old = run_matrix(
        [*some(KexecPath.NORMAL), *some(KexecPath.NORMAL, series=(0,))], Job(templates=mine)
    )
    assert old.status is CellStatus.PASS
    assert new.status is CellStatus.FAIL
    (finding,) = new.findings
    assert finding.rule == "matrix.error"
    assert RELOCATE in (finding.place or "")


def test_edited_templates_are_read_again(tmp_path: Path) -> None:
    chosen = some(KexecPath.NORMAL)
    for new, status in (("#1", "fail"), ("xzr", "pass")):
        mine = edited(tmp_path, "\tmov\tx1, xzr\n", f"\tmov\tx1, {new}\n")
        assert statuses(list(run_matrix(chosen, Job(templates=mine)))) == [status]


def test_input_that_no_cell_could_use_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "kernel").write_bytes(b"no kernel" * 100)
    with pytest.raises(FormatError):
        next(run_matrix(some(), Job(kernel=tmp_path / "kernel")))
    with pytest.raises(TemplateError):
        next(run_matrix(some(), Job(templates=tmp_path / "nowhere")))


ROOM = """
import os, signal, time
from relokit.codegen.base.host_file import unpack
from relokit.runtime.room import machine_room
from relokit.runtime.kexec.job import KexecPath

def serve(request, progress):
    # What was left out of the request is not looked at.
    paths = {job.path for job in unpack(request, (), "kept").request.jobs}
    if KexecPath.PURGATORY in paths:
        os.kill(os.getpid(), signal.SIGSEGV)
    if KexecPath.IN_PLACE in paths:
        time.sleep(1000)
    return machine_room.serve(request, progress)
"""


def test_crash_and_hang_of_a_room_are_their_cells_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "crashing_room.py").write_text(ROOM)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(relokit.session, "ROOM", "crashing_room")
    monkeypatch.setattr(relokit.session, "GRACE", 1.0)
    ask = relokit.session.Session.ask

    def patiently(self: Any, request: Any, answer: Any, _: float, *rest: Any) -> Any:
        # Who hangs is waited for shortly, who is slow (this host may be busy) as long as it takes.
        hangs = request.jobs[0].path is KexecPath.IN_PLACE
        return ask(self, request, answer, 0.0 if hangs else 600.0, *rest)

    monkeypatch.setattr(relokit.session.Session, "ask", patiently)
    results = list(run_matrix(some(), jobs=2))
    assert statuses(results) == ["pass", "no answer", "no answer", "pass", "pass"]
    crash, hang = results[1], results[2]
    assert crash.findings[0].rule == hang.findings[0].rule == "matrix.crash"
    assert "SIGSEGV" in (crash.reason or "")
    assert "did not answer" in (hang.reason or "")
    assert hang.seconds >= 1


def test_what_takes_a_room_down_takes_none_of_the_cells_asked_for_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "crashing_room.py").write_text(ROOM)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(relokit.session, "ROOM", "crashing_room")
    asked = []
    ask = relokit.session.Session.ask

    def counting(self: Any, request: Any, *rest: Any) -> Any:
        asked.append(len(request.jobs))
        return ask(self, request, *rest)

    monkeypatch.setattr(relokit.session.Session, "ask", counting)
    chosen = some(*[KexecPath.NORMAL] * 7, KexecPath.PURGATORY, *[KexecPath.CRASH] * 8)
    results = list(run_matrix(chosen, jobs=1))
    assert [result.cell for result in results] == chosen
    assert statuses(results) == ["pass"] * 7 + ["no answer"] + ["pass"] * 8
    assert "SIGSEGV" in (results[7].reason or "")
    # Two at a time, and those of the request that was lost each alone.
    assert sorted(asked) == [1, 1] + [2] * 8


def test_an_error_in_a_room_is_told_for_each_cell() -> None:
    # More memory than any host gives: no machine can be built.
    results = list(run_matrix(some(*[KexecPath.NORMAL] * 16), Job(memory=1 << 47), jobs=1))
    assert statuses(results) == ["fail"] * 16
    assert {result.findings[0].rule for result in results} == {"matrix.error"}


def test_killed_room_leaves_the_cell_it_was_in_without_an_answer(tmp_path: Path) -> None:
    mine = edited(tmp_path, FIRST, ENDLESS)
    others = rooms()

    def kill() -> None:
        assert eventually(lambda: rooms() - others)
        time.sleep(1.0)  # by then it is in the endless cell
        for pid in rooms() - others:
            os.kill(pid, signal.SIGKILL)

    results: Iterator[CellResult] = run_matrix(
        some(KexecPath.IN_PLACE, KexecPath.NORMAL, KexecPath.CRASH),
        Job(templates=mine, timeout=60, max_instructions=1 << 60),
        jobs=1,
    )
    first = next(results)
    killer = threading.Thread(target=kill)
    killer.start()
    second, third = results
    killer.join()
    assert statuses([first, second, third]) == ["pass", "no answer", "pass"]
    assert "SIGKILL" in (second.reason or "")


def test_closing_early_ends_every_room_at_once(tmp_path: Path) -> None:
    mine = edited(tmp_path, FIRST, ENDLESS)
    others = rooms()
    results = run_matrix(
        some(KexecPath.IN_PLACE, *[KexecPath.NORMAL] * 20),
        Job(templates=mine, timeout=60, max_instructions=1 << 60),
        jobs=2,
    )
    assert next(results).status is CellStatus.PASS
    assert rooms() - others
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    results.close()
    # Left to themselves, both rooms would count for a minute.
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 30
    assert rooms() == others


def test_tally() -> None:
    tally = Tally(cells=5, jobs=2)
    assert (tally.done, tally.status, tally.rate) == (0, "nothing", 0.0)
    [cell] = some(KexecPath.NORMAL)
    for status, verdict in (
        (CellStatus.UNSUPPORTED, "nothing"),
        (CellStatus.PASS, "pass"),
        (CellStatus.NO_ANSWER, "no answer"),
        (CellStatus.FAIL, "fail"),
    ):
        tally.add(CellResult(cell, status), 1.5)
        assert tally.status == verdict
    assert (tally.done, tally.rate) == (4, 2.0)


def test_jobs_are_the_cores_this_process_may_use() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert default_jobs() == 1
    finally:
        os.sched_setaffinity(0, before)
