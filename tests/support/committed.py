"""A document of docs/ that a long campaign makes, committed with the digest of the code."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from relokit.source_digest import source_digest

DOCS = Path(__file__).parents[2] / "docs"
END = "<!-- end -->"
Row = dict[str, Any]


@dataclass(frozen=True)
class Committed:
    """docs/``name``.json, its rows under ``rows``; ``page`` of docs/ has a table of them."""

    name: str
    rows_name: str
    page: str

    @property
    def command(self) -> str:
        """What makes it."""
        return f"make docs/{self.name}.json"

    @property
    def path(self) -> Path:
        """Where it is."""
        return DOCS / f"{self.name}.json"

    @cached_property
    def document(self) -> dict[str, Any]:
        """What is committed."""
        found: dict[str, Any] = json.loads(self.path.read_text())
        return found

    @property
    def rows(self) -> list[Row]:
        """Its rows."""
        found: list[Row] = self.document[self.rows_name]
        return found

    def check_age(self) -> None:
        """AssertionError if it was made by other code than this."""
        assert self.document["code"] == source_digest().hex(), (
            f"it is old: run `{self.command}` and commit docs/"
        )

    def check_page(self, table: Callable[[list[Row]], str]) -> None:
        """AssertionError if the page has another table than that of the rows."""
        text = self._page.read_text()
        assert self._with_table(text, table(self.rows)) == text

    def make(
        self, rows: Callable[[], list[Row]], table: Callable[[list[Row]], str], **facts: object
    ) -> list[Row]:
        """Write document and table of ``rows``, with what else there is to say of them; SystemExit
        if the code changes meanwhile.
        """
        code = source_digest()
        found = rows()
        if source_digest() != code:
            raise SystemExit("the code has changed meanwhile: nothing is written")
        document = {"command": self.command, "code": code.hex(), **facts, self.rows_name: found}
        self.path.write_text(json.dumps(document, indent=1) + "\n")
        self._page.write_text(self._with_table(self._page.read_text(), table(found)))
        return found

    @property
    def _page(self) -> Path:
        return DOCS / self.page

    def _with_table(self, text: str, table: str) -> str:
        begin = f"<!-- made by `{self.command}` -->\n"
        before, found, rest = text.partition(begin)
        assert found, f"docs/{self.page} has no place for the table"
        return f"{before}{begin}{table}{END}{rest.partition(END)[2]}"
