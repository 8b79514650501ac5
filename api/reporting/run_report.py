"""An Outcome and what its trace shows, as a report."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from relokit.codegen.base.nouns import dataclass
from relokit.reporting.pictures import (
    memory_drawing,
    size_shown,
    tables_drawing,
    timeline_drawing,
)
from relokit.reporting.report_facts import InputFile, ReportFacts
from relokit.reporting.report_parts import (
    Part,
    Report,
    ReportFinding,
    ReportPicture,
    ReportSection,
    ReportTable,
    ReportText,
)
from relokit.runtime.judge.outcome import Finding, Outcome, Status
from relokit.runtime.judge.rules.severity import Severity
from relokit.runtime.show.shown.memory_shown import MemoryShown, Moved
from relokit.runtime.show.shown.tables_shown import TablesShown
from relokit.runtime.show.shown.timeline_shown import TimelineShown
from relokit.runtime.timing.counts import MoveCounts, Phase, Quantity
from relokit.timing.time_words import interval, spent
from relokit.timing.timer import MachineTimes

KINDS = {Status.PASS: "good", Status.FAIL: "bad", Status.NO_ANSWER: "open"}


@dataclass(frozen=True, slots=True)
class HowMade:
    """How it was made: the command's ``words``, files that it read, versions of what ran it."""

    words: str
    inputs: tuple[InputFile, ...]
    versions: tuple[tuple[str, str], ...]


def run_report(of: str, outcome: Outcome, facts: ReportFacts, how: HowMade) -> Report:
    """The report of a run of the target called ``of``."""
    sections = [*outcome_sections(outcome, facts), made_section(how, _code_rows(outcome))]
    return Report(
        title=f"relokit run: {of}",
        **verdict_of(outcome.status, outcome.accepted),
        summary=summary_of(outcome),
        facts=(("command", how.words), *head_facts(outcome)),
        sections=tuple(sections),
    )


def verdict_of(status: Status, accepted: str | None) -> dict[str, str]:
    """The verdict and its kind; what is good but for what is accepted is neither good nor bad."""
    word, kind = str(status).upper(), KINDS[status]
    if not accepted:
        return {"verdict": word, "kind": kind}
    return {"verdict": f"{word}, {accepted}", "kind": "open" if kind == "good" else kind}


def outcome_sections(outcome: Outcome, facts: ReportFacts) -> Iterator[ReportSection]:
    """What was found, what was judged, and what the trace shows."""
    yield findings_section(outcome.findings)
    yield judged_section(outcome)
    if facts.memory:
        yield memory_section(
            facts.memory,
            f"Before the move, and what came of it: {outcome.verified_bytes:,} bytes were found "
            "where they belong.",
        )
    if facts.timeline:
        yield timeline_section(facts.timeline)
    if facts.tables:
        yield tables_section(
            facts.tables, "Whatever was in a TTBR, as it was before the first instruction."
        )
    yield _counts(outcome, facts)
    if outcome.console:
        lead = f"It ended: {outcome.ended}." if outcome.ended else ""
        text = ReportText("What the new kernel printed", tuple(outcome.console.splitlines()))
        yield ReportSection("console", "Console", lead, (text,))


def summary_of(outcome: Outcome) -> str:
    """What was found and judged, in a sentence."""
    counts = [
        f"{count:,} {severity}{'s' * (count != 1)}"
        for severity in Severity
        if (count := sum(one.severity is severity for one in outcome.findings))
    ]
    answers = outcome.rules
    text = ", ".join(counts) or "nothing found"
    text += (
        f"; {len(answers.applied):,} rules judged, {len(answers.not_applicable):,} not applicable"
    )
    if answers.not_judged:
        text += f", {len(answers.not_judged):,} not judged"
    return f"{text}: {outcome.unanswered}." if outcome.unanswered else f"{text}."


