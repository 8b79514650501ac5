"""What is shown of a machine, as sections of a report: walks, a list, steps, code, vectors."""

from __future__ import annotations

from collections.abc import Iterable

from relokit.reporting.report_parts import ReportSection, ReportTable, ReportText
from relokit.runtime.show.shown.code_shown import CodeShown, CodeWord, VectorsShown
from relokit.runtime.show.shown.list_shown import ListShown
from relokit.runtime.show.shown.steps_shown import StepsShown
from relokit.runtime.show.shown.tables_shown import WalkShown


def walks_section(walks: Iterable[WalkShown]) -> ReportSection:
    """Each walk, a descriptor a row."""
    parts = []
    for walk in walks:
        may = "r" + ("w" if walk.writable else "-") + ("x" if walk.executable else "-")
        to = f"{walk.fault}" if walk.pa is None else f"to PA {walk.pa:#x}, {may}"
        by = walk.register or "with the MMU off"
        rows = tuple(
            (
                f"{one.level}", f"{one.table:#x}[{one.index}]", f"{one.descriptor:#x}",
                ", ".join(one.words), one.owner or "",
            )
            for one in walk.steps
        )  # fmt: skip
        columns = ("level", "entry", "descriptor", "says", "whose table")
        caption = f"{walk.va:#x} by {by} ({walk.regime}): {to}"
        caption += f", {walk.owner}" if walk.owner else ""
        parts.append(ReportTable(caption, columns, rows))
    return ReportSection("walks", "Walks", "", tuple(parts))


def list_section(found: ListShown) -> ReportSection:
    """struct kimage, and the entries."""
    fields = tuple((name, f"{value:#x}") for name, value in found.fields.items())
    rows = tuple(
        (
            f"{one.number:,}", f"{one.pa:#x}", f"{one.word:#x}", one.kind,
            "" if one.to is None else f"{one.to:#x}", one.owner or "",
        )
        for one in found.rows
    )  # fmt: skip
    kimage = [
        ReportTable(f"struct kimage at {at:#x}", ("field", "value"), fields)
        for at in (found.kimage,)
        if at is not None
    ]
    lead = f"{found.entries:,} entries in {found.list_pages:,} pages."
    if found.problem:
        lead += f" It cannot be followed any further: {found.problem}."
    return ReportSection(
        "list",
        "The list",
        lead,
        (
            *kimage,
            ReportTable("Entries", ("number", "at", "word", "kind", "to", "owner"), rows),
        ),
    )


def steps_section(found: StepsShown) -> ReportSection:
    """An instruction a row, with what it changed."""
    rows = tuple(
        (
            f"{one.number:,}", f"EL{one.el}", f"{one.pc:#x}", one.text,
            ", ".join(f"{name} = {held:#x}" for name, held in one.changed.items()) or one.did or "",
            one.place or "",
        )
        for one in found.steps
    )  # fmt: skip
    columns = ("number", "EL", "PC", "instruction", "changed", "where")
    table = ReportTable("Steps", columns, rows)
    return ReportSection("steps", "Steps", f"They end: {found.ended}.", (table,))


def code_section(found: CodeShown) -> ReportSection:
    """Each piece as it is in memory."""
    parts = tuple(
        ReportText(f"{one.name} at {one.address:#x}", tuple(map(_line, one.lines)))
        for one in found.pieces
    )
    return ReportSection("code", "Code", "", parts)


def vectors_section(found: VectorsShown) -> ReportSection:
    """Each slot of each table."""
    parts = []
    for table in found.tables:
        rows = tuple(
            (
                f"+{one.offset:#x}", one.name,
                "; ".join(word.text for word in one.lines) if one.same is None
                else f"as +{one.same:#x}",
            )
            for one in table.slots
        )  # fmt: skip
        at = table.problem if table.pa is None else f"PA {table.pa:#x}, {table.owner or 'nobody'}"
        caption = f"{table.register} = {table.va:#x}: {at}"
        parts.append(ReportTable(caption, ("slot", "for", "begins with"), rows))
    return ReportSection("vectors", "Vectors", f"At EL{found.el}.", tuple(parts))


def _line(word: CodeWord) -> str:
    name = f"{word.symbol}:" if word.symbol else ""
    times = "" if word.times is None else f"{word.times:>8,} times"
    return f"{word.address:#x}  {word.word:08x}  {word.text:<36} {name} {word.source or ''}{times}"
