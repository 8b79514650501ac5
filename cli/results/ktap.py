"""KTAP version 1, as kernel CI reads it (Documentation/dev-tools/ktap.rst): flat, one plan."""

from __future__ import annotations

from collections.abc import Iterator

from relokit.cli.results.case_text import lines_of
from relokit.cli.results.result_cases import CaseEnd, ResultCase, ResultSet
from relokit.cli.terminal.output import plain

VERSION = "KTAP version 1"

_DIRECTIVES = {
    CaseEnd.SKIPPED: "SKIP",
    CaseEnd.KNOWN: "TODO",
    CaseEnd.NO_ANSWER: "TIMEOUT",
    CaseEnd.ERROR: "ERROR",
}
"""The words that stand behind a #, before the reason."""


def ktap(results: ResultSet, *, timings: bool) -> str:
    """The whole stream; with the host's ``timings`` it differs from run to run."""
    lines = [ktap_head(len(results.cases))]
    lines += [
        ktap_case(number, case, timings=timings)
        for number, case in enumerate(results.cases, start=1)
    ]
    lines += [diagnostic(note) for note in results.notes]
    return "\n".join(lines)


def ktap_head(count: int) -> str:
    """The version, and how many results will follow."""
    return f"{VERSION}\n1..{count}"


def ktap_case(number: int, case: ResultCase, *, timings: bool) -> str:
    """A result line, after its diagnostics."""
    return "\n".join(_case(number, case, timings))


def diagnostic(text: str) -> str:
    """A line for people: ignored by whoever counts.

    It is one line: a second one may be ``# Subtest: x``, and that counts.
    """
    return f"# {plain(text)}".rstrip()


def _case(number: int, case: ResultCase, timings: bool) -> Iterator[str]:
    yield from map(diagnostic, lines_of(case))
    if timings and case.seconds is not None:
        yield diagnostic(f"{case.seconds:.3f} s")
    word = _DIRECTIVES.get(case.end)
    directive = "" if word is None else f" # {word} {_one_line(case.why or case.end.value)}"
    ok = "ok" if case.end in (CaseEnd.PASSED, CaseEnd.SKIPPED) else "not ok"
    # A # would begin a directive.
    yield f"{ok} {number} - {_one_line(case.name).replace('#', '_')}{directive}"


def _one_line(text: str) -> str:
    return " ".join(map(plain, text.split()))