def head_facts(outcome: Outcome) -> Iterator[tuple[str, str]]:
    """What was run, and how it arrived."""
    target = outcome.target
    yield (
        "target",
        f"series {target.series}, {size_shown(target.page_size)} pages, {target.va_bits}-bit VA, "
        f"{target.regime}, struct kimage of {target.layout}",
    )
    for part in outcome.payload:
        yield "payload", f"{part.name}, {part.bytes:,} bytes to {part.at:#x}"
    moved = outcome.relocation
    yield (
        "relocation",
        f"{moved.pages:,} pages at EL{moved.el}, MMU {'on' if moved.mmu else 'off'}: "
        f"{moved.instructions:,} instructions",
    )
    state = outcome.handoff
    yield (
        "hand-over",
        "never: the new kernel was not reached"
        if state is None
        else f"EL{state.el} at {state.pc:#x}, x0 = {state.x0:#x}, MMU "
        f"{'on' if state.mmu else 'off'}; {outcome.verified_bytes:,} bytes where they belong",
    )
    if outcome.taken_up:
        yield "snapshot", f"of {outcome.taken_up.kernel}"


def findings_section(findings: Iterable[Finding]) -> ReportSection:
    """Each finding with the code around it."""
    parts = tuple(map(finding_part, findings))
    lead = "" if parts else "Nothing was found. What was judged, and what not, is below."
    return ReportSection("findings", "Findings", lead, parts)


def finding_part(one: Finding) -> ReportFinding:
    """All that is said of one."""
    made = ", ".join(f"{each.text} at {each.address:#x}" for each in one.made)
    registers = ", ".join(f"{name} = {value:#x}" for name, value in one.registers)
    facts = (
        ("where", one.place or (f"{one.address:#x}" if one.address is not None else "")),
        ("made by", made),
        ("registers", registers),
        *(("note", note) for note in one.notes),
        ("probable cause", one.cause or ""),
        ("what becomes of it", one.consequence or ""),
        ("right code", one.hint or ""),
        ("does not bite", one.spared or ""),
        ("source", one.source or ""),
        ("group", str(one.group) if one.group else ""),
    )
    told = tuple((name, text) for name, text in facts if text)
    return ReportFinding(one.rule, str(one.severity), one.message, told, one.listing)


def judged_section(outcome: Outcome) -> ReportSection:
    """Which rules were judged, which not, and why."""
    answers = outcome.rules
    worst = {one.rule: str(one.severity) for one in reversed(outcome.findings)}
    applied = tuple((rule, worst.get(rule, "holds")) for rule in answers.applied)
    parts: list[Part] = []
    if answers.not_judged:
        rows = tuple(answers.not_judged.items())
        parts.append(ReportTable("Not judged, and why", ("rule", "why"), rows))
    parts.append(ReportTable("Judged", ("rule", "answer"), applied, folded=True))
    if answers.not_applicable:
        rows = tuple(answers.not_applicable.items())
        parts.append(ReportTable("Not applicable, and why", ("rule", "why"), rows, folded=True))
    strict = "A warning fails it: --strict. " if outcome.strict else ""
    profile = f"Findings are weighed for {outcome.profile}." if outcome.profile else ""
    return ReportSection("judged", "What was judged", strict + profile, tuple(parts))


def memory_section(found: MemoryShown, lead: str = "") -> ReportSection:
    """Who owns RAM, and what is moved."""
    pieces = tuple(
        (f"{one.base:#x}", f"{one.end:#x}", size_shown(one.bytes), one.owner)
        for one in found.pieces
    )
    compared = any(one.right is not None for one in found.moves)
    moves = tuple(
        (one.name, f"{one.base:#x}", f"{one.bytes:,}", f"{one.pages:,}", _came(one, compared))
        for one in found.moves
    )
    columns = ("segment", "to", "bytes", "pages", "pages right at the end" if compared else "from")
    return ReportSection(
        "memory",
        "Memory",
        lead,
        (
            ReportPicture("Who owns RAM, ascending", memory_drawing(found)),
            ReportTable("After the move" if compared else "What is moved", columns, moves),
            ReportTable("Pieces", ("from", "to", "size", "owner"), pieces, folded=True),
        ),
    )


def _came(move: Moved, compared: bool) -> str:
    if compared:
        return "not compared" if move.right is None else f"{move.right:,}"
    if move.low is None:
        return "" if move.pages else "where it is"
    return f"{move.low:#x}..{move.high:#x} in {move.runs:,} runs"


