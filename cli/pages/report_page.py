"""A report as one HTML page: sections of tables, pictures, texts and findings.

It depends on what is reported alone: no date, no time of the host's, the same bytes every time.
"""

from __future__ import annotations

from markupsafe import Markup

from relokit.cli.pages.page_render import render_page
from relokit.codegen.base.version import VERSION
from relokit.reporting.page_text import MAX_TEXT, shown
from relokit.reporting.report_parts import Part, Report, ReportFinding, ReportTable, ReportText

MAX_CELL = 600
MAX_LINES = 20_000
"""Lines of a text."""


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
            rows = [[_clean(cell) for cell in row] for row in part.rows[: part.most]]
            left = max(len(part.rows) - part.most, 0)
            links = part.links or [""] * len(rows)
            pairs = list(zip(rows, links, strict=False))
            return {"is": "table", "of": part, "rows": pairs, "left": left}
        case ReportText():
            lines = [shown(line, 2 * MAX_TEXT) for line in part.lines[:MAX_LINES]]
            return {"is": "text", "of": part, "text": "\n".join(lines)}
        case ReportFinding():
            lines = [shown(line, 2 * MAX_TEXT) for line in part.listing]
            return {"is": "finding", "of": part, "text": "\n".join(lines)}
    # What a drawing holds is escaped where it is drawn.
    return {"is": "picture", "of": part, "svg": Markup(part.drawing.svg())}
