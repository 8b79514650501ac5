"""A report as nouns: sections of tables, pictures, texts, findings. Pages and notebooks draw it."""

from __future__ import annotations

from relokit.codegen.base.nouns import dataclass
from relokit.reporting.pictures import Drawing


@dataclass(frozen=True, slots=True)
class ReportTable:
    """A table: ``caption``, a cell for each column. Rows begin with their name.

    ``folded`` ones are opened by a person. ``links`` are ids of texts behind the rows, as many, and
    empty where there is none. ``most`` rows are on a page.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    folded: bool = False
    links: tuple[str, ...] = ()
    most: int = 5000


@dataclass(frozen=True, slots=True)
class ReportText:
    """Lines as they were printed, or code: ``caption`` says of what. ``folded``: as a table.

    ``id`` is what rows link to, without a space.
    """

    caption: str
    lines: tuple[str, ...]
    folded: bool = False
    id: str = ""


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
