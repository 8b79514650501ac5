"""What a person sees of ``relokit kexec``: station after station, and what was judged."""

from __future__ import annotations

from collections.abc import Iterator

from relokit.cli.terminal.findings_view import Line
from relokit.cli.terminal.output import plain
from relokit.cli.terminal.view import LABEL_WIDTH, shown, summary
from relokit.codegen.base.version import VERSION
from relokit.runtime.judge.outcome import Status
from relokit.runtime.live.live_outcome import LiveOutcome, LoadWindow
from relokit.runtime.live.live_stations import Station

LAST_LINES = 12
"""Lines of a console that are shown where the way ended early."""
_VERDICTS = {
    Status.PASS: ("PASS", "bold green"),
    Status.FAIL: ("FAIL", "bold red"),
    Status.NO_ANSWER: ("NO ANSWER", "bold yellow"),
}


def kexec_summary(outcome: LiveOutcome, *, verbose: bool = False) -> str:
    """The whole story, with colours on a terminal; ``verbose`` has each rule's answer."""
    text = shown(_head(outcome))
    if outcome.handover is not None:
        judged = summary("the hand-over", outcome.handover, verbose=verbose)
        text += "\n\n" + judged
    return text + "\n\n" + shown(_end(outcome))


def _head(outcome: LiveOutcome) -> Iterator[Line]:
    yield (f"relokit {VERSION}", "bold"), "  kexec"
    cpu = " with ".join([outcome.cpu, *filter(None, [", ".join(outcome.features)])])
    yield _row("kernel", f"{outcome.kernel}, {outcome.regime}, CPU {cpu}")
    how = "by a crash" if outcome.crash else "by kexec"
    yield _row("next", f"{outcome.next}, {how}")
    for one in outcome.stations:
        yield _row(one.name.value, _station(one))
    if outcome.load is not None:
        yield _row("load window", _load(outcome.load))
        for change in outcome.load.changed:
            text = f"{change.count} pages of {change.owner}, the first at PA {change.pa:#x}"
            yield _row("", f"changed after the load: {text}")
    if outcome.undefined:
        counts = (f"{name} {count:,}" for name, count in sorted(outcome.undefined.items()))
        yield _row("undefined", ", ".join(counts))
    for name, why in outcome.unknown.items():
        yield _row("unknown", f"{name}: {why}")
    if outcome.handover is None:
        for line in outcome.console.splitlines()[-LAST_LINES:]:
            yield _row("console", line)


def _station(one: Station) -> str:
    at = "" if one.instructions is None else f" after {one.instructions:,} instructions"
    word = "reached" if one.reached else "not reached"
    return f"{word}{at}: {one.why}" if one.why else word + at


def _load(load: LoadWindow) -> str:
    done = ", ".join(f"{count} {name}" for name, count in load.operations.items())
    text = f"{load.instructions:,} instructions ({done or 'no maintenance'})"
    return f"{text}; {load.pages:,} pages compared when the kernel was left"


def _end(outcome: LiveOutcome) -> Iterator[Line]:
    texts = [outcome.ended] if outcome.ended else []
    if outcome.load is not None and outcome.load.changed:
        texts.append("what was loaded has changed")
    word, style = _VERDICTS[outcome.status]
    if outcome.handover is not None and outcome.handover.accepted:
        word = f"{word}, {plain(outcome.handover.accepted)}"
        style = style.replace("green", "yellow")
    yield ((word, style), "  " + plain("; ".join(texts))) if texts else ((word, style),)


def _row(label: str, text: str) -> Line:
    return "  ", (f"{label:<{LABEL_WIDTH + 4}}", "dim"), plain(text)
