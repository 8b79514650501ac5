"""The list of pages, entry by entry: what is shown of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import ClassVar

from relokit.codegen.base.documents import ABSENT, Table, shown
from relokit.codegen.base.nouns import dataclass, drawn


@dataclass(frozen=True, slots=True)
class ListEntry:
    """Entry ``number``: the ``word`` at PA ``pa``, which is of ``kind`` and has ``address``.

    Number 0 is head, in struct kimage. ``to`` is where a source's page goes, ``owner`` who has the
    page at ``address``. ``kind`` is ``bad`` for no or several flags, and for an address that is no
    page's.
    """

    number: int
    pa: int
    word: int
    kind: str
    address: int
    to: int | None = field(default=None, metadata=ABSENT)
    owner: str | None = field(default=None, metadata=ABSENT)


@dataclass(frozen=True, slots=True)
class ListShown:
    """The list of the machine ``of`` at ``moment``, from entry ``first`` on, ``entries`` in all.

    ``fields`` are the words of struct kimage, which is at PA ``kimage``, by name; there is none
    where hibernation resumes, and an entry is a ``page`` then; ``list_pages``
    says how many pages the list is in. ``problem`` says where it cannot be followed any further.
    """

    _repr_html_ = drawn

    SCHEMA: ClassVar[str] = "relokit.show.list/1"
    DOCUMENT: ClassVar[Table] = shown(
        "of", "moment", "page_size", "kimage", "fields", "entries", "list_pages", "first", "rows",
        "problem",
    )  # fmt: skip

    of: str
    moment: str
    page_size: int
    kimage: int | None
    fields: Mapping[str, int]
    entries: int
    list_pages: int
    first: int
    rows: tuple[ListEntry, ...]
    problem: str | None = field(default=None, metadata=ABSENT)
