"""What is made of what comes in, room by room: counted before it is made, and let through by the
limit that the error names.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import relokit
from relokit.building import encoder
from relokit.cli.main import main
from relokit.codegen.base.budget import Budget, budgeted, set_limits
from relokit.codegen.base.documents import to_json
from relokit.codegen.base.errors import BudgetError
from relokit.codegen.base.host_file import read_small
from relokit.codegen.gas.assembler import assemble
from relokit.codegen.render import render
from relokit.codegen.source import Unit
from relokit.linker.elf.elf_reader import read_object
from relokit.linker.elf.elf_writer import write_rel
from relokit.linker.foreign.packed import member
from relokit.linker.kernel.pointers import RELATIVE, Pointers
from relokit.runtime.board.fdt import parse
from relokit.runtime.judge.outcome import Outcome
from relokit.runtime.kexec.job import Job
from relokit.runtime.kexec.kimage import KexecSegment, destination_pages
from relokit.runtime.live.userland import read_userland
from relokit.runtime.record.trace_file import parse_trace, trace_chunks
from relokit.runtime.room.requests import CellAnswer, CellsRequest, RunRequest
from relokit.runtime.snapshot.snapshot_reading import read_snapshot
from relokit.session import process_session
from relokit.workers import RoomWorkers
from support.archives import archive
from support.fdt_blobs import END, Tree
from support.snapshots import write
from support.text_images import MOV, RET, image
from support.traces import Story

HINT = re.compile(r"--limit memory=(\d+)([KMG]?) allows it")
SHIFTS = {"": 0, "K": 10, "M": 20, "G": 30}
Spent = list[tuple[str, int]]


@pytest.fixture
def spent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Spent]:
    """What is asked for, and how much of it, in order."""
    found: Spent = []
    spend = Budget.spend

    def noted(self: Budget, name: str, amount: int, on: str, where: str | None = None) -> None:
        found.append((on, amount))
        spend(self, name, amount, on, where)

    monkeypatch.setattr(Budget, "spend", noted)
    yield found
    set_limits({})


def just_too_little(spent: Spent, what: str) -> int:
    """A limit that all is within up to ``what``, and that not; an answer has times in it, which
    may be a few digits shorter.
    """
    at = next(number for number, (on, amount) in enumerate(spent) if on == what and amount)
    return sum(amount for _, amount in spent[: at + 1]) - max(spent[at][1] // 10, 1)


def hinted(error: BudgetError | str) -> int:
    """What an error says would do."""
    found = HINT.search(str(error))
    assert found
    return int(found[1]) << SHIFTS[found[2]]


def object_file() -> bytes:
    text = "f:\n" + 32 * "\tbl f2\n" + "\tret\n"
    return write_rel(assemble(Unit.from_text("x.S", text), encoder().encode))


def elf(place: Path) -> object:
    return read_object((place / "x.o").read_bytes(), "x.o")


def stored_trace() -> bytes:
    return b"".join(trace_chunks(Story().store(0x1000, 8).dsb().trace(), b"{}"))


def relocations() -> bytes:
    return struct.pack("<4Q", 0, 0x10000, RELATIVE, 0x10000)


@pytest.mark.parametrize(
    ("what", "work"),
    [
        ("records of traces", lambda _: parse_trace(stored_trace(), where="t")),
        ("facts of traces", lambda _: parse_trace(stored_trace(), where="t")),
        ("device trees", lambda _: parse(Tree().blob(Tree().node("") + END))),
        (
            "lists of guest pages",
            lambda _: destination_pages([KexecSegment("kernel", 0x40000000, 1 << 20, 1)], 4096),
        ),
        ("relocations of kernels", lambda _: Pointers(memoryview(relocations()), 0x10000)),
        ("sections of ELF files", elf),
        ("section headers of ELF files", elf),
        ("relocations of ELF files", elf),
        ("members of archives", lambda _: member(archive({"a": b"x" * 99}), "a", "x.a")),
        ("unpacked RAM of snapshots", lambda at: read_snapshot(at / "snapshot")),
        ("files that are read", lambda at: read_small(at / "x.o", what="it", limit=9999)),
        ("files of a userland", lambda at: read_userland(at / "root")),
        ("rendered templates", lambda at: render("mine.j2", {}, overrides=at)),
        ("answers of machine rooms", lambda _: process_session().run(job=Job(plain=True))),
    ],
)
def test_what_is_made_is_counted(
    tmp_path: Path, spent: Spent, what: str, work: Callable[[Path], object]
) -> None:
    (tmp_path / "x.o").write_bytes(object_file())
    (tmp_path / "mine.j2").write_text("nop\n")
    (tmp_path / "root").mkdir()
    (tmp_path / "root/init").write_bytes(b"init")
    write(tmp_path, packed=True)
    for _ in range(2):  # what is built once is not built again
        spent.clear()
        with budgeted(anew=True):
            work(tmp_path)
    set_limits({"memory": just_too_little(spent, what)})
    with budgeted(anew=True), pytest.raises(BudgetError, match=f"of {what}") as error:
        work(tmp_path)
    set_limits({"memory": max(hinted(error.value), sum(amount for _, amount in spent))})
    with budgeted(anew=True):
        work(tmp_path)


CODE = "f:\n\tmov\tx0, x1\n\tret\n"


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("what traces are judged by", "judge trace"),
        ("instructions that are compared", "diff a.S b.S"),
        ("pages", "diff a.S b.S --format html -o page"),
        ("what is known of code", "diff --all l r"),
        ("line tables that are written", "export -o elf"),
    ],
)
def test_a_command_counts_it_too(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    spent: Spent,
    what: str,
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.S").write_text(CODE)
    Path("b.S").write_text(CODE.replace("x1", "x2"))
    for name in "lr":
        Path(name).write_bytes(image([("f", (MOV, RET))]))
    if "trace" in words:
        relokit.run(trace=Path("trace"))
    spent.clear()
    assert main(words.split()) < 2
    limit = just_too_little(spent, what)
    capsys.readouterr()
    for _ in range(3):
        if main([*words.split(), "--limit", f"memory={limit}"]) < 2:
            break
        error = capsys.readouterr().err
        assert "of memory asked of" in error
        limit = hinted(error)
    else:
        raise AssertionError(limit)
    assert f"of {what}" in error


def test_the_answers_of_a_campaign_are_one_sum(spent: Spent) -> None:
    """Each was measured by itself: they come in threads of their own."""
    setup = process_session().setup(None, Job(plain=True), None)
    with RoomWorkers(1) as workers, budgeted(anew=True):
        first = workers.submit(RunRequest(setup), Outcome, 60).result().answer
        set_limits({"memory": 12 * len(to_json(first))})
        with pytest.raises(BudgetError, match="of answers of machine rooms"):
            _ = workers.submit(RunRequest(setup), Outcome, 60).result().answer


def test_the_cells_of_a_request_are_counted_one_by_one(spent: Spent) -> None:
    """Nothing of one is there when the next one runs."""
    setup = process_session().setup(None, Job(plain=True), None)
    set_limits({"memory": 1 << 20})
    with RoomWorkers(1) as workers:
        request = CellsRequest(setup, (Job(plain=True),) * 6)
        answers = workers.submit(request, tuple[CellAnswer, ...], 60).result().answer
    assert [one.brief.status for one in answers] == ["pass"] * 6
