"""The committed campaign is of this very code, and its page says what its document has."""

from __future__ import annotations

import json
from pathlib import Path

from relokit.mutation.mutation_page import COMMAND, page
from relokit.source_digest import source_digest

DOCS = Path(__file__).resolve().parents[3] / "docs"


def test_the_committed_campaign_is_of_this_code() -> None:
    found = json.loads((DOCS / "mutants.json").read_text())
    assert found["code"] == source_digest().hex(), f"it is old: run `{COMMAND}` and commit docs/"


def test_the_page_is_made_of_the_document() -> None:
    found = json.loads((DOCS / "mutants.json").read_text())
    assert (DOCS / "mutants.md").read_text() == page(found)
    row = found["all"]
    assert row["survived"] - row["equivalent"] == len(found["missed"])
    assert row["killed"] == sum(found["rules"].values()) == sum(found["places"].values())
