"""How many program headers GNU ld makes of sections, without PHDRS: what SIZEOF_HEADERS counts.

Ours are others (``segments``): none of them is writable and executable. Rules as seen of GNU ld
2.40, with pages of 4 KiB.
"""

from __future__ import annotations

from collections.abc import Sequence

from relokit.codegen.base.bits import round_up
from relokit.codegen.object import Object, SectionFlag, SectionType
from relokit.linker.elf_format import PAGE
from relokit.linker.link.sections import Output
from relokit.linker.script.statements import Assignment, InputSections

_STACK, _PROPERTY = ".note.GNU-stack", ".note.gnu.property"


def stack_headers(objects: Sequence[Object]) -> int:
    """1 if an object says what its stack may be, which is a header of its own; else 0."""
    return int(any(one.name == _STACK for item in objects for one in item.sections))


def why_unknown(outputs: Sequence[Output]) -> str | None:
    """What of ``outputs`` has headers by rules that are not known; None if nothing has."""
    placed = _placed(outputs)
    if any(one.lma != one.vma for one in placed):
        return "load addresses of their own"
    if any(one.statement.name == _PROPERTY for one in placed):
        return _PROPERTY
    if any(_stays(one) for one in outputs):
        return "an empty section that stays for what the script does in it"
    return None


def _stays(output: Output) -> bool:
    """Whether GNU ld has it though it is empty, as one that has or has not a header."""
    body = output.statement.body
    named = any(
        isinstance(one, Assignment) or (isinstance(one, InputSections) and one.keep) for one in body
    )
    return output.alloc and not output.size and bool(output.items) and named


def count_headers(outputs: Sequence[Output], stack: int) -> int:
    """The headers of ``outputs`` where they are now: PT_LOADs, PT_NOTEs, and ``stack`` if any."""
    placed = _placed(outputs)
    return _loads(placed) + _notes(placed) + stack if placed else 0


def _placed(outputs: Sequence[Output]) -> list[Output]:
    return sorted((one for one in outputs if one.alloc and one.size), key=lambda one: one.vma)


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
    end = last.vma + last.size
    if output.vma < end:
        return True
    if round_up(end, PAGE) < output.vma // PAGE * PAGE:
        return True
    unlike = not writable and bool(output.flags & SectionFlag.WRITE)
    stored_behind = last.type is SectionType.NOBITS and output.type is not SectionType.NOBITS
    return (unlike or stored_behind) and (end - 1) // PAGE != output.vma // PAGE


def _notes(placed: Sequence[Output]) -> int:
    """Notes one behind the other have one header, if they are aligned alike."""
    count = 0
    last: Output | None = None
    for output in placed:
        note = output.type is SectionType.NOTE
        if note and not (
            last is not None
            and last.align == output.align
            and round_up(last.vma + last.size, output.align) == output.vma
        ):
            count += 1
        last = output if note else None
    return count
