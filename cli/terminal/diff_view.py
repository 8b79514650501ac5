"""A diff side by side, for a terminal of 80 columns and more."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from io import StringIO
from typing import TYPE_CHECKING

from relokit.cli.terminal.output import WIDTH, plain
from relokit.diffing.routines.model import Action, Diff, DiffRow
from relokit.diffing.routines.report import asked_for, folded, spans

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

OFFSET_WIDTH = 6
GUTTER = 3

MARKS = {
    Action.OPERAND: "|",
    Action.RENAMED: "~",
    Action.MOVED: "m",
    Action.INSERTED: ">",
    Action.DELETED: "<",
}
"""Between the columns: what happened to the instruction, for eyes that see no colour."""
_LEFT, _RIGHT, _MOVED = "red", "green", "yellow"
_WORDS = re.compile(r"\w+|\s+|.")


def side_by_side(diff: Diff, *, colour: bool, width: int | None = None) -> str:
    """Hunks in two columns with the words that differ marked; empty where nothing differs.

    ``width`` is in columns, by default the terminal's; long lines are wrapped within their column.
    """
    from rich.console import Console
    from rich.text import Text

    found = [(routine, list(spans(diff, routine))) for routine in diff.routines]
    if not any(ranges for _, ranges in found):
        return ""
    output = StringIO()
    console = Console(
        file=output,
        force_terminal=colour,
        no_color=not colour,
        highlight=False,
        width=width or (None if colour else WIDTH),
    )
    half = max(20, (console.width - GUTTER) // 2)
    _columns(console, Text(plain(diff.left.name)), " ", Text(plain(diff.right.name)), half)
    for routine, ranges in found:
        for first, last in ranges:
            console.print(Text(plain(f"── {routine.name} ──"), style="bold"))
            for row, count in folded(asked_for(diff, routine.rows[first:last])):
                left, right = _cells(row)
                mark = MARKS[row.change.action] if row.change else " "
                _columns(console, left, mark, right, half, OFFSET_WIDTH)
                if count > 1:
                    console.print(Text(f"      ... {count - 1} more of these", style="dim"))
    return "\n".join(line.rstrip() for line in output.getvalue().rstrip("\n").split("\n"))


def _cells(row: DiffRow) -> tuple[Text, Text]:
    from rich.text import Text

    cells = [
        Text(f"{one.offset:>{OFFSET_WIDTH - 1}x} {plain(one.text)}") if one else Text("")
        for one in (row.left, row.right)
    ]
    if row.change is None:
        for cell in cells:
            cell.stylize("dim")
    elif row.change.action is Action.MOVED:
        for cell in cells:
            cell.stylize(_MOVED)
    elif row.left is not None and row.right is not None:
        words: list[list[str]] = [_WORDS.findall(plain(one.text)) for one in (row.left, row.right)]
        for tag, low, high, first, last in SequenceMatcher(
            a=words[0], b=words[1], autojunk=False
        ).get_opcodes():
            if tag != "equal":
                _mark(cells[0], words[0], low, high, _LEFT)
                _mark(cells[1], words[1], first, last, _RIGHT)
    else:
        cells[0].stylize(_LEFT)
        cells[1].stylize(_RIGHT)
    for cell, one in zip(cells, (row.left, row.right), strict=True):
        notes = [one.note if one else "", row.change.note if row.change and one else ""]
        for note in filter(None, notes):
            cell.append(f"  // {plain(note)}", style="italic")
    return cells[0], cells[1]


def _mark(cell: Text, words: list[str], first: int, last: int, style: str) -> None:
    start = OFFSET_WIDTH + sum(map(len, words[:first]))
    cell.stylize(f"bold reverse {style}", start, start + sum(map(len, words[first:last])))


def _columns(
    console: Console, left: Text, mark: str, right: Text, half: int, indent: int = 0
) -> None:
    """One row: both texts folded to ``half`` columns, the mark between their first lines.

    What is folded stands below what follows the first ``indent`` characters.
    """
    from rich.text import Text

    folded = [_folded(console, text, half, indent) for text in (left, right)]
    for number in range(max(map(len, folded))):
        line = Text()
        cells = [side[number] if number < len(side) else Text("") for side in folded]
        line.append_text(cells[0])
        line.append(" " * max(0, half - cells[0].cell_len))
        line.append(f" {mark if not number else ' '} ")
        line.append_text(cells[1])
        console.print(line, soft_wrap=True)


def _folded(console: Console, text: Text, width: int, indent: int) -> list[Text]:
    from rich.text import Text

    head, body = text[:indent], text[indent:]
    lines = list(body.wrap(console, width - indent, overflow="fold", no_wrap=False)) or [body]
    gaps = [head, *[Text(" " * indent)] * (len(lines) - 1)]
    return [Text.assemble(gap, line) for gap, line in zip(gaps, lines, strict=True)]
