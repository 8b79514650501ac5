"""Words of the command line that stand in a file: ``relokit run @ci.args``."""

from __future__ import annotations

import shlex

from relokit.codegen.base.errors import RelokitError
from relokit.codegen.base.host_file import read_small

MAX_FILE = 1 << 16
"""Bytes of such a file."""
_WHAT = "@FILE for the words in FILE; a value with an @ first is --option=@value"


def words_of(name: str) -> list[str]:
    """The words in the file, as a shell would split them; ``#`` begins a comment.

    An ``@`` in it is not followed. Raises RelokitError for a file that cannot be read or split.
    """
    data = read_small(name, what=_WHAT, limit=MAX_FILE, where=f"@{name}")
    if b"\0" in data:
        # The kernel's own words end there, and no file has such a name.
        raise RelokitError("is no list of words: there is a NUL in it", where=f"@{name}")
    try:
        return shlex.split(data.decode(), comments=True)
    except ValueError as error:
        raise RelokitError(f"is no list of words: {error}", where=f"@{name}") from None
