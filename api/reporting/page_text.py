"""Text of others made fit for a page: visible, bounded, and with ids that stay the same.

Symbol, file and section names and source text come from files that nobody vouches for. The
templates escape them for HTML; here goes what an escaped character can still do.
"""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import sha256

from relokit.codegen.base.errors import one_line

MAX_NAME = 160
"""Characters of a name that are shown; C++ has longer ones, hostile files have megabytes."""
MAX_TEXT = 240
"""Characters of an instruction or a source line."""

_ID = re.compile(r"[A-Za-z0-9_.$]{1,100}")
_NOT_ID = re.compile(r"[^A-Za-z0-9_.$]+")


@lru_cache(maxsize=1 << 14)
def shown(text: str, limit: int = MAX_TEXT) -> str:
    """``text`` on one line (see ``one_line``), cut at ``limit`` characters."""
    return one_line(text if len(text) <= limit else f"{text[:limit]}…")


def name_shown(name: str) -> str:
    """A name, bounded."""
    return shown(name, MAX_NAME)


class Ids:
    """Ids of the parts of one page: the name itself where it can be one, unique in any case.

    ``prefix`` goes before all of them. The page's own ids begin with a hyphen, which none here
    does.
    """

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix
        self._taken: set[str] = set()

    def take(self, name: str) -> str:
        """An id for ``name``; asked in the same order, always the same."""
        stem = name
        if not _ID.fullmatch(name):
            # Two names that differ only in what is taken out still have ids of their own.
            digest = sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
            stem = f"{_NOT_ID.sub('_', name[:60])}~{digest}"
        found, number = stem, 1
        while found in self._taken:
            number += 1
            found = f"{stem}~{number}"
        self._taken.add(found)
        return self._prefix + found
