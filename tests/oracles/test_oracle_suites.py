"""A sample of GNU's and LLVM's own test files, and what was found of all of them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from relokit.codegen.gas.instructions.encoder import Encoder
from relokit.source_digest import tools_digest
from support.suites import survey
from support.suites.__main__ import COMMAND, DOCS, page
from support.suites.once_wrong import FILES, SCRIPTS
from support.suites.outcomes import WRONG, Outcome

pytestmark = pytest.mark.oracle

PART = 12


def test_files_are_assembled_as_gnu_as_does_or_refused(tmp_path: Path, encoder: Encoder) -> None:
    found = list(survey.assembled(survey.sample(PART), tmp_path, encoder))
    assert [one for one in found if one.answer.outcome in WRONG] == []
    assert {one.name for one in found} >= FILES
    counts = Counter(one.answer.outcome for one in found)
    assert counts[Outcome.SAME] > 1000
    assert counts[Outcome.BOTH] > 1000


def test_scripts_are_linked_as_gnu_ld_does_or_refused(tmp_path: Path, encoder: Encoder) -> None:
    found = list(survey.linked(survey.sample(PART), tmp_path, encoder))
    assert [one for one in found if one.answer.outcome in WRONG] == []
    # A script may stand more than once: with its own sources, and with ours.
    assert {one.name.split()[0] for one in found} >= SCRIPTS
    assert Counter(one.answer.outcome for one in found)[Outcome.SAME] > 40


def test_the_committed_counts_are_of_this_code_and_nothing_is_wrong() -> None:
    found = json.loads((DOCS / "suites.json").read_text())
    assert found["code"] == tools_digest().hex(), f"it is old: run `{COMMAND}` and commit docs/"
    assert found["wrong"] == []
    assert (DOCS / "suites.md").read_text() == page(found)
