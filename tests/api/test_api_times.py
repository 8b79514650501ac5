"""``relokit time`` from the outside: the committed page, the pictures, a person's measurements."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from relokit.codegen.base.errors import RelokitError
from relokit.codegen.target import Target
from relokit.runtime.kexec.job import Job
from relokit.timing.time_page import made
from relokit.timing.time_plots import Curve, Pictures, RebootBar, draw
from relokit.timing.timer import Timer, TimeSpan

ROOT = Path(__file__).resolve().parents[2]


def test_the_committed_page_is_what_the_code_gives() -> None:
    """With its table, parameters and times."""
    assert (ROOT / "docs" / "time.md").read_text() == made(Timer()), "make docs/time.md"


def test_a_measurement_that_a_model_made_gives_it_back(tmp_path: Path) -> None:
    """A board like Cortex-A72, with accesses of 300 ns."""
    counts = Timer().count(Target(series=0), Job(size=1 << 20))
    accesses = sum(
        one.number for one in counts.rows if one.memory is not None and one.phase.value == "copy"
        and one.quantity.value in ("loads", "stores")
    )  # fmt: skip
    path = tmp_path / "mine.toml"
    path.write_text(
        'name = "mine"\nlike = "cortex-a72"\nfree = ["access_ns"]\n[[measurement]]\n'
        f"series = 0\nsize = '1M'\nseconds = {accesses * 300e-9}\nrelative = 0.001\n"
    )
    timer = Timer()
    moves = timer.moves([Target(series=0)], Job(size=1 << 20))
    found = timer.times(moves, measured=path)
    assert found.parameters is not None
    [access] = (one for one in found.parameters if one.name == "access_ns")
    assert access.learnt == "by the measurements"
    # Lines that are invalidated take the rest.
    assert access.value == pytest.approx(300, rel=0.15)
    assert access.value < 300
    assert found.measured is not None
    [one] = found.measured
    assert (one.number, one.measured) == (1, accesses * 300e-9)
    assert one.fitted == pytest.approx(one.measured, rel=0.01)
    [machine] = found.states[0].machines
    assert machine.move.seconds == pytest.approx(accesses * 300e-9, rel=0.01)


def test_pictures_are_the_same_each_time(tmp_path: Path) -> None:
    span = TimeSpan(1.0, 0.5, 2.0)
    counts = Timer().count(Target(), Job(size=8192))
    pictures = Pictures(
        (Curve("a", True, ((1 << 20, span), (2 << 20, span)), ((1 << 20, 1.0),)),),
        (RebootBar("before", (("shutdown", 1.0), ("relocation", 2.0))),),
        (("MMU on", counts),),
    )
    for kind, begins in (("svg", b"<?xml"), ("png", b"\x89PNG")):
        files = [tmp_path / f"{number}.{kind}" for number in range(2)]
        for file in files:
            draw(pictures, file)
        one, other = (file.read_bytes() for file in files)
        assert one == other
        assert one.startswith(begins)
        assert b"<dc:date>" not in one
    with pytest.raises(RelokitError, match="no picture of that kind"):
        draw(pictures, tmp_path / "a.pdf")


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("scipy.optimize", "matplotlib"):
        monkeypatch.setitem(sys.modules, name, None)
    nothing = Pictures((), (), ())
    for library, asks in (
        ("scipy", Timer().table),
        ("matplotlib", lambda: draw(nothing, tmp_path / "a.svg")),
    ):
        with pytest.raises(RelokitError, match=library) as told:
            asks()
        assert told.value.hint == "pip install 'relokit[time]'"
