"""Mergeable sections: GNU ld keeps one of equal constants, and of strings that end alike.

relokit keeps all. That is the same as long as there is nothing to merge; else it is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from relokit.codegen.base.errors import LinkError
from relokit.codegen.object import Object, Section, SectionFlag
from relokit.linker.link.sections import Output


def refuse_merging(outputs: Sequence[Output], objects: Sequence[Object]) -> None:
    """Raise LinkError where two constants of one output section are equal, or end alike."""
    for output in outputs:
        seen: dict[tuple[int, bool], list[tuple[bytes, int]]] = {}
        for piece in output.pieces:
            section = piece.section
            if section.flags & SectionFlag.MERGE and section.entsize and section.data:
                kind = section.entsize, bool(section.flags & SectionFlag.STRINGS)
                found = seen.setdefault(kind, [])
                found += ((constant, piece.unit) for constant in _constants(section))
        for (_, strings), constants in seen.items():
            # Read backwards, what ends another stands right before one that it ends.
            ordered = sorted((constant[::-1], unit) for constant, unit in constants)
            for (one, unit), (other, _) in pairwise(ordered):
                if one == other or (strings and other.startswith(one)):
                    raise LinkError(
                        f"{one[::-1][:40]!r} stands more than once in {output.statement.name}",
                        where=objects[unit].name,
                        hint="GNU ld would merge it; take the M out of the section's flags",
                    )


def _constants(section: Section) -> Iterator[bytes]:
    """The entries, strings with their terminator."""
    size, data = section.entsize, bytes(section.data)
    if not section.flags & SectionFlag.STRINGS:
        yield from (data[at : at + size] for at in range(0, len(data), size))
        return
    start, terminator = 0, bytes(size)
    for at in range(0, len(data), size):
        if data[at : at + size] == terminator:
            yield data[start : at + size]
            start = at + size
    if start < len(data):
        yield data[start:]
