"""What a person sees of a run: progress while it lasts, one screen when it is over."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from io import StringIO
from types import TracebackType
from typing import TYPE_CHECKING

from relokit.cli.terminal.findings_view import (
    Line,
    answers_in_short,
    every_answer,
    not_judged,
    told,
)
from relokit.cli.terminal.output import colours, emit, plain, plain_lines
from relokit.codegen.base.version import VERSION
from relokit.codegen.kexec_routines import INCLUDED, CodePart, CodeUsed
from relokit.codegen.target import MIB
from relokit.runtime.guest.payload import PayloadPart
from relokit.runtime.judge.outcome import Finding, Outcome, Status, TakenUp, TraceFile
from relokit.runtime.judge.rules.severity import Severity

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID
    from rich.text import Text

STAGES = {
    "prepare": "Scattering the payload",
    "write": "Writing",
    "relocate": "Relocating",
    "verify": "Comparing every byte",
    "record": "Letting QEMU run",
    "boot": "Letting the new kernel run",
    "mutate": "Trying mutants",
}
LABEL_WIDTH = 13
_WORDS = {
    Status.PASS: ("PASS", "bold green"),
    Status.FAIL: ("FAIL", "bold red"),
    Status.NO_ANSWER: ("NO ANSWER", "bold yellow"),
}
DIGEST_SHOWN = 16
"""Digits of a digest that a person compares."""


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
        self.stop()

    def stop(self) -> None:
        """Show no more of them: what follows is on the same terminal."""
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    def progress(self, stage: str, done: int, total: int) -> None:
        """Take a (stage, done, total) report."""
        if self._bars is None:
            return
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(STAGES.get(stage, stage), total=total)
        self._bars.update(self._tasks[stage], completed=done, total=total)


class Telling:
    """The story of a run of the target called ``of``, as it happens: a BootWatcher.

    The first part is told when the new kernel is entered to run on, then what that prints, and the
    rest when it is over; otherwise, all of it then. ``verbose`` lists what each rule answered.
    """

    def __init__(self, of: str, bars: Bars, *, verbose: bool = False) -> None:
        self._of, self._bars, self._verbose = of, bars, verbose
        self._told = False

    def handed_over(self, outcome: Outcome) -> None:
        """See BootWatcher."""
        self._bars.stop()
        self._told = True
        emit(shown(_head(self._of, outcome)))

    def printed(self, text: str) -> None:
        """See BootWatcher."""
        emit(shown(_console(text)))

    def finish(self, outcome: Outcome) -> None:
        """Tell the rest."""
        if self._told:
            emit(shown(_tail(outcome, self._verbose)))
        else:
            emit(summary(self._of, outcome, verbose=self._verbose))


def summary(of: str, outcome: Outcome, *, verbose: bool = False) -> str:
    """The whole story of the target called ``of`` and the verdict, with colours on a terminal.

    ``verbose`` lists what each rule answered.
    """
    head, console = _head(of, outcome), _console(outcome.console or "")
    return shown([*head, *console, *_tail(outcome, verbose)])


def shown(lines: Iterable[Line]) -> str:
    """``lines`` as text, with colours where there are some (:func:`colours`).

    A terminal's lines end between words, never within a number and its unit, and go on indented.
    """
    terminal = sys.stdout is not None and sys.stdout.isatty()
    if not colours() and not terminal:
        texts = (
            "".join(part if isinstance(part, str) else part[0] for part in line) for line in lines
        )
        return plain_lines(text.expandtabs() for text in texts)
    from rich.text import Text

    made = (
        Text.assemble(
            *(plain(one) if isinstance(one, str) else (plain(one[0]), one[1]) for one in line)
        )
        for line in lines
    )
    return _printed(made, fold=terminal)


def _printed(texts: Iterable[Text], *, fold: bool) -> str:
    """``texts`` with their colours; if they are to ``fold``, as a terminal has room for them."""
    from rich.console import Console

    out = StringIO()
    console = Console(
        file=out, force_terminal=True, highlight=False, soft_wrap=True, no_color=not colours()
    )
    width = console.width if fold else None
    for text in texts:
        for part in [text] if width is None else _folded(text, width):
            console.print(part)
    return out.getvalue().rstrip("\n")


def fitted_text(text: str) -> str:
    """``text``, with its colours, as a terminal has room for it; as it is where there is none."""
    if sys.stdout is None or not sys.stdout.isatty():
        return text
    from rich.text import Text

    return _printed(map(Text.from_ansi, text.split("\n")), fold=True)


def emit_fitted(text: str) -> None:
    """Print ``text`` as a terminal has room for it."""
    emit(fitted_text(text))


_UNIT = r"(?<=[0-9]) (?=[A-Za-z%])"
"""A space that keeps a number and its unit together."""
_JOINT = "\ue000"
"""Stands for it while lines are folded: no text has it, and no-break spaces are broken at."""


def _folded(text: Text, width: int) -> Iterator[Text]:
    """``text`` in lines of at most ``width`` columns, the later ones indented by two more."""
    from rich.console import Console
    from rich.text import Text

    if text.cell_len <= width:
        yield text
        return
    plain_text = text.plain
    indent = len(plain_text) - len(plain_text.lstrip()) + 2
    if indent > width // 2:
        indent = 2
    text.plain = re.sub(_UNIT, _JOINT, plain_text)
    console = Console(width=width)
    first, *rest = text.wrap(console, width, tab_size=8)
    yield _unjoined(first)
    if rest:
        left = text[len(first.plain) :]
        left.plain = left.plain.lstrip(" ")
        for part in left.wrap(console, width - indent, tab_size=8):
            yield _unjoined(Text(" " * indent) + part)


def _unjoined(text: Text) -> Text:
    text.plain = text.plain.replace(_JOINT, " ").rstrip()
    return text


def _head(of: str, outcome: Outcome) -> Iterator[Line]:
    yield (f"relokit {VERSION}", "bold"), f"  {plain(of)}"
    for part in outcome.payload:
        yield _row("payload", _payload(part))
    if outcome.left_out is not None:
        yield _row("memory", outcome.left_out)
    if outcome.code is not None:
        yield from (_row(*row) for row in code_rows(outcome.code))
    if outcome.taken_up is not None:
        yield from _taken_up(outcome.taken_up)
    yield _row("relocation", _relocation(outcome))
    if outcome.handoff is not None:
        yield _row("hand-over", _handoff(outcome))
        yield _row("verified", f"{outcome.verified_bytes:,} bytes where they belong")
    else:
        yield _row("hand-over", "never: the new kernel was not reached")
    if outcome.effects is not None and (outcome.handoff or outcome.effects.lost):
        yield _row("effects", outcome.effects.told())
    if outcome.interrupt is not None:
        yield _row("interrupt", _interrupt(outcome))


def _taken_up(taken_up: TakenUp) -> Iterator[Line]:
    yield _row("snapshot", f"of {taken_up.kernel}")
    for name, why in taken_up.unknown.items():
        yield _row("unknown", f"{name}: {why}")
    if taken_up.lacks:
        lacks = ", ".join(taken_up.lacks)
        yield _row("not emulated", f"what its code may have been patched for: {lacks}")


def _console(text: str) -> Iterator[Line]:
    for line in text.splitlines():
        yield _row("console", line)


def _tail(outcome: Outcome, verbose: bool) -> Iterator[Line]:
    if outcome.ended:
        yield _row("", f"({outcome.ended})")
    if outcome.undefined:
        counts = (f"{name} {count:,}" for name, count in sorted(outcome.undefined.items()))
        yield _row("undefined", ", ".join(counts))
    if outcome.trace is not None:
        yield _row("trace", _trace(outcome.trace))
    yield _row("rules", answers_in_short(outcome.rules))
    if verbose:
        yield from every_answer(outcome.rules, outcome.findings)
    yield from told(outcome.findings)
    yield _verdict(outcome)


def code_rows(code: CodeUsed) -> Iterator[tuple[str, str]]:
    """Which routines are whose, each with the beginning of its digest: label and text."""
    for number, one in enumerate(code.files):
        about = f"{one.kind}, sha256 {one.sha256[:DIGEST_SHOWN]}"
        if one.kind != INCLUDED:
            about += f", kimage of {code.layout}"
        yield "" if number else "code", f"{plain(one.file)}: {about}"
        yield from _parts_of(code, one.file, "its ")
    yield from _parts_of(code, None, "ours: ")


def _parts_of(code: CodeUsed, file: str | None, whose: str) -> Iterator[tuple[str, str]]:
    parts = [part for part in code.parts if part.file == file]
    if parts:
        yield "", whose + ", ".join(map(_part, parts))


def code_lines(code: CodeUsed) -> Iterator[str]:
    """The same without a column for labels."""
    return (f"{label}: {text}" if label else f"  {text}" for label, text in code_rows(code))


def _part(part: CodePart) -> str:
    if part.sha256 is None:
        return str(part.routine)
    idle = ", does not run here" if part.foreign and part.runs is False else ""
    return f"{part.routine} ({part.bytes} bytes, {part.sha256[:DIGEST_SHOWN]}{idle})"


def _verdict(outcome: Outcome) -> Line:
    texts = [f"{count} {_counted(name, count)}" for name, count in _counts(outcome.findings)]
    if outcome.unanswered:
        texts.insert(0, outcome.unanswered)
    failed = outcome.status is Status.FAIL
    if failed and not any(finding.is_error for finding in outcome.findings):
        texts.append("a warning fails it: --strict")
    spared = sum(finding.spared is not None for finding in outcome.findings)
    if spared:
        texts.append(f"{spared} of these would not bite on {plain(outcome.profile or '')}")
    if outcome.rules.not_judged:
        texts.append(f"not judged: {not_judged(outcome.rules.not_judged)}")
    word, style = _WORDS[outcome.status]
    if outcome.accepted:
        # Never to be taken for a verdict without any.
        word, style = f"{word}, {plain(outcome.accepted)}", style.replace("green", "yellow")
    return ((word, style), "  " + "; ".join(texts)) if texts else ((word, style),)


def _counts(findings: Iterable[Finding]) -> Iterator[tuple[str, int]]:
    """Errors are called findings: without one, there would be no FAIL."""
    names = {Severity.ERROR: "finding", Severity.WARNING: "warning", Severity.NOTE: "note"}
    severities = [finding.severity for finding in findings]
    for severity, name in names.items():
        if severities.count(severity):
            yield name, severities.count(severity)


def _counted(name: str, count: int) -> str:
    return name if count == 1 else f"{name}s"


def _row(label: str, text: str) -> Line:
    return "  ", (f"{label:<{LABEL_WIDTH}}", "dim"), plain(text)


def _payload(part: PayloadPart) -> str:
    text = f"{part.name}, {part.bytes:,} bytes to {part.at:#x}"
    if part.memory != part.bytes:
        text += f" (in {part.memory:,} bytes of memory)"
    return text


def _relocation(outcome: Outcome) -> str:
    moved = outcome.relocation
    text = (
        f"{moved.pages:,} pages at EL{moved.el}, MMU {'on' if moved.mmu else 'off'}: "
        f"{moved.instructions:,} instructions"
    )
    if moved.seconds:
        text += f" in {moved.seconds:.3f} s"
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


def _interrupt(outcome: Outcome) -> str:
    seen = outcome.interrupt
    assert seen is not None
    asked = f"raised when {seen.asked:,} instructions had been begun"
    if not seen.raised:
        return f"never raised: there were not {seen.asked:,} instructions"
    if seen.after is None:
        return f"{asked}: masked, and pending to the end"
    waited = "" if seen.after == seen.asked else f", pending until there were {seen.after:,}"
    return f"{asked}{waited}: taken to EL{seen.el} before {seen.pc:#x}"


def _trace(trace: TraceFile) -> str:
    text = f"{trace.records:,} records, {trace.bytes:,} bytes, {trace.digest[:DIGEST_SHOWN]}"
    if trace.version != VERSION:
        text += f", written by relokit {plain(trace.version)}"
    if trace.full_at is not None:
        text += f"; full: whole only up to {trace.full_at:,} instructions"
    return text