def timeline_section(found: TimelineShown) -> ReportSection:
    """What the CPU runs by, change by change."""
    rows = tuple(
        (
            f"{one.at:,}", f"EL{one.then.el}",
            "?" if one.then.mmu is None else "on" if one.then.mmu else "off",
            one.what, one.place or f"{one.pc:#x}",
        )
        for one in found.entries
    )  # fmt: skip
    lead = f"{found.instructions:,} instructions, {found.ended}. The picture is as wide as there "
    return ReportSection(
        "way",
        "From the jump to the kernel",
        lead + "are changes, not instructions.",
        (
            ReportPicture("What the CPU runs by", timeline_drawing(found)),
            ReportTable("Changes", ("instructions", "EL", "MMU", "what", "where"), rows),
        ),
    )


def tables_section(found: TablesShown, lead: str = "") -> ReportSection:
    """What each register of translation maps."""
    rows = tuple(
        (
            each.register, f"{one.va:#x}", size_shown(one.bytes), f"{one.pa:#x}", f"{one.level}",
            "r" + ("w" if one.writable else "-") + ("x" if one.executable else "-"),
            ", ".join(one.attributes), one.owner or "",
        )
        for each in found.ranges or ()
        for one in each.maps
    )  # fmt: skip
    columns = ("register", "VA", "size", "PA", "level", "may", "attributes", "owner")
    return ReportSection(
        "tables",
        "Page tables",
        lead,
        (
            ReportPicture("What they map", tables_drawing(found)),
            ReportTable("Ranges", columns, rows, folded=True),
        ),
    )


def _counts(outcome: Outcome, facts: ReportFacts) -> ReportSection:
    parts: list[Part] = []
    if facts.counts:
        parts.append(_counted(facts.counts))
    if facts.times:
        parts.append(_times(facts.times))
    if outcome.maintenance:
        rows = tuple(
            (str(one.what), str(one.operation), str(one.when), f"{one.bytes:,}", f"{one.lines:,}")
            for one in outcome.maintenance
        )
        columns = ("of what", "operation", "when", "bytes", "lines")
        parts.append(ReportTable("What the C half does to caches", columns, rows))
    lead = " ".join(f"{why}." for why in facts.lacks)
    return ReportSection("counts", "Counts and times", lead, tuple(parts))


def _counted(counts: MoveCounts) -> ReportTable:
    shown = (
        Quantity.INSTRUCTIONS, Quantity.LOADS, Quantity.STORES, Quantity.LINES_LOADED,
        Quantity.LINES_STORED, Quantity.OPERATIONS, Quantity.TRANSLATIONS, Quantity.PAGES,
    )  # fmt: skip
    rows = []
    for phase in Phase:
        numbers = [counts.total(one, phases=(phase,)) for one in shown]
        if any(numbers):
            rows.append((phase.value, *(f"{number:,}" for number in numbers)))
    return ReportTable("Counted", ("phase", *(one.value for one in shown)), tuple(rows))


def _times(times: Sequence[MachineTimes]) -> ReportTable:
    rows = tuple((one.name, spent(one.move), interval(one.move)) for one in times)
    return ReportTable("Predicted times of the move", ("machine", "time", "95 %"), rows)


def made_section(how: HowMade, routines: tuple[tuple[str, ...], ...] = ()) -> ReportSection:
    """Whose files and versions; ``routines`` are rows: name, file, bytes, digest."""
    files = tuple(
        (one.role, one.name, f"{one.bytes:,}", one.sha256, one.banner or "") for one in how.inputs
    )
    parts: list[Part] = []
    if files:
        columns = ("what", "file", "bytes", "SHA-256", "banner")
        parts.append(ReportTable("Files that were read", columns, files))
    if routines:
        parts.append(ReportTable("Routines", ("routine", "of", "bytes", "SHA-256"), routines))
    parts.append(ReportTable("Versions", ("of", "version"), how.versions))
    lead = "" if files else "No file was read: the kernel and the code are made by relokit."
    return ReportSection("made", "Whose code", lead, tuple(parts))


def _code_rows(outcome: Outcome) -> tuple[tuple[str, ...], ...]:
    """Which routines are whose, by digest."""
    if outcome.code is None:
        return ()
    return tuple(
        (str(one.routine), one.file or "ours", f"{one.bytes:,}", one.sha256 or "")
        for one in outcome.code.parts
        if one.sha256 is not None
    )
