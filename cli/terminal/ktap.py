"""KTAP version 1, as kernel CI reads it (Documentation/dev-tools/ktap.rst)."""

from __future__ import annotations

from collections.abc import Iterable

from relokit.cli.terminal.output import plain

VERSION = "KTAP version 1"


def plan(count: int) -> str:
    """How many results will follow."""
    return f"1..{count}"


def result(
    number: int,
    ok: bool,
    name: str,
    *,
    skip: str | None = None,
    todo: str | None = None,
    timeout: str | None = None,
    diagnostics: Iterable[str] = (),
) -> str:
    """A result line, after its diagnostics.

    ``skip`` is why a test was not run, ``todo`` why one is known to fail,
    ``timeout`` why one gave no answer.
    """
    lines = [diagnostic(text) for text in diagnostics]
    directive = f" # SKIP {_one_line(skip)}" if skip is not None else ""
    if todo is not None:
        directive = f" # TODO {_one_line(todo)}"
    if timeout is not None:
        directive = f" # TIMEOUT {_one_line(timeout)}"
    # A # would begin a directive.
    lines.append(
        f"{'ok' if ok else 'not ok'} {number} - {_one_line(name).replace('#', '_')}{directive}"
    )
    return "\n".join(lines)


def diagnostic(text: str) -> str:
    """Text for people: ignored by whoever counts."""
    return "\n".join(f"# {line}".rstrip() for line in plain(text).splitlines() or [""])


def _one_line(text: str) -> str:
    return " ".join(plain(text).split())
