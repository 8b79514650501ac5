"""Regions and banks to pieces: who owns what, and what is free between."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from relokit.codegen.base.errors import MachineError
from relokit.runtime.guest.address_spans import extents_of, spans_of, without
from relokit.runtime.guest.ledger import Region
from relokit.runtime.show.shown.memory_shown import FREE, RamPiece

MAX_PIECES = 1 << 14
"""Pieces of a map that are told."""


def pieces_of(
    regions: Iterable[Region],
    banks: Iterable[tuple[int, int]],
    changed: Mapping[Region, bool] | None = None,
) -> tuple[RamPiece, ...]:
    """``regions`` with what is free of ``banks`` between them; neighbours that are alike are one.

    Raises MachineError for more than MAX_PIECES.
    """
    found = [
        RamPiece(
            one.base, one.size, str(one.owner), one.owner.kind.name.lower(),
            None if changed is None else changed[one],
        )
        for one in regions
    ]  # fmt: skip
    owned = spans_of((one.base, one.bytes) for one in found)
    found += [RamPiece(*one, FREE, FREE) for one in extents_of(without(spans_of(banks), owned))]
    joined: list[RamPiece] = []
    for one in sorted(found, key=lambda piece: piece.base):
        last = joined[-1] if joined else None
        alike = last and (last.end, last.owner, last.changed) == (one.base, one.owner, one.changed)
        if last is not None and alike:
            joined[-1] = RamPiece(last.base, last.bytes + one.bytes, *_of(last))
        else:
            joined.append(one)
    if len(joined) > MAX_PIECES:
        raise MachineError(f"memory is in {len(joined):,} pieces: more than are shown")
    return tuple(joined)


def _of(piece: RamPiece) -> tuple[str, str, bool | None]:
    return piece.owner, piece.kind, piece.changed
