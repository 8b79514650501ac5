"""The cells of a matrix that failed, by what they failed of: one line a cause, not one a cell."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import field

from relokit.codegen.base.documents import ABSENT
from relokit.codegen.base.nouns import dataclass
from relokit.matrix import CellResult, CellStatus
from relokit.runtime.campaign.cells import Cell
from relokit.runtime.judge.outcome import Finding

_LINE = re.compile(r"(?:^|(?<= \())([^\s():][^():]*):([1-9][0-9]{0,8})\)?$")
"""At the end of a place, as docs/json.md has it: ``symbol+0x8 (FILE:LINE)``, or FILE:LINE alone."""

_DIMENSIONS: tuple[tuple[Callable[[Cell], object], str], ...] = (
    (lambda cell: cell.series, "series {}"),
    (lambda cell: f"{cell.page_size // 1024}k", "{}"),
    (lambda cell: cell.va_bits, "va {}"),
    (lambda cell: cell.cpu_bits, "cpu {}"),
    (lambda cell: str(cell.regime), "{}"),
    (lambda cell: str(cell.path), "{}"),
    (lambda cell: str(cell.payload), "{}"),
)
"""What cells differ in, and how that is written."""


@dataclass(frozen=True, slots=True)
class CellCause:
    """One thing that ``cells``, by their ids, failed of: ``rule`` at ``place``.

    ``where`` says which cells these are: ``14 cells, all el1 and vhe, normal``. ``message`` is the
    first one's.
    """

    where: str
    rule: str
    message: str
    cells: tuple[str, ...]
    place: str | None = field(default=None, metadata=ABSENT)

    @property
    def text(self) -> str:
        """In one line."""
        at = f" at {self.place}" if self.place else ""
        said = "" if at and not self.rule.startswith("matrix.") else f": {self.message}"
        return f"{self.where}: {self.rule}{at}{said}"


def line_of(place: str | None) -> tuple[str, int] | None:
    """File and line of a place, if it has them."""
    found = _LINE.search(place or "")
    return None if found is None else (found[1], int(found[2]))


def cause_key(finding: Finding) -> tuple[str, str]:
    """What two findings have in common that are one: the rule, and the line, the place or the text.

    One line is at other addresses in other states.
    """
    line = line_of(finding.place)
    where = finding.place if line is None else f"{line[0]}:{line[1]}"
    return finding.rule, where or finding.message


def worst_of(findings: Sequence[Finding]) -> Finding:
    """The finding that a case is said to have failed of: the first error, or the first."""
    return next((finding for finding in findings if finding.is_error), findings[0])


def cell_causes(results: Iterable[CellResult]) -> tuple[CellCause, ...]:
    """The causes of all cells that failed, those of most cells first."""
    run = [one for one in results if one.status is not CellStatus.UNSUPPORTED]
    groups: dict[tuple[str, str], list[CellResult]] = {}
    for one in run:
        if one.status is CellStatus.FAIL:
            groups.setdefault(cause_key(worst_of(one.findings)), []).append(one)
    ordered = sorted(groups.values(), key=len, reverse=True)
    cells = [one.cell for one in run]
    return tuple(_cause(group, cells) for group in ordered)


def _cause(group: Sequence[CellResult], run: Sequence[Cell]) -> CellCause:
    finding = worst_of(group[0].findings)
    line = line_of(finding.place)
    return CellCause(
        _where([one.cell for one in group], run),
        finding.rule,
        finding.message,
        tuple(one.cell.id for one in group),
        finding.place if line is None else f"{line[0]}:{line[1]}",
    )


def _where(group: Sequence[Cell], run: Sequence[Cell]) -> str:
    """How many they are, and what they have in common that the others have not."""
    words, alike = [], list(run)
    for value_of, form in _DIMENSIONS:
        values = list(dict.fromkeys(map(value_of, group)))
        if len(values) == len(set(map(value_of, run))):
            continue
        words.append(form.format(_and(values)))
        alike = [cell for cell in alike if value_of(cell) in values]
    count = f"{len(group):,} cell{'' if len(group) == 1 else 's'}"
    if not words:
        return f"all {count}" if len(group) == len(run) else count
    return f"{count}, {'all ' if len(alike) == len(group) else 'some of '}{', '.join(words)}"


def _and(values: Sequence[object]) -> str:
    if all(isinstance(value, int) for value in values):
        return ",".join(map(str, values))
    *most, last = map(str, values)
    return f"{', '.join(most)} and {last}" if most else last
