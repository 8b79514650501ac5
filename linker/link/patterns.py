"""Shell patterns of a script: which names they are for."""

from __future__ import annotations

import re
from fnmatch import translate
from functools import lru_cache

from relokit.linker.script.statements import InputSections, OutputSection


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    # Neighbouring stars mean one star; left in, they make matching slow.
    return re.compile(translate(re.sub(r"\*+", "*", pattern)))


@lru_cache(maxsize=8192)
def matches(pattern: str, name: str) -> bool:
    """Whether a shell pattern (``*``, ``?``, ``[a-z]``, ``[!x]``) matches the whole name."""
    if pattern == "*" or pattern == name:
        return True
    return _compiled(pattern.replace("[^", "[!")).match(name) is not None


def takes(statement: OutputSection, name: str) -> bool:
    """Whether a pattern of ``statement`` is for input sections of this name, in some file."""
    return any(
        matches(pattern.section, name)
        for item in statement.body
        if isinstance(item, InputSections)
        for pattern in item.patterns
    )
