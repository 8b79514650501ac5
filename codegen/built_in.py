"""Where the built-in templates lie."""

from __future__ import annotations

from pathlib import Path

import relokit.templates

TEMPLATES = Path(relokit.templates.__path__[0])
