"""What a person sees of the series: all states in one table, or one patch from every side."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Iterator
from io import StringIO
from itertools import groupby
from typing import TYPE_CHECKING

from relokit.cli.terminal.output import plain
from relokit.codegen.base.version import VERSION
from relokit.codegen.series import PATCHES, Feature
from relokit.codegen.target import Target
from relokit.runtime.kexec.hyp_mode import CASES, User
from relokit.runtime.kexec.maintenance import Maintenance, When
from relokit.survey import PatchReport, SeriesState, TextChange, maintained

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from relokit.diffing.routines.code_change import CodeLine, RoutineChange

WIDTH = 100
"""Columns where there is no terminal, and at most."""
SIGNS = {"+": "green", "-": "red", "@": "cyan"}
REPEATED = 3
"""So many equal lines in a row are shown once, with their number."""
NUMBERS = ("code", "left", "instr.", "EL", "MMU", "C load", "C jump", "asm")
LEGEND = (
    "code: bytes copied to the control page. left: bytes it may grow; p: held by padding,",
    "a: by an ASSERT. instr., EL, MMU: from the jump to the new kernel. asm: DC instructions",
    "counted meanwhile. C load, C jump: DC instructions of the kernel's C half, at kexec_load",
    "and at the jump, worked out from this machine's list and segments.",
)


def survey_text(target: Target, states: Iterable[SeriesState]) -> str:
    """The fifteen patches, the evidence for each state, and what failed."""
    console, text = _console()
    for patch in PATCHES:
        console.print(f"[bold]{patch.number:>2}[/]  {_escaped(patch.subject)}", soft_wrap=True)
        console.print(f"    [dim]{_escaped(patch.change)}[/]", soft_wrap=True)
    found = list(states)
    console.print()
    console.print(f"[bold]relokit {VERSION}[/]  {_machine(target, found[0])}", soft_wrap=True)
    console.print(_table(found, console.width))
    for line in LEGEND:
        console.print(f"[dim]{_escaped(line)}[/]", soft_wrap=True)
    for state in found:
        for finding in state.outcome.findings:
            words = f"state {state.number}: {finding.rule}: {finding.message}"
            console.print(f"[red]{_escaped(words)}[/]", soft_wrap=True)
    return text.getvalue().rstrip("\n")


def patch_text(report: PatchReport) -> str:
    """One patch: text, machine code, and the two runs side by side."""
    console, text = _console()
    patch = report.after.patch
    assert patch is not None
    console.print(f"[bold]patch {patch.number}[/]  {_escaped(patch.subject)}", soft_wrap=True)
    console.print(f"  {_escaped(patch.change)}", soft_wrap=True)
    _heading(console, "generated text")
    if not report.text:
        console.print("  no line changes")
    for unit in report.text:
        _show_unit(console, unit)
    _heading(console, "machine code")
    _show_code(console, report)
    _heading(console, "run")
    for line in _run_lines(report):
        console.print(f"  {_escaped(line)}", soft_wrap=True)
    return text.getvalue().rstrip("\n")


def _console() -> tuple[Console, StringIO]:
    from rich.console import Console

    terminal = sys.stdout is not None and sys.stdout.isatty()
    width = min(shutil.get_terminal_size((WIDTH, 24)).columns, WIDTH) if terminal else WIDTH
    text = StringIO()
    return Console(file=text, force_terminal=terminal, highlight=False, width=width), text


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(plain(text))


def _heading(console: Console, words: str) -> None:
    console.print(f"\n[bold]{words}[/]")


def _machine(target: Target, state: SeriesState) -> str:
    name = target.name.partition(",")[2]
    pages = state.outcome.relocation.pages
    what = "; ".join(part.name for part in state.outcome.payload)
    return _escaped(f"{name}  {what}: {pages:,} pages")


def _table(states: list[SeriesState], width: int) -> Table:
    """One row a state; the patch's name gets what the numbers leave of ``width`` columns."""
    from rich.table import Table

    evidence = [list(_evidence(state)) for state in states]
    widths = [
        max(len(name), *(len(row[at]) for row in evidence)) for at, name in enumerate(NUMBERS)
    ]
    rest = width - sum(widths) - len(widths) - len("15  pass ")
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("N", justify="right", min_width=2)
    table.add_column("patch", width=max(rest, len("patch")), no_wrap=True, overflow="ellipsis")
    for name, least in zip(NUMBERS, widths, strict=True):
        table.add_column(name, justify="right", no_wrap=True, min_width=least)
    table.add_column("", no_wrap=True, min_width=4)
    for state, numbers in zip(states, evidence, strict=True):
        passed = state.outcome.passed
        table.add_row(
            str(state.number),
            _escaped(_short(state.patch.subject) if state.patch else "before the series"),
            *numbers,
            "[green]pass[/]" if passed else "[bold red]FAIL[/]",
        )
    return table


def _evidence(state: SeriesState) -> Iterator[str]:
    outcome = state.outcome
    moved, held = outcome.relocation, state.placement
    yield str(state.code)
    yield f"{held.left} {held.held_by[0]}"
    yield f"{moved.instructions:,}"
    yield str(moved.el)
    yield "on" if moved.mmu else "off"
    for when in When:
        yield f"{maintained(outcome.maintenance, when):,}"
    counts = {name: n for name, n in (outcome.operations or {}).items() if name.startswith("dc ")}
    yield ", ".join(f"{n:,} {name[3:]}" for name, n in counts.items()) or "0"


