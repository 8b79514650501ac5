"""Values of options: sizes, addresses, counts and times."""

from __future__ import annotations

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relokit.cli.parameters import Address, CountParam, Seconds, Size

UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1", 1),
        ("84M", 84 << 20),
        ("84m", 84 << 20),
        ("2GiB", 2 << 30),
        ("64KB", 64 << 10),
        ("0x1000", 4096),
        ("0X10k", 16 << 10),
        ("010", 10),
        (" 5 ", 5),
        ("255T", 255 << 40),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert Size().convert(text, None, None) == size


@given(st.integers(1, 1 << 20), st.sampled_from(sorted(UNITS)))
def test_a_size_is_number_times_unit(number: int, unit: str) -> None:
    size = number * UNITS[unit]
    if size < 1 << 48:
        assert Size().convert(f"{number}{unit}", None, None) == size
    else:
        with pytest.raises(click.BadParameter, match="out of range"):
            Size().convert(f"{number}{unit}", None, None)


@given(st.text(max_size=12))
def test_any_text_is_a_number_or_a_usage_error(text: str) -> None:
    for kind in (Size(), Address(), CountParam(0, 99), Seconds(99)):
        try:
            value = kind.convert(text, None, None)
        except click.BadParameter:
            continue
        assert value >= 0


@pytest.mark.parametrize(("text", "address"), [("0x40000000", 1 << 30), ("0", 0), ("017", 17)])
def test_addresses(text: str, address: int) -> None:
    assert Address().convert(text, None, None) == address


@pytest.mark.parametrize("text", ["", "4G", "-1", "0x", "1_000", "0b1", "\u0663"])
def test_no_addresses(text: str) -> None:
    with pytest.raises(click.BadParameter, match="not an address"):
        Address().convert(text, None, None)


def test_limits_belong_to_the_range() -> None:
    assert CountParam(1, 9).convert("1", None, None) == 1
    assert CountParam(1, 9).convert("9", None, None) == 9
    assert Seconds(9).convert("9", None, None) == 9.0
    assert Seconds(9).convert("1e-3", None, None) == 0.001
    for text in ("0", "10"):
        with pytest.raises(click.BadParameter, match="out of range"):
            CountParam(1, 9).convert(text, None, None)
        with pytest.raises(click.BadParameter, match="out of range"):
            Seconds(9).convert(text, None, None)
