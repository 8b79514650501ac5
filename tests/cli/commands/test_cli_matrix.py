"""``relokit matrix``: choosing cells, the four outputs, exit codes, interrupts."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relokit.cli.commands import run
from relokit.cli.options import make_job, make_target
from relokit.cli.terminal.matrix_view import Shared, reproduce
from relokit.linker.kernel.opened import Files
from relokit.runtime.campaign.cells import Cell, Selection, cells
from relokit.runtime.judge.book import TRACE_SUBJECTS
from relokit.runtime.kexec.job import MAX_SEED, Job
from support.bounds import eventually
from support.processes import children, gone

pytestmark = pytest.mark.usefixtures("kept")

Cli = Callable[..., Any]
Edit = Callable[[str, str, str], Path]

ONE = ("--series", "15", "--page-size", "4k", "--va-bits", "48", "--el", "el1", "--path", "normal")
SMALL = ("--series", "15", "--page-size", "4k", "--el", "el1", "--va-bits", "47,48")
"""Two targets, one of which is not supported."""
SHUFFLED = (*SMALL, "--path", "normal,in-place", "--payload", "shuffled,no-list", "--jobs", "1")
IDS = [
    "series15/4k/va47/el1",
    "series15/4k/va48/el1/normal/shuffled",
    "series15/4k/va48/el1/normal/no-list",
    "series15/4k/va48/el1/in-place/shuffled",
    "series15/4k/va48/el1/in-place/no-list",
]
STATUSES = ["unsupported", "pass", "unsupported", "unsupported", "pass"]
CLEANS_NOT = ("relocate_kernel.S.j2", 'dcache_by_line("civac"', 'dcache_by_line("ivac"')
X1_NOT_ZERO = ("relocate_kernel.S.j2", "\tmov\tx1, xzr\n", "\tmov\tx1, #1\n")


@dataclass(frozen=True)
class Line:
    """A KTAP result line."""

    ok: bool
    name: str
    skip: str | None


def parse_ktap(text: str) -> tuple[list[Line], list[str]]:
    """Results and diagnostics of flat KTAP version 1; AssertionError for anything else."""
    lines = text.splitlines()
    assert lines[0] == "KTAP version 1"
    plan = re.fullmatch(r"1\.\.([1-9][0-9]*)", lines[1])
    assert plan
    results, diagnostics = [], []
    for line in lines[2:]:
        if line.startswith("#"):
            diagnostics.append(line[1:].strip())
            continue
        match = re.fullmatch(r"(ok|not ok) ([0-9]+) - ([^#\s][^#]*?)(?: # SKIP (\S.*))?", line)
        assert match, line
        assert int(match[2]) == len(results) + 1, "numbers are consecutive"
        results.append(Line(match[1] == "ok", match[3], match[4]))
    assert len(results) == int(plan[1]), "as many as planned"
    return results, diagnostics


def test_lines_and_summary(cli: Cli) -> None:
    result = cli("matrix", *SHUFFLED[:-2])
    assert result.code == 0
    *lines, summary = result.out.splitlines()
    assert [line.split()[:2] for line in lines] == [
        list(pair) for pair in zip(STATUSES, IDS, strict=True)
    ]
    assert re.search(r"  [0-9]+\.[0-9]{3} s  [0-9,]{5,} instructions$", lines[1])
    assert lines[2].endswith("there is always a list of pages")
    assert re.fullmatch(
        r"2 pass, 0 fail, 3 unsupported; [0-9.]+ s, [0-9.]+ cells/s, [0-9]+ at a time", summary
    )


def test_json_is_one_document(cli: Cli) -> None:
    result = cli("matrix", *SHUFFLED, "--json")
    assert result.code == 0
    document = result.document
    assert document["status"] == "pass"
    assert document["counts"] == {
        "pass": 2,
        "fail": 0,
        "unsupported": 3,
        "known": 0,
        "no answer": 0,
    }
    assert document["jobs"] == 1
    assert [cell["id"] for cell in document["cells"]] == IDS
    assert [cell["status"] for cell in document["cells"]] == STATUSES
    unmade, first, *_ = document["cells"]
    assert (first["series"], first["page_size"], first["va_bits"], first["regime"]) == (
        15,
        4096,
        48,
        "el1",
    )
    assert (first["path"], first["payload"]) == ("normal", "shuffled")
    assert first["instructions"] > 10_000
    assert first["seconds"] > 0
    assert first["findings"] == []
    assert "reproduce" not in first
    assert unmade["reason"] == "no 47-bit VA with 4k pages"
    assert unmade["path"] is None


def test_a_plain_matrix_says_what_it_has_not_judged(cli: Cli, edited: Edit) -> None:
    mine = edited(*CLEANS_NOT)
    spoiled = ("matrix", *SHUFFLED, "--templates", mine)
    judged = cli(*spoiled, "--json")
    assert judged.code == 1
    assert judged.document["not_judged"] == {}
    document = cli(*spoiled, "--plain", "--json").document
    assert document["status"] == "pass"
    assert document["not_judged"] == dict.fromkeys(TRACE_SUBJECTS, "not recorded: a plain run")
    told = f"not judged: {', '.join(TRACE_SUBJECTS)} (not recorded: a plain run)"
    assert cli(*spoiled, "--plain").out.splitlines()[-1] == told
    assert cli(*spoiled, "--plain", "--format", "ktap").out.splitlines()[-1] == f"# {told}"
    counts = [
        [
            cell["instructions"]
            for cell in cli("matrix", *SHUFFLED, *more, "--json").document["cells"]
        ]
        for more in ([], ["--plain"])
    ]
    assert counts[0] == counts[1]


def test_ktap_skips_what_is_unsupported(cli: Cli) -> None:
    result = cli("matrix", *SHUFFLED, "--format", "ktap")
    assert result.code == 0
    results, diagnostics = parse_ktap(result.out)
    assert [line.name for line in results] == IDS
    assert all(line.ok for line in results)
    assert [line.skip is not None for line in results] == [s == "unsupported" for s in STATUSES]
    assert diagnostics[-1] == "2 pass, 0 fail, 3 unsupported"
    timed = parse_ktap(cli("matrix", *SHUFFLED, "--format", "ktap", "--timings").out)
    assert timed[1][-1].startswith("2 pass, 0 fail, 3 unsupported; ")


def test_failing_cell_is_named_with_its_command(cli: Cli, edited: Edit) -> None:
    mine = edited(*X1_NOT_ZERO)
    arguments = ("matrix", *SHUFFLED, "--templates", mine, "--seed", "3")
    result = cli(*arguments)
    assert result.code == 1
    _, failed, command = result.out.splitlines()[:3]
    assert failed.startswith(f"fail         {IDS[1]} ")
    assert "handoff.x1: x1 = 0x1" in failed
    assert "1 pass, 1 fail, 3 unsupported" in result.out

    program, *words = shlex.split(command)
    assert program == "relokit"
    again = cli(*words, "--json")
    assert again.code == 1
    document = again.document
    assert document["findings"][0]["rule"] == "handoff.x1"

    (cell,) = [c for c in cli(*arguments, "--json").document["cells"] if c["status"] == "fail"]
    assert cell["reproduce"] == command.strip()
    assert cell["findings"][0]["rule"] == "handoff.x1"
    for key in ("series", "page_size", "va_bits", "regime"):
        assert cell[key] == document["target"][key]
    assert cell["instructions"] == document["relocation"]["instructions"]


def test_failing_cell_in_ktap(cli: Cli, edited: Edit) -> None:
    result = cli("matrix", *SHUFFLED, "--templates", edited(*X1_NOT_ZERO), "--format", "ktap")
    assert result.code == 1
    results, diagnostics = parse_ktap(result.out)
    assert [line.name for line in results if not line.ok] == [IDS[1]]
    assert diagnostics[0].startswith("handoff.x1 (error): ")
    assert any(line.startswith("reproduce: relokit run --series 15 ") for line in diagnostics)


def test_every_kind_of_cell_can_be_reproduced(cli: Cli, edited: Edit) -> None:
    """The commands of all paths and payloads name options that ``run`` has, and the same move."""
    arguments = (*SMALL[:-1], "48", "--templates", edited(*X1_NOT_ZERO))
    document = cli("matrix", *arguments, "--json").document
    failed = [cell for cell in document["cells"] if cell["status"] == "fail"]
    assert len(failed) == 16
    for cell in failed[::3]:
        again = cli(*shlex.split(cell["reproduce"])[1:], "--json")
        assert again.code == 1
        assert again.document["relocation"]["instructions"] == cell["instructions"]


@given(
    cell=st.sampled_from(list(cells(Selection(series=(0, 15), full=True, cpu_bits=(48, 52))))),
    seed=st.integers(0, MAX_SEED),
    plain=st.booleans(),
    kernel=st.sampled_from([None, Path("my kernel"), Path("--odd")]),
    templates=st.sampled_from([None, Path("mine")]),
)
def test_reproducing_command_asks_for_the_same(
    cell: Cell, seed: int, plain: bool, kernel: Path | None, templates: Path | None
) -> None:
    if cell.target is None:
        return
    base = Job(kernel=kernel, seed=seed, templates=templates, plain=plain)
    _, _, *words = shlex.split(reproduce(cell, Shared(base)))
    options = run.command.make_context("run", words).params
    assert make_target(options, Files()) == cell.target
    assert make_job(options, plain=options["plain"]) == cell.job(base)


def test_list_runs_nothing(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relokit.matrix.run_matrix", None)
    result = cli("matrix", *SHUFFLED[:-2], "--list")
    assert result.code == 0
    assert [line.split()[0] for line in result.out.splitlines()] == IDS
    assert "# unsupported: no 47-bit" in result.out
    document = cli("matrix", *SHUFFLED[:-2], "--list", "--json").document
    assert [cell["id"] for cell in document["cells"]] == IDS
    assert [cell["id"] for cell in document["cells"] if "reason" not in cell] == [IDS[1], IDS[4]]


def test_list_is_the_whole_product(cli: Cli) -> None:
    default = cli("matrix", "--list").out.splitlines()
    full = cli("matrix", "--list", "--full").out.splitlines()
    assert len(default) == 10272
    assert set(default) < set(full)
    assert default == cli("matrix", "--list").out.splitlines()


@pytest.mark.parametrize(
    ("given", "states"),
    [
        ("0,5-15", [0, *range(5, 16)]),
        ("before,complete", [0, 15]),
        ("3,3,1", [1, 3]),
        ("14-complete", [14, 15]),
        (" 2 , 4 ", [2, 4]),
    ],
)
def test_ranges_of_states(cli: Cli, given: str, states: list[int]) -> None:
    result = cli("matrix", "--list", "--json", "--series", given, *SMALL[2:])
    cells = result.document["cells"]
    assert sorted({cell["series"] for cell in cells}) == states


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (("--series", "16"), "'16'"),
        (("--series", "5-2"), "'5-2'"),
        (("--series", "1-"), "''"),
        (("--series", "9" * 5000), "no such state"),
        (("--series", ""), "no such state"),
        (("--page-size", "4k,8k"), "'8k'"),
        (("--va-bits", "40"), "'40'"),
        (("--el", "el3"), "'el3'"),
        (("--path", "normal,,crash"), "''"),
        (("--payload", "huge"), "'huge'"),
        (("--jobs", "0"), "'0'"),
        (("--jobs", "257"), "'257'"),
        (("--timeout", "nan"), "'nan'"),
        (("--format", "ktap", "--json"), "leave --format out"),
        (("--format", "ktap", "--list"), "--list judges nothing: leave --format out"),
        (("--list", "--plain"), "--list judges nothing: leave --plain out"),
        (("--list", "--strict"), "--list judges nothing: leave --strict out"),
        (("--kernel", "/nowhere"), "/nowhere"),
        (("--templates", "/nowhere"), "/nowhere"),
    ],
)
def test_bad_usage(cli: Cli, arguments: tuple[str, ...], names: str) -> None:
    result = cli("matrix", *arguments)
    assert result.code == 2
    assert names in result.err + result.out
    assert "Traceback" not in result.err


def start(*arguments: object, **streams: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "relokit", "matrix", *map(str, arguments)], text=True, **streams
    )


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_interrupt_leaves_a_partial_summary_and_no_orphans(number: int, code: int) -> None:
    with start("--series", "12-15", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(5):
            assert process.stdout.readline().startswith("pass")
        rooms = children(process.pid)
        assert len(rooms) >= 2
        process.send_signal(number)
        out, err = process.communicate(timeout=120)
    assert process.returncode == code
    assert err == ""
    *_, summary, last = out.splitlines()
    assert re.match(r"[0-9]+ pass, 0 fail, [0-9]+ unsupported; ", summary)
    assert re.fullmatch(
        rf"interrupted \({signal.Signals(number).name}\): [0-9]+ of 2568 cells", last
    )
    assert gone(rooms)


@pytest.fixture
def counting(edited: Edit) -> Path:
    """Templates of a move without an end. It counts: a loop without any effect is recognised at
    once, and is no hang."""
    first = "\tldr\tx28, [x0"
    loop = ".Lspin:\n\tadd\tx9, x9, #1\n\tb\t.Lspin\n"
    return edited("relocate_kernel.S.j2", first, loop + first)


def test_interrupt_of_a_hung_cell(counting: Path) -> None:
    arguments = (*SMALL, "--path", "in-place,normal", "--templates", counting, "--json")
    arguments += ("--payload", "no-list,large")
    with start(*arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert eventually(lambda: len(children(process.pid)) >= 2)
        time.sleep(2)
        rooms = children(process.pid)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=120)
    assert process.returncode == 130
    assert json.loads(out)["status"] == "interrupted"
    assert gone(rooms)


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ((), "0 pass, 0 fail, 1 unsupported"),
        (("--json",), '"status": "nothing"'),
        (("--format", "ktap"), "1..1"),
    ],
)
def test_a_matrix_in_which_nothing_ran_is_no_success(
    cli: Cli, form: tuple[str, ...], said: str
) -> None:
    """As pytest, which has 5 for it; the list of these cells is what was asked for."""
    nothing = ("matrix", "--series", "15", "--el", "el1", "--page-size", "16k", "--va-bits", "39")
    result = cli(*nothing, *form)
    assert (result.code, said in result.out) == (5, True)
    assert cli(*nothing, "--list").code == 0


def test_a_cell_without_an_answer_is_neither_passed_nor_failed(cli: Cli, counting: Path) -> None:
    one = ("matrix", *ONE, "--payload", "large", "--templates", counting, "--timeout", "0.001")
    result = cli(*one)
    assert (result.code, result.out.startswith("no answer ")) == (3, True)
    assert "0 pass, 0 fail, 0 unsupported, 1 without an answer" in result.out
    assert cli(*one, "--json").document["status"] == "no answer"
    assert " # TIMEOUT run.timeout: " in cli(*one, "--format", "ktap").out


def test_reader_that_leaves_early_ends_it(process: Cli) -> None:
    with start("--series", "12-15", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        assert running.stdout.readline().startswith("pass")
        running.stdout.close()
        assert running.wait(timeout=120) == 128 + signal.SIGPIPE
        assert running.stderr.read() == ""


def test_full_disk_is_an_error(process: Cli) -> None:
    with open("/dev/full", "w") as full:
        result = process("matrix", *SHUFFLED, stdout=full)
    assert result.code == 2
    assert "standard output" in result.err


def test_table_on_a_terminal(edited: Edit) -> None:
    ours, theirs = pty.openpty()
    written = bytearray()

    def drain() -> None:
        while True:
            try:
                written.extend(os.read(ours, 65536))
            except OSError:
                return

    reader = threading.Thread(target=drain)
    reader.start()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100", "LINES": "40"}
    arguments = ("--series", "0,15", *SHUFFLED[2:], "--templates", edited(*X1_NOT_ZERO))
    with start(*arguments, stdout=theirs, stderr=theirs, env=environment) as process:
        code = process.wait(timeout=120)
    os.close(theirs)
    reader.join()
    os.close(ours)
    assert code == 1
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written.decode())
    assert "4k el1" in text
    # The first of the three that failed of one thing.
    assert IDS[1].replace("series15", "series0") in text
    assert IDS[1] not in text
    assert re.search(r"3 cells: handoff\.x1 at relocate_kernel\.S\.j2:131", text)
    assert "10/10 cells: 1 pass, 3 fail, 6 unsupported; " in text
    last = text[text.rindex("state") :].replace("\r", "")
    # Before patch 5 an image in place goes through the relocation code as well.
    assert re.search(r"^ +0 +2 fail *$", last, re.MULTILINE)
    assert re.search(r"^ +15 +1 fail *$", last, re.MULTILINE)
    assert last.splitlines()[-1].startswith("1 pass, 3 fail, 6 unsupported; ")
