"""What someone may have meant who wrote a word that nobody knows."""

from __future__ import annotations

from collections.abc import Iterable

LONGEST = 40
"""Characters of a word that are looked at."""


def meant(word: str, known: Iterable[str]) -> str:
    """``did you mean 'barrier'? ``, with the space, or nothing where no known word is like it."""
    from difflib import get_close_matches

    alike = get_close_matches(word[:LONGEST], list(map(str, known)), n=1)
    return f"did you mean {alike[0]!r}? " if alike else ""
