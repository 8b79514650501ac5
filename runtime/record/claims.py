"""Ownership: what the move is to read and to fill, and what is somebody else's."""

from __future__ import annotations

from enum import Enum

from relokit.codegen.base.nouns import dataclass
from relokit.runtime.record.known import Unknown
from relokit.runtime.record.prehistory import Range


class Claim(Enum):
    """Why memory is not the move's to fill; the value is how that is shown."""

    RESERVED = "reserved by the device tree"
    PRESERVED = "preserved for the new kernel"
    EXECUTED = "executed by another CPU"
    WRITTEN = "written by a device"


@dataclass(frozen=True, slots=True)
class Claimed:
    """Memory from PA ``start`` up to ``end`` that is claimed by ``by``."""

    by: Claim
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ownership:
    """Where the trace begins; ranges are PAs.

    ``filled`` is what the move has to fill, in whole pages, and ``kept`` the segments that are
    where they belong. ``readable`` is what it may read at any time: struct kimage, its code, its
    list, its sources; ``listed`` are the words of the list, up to IND_DONE. ``sources`` and
    ``targets`` are the PAs of pages of ``page_size`` bytes, as many of the one as of the other, in
    the order in which the list moves them: 64-bit words, little-endian. ``claims`` are those of
    others on any of RAM. ``made`` is what the old kernel itself fills on its way out.
    """

    page_size: int
    filled: tuple[Range, ...]
    kept: tuple[Range, ...]
    readable: tuple[Range, ...]
    listed: tuple[Range, ...]
    sources: bytes
    targets: bytes
    claims: tuple[Claimed, ...] | Unknown
    made: tuple[Range, ...] = ()
