"""What a person sees of a run: progress while it lasts, one screen when it is over."""

from __future__ import annotations

import sys
from io import StringIO
from types import TracebackType
from typing import TYPE_CHECKING, Any

from relokit.cli.terminal.output import plain
from relokit.codegen.base.version import VERSION
from relokit.codegen.target import MIB, Target
from relokit.runtime.judge.outcome import Finding, Outcome

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

STAGES = {
    "prepare": "Scattering the payload",
    "write": "Writing",
    "relocate": "Relocating",
    "verify": "Comparing every byte",
    "boot": "Letting the new kernel run",
}
LABEL_WIDTH = 13
REGISTERS_IN_ROW = 4


class Bars:
    """Progress bars on standard error while the block lasts, if that is a terminal."""

    def __init__(self) -> None:
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Bars:
        if sys.stderr is not None and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

            self._bars = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f}%"),
                TimeElapsedColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def progress(self, stage: str, done: int, total: int) -> None:
        """Take a (stage, done, total) report."""
        if self._bars is None:
            return
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(STAGES.get(stage, stage), total=total)
        self._bars.update(self._tasks[stage], completed=done, total=total)


def summary(target: Target, outcome: Outcome) -> str:
    """The whole story and the verdict, with colours if standard output is a terminal."""
    from rich.console import Console

    terminal = sys.stdout is not None and sys.stdout.isatty()
    text = StringIO()
    _print(
        Console(file=text, force_terminal=terminal, highlight=False, soft_wrap=True),
        target,
        outcome,
    )
    return text.getvalue().rstrip("\n")


def _print(console: Console, target: Target, outcome: Outcome) -> None:
    console.print(f"[bold]relokit {VERSION}[/]  {target.name}")
    for part in outcome.payload:
        _row(console, "payload", _payload(part))
    _row(console, "relocation", _relocation(outcome))
    if outcome.handoff is not None:
        _row(console, "hand-over", _handoff(outcome))
        _row(console, "verified", f"{outcome.verified_bytes:,} bytes where they belong")
    else:
        _row(console, "hand-over", "never: the new kernel was not reached")
    for line in (outcome.console or "").splitlines():
        _row(console, "console", line)
    if outcome.ended:
        _row(console, "", f"({outcome.ended})")
    for finding in outcome.findings:
        _show_finding(console, finding)
    if outcome.passed:
        console.print("[bold green]PASS[/]")
    else:
        count = len(outcome.findings)
        console.print(f"[bold red]FAIL[/]  {count} finding{'s' if count != 1 else ''}")


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(plain(text))


def _row(console: Console, label: str, text: str) -> None:
    console.print(f"  [dim]{label:<{LABEL_WIDTH}}[/]{_escaped(text)}")


def _payload(part: dict[str, Any]) -> str:
    text = f"{part['name']}, {part['bytes']:,} bytes to {part['at']:#x}"
    if part["memory"] != part["bytes"]:
        text += f" (in {part['memory']:,} bytes of memory)"
    return text


def _relocation(outcome: Outcome) -> str:
    moved = outcome.relocation
    text = (
        f"{moved.pages:,} pages at EL{moved.el}, MMU {'on' if moved.mmu else 'off'}: "
        f"{moved.instructions:,} instructions in {moved.seconds:.3f} s"
    )
    if outcome.handoff is not None and moved.seconds:
        text += f", {moved.bytes / moved.seconds / MIB:,.0f} MiB/s"
    return text


def _handoff(outcome: Outcome) -> str:
    state = outcome.handoff
    assert state is not None
    return (
        f"EL{state.el} at {state.pc:#x}, x0 = {state.x0:#x}, MMU {'on' if state.mmu else 'off'}, "
        f"DAIF {state.daif:#x}, SCTLR {state.sctlr:#x}"
    )


def _show_finding(console: Console, finding: Finding) -> None:
    console.print(f"\n[bold red]{_escaped(finding.rule)}[/]  {_escaped(finding.message)}")
    if finding.place:
        where = f"{finding.address:#x}  " if finding.address is not None else ""
        console.print(f"  at {where}{_escaped(finding.place)}")
    for line in finding.listing:
        console.print(f"    {_escaped(line)}")
    for note in finding.notes:
        console.print(f"  {_escaped(note)}")
    for at in range(0, len(finding.registers), REGISTERS_IN_ROW):
        row = finding.registers[at : at + REGISTERS_IN_ROW]
        console.print("  " + "  ".join(f"{name:>4} {value:016x}" for name, value in row))
    if finding.cause:
        console.print(f"  [bold]probable cause:[/] {_escaped(finding.cause)}")
