"""Words of the command line that stand in a file: ``relokit run @ci.args``."""

from __future__ import annotations

import shlex
from pathlib import Path

from relokit.codegen.base.errors import RelokitError

MAX_FILE = 1 << 16
"""Bytes of such a file."""


def words_of(name: str) -> list[str]:
    """The words in the file, as a shell would split them; ``#`` begins a comment.

    An ``@`` in it is not followed. Raises RelokitError for a file that cannot be read or split.
    """
    try:
        with Path(name).open("rb") as stream:
            data = stream.read(MAX_FILE + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise RelokitError(
            f"cannot be read: {why}",
            where=f"@{name}",
            hint="@FILE is for the words in FILE; a value with an @ first is --option=@value",
        ) from None
    if len(data) > MAX_FILE:
        raise RelokitError(f"has more than {MAX_FILE:,} bytes", where=f"@{name}")
    try:
        return shlex.split(data.decode(), comments=True)
    except ValueError as error:
        raise RelokitError(f"is no list of words: {error}", where=f"@{name}") from None
