"""Nouns as HTML for a notebook: the sections of a report, in the colours of whatever is around.

Text is that of the page it stands in, and tints are half transparent: light and dark both show.
Rules apply within its own element. Nothing is loaded, there is no script and no link; all text is
escaped, rows, lines and characters are bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from html import escape
from typing import Any

from relokit.reporting.kexec_report import stations_section
from relokit.reporting.page_text import shown
from relokit.reporting.report_parts import (
    Part,
    ReportFinding,
    ReportPicture,
    ReportSection,
    ReportTable,
    ReportText,
)
from relokit.reporting.run_report import (
    findings_section,
    head_facts,
    judged_section,
    memory_section,
    summary_of,
    tables_section,
    timeline_section,
)
from relokit.reporting.shown_sections import (
    code_section,
    list_section,
    steps_section,
    vectors_section,
    walks_section,
)
from relokit.runtime.judge.outcome import Finding, Outcome
from relokit.runtime.live.live_outcome import LiveOutcome
from relokit.runtime.show.shown.code_shown import CodeShown, VectorsShown
from relokit.runtime.show.shown.list_shown import ListShown
from relokit.runtime.show.shown.memory_shown import MemoryShown
from relokit.runtime.show.shown.steps_shown import StepsShown
from relokit.runtime.show.shown.tables_shown import TablesShown
from relokit.runtime.show.shown.timeline_shown import TimelineShown

MAX_ROWS, MAX_LINES, MAX_PARTS = 100, 200, 24
"""Of a table, of a text, and parts of a section."""
MAX_CELL = 200
MOST = 1 << 17
"""Characters of all parts."""
MAX_PICTURE = 1 << 16
"""Characters of a picture; a larger one is left out, the table beside it has the same."""
STYLE = """
.relokit { max-width: 60rem; }
.relokit table { border-collapse: collapse; margin: .25rem 0; }
.relokit caption { text-align: left; font-weight: 600; }
.relokit th, .relokit td { text-align: left; padding: .1rem .6rem .1rem 0; vertical-align: top;
  border-bottom: 1px solid rgba(127, 127, 127, .3); font-variant-numeric: tabular-nums; }
.relokit tbody th { font-weight: 400; }
.relokit td, .relokit tbody th, .relokit pre { font: 12px/1.4 ui-monospace, monospace; }
.relokit .box { overflow: auto; max-height: 28rem; }
.relokit .verdict { font-weight: 700; padding: .05rem .5rem; border-radius: .25rem;
  background: rgba(127, 127, 127, .25); }
