"""Times of counts: by arithmetic, and fits by data that were made to be found again."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relokit.codegen.base.errors import FormatError
from relokit.runtime.judge.model.caches.memory_type import MemoryType
from relokit.runtime.timing.counts import Count, MoveCounts, Phase, Quantity
from relokit.runtime.timing.model.fitting import Fit, Measurement, fit
from relokit.runtime.timing.model.hardware import OPTIONAL, Hardware, Parameter, ParameterName
from relokit.runtime.timing.model.hardware_file import (
    hardware,
    known_machines,
    read_measurements,
)
from relokit.runtime.timing.model.time_terms import of_move, terms_of

P = ParameterName
VALUES = {
    P.ACCESS: 100.0, P.LINE: 5.0, P.CLEAN: 4.0, P.WALK: 20.0, P.INSTRUCTION: 0.5,
    P.BARRIER_SHARE: 0.75, P.TLB_ENTRIES: 10.0, P.OVERLAP: 1.0,
}  # fmt: skip
SD = 0.05


def machine(key: str = "m", **other: float | None) -> Hardware:
    """One that is known to the last digit, but for ``other`` (None: not at all)."""
    values = VALUES | {P[name.upper()]: value for name, value in other.items()}
    own = {name: _known(name, value) for name, value in values.items()}
    return Hardware(key, key, own, {})


def _known(name: ParameterName, value: float | None) -> Parameter:
    if value is None:
        return Parameter(name, "made up")
    return Parameter(name, "made up", value, value * 0.999, value * 1.001)


def counts(*rows: Count, line: int = 64) -> MoveCounts:
    return MoveCounts("made up", 4096, line, 1, 1, rows)


def seconds(of: MoveCounts, on: Hardware) -> float:
    return taken(fit([on], []), of, on)


def taken(found: Fit, of: MoveCounts, on: Hardware) -> float:
    estimate = found.beliefs.time(terms_of(of, on))
    assert estimate is not None
    return estimate.value


OFF = counts(
    Count(Phase.COPY, Quantity.LOADS, 256, size=16, memory=MemoryType.DEVICE),
    Count(Phase.COPY, Quantity.STORES, 256, size=16, memory=MemoryType.DEVICE),
    Count(Phase.COPY, Quantity.LINES_LOADED, 64, memory=MemoryType.DEVICE),
)
ON = counts(
    Count(Phase.COPY, Quantity.LOADS, 256, size=16, memory=MemoryType.WRITE_BACK),
    Count(Phase.COPY, Quantity.INSTRUCTIONS, 704, of="loads"),
    Count(Phase.COPY, Quantity.LINES_LOADED, 64, memory=MemoryType.WRITE_BACK),
    Count(Phase.COPY, Quantity.LINES_STORED, 64, memory=MemoryType.WRITE_BACK),
    Count(Phase.COPY, Quantity.TRANSLATIONS, 1, of="level 2"),
    Count(Phase.COPY, Quantity.PAGES, 2, of="level 2"),
    Count(Phase.MAINTENANCE, Quantity.OPERATIONS, 64, of="dc civac"),
    Count(Phase.MAINTENANCE, Quantity.OPERATIONS, 1, of="dsb sy"),
    Count(Phase.MAINTENANCE, Quantity.OPERATIONS, 1, of="isb"),
)


def test_times_are_what_the_formula_says() -> None:
    assert seconds(OFF, machine()) == pytest.approx(512 * 100e-9)
    cleaned = 64 * 4 * 5 * 0.25 + 64 * 4 * 5 * 0.75
    assert seconds(ON, machine()) == pytest.approx((128 * 5 + cleaned + 20) * 1e-9)
    # Each page is walked for where the TLB does not hold what is needed.
    small = machine(tlb_entries=0.0)
    assert seconds(ON, small) - seconds(ON, machine()) == pytest.approx(20e-9)
    half = machine(overlap=0.5)
    assert seconds(ON, half) - seconds(ON, machine()) == pytest.approx(704 * 0.25e-9)
    # Where it is known what DC and DSB cost, that counts: 65 and one of them.
    known = machine(maintenance=3.0, barrier=1000.0)
    assert seconds(ON, known) == pytest.approx((128 * 5 + 64 * 3 + 1000 + 20) * 1e-9)
    # A line of 128 bytes takes twice as long.
    wide = replace(ON, line=128, rows=ON.rows[:4])
    assert seconds(wide, machine()) == pytest.approx(2 * 128 * 5e-9)


def test_phases_before_and_after_are_not_of_the_move() -> None:
    more = counts(
        *OFF.rows,
        Count(Phase.PURGATORY, Quantity.LOADS, 5, memory=MemoryType.DEVICE),
        Count(Phase.LAST_STEPS, Quantity.LOADS, 5, memory=MemoryType.DEVICE),
        Count(Phase.KERNEL_C, Quantity.OPERATIONS, 5, of="dc civac"),
    )
    assert of_move(terms_of(more, machine())) == terms_of(OFF, machine())


@settings(max_examples=25)
@given(access=st.floats(1, 1e4), clean=st.floats(0.1, 100))
def test_what_data_were_made_by_is_found_again(access: float, clean: float) -> None:
    right = machine(access=access, clean=clean)
    asked = machine(access=None, clean=None)
    found = fit(
        [asked],
        [
            Measurement(name, terms_of(of, asked), seconds(of, right), SD)
            for name, of in (("off", OFF), ("on", ON))
        ],
    )
    for name, value in ((P.ACCESS, access), (P.CLEAN, clean)):
        estimate = found.beliefs.parameter(asked.unknown(name))
        assert estimate is not None
        assert estimate.value == pytest.approx(value, rel=1e-3)
    # With the MMU off all of the time is accesses, so their error is that of the measurement.
    estimate = found.beliefs.parameter(asked.unknown(P.ACCESS))
    assert estimate is not None
    assert estimate.sd == pytest.approx(SD, rel=1e-3)
    assert [abs(left) < 1e-3 for _, left in found.residuals] == [True, True]


def test_the_covariance_is_that_of_many_fits() -> None:
    """Against fits to data with an error drawn each time."""
    asked = machine(access=None, clean=None)
    random = np.random.default_rng(1)
    mixed = counts(*OFF.rows, *ON.rows)
    moves = OFF, mixed, ON
    true = [seconds(of, machine()) for of in moves]
    drawn = []
    for _ in range(120):
        measured = [
            Measurement("", terms_of(of, asked), time * math.exp(SD * random.standard_normal()), SD)
            for of, time in zip(moves, true, strict=True)
        ]
        found = fit([asked], measured)
        drawn.append(found.beliefs.means)
    free = [found.beliefs.place[asked.unknown(name)] for name in (P.ACCESS, P.CLEAN)]
    spread = np.cov(np.array(drawn)[:, free].T)
    said = found.beliefs.covariance[np.ix_(free, free)]
    assert np.allclose(spread, said, rtol=0.3, atol=0.1 * said.max())


def test_pages_of_two_sizes_tell_dc_and_dsb_apart() -> None:
    """As many lines, and fewer barriers: of one page size their sum is known alone."""
    right, asked = machine(maintenance=3.0, barrier=900.0), machine(maintenance=None, barrier=None)
    large = counts(*(replace(row, number=16 * row.number) for row in ON.rows[:7]), ON.rows[7])
    measured = [Measurement("", terms_of(of, asked), seconds(of, right), SD) for of in (ON, large)]
    lost = {asked.unknown(P.MAINTENANCE), asked.unknown(P.BARRIER)}
    assert fit([asked], measured[:1]).beliefs.undetermined == lost
    found = fit([asked], measured).beliefs
    for name, value in ((P.MAINTENANCE, 3.0), (P.BARRIER, 900.0)):
        estimate = found.parameter(asked.unknown(name))
        assert estimate is not None
        assert estimate.value == pytest.approx(value, rel=0.01)


def test_what_the_data_do_not_determine_is_named() -> None:
    """One time for two parameters; and a third that takes no part in it."""
    asked = machine(access=None, clean=None, walk=None)
    both = counts(*OFF.rows, *ON.rows[6:])
    found = fit([asked], [Measurement("both", terms_of(both, asked), 1e-4, SD)])
    lost = {asked.unknown(name) for name in (P.ACCESS, P.CLEAN, P.WALK)}
    assert found.beliefs.undetermined == lost
    assert found.beliefs.time(terms_of(OFF, asked)) is None
    # What needs none of them is known all the same.
    lines = counts(*ON.rows[2:4])
    assert taken(found, lines, asked) == pytest.approx(128 * 5e-9)


@pytest.mark.parametrize("time", [1e-6, 1e-4, 10.0])
def test_what_the_search_ends_at_determines_nothing(time: float) -> None:
    """One of two may end where it has no part in the time any more: then the other one would be
    known, by a measurement of both.
    """
    asked = machine(line=None, maintenance=None)
    found = fit([asked], [Measurement("on", terms_of(ON, asked), time, SD)])
    lost = {asked.unknown(name) for name in (P.LINE, P.MAINTENANCE)}
    assert found.beliefs.undetermined == lost


def test_what_is_known_as_a_product_is_told() -> None:
    """Cleaning costs both of them times each other, and one of them is hardly known."""
    asked = machine(clean=None)
    wide = Parameter(P.LINE, "a wide range", 5.0, 1.0, 25.0)
    asked = replace(asked, own={**asked.own, P.LINE: wide})
    cleaning = counts(*ON.rows[6:8])
    found = fit([asked], [Measurement("", terms_of(cleaning, asked), 1e-6, 0.01)])
    [(one, other, correlation)] = found.beliefs.correlations()
    assert {one.name, other.name} == {P.LINE, P.CLEAN}
    assert correlation < -0.99
    estimate = found.beliefs.time(terms_of(cleaning, asked))
    assert estimate is not None
    assert estimate.sd == pytest.approx(0.01, rel=0.01)


def test_what_is_shared_is_learnt_for_all() -> None:
    shared = {P.CLEAN: Parameter(P.CLEAN, "free")}
    one, other = (
        Hardware(key, key, {n: p for n, p in machine(key).own.items() if n is not P.CLEAN}, shared)
        for key in ("one", "other")
    )
    time = seconds(ON, machine(clean=7.0))
    found = fit([one, other], [Measurement("on", terms_of(ON, one), time, SD)])
    assert taken(found, ON, other) == pytest.approx(time, rel=1e-3)


@pytest.mark.parametrize("key", known_machines())
def test_every_number_of_a_machine_has_a_source(key: str) -> None:
    found = hardware(key)
    for name in set(P) - OPTIONAL:
        parameter = found.parameter(name)
        assert len(parameter.source) > 20
        assert parameter.value is not None or name in (P.ACCESS, P.CLEAN)


GOOD = """
name = "mine"
like = "cortex-a72"
free = ["access_ns"]
[parameters.walk_ns]
value = 12
source = "measured"
[[measurement]]
series = 0
size = "25M"
seconds = 0.4
"""


def test_the_example_of_the_page_is_such_a_file(tmp_path: Path) -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "time.md").read_text()
    _, _, rest = page.partition("    # mine.toml\n")
    lines = rest.splitlines()
    end = next(number for number, line in enumerate(lines) if line and line[:4] != "    ")
    path = tmp_path / "mine.toml"
    path.write_text("\n".join(lines[:end]))
    found, file = read_measurements(path)
    assert (found.name, len(file.measurement)) == ("my board", 1)
    assert found.parameter(P.LINE).value == 11.5


def test_a_file_of_measurements_is_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    found, file = read_measurements(path)
    assert found.name == "mine"
    assert found.parameter(P.ACCESS).value is None
    assert found.parameter(P.WALK).value == 12
    assert found.parameter(P.LINE) == hardware("cortex-a72").parameter(P.LINE)
    assert file.measurement[0].page_size == 4096


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('"cortex-a72"', '"pentium"', "no machine 'pentium'"),
        ('"mine"', '"stingray"', "another machine's name"),
        ('"mine"', '""', "another machine's name"),
        ('"access_ns"', '"speed"', "no parameter 'speed'"),
        ('"access_ns"', '"overlap"', "no parameter that measurements tell"),
        ("0.4", "0", "out of range"),
        ("0.4", "nan", "out of range"),
        ("0.4", "'fast'", "str where int or float belongs"),
        ('"25M"', '"25"', "is no size"),
        ('"25M"', '"99999999999G"', "is no size"),
        ("value = 12", "value = -1", "is no value"),
        ("value = 12", "value = 12\nlow = 13", "is no value"),
        ("value = 12", "low = 1", "is no value"),
        ("value = 12", "value = inf", "is no value"),
        ("value = 12", f"value = {10**400}", "too large"),
        ("series = 0", "serie = 0", "not the document"),
        ("name = ", "name ", "no TOML"),
        ("[[measurement]]", "[measurement]", "not the document"),
        ("walk_ns]", "barrier_share]", "more than all of it"),
    ],
)
def test_what_is_no_such_file_is_refused(tmp_path: Path, old: str, new: str, why: str) -> None:
    assert old in GOOD
    path = tmp_path / "bad.toml"
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(FormatError, match=why):
        read_measurements(path)


def test_a_file_that_is_too_long_or_not_there_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "long.toml"
    with pytest.raises(FormatError, match="no such file"):
        read_measurements(path)
    path.write_text(GOOD + "#" * (1 << 18))
    with pytest.raises(FormatError, match="more than"):
        read_measurements(path)
    path.write_text(GOOD + "[[measurement]]\nseries=0\nsize='1M'\nseconds=1\n" * 256)
    with pytest.raises(FormatError, match="257 measurements"):
        read_measurements(path)
