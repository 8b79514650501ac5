"""Where the built-in templates lie."""

from __future__ import annotations

from pathlib import Path

import relokit.templates

TEMPLATES = Path(relokit.templates.__path__[0])


def built_in_templates() -> dict[str, bytes]:
    """The text of all of them by name, as ``--templates`` knows them: ``macros/copy.j2``."""
    paths = sorted(TEMPLATES.rglob("*.j2"))
    return {path.relative_to(TEMPLATES).as_posix(): path.read_bytes() for path in paths}
