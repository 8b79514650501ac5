"""A report as one HTML page: sections of tables, pictures, texts and findings.

It depends on what is reported alone: no date, no time of the host's, the same bytes every time.
"""

from __future__ import annotations

from markupsafe import Markup

from relokit.cli.pages.page_render import render_page
from relokit.cli.pages.page_text import MAX_TEXT, shown
from relokit.cli.pages.pictures import Drawing
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.base.version import VERSION

MAX_ROWS = 5000
"""Rows of a table."""
MAX_CELL = 600
MAX_LINES = 20_000
"""Lines of a text."""


@dataclass(frozen=True, slots=True)
class ReportTable:
    """A table: ``caption``, a cell for each column. Rows begin with their name.

    ``folded`` ones are opened by a person.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    folded: bool = False


@dataclass(frozen=True, slots=True)
class ReportText:
    """Lines as they were printed, or code: ``caption`` says of what. ``folded``: as a table."""

    caption: str
    lines: tuple[str, ...]
    folded: bool = False


@dataclass(frozen=True, slots=True)
class ReportFinding:
    """One thing that is wrong: its rule, what is said of it, and the code around it."""

    rule: str
    severity: str
    message: str
    facts: tuple[tuple[str, str], ...]
    listing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReportPicture:
    """A drawing with a caption; a table beside it has the same for who cannot see it."""

    caption: str
    drawing: Drawing


Part = ReportTable | ReportText | ReportFinding | ReportPicture


@dataclass(frozen=True, slots=True)
class ReportSection:
    """A part of the page: ``id`` without a space, ``lead`` a sentence or two before the parts."""

    id: str
    heading: str
    lead: str
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """The whole page. ``verdict`` is one word, ``kind`` is ``good``, ``bad`` or ``open``.

    ``facts`` stand at its head, name and text.
    """

    title: str
    verdict: str
    kind: str
    summary: str
    facts: tuple[tuple[str, str], ...]
    sections: tuple[ReportSection, ...]


def report_page(report: Report) -> str:
    """``report`` as an HTML document."""
    return render_page(
        "report.html.j2",
        {
            "report": report,
            "sections": [(section, list(map(_part, section.parts))) for section in report.sections],
            "clean": _clean,
            "version": VERSION,
        },
        more_style="report.css",
        script="report.js",
    )


def _clean(text: str) -> str:
    return shown(text, MAX_CELL)


def _part(part: Part) -> dict[str, object]:
    """``part`` for the template: every text of others bounded, and fit to be seen."""
    match part:
        case ReportTable():
            rows = [[_clean(cell) for cell in row] for row in part.rows[:MAX_ROWS]]
            left = max(len(part.rows) - MAX_ROWS, 0)
            return {"is": "table", "of": part, "rows": rows, "left": left}
        case ReportText():
            lines = [shown(line, 2 * MAX_TEXT) for line in part.lines[:MAX_LINES]]
            return {"is": "text", "of": part, "text": "\n".join(lines)}
        case ReportFinding():
            lines = [shown(line, 2 * MAX_TEXT) for line in part.listing]
            return {"is": "finding", "of": part, "text": "\n".join(lines)}
    # What a drawing holds is escaped where it is drawn.
    return {"is": "picture", "of": part, "svg": Markup(part.drawing.svg())}
