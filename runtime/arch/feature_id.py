"""Features of a CPU that a kernel may be told are not there (ARM DDI 0487, ID_AA64ISAR0 to 2_EL1).

The emulated CPU does pointer authentication in software, which takes a kernel twice as long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum

_ISAR0, _ISAR1, _ISAR2 = (f"ID_AA64ISAR{number}_EL1" for number in range(3))


class ShownFeature(StrEnum):
    """What is shown on demand only."""

    PAUTH = "pauth"
    RNDR = "rndr"


FIELDS: dict[ShownFeature, tuple[tuple[str, int], ...]] = {
    # APA, API, GPA, GPI; GPA3, APA3.
    ShownFeature.PAUTH: (
        (_ISAR1, 4), (_ISAR1, 8), (_ISAR1, 24), (_ISAR1, 28), (_ISAR2, 8), (_ISAR2, 12),
    ),
    ShownFeature.RNDR: ((_ISAR0, 60),),
}  # fmt: skip
"""The lowest bit of each four-bit field that tells of a feature; 0 says that it is not there."""


def without(hidden: Iterable[ShownFeature], seen: Callable[[str], int]) -> dict[str, int]:
    """The ID registers that differ where ``hidden`` is not there; ``seen`` reads one as it is."""
    fields = [field for feature in hidden for field in FIELDS[feature]]
    found = {}
    for name in dict.fromkeys(name for name, _ in fields):
        own = value = seen(name)
        for register, low in fields:
            if register == name:
                value &= ~(0xF << low)
        if value != own:
            found[name] = value
    return found
