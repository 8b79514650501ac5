"""What is shown of a machine as SVG: a map, tables, a time line; no script, no font, no link.

A picture in a page takes its colours from the page's style sheet; a file has its own (STYLE).
Names come from files that nobody vouches for: they are bounded and escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape
from itertools import groupby

from relokit.codegen.base.nouns import dataclass
from relokit.reporting.page_text import shown
from relokit.runtime.show.shown.memory_shown import FREE, MemoryShown, RamPiece
from relokit.runtime.show.shown.tables_shown import MappedRange, TablesOfRange, TablesShown
from relokit.runtime.show.shown.timeline_shown import CpuThen, TimelineEntry, TimelineShown

MAX_ROWS = 400
"""Rows of a picture; of more, the first ones are drawn, and how many are not."""
ROW, TEXT = 22, 15
LABEL = 56
STYLE = """
svg { color-scheme: light dark; background: light-dark(#fff, #14171b); }
text { font: 12px "DejaVu Sans Mono", ui-monospace, monospace; fill: light-dark(#1b1f24, #d8dde3); }
.q { fill: light-dark(#59626d, #98a2ae); }
.b { stroke: light-dark(#d5d9df, #323942); fill: light-dark(#f4f5f7, #1b1f25); }
.k1 { fill: light-dark(#e5f4ea, #14291d); } .k2 { fill: light-dark(#fdf4da, #2d2712); }
.k3 { fill: light-dark(#edeffc, #20243a); } .k4 { fill: light-dark(#fcebe9, #331c1d); }
.l { stroke: light-dark(#59626d, #98a2ae); fill: none; }
"""
_COLOURS = {
    "destination": "k1", "sources": "k2", "swapper": "k3", "linear_map": "k3",
    "control_idmap": "k3", "restart_idmap": "k3", "zero_page": "k3", "resumed_swapper": "k3",
    "control_page": "k4", "el2_vectors": "k4", "exit_code": "k4", "list": "k2", "kimage": "k2",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Drawing:
    """SVG ``parts`` of ``width`` by ``height``, called ``title``."""

    title: str
    width: int
    height: int
    parts: tuple[str, ...]

    def svg(self, *, style: str = "") -> str:
        """One ``svg`` element; ``style`` is a style sheet of its own, for a file."""
        sheet = f"<style>{style}</style>" if style else ""
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{self.width}" '
            f'height="{self.height}" viewBox="0 0 {self.width} {self.height}">'
            f"<title>{_text(self.title)}</title>{sheet}{''.join(self.parts)}</svg>"
        )

    def file(self) -> str:
        """A whole SVG file."""
        return f'<?xml version="1.0" encoding="UTF-8"?>\n{self.svg(style=STYLE)}\n'


def _text(text: str) -> str:
    return escape(shown(text, 120))


def _label(x: int, y: int, text: str, kind: str = "") -> str:
    about = f' class="{kind}"' if kind else ""
    return f'<text x="{x}" y="{y + TEXT}"{about}>{_text(text)}</text>'


def _box(x: int, y: int, width: int, kind: str, about: str, height: int = ROW - 4) -> str:
    return (
        f'<rect class="b {kind}" x="{x}" y="{y + 1}" width="{width}" height="{height}" rx="2">'
        f"<title>{_text(about)}</title></rect>"
    )


def size_shown(count: int) -> str:
    """``count`` bytes with a unit of the powers of 1024 that leaves a whole number."""
    for unit, scale in (("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)):
        if count >= scale and count % scale == 0:
            return f"{count // scale:,}{unit}"
    return f"{count:,}"


def drawing_of(found: MemoryShown | TablesShown | TimelineShown) -> Drawing:
    """``found``, drawn."""
    if isinstance(found, MemoryShown):
        return memory_drawing(found)
    return tables_drawing(found) if isinstance(found, TablesShown) else timeline_drawing(found)


def memory_drawing(found: MemoryShown) -> Drawing:
    """A row for each piece, neighbours of a kind as one; from where each segment comes."""
    rows = [list(group) for _, group in groupby(found.pieces, _group)]
    told, parts = rows[:MAX_ROWS], []
    for number, group in enumerate(told):
        first, y = group[0], number * ROW
        size = group[-1].end - first.base
        owner = "free" if first.kind == FREE else first.owner
        about = f"{first.base:#x}..{group[-1].end:#x} {owner}"
        parts += [
            _label(4, y, f"{first.base:#x}", "q"),
            _box(140, y, 340, _COLOURS.get(first.kind, ""), about),
            _label(146, y, owner if len(group) == 1 else f"{owner} and {len(group) - 1} more"),
            _label(490, y, size_shown(size), "q"),
        ]
        if any(one.changed for one in group):
            parts.append(_label(560, y, "changed"))
    parts += _arrows(found, told)
    parts += _rest(len(rows), 4, len(told) * ROW)
    return Drawing(f"Memory of {found.of}", 720, (len(told) + 1) * ROW, tuple(parts))


def _group(piece: RamPiece) -> tuple[str, bool | None, int]:
    return piece.kind, piece.changed, piece.base if piece.kind == "destination" else 0


def _arrows(found: MemoryShown, rows: list[list[RamPiece]]) -> Iterator[str]:
    """From the row that has a segment's sources to that of its destination."""

    def row(pa: int) -> int | None:
        return next(
            (n for n, group in enumerate(rows) if group[0].base <= pa < group[-1].end), None
        )

    for number, move in enumerate(found.moves):
        source = None if move.low is None else row(move.low)
        to = row(move.base)
        if source is None or to is None or source == to:
            continue
        y, end, out = source * ROW + ROW // 2, to * ROW + ROW // 2, 660 - number % 4 * 12
        yield (
            f'<path class="l" d="M630 {y} H{out} V{end} H634 m6 -4 l-6 4 l6 4">'
            f"<title>{_text(f'{move.pages:,} pages of {move.name}')}</title></path>"
        )


def _rest(count: int, x: int, y: int) -> Iterator[str]:
    if count > MAX_ROWS:
        yield _label(x, y, f"and {count - MAX_ROWS:,} more", "q")


def tables_drawing(found: TablesShown) -> Drawing:
    """A row for what each TTBR maps: from which VA, by what rights, to which PA."""
    parts: list[str] = []
    y = 0
    for tables in found.ranges or ():
        parts.append(_label(4, y, _range_title(tables)))
        y += ROW
        told = tables.maps[:MAX_ROWS]
        for one in told:
            parts += _mapped(one, y)
            y += ROW
        parts += _rest(len(tables.maps), 24, y)
        y += ROW // 2 if len(tables.maps) <= MAX_ROWS else 2 * ROW
    return Drawing(f"Translation of {found.of}", 720, max(y, ROW), tuple(parts))


def _range_title(tables: TablesOfRange) -> str:
    if not tables.walked:
        return f"{tables.register}: not walked"
    nothing = "" if tables.maps else ": nothing is mapped"
    return f"{tables.register}, root {tables.root:#x}, {tables.va_bits}-bit VA{nothing}"


def _mapped(one: MappedRange, y: int) -> Iterable[str]:
    may = "r" + ("w" if one.writable else "-") + ("x" if one.executable else "-")
    kind = "k4" if one.executable else "k2" if one.writable else "k3"
    about = ", ".join(one.attributes)
    owner = one.owner or ""
    return (
        _label(24, y, f"{one.va:#x}", "q"),
        _box(180, y, 130, kind, about),
        _label(186, y, f"{may} {size_shown(one.bytes)} L{one.level}"),
        _label(322, y, f"to {one.pa:#x}", "q"),
        _label(470, y, owner),
    )


_LANES = ("EL", "MMU", "TTBR0", "TTBR1", "VBAR")
_STEP = 104


def timeline_drawing(found: TimelineShown) -> Drawing:
    """A lane for each of what the CPU runs by; as wide as there are changes, not instructions."""
    told = found.entries[:MAX_ROWS]
    parts = [_label(4, (n + 1) * ROW, lane, "q") for n, lane in enumerate(_LANES)]
    for number, one in enumerate(told):
        parts.append(_label(LABEL + number * _STEP, 0, f"{one.at:,}", "q"))
        if one.station:
            x = LABEL + number * _STEP
            parts.append(f'<path class="l" d="M{x} {ROW} V{(len(_LANES) + 1) * ROW}"/>')
            parts.append(_label(x + 2, (len(_LANES) + 1) * ROW, one.station))
    for lane, name in enumerate(_LANES):
        parts += _lane(told, name, (lane + 1) * ROW)
    width = LABEL + max(len(told), 1) * _STEP
    parts += _rest(len(found.entries), 4, (len(_LANES) + 2) * ROW)
    return Drawing(f"Time line of {found.of}", width, (len(_LANES) + 3) * ROW, tuple(parts))


def _lane(entries: Iterable[TimelineEntry], name: str, y: int) -> Iterator[str]:
    """Boxes as long as a value stays, in two colours in turn."""
    at, kinds = 0, ("k1", "k2", "k3", "k4")
    for turn, (value, group) in enumerate(groupby(entries, lambda one: _value(one.then, name))):
        count = len(list(group))
        x = LABEL + at * _STEP
        yield _box(x, y, count * _STEP - 2, kinds[turn % 4] if value else "", f"{name} {value}")
        yield _label(x + 4, y, value if len(value) * 8 < count * _STEP else f"..{value[-9:]}")
        at += count


def _value(cpu: CpuThen, name: str) -> str:
    if name == "EL":
        return f"EL{cpu.el}"
    if name == "MMU":
        return "" if cpu.mmu is None else "on" if cpu.mmu else "off"
    held = {"TTBR0": cpu.ttbr0, "TTBR1": cpu.ttbr1, "VBAR": cpu.vbar}[name]
    return "" if held is None else f"{held:#x}"
