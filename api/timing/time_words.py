"""Times and figures in words, as the screen and the page have them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relokit.runtime.timing.model.reported import FigureUnit
from relokit.runtime.timing.model.time_table import RowStatus, TableRow

if TYPE_CHECKING:
    from relokit.timing.timer import TimeSpan

_SHARE_FORMAT = {FigureUnit.TIMES.value: "x", FigureUnit.SHARE.value: " %"}


def figure(value: float, unit: str) -> str:
    """A figure of a row as it is shown."""
    if unit in _SHARE_FORMAT:
        return f"{value:.3g}{_SHARE_FORMAT[unit]}"
    return seconds(value)


def reported(row: TableRow) -> str:
    """What is reported."""
    if row.up_to is not None:
        return f"{figure(row.reported, row.unit)} to {figure(row.up_to, row.unit)}"
    return f"{'over ' if row.at_least else ''}{figure(row.reported, row.unit)}"


def error(row: TableRow) -> str:
    """The error of a predicted row; of others what is to be said in its place."""
    if row.error is not None:
        return f"{row.error:+.1%}"
    if row.status is not RowStatus.PREDICTED:
        return f"(left {row.residual:+.1%})" if row.residual is not None else ""
    said = "inside" if row.inside else "outside"
    return said if row.perhaps is None else f"{said}; {row.supposed} {row.perhaps:+.1%}"


def seconds(value: float) -> str:
    """A time, three digits, or all of its seconds."""
    if value >= 1000:
        return f"{value:,.0f} s"
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if value >= scale:
            return f"{value / scale:.3g} {unit}"
    return f"{value * 1e9:.3g} ns"


def interval(span: TimeSpan | None) -> str:
    """From where to where it is."""
    if span is None:
        return ""
    return f"{seconds(span.low)} to {seconds(span.high)}"


def spent(span: TimeSpan | None) -> str:
    """A time, if it is known."""
    return "?" if span is None else seconds(span.seconds)
