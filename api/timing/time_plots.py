"""Times as pictures: against the size, of a reboot, and what is counted. SVG or PNG.

Equal times give equal bytes with one version of matplotlib: no date, no random names.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relokit.codegen.base.errors import RelokitError
from relokit.codegen.base.nouns import dataclass
from relokit.runtime.judge.model.caches.memory_type import MemoryType
from relokit.runtime.timing.counts import OF_THE_MOVE, MoveCounts, Quantity

if TYPE_CHECKING:
    from relokit.timing.timer import TimeSpan

MIB = 1 << 20
FORMATS = (".svg", ".png")
_STYLE = {
    "svg.hashsalt": "relokit",
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
_COUNTED: Sequence[tuple[str, tuple[Quantity, ...], MemoryType | None]] = (
    ("instructions", (Quantity.INSTRUCTIONS,), None),
    ("to Device memory", (Quantity.LOADS, Quantity.STORES), MemoryType.DEVICE),
    ("through caches", (Quantity.LOADS, Quantity.STORES), MemoryType.WRITE_BACK),
    ("maintenance, barriers", (Quantity.OPERATIONS,), None),
    ("pages translated", (Quantity.PAGES,), None),
)


@dataclass(frozen=True, slots=True)
class Curve:
    """Times of one machine in one state by bytes; ``reported`` are (bytes, seconds) beside it."""

    name: str
    mmu: bool
    times: tuple[tuple[int, TimeSpan], ...]
    reported: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class RebootBar:
    """Seconds of a reboot by part, in order."""

    name: str
    parts: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Pictures:
    """What is drawn: ``counts`` by name, such as ``MMU off``."""

    curves: tuple[Curve, ...]
    reboots: tuple[RebootBar, ...]
    counts: tuple[tuple[str, MoveCounts], ...]


def check_plot(path: Path) -> None:
    """Raises RelokitError for a file that is neither SVG nor PNG by its name."""
    if path.suffix.lower() not in FORMATS:
        raise RelokitError(
            "no picture of that kind", where=str(path), hint=f"call it {' or '.join(FORMATS)}"
        )


def draw(pictures: Pictures, path: Path) -> None:
    """Write ``pictures`` to ``path``: whole, or not at all."""
    from relokit.codegen.base.atomic import replacing

    check_plot(path)
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError:
        raise RelokitError("pictures need matplotlib", hint="pip install 'relokit[time]'") from None
    kind = path.suffix.lower().removeprefix(".")
    metadata = {"svg": {"Date": None, "Creator": None}, "png": {"Software": None}}[kind]
    with rc_context(_STYLE), replacing(path) as temporary:
        figure = Figure(figsize=(10, 8), dpi=120, layout="constrained")
        grid = figure.add_gridspec(2, 2, height_ratios=(3, 2))
        _curves(figure.add_subplot(grid[0, :]), pictures.curves)
        _reboots(figure.add_subplot(grid[1, 0]), pictures.reboots)
        _counts(figure.add_subplot(grid[1, 1]), pictures.counts)
        figure.savefig(temporary, format=kind, metadata=metadata)


def _curves(axes: Any, curves: Sequence[Curve]) -> None:
    names = list(dict.fromkeys(curve.name for curve in curves))
    for curve in curves:
        colour = f"C{names.index(curve.name) % 10}"
        sizes = [size / MIB for size, _ in curve.times]
        label = f"{curve.name}, MMU {'on' if curve.mmu else 'off'}"
        axes.plot(
            sizes,
            [span.seconds for _, span in curve.times],
            color=colour,
            linestyle="-" if curve.mmu else "--",
            label=label,
        )
        axes.fill_between(
            sizes,
            [span.low for _, span in curve.times],
            [span.high for _, span in curve.times],
            color=colour,
            alpha=0.12,
            linewidth=0,
        )
        if curve.reported:
            axes.plot(
                [size / MIB for size, _ in curve.reported],
                [seconds for _, seconds in curve.reported],
                color=colour,
                marker="o" if curve.mmu else "s",
                markersize=4,
                linestyle="none",
            )
    axes.set(xscale="log", yscale="log", xlabel="MiB moved", ylabel="seconds")
    axes.set_title("The move: model with its 95 %, and what is reported (marks)", fontsize=9)
    axes.grid(visible=True, which="major", linewidth=0.3)
    axes.legend(fontsize=7, ncols=2)


def _reboots(axes: Any, reboots: Sequence[RebootBar]) -> None:
    parts = list(dict.fromkeys(part for bar in reboots for part, _ in bar.parts))
    names = [bar.name for bar in reboots]
    left = [0.0] * len(reboots)
    for number, part in enumerate(parts):
        widths = [dict(bar.parts).get(part, 0.0) for bar in reboots]
        axes.barh(names, widths, left=left, color=f"C{number}", label=part, height=0.6)
        left = [start + width for start, width in zip(left, widths, strict=True)]
    axes.invert_yaxis()
    axes.set(xlabel="seconds")
    axes.set_title("Stingray's reboot, 25 MB", fontsize=9)
    axes.legend(fontsize=7)


def _counts(axes: Any, counts: Sequence[tuple[str, MoveCounts]]) -> None:
    """Whose part each phase is of what there is, and how much that is a page."""
    height = 0.8 / max(1, len(counts))
    for row, (name, one) in enumerate(counts):
        for place, (_, quantities, memory) in enumerate(_COUNTED):
            whole = one.total(*quantities, memory=memory)
            left = 0.0
            for number, phase in enumerate(OF_THE_MOVE):
                part = one.total(*quantities, phases=(phase,), memory=memory)
                width = 100 * part / max(1, whole)
                at = place + row * height
                axes.barh(at, width, left=left, height=height * 0.9, color=f"C{number}")
                left += width
            text = f"{whole / max(1, one.pages):.4g} a page, {name}"
            axes.annotate(text, (102, place + row * height), fontsize=6, va="center")
    for number, phase in enumerate(OF_THE_MOVE):
        axes.barh(0, 0, color=f"C{number}", label=phase.value)
    middle = (len(counts) - 1) * height / 2
    axes.set_yticks([place + middle for place in range(len(_COUNTED))])
    axes.set_yticklabels([name for name, _, _ in _COUNTED])
    axes.invert_yaxis()
    axes.set(xlabel="% of what is counted", xlim=(0, 140))
    axes.set_xticks(range(0, 101, 20))
    axes.set_title("Counted, by phase", fontsize=9)
    axes.legend(fontsize=6, ncols=5, loc="upper center", bbox_to_anchor=(0.4, -0.16))
