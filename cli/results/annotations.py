"""Commands of GitHub's runner that mark lines of a pull request: one a cause, the worst first.

GitHub shows the first ten of a step, so what is found in many cases is told once. A place in a file
that is not the user's is told in the text: there is no line to mark.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from relokit.cli.results.result_cases import (
    BAD,
    CaseEnd,
    FoundInCases,
    ResultSet,
    found_once,
    source_place,
)
from relokit.cli.terminal.output import plain, plain_lines
from relokit.runtime.judge.rules.severity import Severity

_COMMANDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "notice"}
MAX_NAMED = 3
"""Cases that are named of many."""


def github(results: ResultSet) -> str:
    """The commands, what belongs to the whole, and a last line that says how many ended how."""
    return "\n".join(_lines(results))


def _lines(results: ResultSet) -> Iterator[str]:
    for one in sorted(found_once(results.cases), key=_rank):
        yield _annotation(one, results)
    for case in results.cases:
        if case.end in BAD and not case.findings:
            why = " ".join((case.why or case.end.value).split())
            yield _command("error", [f"{case.name}: {why}"], {})
    for note in results.notes:
        yield _command("notice", [note], {})
    ends = [case.end for case in results.cases]
    counts = ", ".join(f"{ends.count(end)} {end.value}" for end in CaseEnd if end in ends)
    command = " ".join(map(plain, results.command.split()))
    yield f"results of {command}: {counts or 'nothing was run'}"


def _rank(one: FoundInCases) -> tuple[bool, int]:
    """What is accepted last, the worst first."""
    return one.accepted is not None, list(_COMMANDS).index(one.finding.severity)


def _annotation(one: FoundInCases, results: ResultSet) -> str:
    finding = one.finding
    place = source_place(finding, results.sources)
    properties = {"title": finding.rule}
    if place is not None and place.own:
        properties |= {"file": place.file, "line": str(place.line)}
    lines = [finding.message]
    lines += [f"at {finding.place}"] if finding.place else []
    lines += [f"hint: {finding.hint}"] if finding.hint else []
    names = [case.name for case in one.cases[:MAX_NAMED]]
    more = len(one.cases) - len(names)
    if len(one.cases) > 1:
        lines.append(f"in {', '.join(names)}" + (f" and {more} more" if more else ""))
    if one.accepted is not None:
        return _command("notice", ["known: " + lines[0], *lines[1:]], properties)
    return _command(_COMMANDS[finding.severity], lines, properties)


def _command(name: str, lines: Sequence[str], properties: dict[str, str]) -> str:
    values = ",".join(f"{key}={_property(value)}" for key, value in properties.items())
    return f"::{name}{' ' if values else ''}{values}::{_data(lines)}"


def _data(lines: Sequence[str]) -> str:
    """As the runner takes it; no name in a line makes another one where it is shown."""
    return plain_lines(lines).replace("%", "%25").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data([text]).replace(":", "%3A").replace(",", "%2C")
