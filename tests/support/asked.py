"""What a test asks of the machine room beside the program's own requests."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from relokit.runtime.room.requests import Report


@dataclass(frozen=True)
class ModulesRequest:
    """The names of all modules that the room has imported."""

    def carry_out(self, report: Report) -> tuple[str, ...]:
        """See Request."""
        return tuple(sorted(sys.modules))
