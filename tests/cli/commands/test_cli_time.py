"""``relokit time`` by the command line."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]
SMALL = ("time", "--size", "8K", "--machine", "stingray")


def test_a_state_by_phase(cli: Cli) -> None:
    result = cli(*SMALL, "--series", "0")
    assert (result.code, result.err) == (0, "")
    first, *_ = lines = result.out.splitlines()
    assert first == "series:0,page=4k,va=48,el=nvhe: 3 pages, 0.0 MiB"
    at = lines.index(next(line for line in lines if line.startswith("stingray")))
    assert [line.split()[:5] for line in lines[:at] if line.startswith("copy")] == [
        ["copy", "2,112", "768", "768", "1,536"]
    ]
    assert [line.split()[0] for line in lines[at + 1 :]] == [
        "kernel", "the", "list", "copy", "maintenance", "table", "exit", "the",
    ]  # fmt: skip
    # What takes any time has its interval.
    assert all(" to " in line for line in lines[at + 1 :])
    both = cli("time", "--size", "8K", "--machine", "stingray,thunderx2").out.splitlines()
    assert [line.split()[0] for line in both[-3:]] == ["machine", "stingray", "thunderx2"]


def test_all_that_is_counted(cli: Cli) -> None:
    """By class, by bytes and memory type, by level: as the document has it."""
    document = cli("time", "--size", "8K", "--series", "12", "--counts", "--json").document
    lines = cli("time", "--size", "8K", "--series", "12", "--counts").out.splitlines()
    at = lines.index(next(line for line in lines if line.startswith("counted")))
    cells = [part for line in lines[at + 1 :] for part in line.split("  ") if part.strip()]
    numbers = [int(part.replace(",", "")) for part in cells if part.strip()[0].isdigit()]
    rows = document["states"][0]["counts"]["rows"]
    assert sorted(numbers) == sorted(row["number"] for row in rows)
    shown = {part.strip() for part in cells}
    assert {"instructions: loads", "stores of 16 bytes Normal Write-Back"} <= shown
    assert {"operations: dc civac", "translations: level 2"} <= shown


def test_several_states_are_a_table(cli: Cli) -> None:
    result = cli(*SMALL, "--series", "0,12-13")
    rows = [line.split() for line in result.out.splitlines()[3:]]
    assert [row[0] for row in rows] == ["0", "12", "13"]
    device = [row[2] for row in rows]
    assert device[0] != "0"
    assert device[1:] == ["0", "0"]


def test_counts_alone_need_no_scipy(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = cli(*SMALL, "--json").document
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    counts = cli("time", "--size", "8K", "--counts", "--json").document
    assert counts["states"][0]["counts"] == whole["states"][0]["counts"]
    assert counts["states"][0]["machines"] == []
    result = cli(*SMALL)
    assert result.code == 2
    assert "relokit[time]" in result.err


def test_a_trace_is_counted_as_its_run(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "a.trace"
    options = ("--size", "8K", "--series", "3")
    assert cli("run", *options, "--trace", path).code == 0
    stored = cli("time", "--trace", path, "--machine", "stingray", "--json").document
    run = cli("time", *options, "--machine", "stingray", "--json").document
    assert stored == run


def test_a_trace_of_a_move_that_does_not_arrive_is_refused(
    cli: Cli, edited: Callable[..., Path], tmp_path: Path
) -> None:
    path = tmp_path / "a.trace"
    templates = edited("relocate_kernel.S.j2", "\tldr\tx28, [x0", "\tudf\t#7\n\tldr\tx28, [x0")
    assert cli("run", "--size", "8K", "--trace", path, "--templates", templates).code == 1
    result = cli("time", "--trace", path)
    assert result.code == 2
    assert "the new kernel was not entered" in result.err
    result = cli("time", "--size", "8K", "--templates", templates)
    assert result.code == 2
    assert "the new kernel was not entered" in result.err


MEASURED = """
name = "mine"
like = "stingray"
free = ["access_ns"]
[[measurement]]
series = 0
size = "64K"
seconds = 0.001
[[measurement]]
series = 0
size = "64K"
seconds = 0.002
"""


def test_measurements_that_a_model_cannot_have_both_are_told(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(MEASURED)
    options = ("time", "--size", "8K", "--fit", path)
    document = cli(*options, "--json").document
    one, other = document["measured"]
    # In the middle of both, by their logarithms; each is right to a ninth.
    fitted = [one["fitted"], other["fitted"]]
    assert fitted == [pytest.approx(0.001 * 2**0.5, rel=0.01)] * 2
    assert one["sds"] > 2
    assert one["residual"] == pytest.approx(2**0.5 - 1, abs=0.01)
    out = cli(*options).out
    assert "measurement 1: 1 ms, fitted 1.41 ms (+41.4%): the model does not explain it" in out
    path.write_text(MEASURED.replace("0.002", "0.0011"))
    assert "explain" not in cli(*options).out
    path.write_text(MEASURED.replace("series = 0\n", "series = 16\n"))
    result = cli(*options)
    assert (result.code, result.out) == (2, "")
    assert f"{path}: measurement 1: no state 16 of the series" in result.err


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--machine", "pentium"), "no machine 'pentium'"),
        (("--machine", ""), "no machine ''"),
        (("--machine", "stingray,thunderx2,stingray"), "has 'stingray' twice"),
        (("--machine", "stingray", "--fit", "x.toml"), "leave --machine out"),
        (("--plot", "a.svg", "--fit", "x.toml"), "leave --plot out"),
        (("--plot", "a.svg", "--kernel", "vmlinuz"), "leave --kernel out"),
        (("--plot", "a.pdf"), "no picture of that kind"),
        (("--counts", "--machine", "stingray"), "leave --machine out"),
        (("--counts", "--fit", "x.toml"), "leave --fit out"),
        (("--fit", "none.toml"), "none.toml"),
        (("--trace", "none"), "none"),
        (("--trace", "none", "--size", "8K", "--plot", "a.svg"), "leave --plot, --size out"),
        (("--table", "--size", "8K", "--series", "3"), "leave --series, --size out"),
        (("--series", "16"), "16"),
        (("--shape", "edges", "--path", "crash"), "shape edges on path crash"),
    ],
)
def test_what_does_nothing_is_refused(cli: Cli, options: tuple[str, ...], why: str) -> None:
    result = cli("time", *options)
    assert result.code == 2
    assert why in result.err
