"""Who owns memory: a type to compare by, from which the text that is shown is derived."""

from __future__ import annotations

from dataclasses import field, replace
from enum import Enum

from relokit.codegen.base.nouns import dataclass


class OwnerKind(Enum):
    """What a piece of guest RAM is for; the value is how that is shown.

    Not a StrEnum: an owner is never equal to a text.
    """

    OLD_KERNEL = "old kernel"
    SWAPPER = "swapper_pg_dir"
    ZERO_PAGE = "zero page"
    DESTINATION = "destination"
    SOURCES = "source pages"
    KIMAGE = "struct kimage"
    LIST = "kimage list"
    CONTROL_PAGE = "control code page"
    EL2_VECTORS = "EL2 vectors copy"
    LINEAR_MAP = "linear map copy"
    CONTROL_IDMAP = "control page idmap"
    RESTART_IDMAP = "soft restart idmap"
    RESUMED_SWAPPER = "resumed swapper"
    SAFE_PAGES = "safe pages"
    EXIT_CODE = "hibernate exit code"
    PAGE_LIST = "page list"
    HARNESS = "harness"
    HARNESS_IDMAP = "harness idmap"


@dataclass(frozen=True, slots=True)
class Owner:
    """An owner of pages: ``kind``, and which of its kind.

    ``segment`` is the number of a destination's segment, ``level`` that of tables below the root.
    ``label`` is how the segment is called; it is shown, and no part of who the owner is.
    """

    kind: OwnerKind
    segment: int | None = None
    level: int | None = None
    label: str = field(default="", compare=False)

    @property
    def is_destination(self) -> bool:
        """Whether the move fills these pages."""
        return self.kind is OwnerKind.DESTINATION

    def at_level(self, level: int) -> Owner:
        """The owner of this one's tables of ``level``, below its root."""
        return replace(self, level=level)

    def __str__(self) -> str:
        if self.level is not None:
            return f"{self.kind.value} level {self.level}"
        return f"{self.kind.value}: {self.label}" if self.label else self.kind.value


def destination(segment: int, label: str) -> Owner:
    """The owner of where segment number ``segment``, called ``label``, goes."""
    return Owner(OwnerKind.DESTINATION, segment=segment, label=label)