.relokit .good { background: rgba(46, 160, 67, .35); }
.relokit .bad, .relokit .error { background: rgba(218, 54, 51, .35); }
.relokit .warning { background: rgba(210, 153, 34, .35); }
.relokit svg text { font: 12px ui-monospace, monospace; fill: currentColor; }
.relokit svg .q { opacity: .75; }
.relokit svg .b { stroke: rgba(127, 127, 127, .6); fill: rgba(127, 127, 127, .12); }
.relokit svg .k1 { fill: rgba(46, 160, 67, .3); } .relokit svg .k2 { fill: rgba(210, 153, 34, .3); }
.relokit svg .k3 { fill: rgba(84, 110, 230, .3); } .relokit svg .k4 { fill: rgba(218, 54, 51, .3); }
.relokit svg .l { stroke: currentColor; opacity: .7; fill: none; }
"""
_KIND = {"pass": "good", "fail": "bad"}


def html_of(noun: object) -> str:
    """One ``div`` of ``noun``, of a type that is drawn."""
    head, sections = _CONTENT[type(noun)](noun)
    told, room = list[str](), MOST
    for part in (part for section in sections for part in _section(section)):
        room -= len(part)
        if room < 0:
            told.append("<p>The rest is left out here: a report or --json has it.</p>")
            break
        told.append(part)
    body = "".join(told)
    return f'<div class="relokit"><style>{STYLE}</style>{head}{body}</div>'


_Content = tuple[str, list[ReportSection]]


def _outcome(one: Outcome) -> _Content:
    sections = [findings_section(one.findings), judged_section(one)]
    return _head(str(one.status), summary_of(one), dict(head_facts(one))), sections


def _live(one: LiveOutcome) -> _Content:
    handed = one.handover
    told = summary_of(handed) if handed else "machine_kexec was never called."
    sections = [findings_section(handed.findings)] if handed else []
    return _head(str(one.status), told, {"from": one.kernel, "to": one.next}), [
        stations_section(one),
        *sections,
    ]


def _tables(one: TablesShown) -> _Content:
    parts = [walks_section(one.walks)] if one.walks is not None else []
    return _of(one), [*([tables_section(one)] if one.ranges is not None else []), *parts]


_CONTENT: Mapping[type, Callable[[Any], _Content]] = {
    Outcome: _outcome,
    LiveOutcome: _live,
    Finding: lambda one: ("", [findings_section((one,))]),
    MemoryShown: lambda one: (_of(one), [memory_section(one)]),
    TablesShown: _tables,
    ListShown: lambda one: (_of(one), [list_section(one)]),
    TimelineShown: lambda one: (_of(one), [timeline_section(one)]),
    StepsShown: lambda one: (_of(one), [steps_section(one)]),
    CodeShown: lambda one: (_of(one), [code_section(one)]),
    VectorsShown: lambda one: (_of(one), [vectors_section(one)]),
}


def _clean(text: str, limit: int = MAX_CELL) -> str:
    return escape(shown(text, limit))


def _of(one: Any) -> str:
    moment = getattr(one, "moment", "")
    return f"<p>{_clean(one.of)}{f', at {_clean(moment)}' if moment else ''}</p>"


def _head(status: str, summary: str, facts: Mapping[str, str]) -> str:
    verdict = f'<span class="verdict {_KIND.get(status, "")}">{escape(status.upper())}</span>'
    rows = "".join(
        f'<tr><th scope="row">{_clean(name)}</th><td>{_clean(text)}</td></tr>'
        for name, text in facts.items()
    )
    return f"<p>{verdict} {_clean(summary)}</p><table><tbody>{rows}</tbody></table>"


def _section(section: ReportSection) -> Iterator[str]:
    yield f"<p><strong>{_clean(section.heading)}</strong> {_clean(section.lead, 600)}</p>"
    for part in section.parts[:MAX_PARTS]:
        yield _part(part)
    yield _left(len(section.parts) - MAX_PARTS, "parts")


def _left(count: int, what: str) -> str:
    return f"<p>and {count:,} more {what}</p>" if count > 0 else ""


def _part(part: Part) -> str:
    match part:
        case ReportTable():
            return _folded(part) if part.folded else _table(part)
        case ReportText():
            return f"<p>{_clean(part.caption)}</p>{_text(part.lines)}"
        case ReportFinding():
            return _finding(part)
        case ReportPicture():
            svg = part.drawing.svg()
            return f'<div class="box">{svg}</div>' if len(svg) <= MAX_PICTURE else ""


def _folded(part: ReportTable) -> str:
    summary = f"{_clean(part.caption)} ({len(part.rows):,})"
    return f"<details><summary>{summary}</summary>{_table(part)}</details>"


def _table(part: ReportTable) -> str:
    if not part.rows:
        return f"<p>{_clean(part.caption, 400)}</p>"
    columns = "".join(f'<th scope="col">{_clean(one)}</th>' for one in part.columns)
    told = part.rows[:MAX_ROWS]
    rows = "".join(f"<tr>{''.join(map(_cell, range(len(row)), row))}</tr>" for row in told)
    return (
        f'<div class="box"><table><caption>{_clean(part.caption, 400)}</caption>'
        f"<thead><tr>{columns}</tr></thead><tbody>{rows}</tbody></table></div>"
        f"{_left(len(part.rows) - MAX_ROWS, 'rows')}"
    )


def _cell(number: int, text: str) -> str:
    return f"<td>{_clean(text)}</td>" if number else f'<th scope="row">{_clean(text)}</th>'


def _text(lines: tuple[str, ...]) -> str:
    told = "\n".join(_clean(line) for line in lines[:MAX_LINES])
    return f'<pre class="box">{told}</pre>{_left(len(lines) - MAX_LINES, "lines")}'


def _finding(part: ReportFinding) -> str:
    facts = "".join(
        f'<tr><th scope="row">{_clean(name)}</th><td>{_clean(text, 600)}</td></tr>'
        for name, text in part.facts
    )
    badge = f'<span class="verdict {escape(part.severity)}">{escape(part.severity)}</span>'
    code = _text(part.listing) if part.listing else ""
    return (
        f"<p>{badge} <strong>{_clean(part.rule)}</strong>: {_clean(part.message, 600)}</p>{code}"
        f"<table><tbody>{facts}</tbody></table>"
    )
