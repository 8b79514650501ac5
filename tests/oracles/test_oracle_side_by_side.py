"""docs/caches.md: what relokit, the engine alone and QEMU find is what the page says."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.side_by_side import CHANGES, page, rows

pytestmark = pytest.mark.oracle

PAGE = Path(__file__).parents[2] / "docs" / "caches.md"


def test_the_table_is_true(tmp_path: Path) -> None:
    table = rows(tmp_path)
    text = PAGE.read_text()
    assert page(text, table) == text, "make docs/caches.md"
    _, _, *lines = table.splitlines()
    for change, line in zip(CHANGES, lines, strict=True):
        _, _, _, judged, plain, qemu, _ = (cell.strip() for cell in line.split("|"))
        assert plain.startswith("PASS")
        assert qemu == "PASS"
        assert (judged == "PASS") == (not change.old)