def _short(subject: str) -> str:
    return subject.removeprefix("arm64: ").removeprefix("kexec: ")


def _show_unit(console: Console, unit: TextChange) -> None:
    if unit.comments_only:
        console.print(f"  {_escaped(unit.unit)}: only comments change", soft_wrap=True)
    for line in unit.lines:
        _signed(console, line)


def _signed(console: Console, line: str) -> None:
    style = SIGNS.get(line[:1], "") if not line.startswith(("---", "+++")) else "bold"
    text = _escaped(line).expandtabs(8)
    console.print(f"[{style}]{text}[/]" if style else text, soft_wrap=True)


def _show_code(console: Console, report: PatchReport) -> None:
    before, after = report.before.code, report.after.code
    if report.relocation:
        console.print(f"  the relocation code goes from {before} to {after} bytes")
    else:
        console.print(f"  no byte of the relocation code changes ({after} bytes)")
    for what, names in (("new", report.code.added), ("gone", report.code.removed)):
        if names:
            console.print(f"  symbols {what}: {_escaped(', '.join(names))}", soft_wrap=True)
    old, new = (set(names) for names in report.sections)
    for what, found in (("new", new - old), ("gone", old - new)):
        if found:
            console.print(f"  sections {what}: {_escaped(', '.join(sorted(found)))}")
    for routine in report.code.routines:
        console.print(f"  [bold]{_escaped(_routine(routine))}[/]", soft_wrap=True)
        for index, hunk in enumerate(routine.hunks):
            if index:
                console.print("[cyan]  ...[/]")
            for line in _folded(hunk):
                _signed(console, line)


def _routine(routine: RoutineChange) -> str:
    match routine.change:
        case "renamed":
            return f"{routine.name}: was {routine.was}, the same {routine.after} bytes"
        case "changed":
            return f"{routine.name}: {routine.before} to {routine.after} bytes"
    return f"{routine.name}: {routine.change}, {max(routine.before, routine.after)} bytes"


def _folded(hunk: tuple[CodeLine, ...]) -> Iterator[str]:
    """The lines of a hunk: a row of equal instructions (padding) as one."""
    for (sign, text), group in groupby(hunk, key=lambda line: (line.sign, line.text)):
        lines = list(group)
        shown = lines if len(lines) <= REPEATED else lines[:1]
        for line in shown:
            before, after = ("" if at is None else f"{at:#x}" for at in (line.before, line.after))
            yield f"{sign} {before:>6} {after:>6}  {line.word:08x}  {text}"
        if len(lines) > len(shown):
            yield f"{sign} {'':>23}  ... {len(lines) - 1} more of these"


def _run_lines(report: PatchReport) -> Iterator[str]:
    """What is different between the two runs, and that nothing is."""
    before, after = report.before.outcome, report.after.outcome
    pairs = {
        "result": (str(before.status), str(after.status)),
        "exception level": (f"EL{before.relocation.el}", f"EL{after.relocation.el}"),
        "MMU": tuple("on" if run.relocation.mmu else "off" for run in (before, after)),
        "instructions": tuple(f"{run.relocation.instructions:,}" for run in (before, after)),
    }
    lines = [f"{name}: {was} -> {now}" for name, (was, now) in pairs.items() if was != now]
    counted = (before.operations or {}, after.operations or {})
    for name in sorted({**counted[0], **counted[1]}):
        was, now = (counts.get(name, 0) for counts in counted)
        if was != now:
            lines.append(f"{name}: {was:,} -> {now:,} executed")
    lines += _maintenance_lines(before.maintenance, after.maintenance)
    for routine, now_read in report.fields[1].items():
        was_read = report.fields[0].get(routine, ())
        if was_read != now_read:
            old, new = (", ".join(names) or "nothing" for names in (was_read, now_read))
            lines.append(f"{routine} reads of kimage: {old} -> {new}")
    if not lines:
        lines = [
            f"no difference: {before.status}, {before.relocation.instructions:,} instructions at "
            f"EL{before.relocation.el}"
        ]
    patch = report.after.patch
    if patch is not None and patch.feature is Feature.IS_HYP_NVHE:
        users = ", ".join(User)
        changed = ", ".join(report.other_minds) or "none"
        lines.append(f"{users} in {len(CASES)} boot modes: other answers than before: {changed}")
    return iter(lines)


def _maintenance_lines(
    before: tuple[Maintenance, ...], after: tuple[Maintenance, ...]
) -> Iterator[str]:
    for row in before:
        if row not in after:
            yield f"C half, before: {_maintenance(row)}"
    for row in after:
        if row not in before:
            yield f"C half, after:  {_maintenance(row)}"


def _maintenance(row: Maintenance) -> str:
    return (
        f"at {row.when}, {row.what}: {row.operation}, {row.bytes:,} bytes, {row.lines:,} lines, "
        f"{row.instructions:,} instructions"
    )
