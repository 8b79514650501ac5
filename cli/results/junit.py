"""JUnit XML, as Jenkins, GitLab and most others read it (the schema junit-10.xsd of Jenkins).

A group is a ``testsuite``. Characters beyond ASCII are references, so that the file is the same in
every locale; what XML has no way to say is U+FFFD.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from xml.sax.saxutils import escape, quoteattr

from relokit.cli.results.case_text import lines_of
from relokit.cli.results.result_cases import CaseEnd, ResultCase, ResultSet
from relokit.cli.terminal.output import plain, plain_lines

_ELEMENTS = {
    CaseEnd.FAILED: "failure",
    CaseEnd.NO_ANSWER: "error",
    CaseEnd.ERROR: "error",
    CaseEnd.SKIPPED: "skipped",
    # There is no word for a failure that is expected.
    CaseEnd.KNOWN: "skipped",
}


def junit(results: ResultSet, *, timings: bool) -> str:
    """The document; with the host's ``timings`` it differs from run to run."""
    return "\n".join(_lines(results, timings)).encode("ascii", "xmlcharrefreplace").decode()


def _lines(results: ResultSet, timings: bool) -> Iterator[str]:
    counts = _counts(results.cases)
    # The schema knows no skipped here.
    del counts["skipped"]
    yield '<?xml version="1.0" encoding="UTF-8"?>'
    yield f"<testsuites{_attributes(name=results.command, **counts)}>"
    for group, members in groupby(results.cases, lambda case: case.group):
        cases = list(members)
        times = _time(sum(case.seconds or 0 for case in cases)) if timings else {}
        yield f"  <testsuite{_attributes(name=group, **_counts(cases), **times)}>"
        for case in cases:
            yield from _case(case, timings)
        yield "  </testsuite>"
    if results.notes:
        # A suite of no tests: the schema lets text stand nowhere else.
        none = _counts(())
        yield f"  <testsuite{_attributes(name='notes', **none)}>"
        yield f"    <system-out>{_text(results.notes)}</system-out>"
        yield "  </testsuite>"
    yield "</testsuites>"


def _counts(cases: Iterable[ResultCase]) -> dict[str, str]:
    elements = [_ELEMENTS.get(case.end) for case in cases]
    return {
        "tests": str(len(elements)),
        "failures": str(elements.count("failure")),
        "errors": str(elements.count("error")),
        "skipped": str(elements.count("skipped")),
    }


def _case(case: ResultCase, timings: bool) -> Iterator[str]:
    times = _time(case.seconds) if timings and case.seconds is not None else {}
    head = f"    <testcase{_attributes(name=case.name, classname=case.group, **times)}"
    element, lines = _ELEMENTS.get(case.end), list(lines_of(case))
    if element is None and not lines:
        yield f"{head}/>"
        return
    yield f"{head}>"
    if element is None:
        yield f"      <system-out>{_text(lines)}</system-out>"
    else:
        kind = case.findings[0].rule if case.findings else case.end.value
        about = _attributes(message=case.why or case.end.value, type=kind)
        yield f"      <{element}{about}>{_text(lines)}</{element}>"
    yield "    </testcase>"


def _time(seconds: float) -> dict[str, str]:
    return {"time": f"{seconds:.3f}"}


def _attributes(**values: str) -> str:
    return "".join(f" {name}={quoteattr(plain(value))}" for name, value in values.items())


def _text(lines: Iterable[str]) -> str:
    return escape(plain_lines(lines))
