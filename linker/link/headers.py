"""How many program headers GNU ld makes of sections, without PHDRS: what SIZEOF_HEADERS counts.

Ours are others (``segments``): none of them is writable and executable. Rules as seen of GNU ld
2.40, with pages of 4 KiB.
"""

from __future__ import annotations

from collections.abc import Sequence

from relokit.codegen.base.bits import MASK64, round_up
from relokit.codegen.object import Object, SectionFlag, SectionType
from relokit.linker.elf_format import PAGE
from relokit.linker.link.sections import Output, stays_empty

_STACK, _PROPERTY = ".note.GNU-stack", ".note.gnu.property"


def stack_headers(objects: Sequence[Object]) -> int:
    """1 if an object says what its stack may be, which is a header of its own; else 0."""
    return int(any(one.name == _STACK for item in objects for one in item.sections))


def why_unknown(outputs: Sequence[Output]) -> str | None:
    """What of ``outputs`` has headers by rules that are not known; None if nothing has."""
    if any(one.statement.name == _PROPERTY for one in _there(outputs)):
        return _PROPERTY
    return None


def first_guess(outputs: Sequence[Output], stack: int) -> int:
    """The headers that GNU ld begins with: two PT_LOADs, and what needs no addresses.

    Of several counts that agree with the addresses that follow from them it has the one that it
    comes to from here.
    """
    return 2 + _notes(_there(outputs), placed=False) + stack


def count_headers(outputs: Sequence[Output], stack: int) -> int:
    """The headers of ``outputs`` where they are now: PT_LOADs, PT_NOTEs, and ``stack`` if any."""
    there = _there(outputs)
    return _loads(sorted(there, key=_order)) + _notes(there, placed=True) + stack if there else 0


def _there(outputs: Sequence[Output]) -> list[Output]:
    """Those that GNU ld has, in the script's order: one that stays empty, too."""
    return [one for one in outputs if one.alloc and (one.size or (one.pieces and stays_empty(one)))]


def _order(output: Output) -> tuple[int, int, bool, int]:
    """What is not stored stands behind the others, unless it is empty."""
    cleared = output.type is SectionType.NOBITS
    return output.lma, output.vma, cleared and output.size > 0, 0 if cleared else output.size


def _loads(placed: Sequence[Output]) -> int:
    count, writable = 0, False
    for index, output in enumerate(placed):
        if index == 0 or _begins(placed[index - 1], output, writable):
            count += 1
            writable = False
        writable |= bool(output.flags & SectionFlag.WRITE)
    return count


def _begins(last: Output, output: Output, writable: bool) -> bool:
    """Whether a segment ends with ``last``, and ``output`` begins the next one."""
    if (last.lma - last.vma - output.lma + output.vma) & MASK64:
        return True
    end = last.lma + last.size
    if output.lma < end:
        return True
    if (end - 1) // PAGE == output.lma // PAGE:
        return False
    if round_up(end, PAGE) + PAGE <= output.lma:
        return True
    unlike = not writable and bool(output.flags & SectionFlag.WRITE)
    stored_behind = last.type is SectionType.NOBITS and output.type is not SectionType.NOBITS
    return unlike or stored_behind


def _notes(outputs: Sequence[Output], *, placed: bool) -> int:
    """Notes one behind the other have one header, if they are aligned alike."""
    count = 0
    last: Output | None = None
    for output in outputs:
        note = output.type is SectionType.NOTE
        if note and not (
            last is not None
            and last.align == output.align
            and (not placed or round_up(last.lma + last.size, output.align) == output.lma)
        ):
            count += 1
        last = output if note else None
    return count
