"""What is told fits the terminal: no line is longer, none ends between a number and its unit."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from relokit.cli.terminal.kexec_view import kexec_summary
from relokit.cli.terminal.mutation_view import text_of
from relokit.cli.terminal.view import fitted_text
from relokit.facade import run
from relokit.mutation.mutation_report import Left, MutantRow, MutationReport
from relokit.runtime.kexec.job import Job
from relokit.runtime.mutation.mutant import RoutineName
from support.live_outcomes import silent
from support.text_images import ADD, ISB, LDR, MOV, RET, image

Cli = Callable[..., Any]
TOGETHER = re.compile(r"[0-9] [A-Za-z%]+")
SMALL = ("--size", "64k")
COMMANDS = (
    ("run", *SMALL, "--plain"),
    ("judge", "stored"),
    ("series", "12"),
    ("time",),
    ("explain",),
    ("explain", "handoff.x1"),
    *(("show", what, *SMALL) for what in ("memory", "list", "tables", "vectors", "code")),
    ("show", "timeline", *SMALL),
    ("show", "trace", *SMALL, "--to", "40"),
    ("diff", "old", "new", "--all", "--ignore", "pac"),
    ("diff", "series:11", "series:12", "--format", "unified"),
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where there is a stored trace, and two kernels."""
    directory = tmp_path_factory.mktemp("widths")
    body = (MOV, LDR, ADD, ISB, RET)
    names = [f"f{n}_{'long' * 12}" for n in range(3)]
    (directory / "old").write_bytes(image([(name, body) for name in names]))
    (directory / "new").write_bytes(image([(name, body[1:] * 400) for name in names]))
    run(job=Job(size=1 << 16), trace=directory / "stored")
    return directory


def on_a_terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)


def fits(whole: str, told: str, columns: int) -> None:
    """``told`` is ``whole`` in lines of so many columns."""
    told = click.unstyle(told)
    lines = told.splitlines()
    assert max(map(len, lines)) <= columns, max(lines, key=len)
    assert told.split() == whole.split()
    kept = sorted(TOGETHER.findall(told))
    assert kept == sorted(TOGETHER.findall(whole))


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_line_fits_and_keeps_numbers_and_units(
    cli: Cli, place: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.chdir(place)
    whole = cli(*command).out
    # What a host's clock says is another number each time.
    steady = re.compile(r" in [0-9.]+ s(, [0-9,]+ MiB/s)?")
    for columns in (60, 80):
        with monkeypatch.context() as patch:
            on_a_terminal(patch, columns)
            told = cli(*command).out
        if steady.search(whole):
            assert max(map(len, click.unstyle(told).splitlines())) <= columns
        else:
            fits(whole, told, columns)


def test_a_campaign_fits_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    row = MutantRow(1234, 1000, 56, 7, 3, 2, 1)
    survivor = Left("series15", "f+0x4:drop", "drop", "f+0x4 (f.S:3)", "dropped", warnings=("a.b",))
    rows = ({RoutineName.RELOCATION: row}, {"drop": row}, {"handoff.x1": 1234}, {}, {})
    whole = text_of(MutationReport("fail", (), row, *rows, (survivor,), ()))
    assert " survived" in whole
    for columns in (60, 66, 71, 80):
        with monkeypatch.context() as patch:
            on_a_terminal(patch, columns)
            fits(whole, fitted_text(whole), columns)


def test_a_kexec_fits_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    live = silent(run(job=Job(size=4096, plain=True)))
    whole = kexec_summary(live)
    for columns in (60, 80):
        with monkeypatch.context() as patch:
            on_a_terminal(patch, columns)
            fits(whole, kexec_summary(live), columns)
