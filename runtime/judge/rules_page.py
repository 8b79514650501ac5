"""The book as a page: ``python -m relokit.runtime.judge.rules_page`` prints docs/rules.md."""

from __future__ import annotations

from collections.abc import Mapping

from relokit.runtime.judge.book import BOOK

OTHERS: Mapping[str, str] = {
    "matrix.crash": "the process that ran the cell came down with it",
    "matrix.error": "the cell came to no verdict: what it asks for was refused",
}
"""Names of findings that no rule of the book gives, and what they say."""

_TOP = """\
# Rules

A finding has the name of a rule. This page is made from the book (`make docs/rules.md`). A rule
reads the record of a run and nothing else; where it lacks a fact it says *not judged* and why,
where the path or the state of the series has nothing for it *not applicable*. All answers are in
the outcome's JSON under `rules`.

An error fails the run; a warning and a note do not.

| rule | severity | what must hold | source |
|---|---|---|---|
"""
_OTHERS = """
Two names come from `relokit matrix` itself, for cells without a verdict:

| name | |
|---|---|
"""


def page() -> str:
    """All of docs/rules.md."""
    rows = (f"| `{rule.name}` | {rule.severity} | {rule.must} | {rule.source} |\n" for rule in BOOK)
    others = (f"| `{name}` | {text} |\n" for name, text in OTHERS.items())
    return _TOP + "".join(rows) + _OTHERS + "".join(others)


if __name__ == "__main__":
    print(page(), end="")
