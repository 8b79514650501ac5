"""How bad a broken rule is."""

from __future__ import annotations

from enum import StrEnum


class Severity(StrEnum):
    """What a broken rule means: an ERROR fails the run, a WARNING a strict one."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"
