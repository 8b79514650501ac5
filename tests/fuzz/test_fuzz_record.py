"""The record of the last long campaign: whole, and what its page says."""

from __future__ import annotations

import json
import re

import pytest

from fuzz import record
from fuzz.campaign import Finding, Told
from fuzz.door import Door
from fuzz.mutations import mutated
from fuzz.targets import DOORS

DOCUMENT = json.loads(record.DOCUMENT.read_text())


def test_the_page_has_the_table_of_the_record() -> None:
    text = record.PAGE.read_text()
    assert record.with_table(text, DOCUMENT) == text


def test_a_record_says_what_was_tried_and_how_much_of_it() -> None:
    assert re.fullmatch("[0-9a-f]{40}", DOCUMENT["commit"])
    assert DOCUMENT["cases"] == sum(row["cases"] for row in DOCUMENT["doors"])
    known = {door.name for door in DOORS}
    assert {row["door"] for row in DOCUMENT["doors"]} <= known
    assert all(sum(row["answers"].values()) == row["cases"] > 0 for row in DOCUMENT["doors"])


@pytest.mark.parametrize("wrong", [0, 2])
def test_a_table_counts_what_is_not_taken(wrong: int) -> None:
    door = Door("door", "all", tuple, mutated, len, 1.0)
    told = Told(cases=9 + wrong, seconds=1.26)
    told.answers.update({"taken": 4, "FormatError": 5})
    for number in range(wrong):
        told.add(Finding("door", number, "IndexError", "x.py:f", "all of it"))
    found = record.document("c" * 40, 1, 20, [door], {"door": told})
    assert found["cases"] == 9 + wrong
    said = "1 (2 cases)" if wrong else "0"
    assert f"| door | all | {9 + wrong} | 1.3 | 4 | 5 | {said} |" in record.table(found)
    page = f"a\n{record.BEGIN}old{record.END}\nz\n"
    assert (
        record.with_table(page, found) == f"a\n{record.BEGIN}{record.table(found)}{record.END}\nz\n"
    )
