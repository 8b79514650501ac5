"""Mutants of what the code reads: struct kimage, its list, the tables that translate the move."""

from __future__ import annotations

from collections.abc import Iterator

from relokit.codegen.series import Feature
from relokit.runtime.arch import descriptors as d
from relokit.runtime.arch.geometry import LEAF_LEVEL
from relokit.runtime.arch.walker import WalkStep, walk
from relokit.runtime.guest.memory import GuestMemory
from relokit.runtime.kexec.kimage import (
    IND_DESTINATION,
    IND_DONE,
    IND_INDIRECTION,
    IND_SOURCE,
    WORD,
    read_field,
    write_field,
)
from relokit.runtime.kexec.machine import Machine
from relokit.runtime.mutation.mutant import DataEdit, DataPlace
from relokit.runtime.run.prepared import expected_fields, translation_of

_FLAGS = {
    IND_DESTINATION: "a destination",
    IND_INDIRECTION: "an indirection",
    IND_DONE: "the end",
    IND_SOURCE: "a source",
}
_ALL_FLAGS = IND_DESTINATION | IND_INDIRECTION | IND_DONE | IND_SOURCE
DROPPED, REPEATED, PAGE_ON, PAGE_BACK, ZERO = (
    "dropped", "repeated", "a page further", "a page before", "zero",
)  # fmt: skip
_ATTR = d.ATTR_INDEX
_LEAF: dict[str, tuple[int, int]] = {
    "invalid": (d.VALID, 0),
    "no access flag": (d.AF, 0),
    "read-only": (d.AP_READ_ONLY | d.WRITE, d.AP_READ_ONLY),
    "for EL0 too": (d.AP_EL0, d.AP_EL0),
    "never executable": (d.PXN | d.UXN, d.PXN | d.UXN),
    "executable": (d.PXN | d.UXN, 0),
    "Device": (_ATTR, d.DEVICE_NGNRNE << d.ATTR_INDEX_SHIFT),
    "not cacheable": (_ATTR, d.NORMAL_NC << d.ATTR_INDEX_SHIFT),
    "not shareable": (d.SH, 0),
    "not global": (d.NG, d.NG),
    "guarded": (d.GUARDED, d.GUARDED),
    "contiguous": (d.CONTIGUOUS, d.CONTIGUOUS),
}
"""Bits of a page or block, by mask, and what they are then."""
_TABLE: dict[str, tuple[int, int]] = {
    "invalid": (d.VALID, 0),
    "read-only below": (d.TABLE_AP_READ_ONLY, d.TABLE_AP_READ_ONLY),
    "never executable below": (d.TABLE_PXN | d.TABLE_UXN, d.TABLE_PXN | d.TABLE_UXN),
}
ADDRESS_ON = "another address"
_BLOCK_SPAN = 1 << 30
"""Leads a block of any level elsewhere."""
_USES = ("control page", "destination", "source", "list", "kimage")


class NoSuchDataError(Exception):
    """A machine that has nothing which an edit could change."""


def data_edits(machine: Machine) -> Iterator[DataEdit]:
    """All there are for ``machine``, which is ready to move something."""
    fields = expected_fields(machine)
    for name, value in fields.items():
        for change in (ZERO, PAGE_ON, PAGE_BACK):
            if not (value == 0 and change == ZERO):
                yield DataEdit(DataPlace.FIELD, name, change)
        for other, held in fields.items():
            if held != value:
                yield DataEdit(DataPlace.FIELD, name, f"as {other}")
    for number, word in enumerate(_entries(machine)[:-1]):
        for change in (DROPPED, REPEATED, PAGE_ON, PAGE_BACK):
            yield DataEdit(DataPlace.ENTRY, str(number), change)
        for flag, text in _FLAGS.items():
            if word & _ALL_FLAGS != flag:
                yield DataEdit(DataPlace.ENTRY, str(number), text)
    if machine.target.has(Feature.MMU_ON):
        for use in _USES:
            for step in _trail(machine, use):
                leaf = step.level == LEAF_LEVEL or step.descriptor & d.TYPE == d.BLOCK
                for change in (*(_LEAF if leaf else _TABLE), ADDRESS_ON):
                    if _changed(step, change, machine.target.page_size) != step.descriptor:
                        name = f"{use}, level {step.level}"
                        yield DataEdit(DataPlace.DESCRIPTOR, name, change)


def spoil(machine: Machine, edit: DataEdit) -> tuple[str, ...]:
    """Change ``machine`` as ``edit`` says; returns what was changed, as findings may call it.

    Raises NoSuchDataError where the machine has no such thing.
    """
    match edit.place:
        case DataPlace.FIELD:
            return _spoil_field(machine, edit)
        case DataPlace.ENTRY:
            return _spoil_entry(machine, edit)
        case DataPlace.DESCRIPTOR:
            return _spoil_descriptor(machine, edit)


def _spoil_field(machine: Machine, edit: DataEdit) -> tuple[str, ...]:
    fields = expected_fields(machine)
    if edit.name not in fields:
        raise NoSuchDataError
    value = read_field(machine.memory, machine.kimage, edit.name)
    page = machine.target.page_size
    changed = {ZERO: 0, PAGE_ON: value + page, PAGE_BACK: value - page}.get(edit.change)
    if changed is None:
        changed = fields.get(edit.change.removeprefix("as "))
    if changed is None or changed == value:
        raise NoSuchDataError
    write_field(machine.memory, machine.kimage, edit.name, changed)
    return (edit.name,)


def _entries(machine: Machine) -> list[int]:
    """The words of the list's first page, IND_DONE included, and the one behind it."""
    if not machine.kimage.list_pages:
        return []
    base = machine.kimage.list_pages[0].base
    most = machine.target.page_size // WORD
    count = min(machine.kimage.entries + 2, most)
    return [machine.memory.read_u64(base + WORD * number) for number in range(count)]


def _spoil_entry(machine: Machine, edit: DataEdit) -> tuple[str, ...]:
    words, number = _entries(machine), int(edit.name)
    if number >= len(words) - 1:
        raise NoSuchDataError
    base = machine.kimage.list_pages[0].base
    word, page = words[number], machine.target.page_size
    before = tuple(words)
    if edit.change == DROPPED:
        del words[number]
    elif edit.change == REPEATED:
        words.insert(number, word)
    elif edit.change in (PAGE_ON, PAGE_BACK):
        words[number] = word + page if edit.change == PAGE_ON else word - page
    else:
        [flag] = [flag for flag, text in _FLAGS.items() if text == edit.change]
        words[number] = word & ~_ALL_FLAGS | flag
    for at, changed in enumerate(words):
        machine.memory.write_u64(base + WORD * at, changed & (1 << 64) - 1)
    # A repeated entry shows at the next one.
    both = range(number, min(len(words), len(before)))
    shows = next((at for at in both if words[at] != before[at]), number)
    return (hex(base + WORD * shows), hex(word & -page))


def _trail(machine: Machine, use: str) -> tuple[WalkStep, ...]:
    """The entries that translate what ``use`` names, as the move goes through them."""
    address = _address(machine, use)
    if address is None:
        return ()
    registers, el = translation_of(machine)
    return walk(machine.memory, registers, address, el=el).trail


def _address(machine: Machine, use: str) -> int | None:
    kimage, offset = machine.kimage, machine.old.linear_offset
    if use == "control page":
        return kimage.control_page
    if use == "kimage":
        return kimage.va
    if not kimage.list_pages:
        return None
    pas = {
        "list": kimage.list_pages[0].base,
        "destination": kimage.segments[0].mem,
        "source": machine.memory.read_u64(kimage.list_pages[0].base + WORD) & -kimage.page_size,
    }
    return pas[use] + offset & (1 << 64) - 1


def _spoil_descriptor(machine: Machine, edit: DataEdit) -> tuple[str, ...]:
    use, _, level = edit.name.partition(", level ")
    address = _address(machine, use)
    steps = [step for step in _trail(machine, use) if step.level == int(level)]
    if not steps or address is None:
        raise NoSuchDataError
    [step] = steps
    changed = _changed(step, edit.change, machine.target.page_size)
    if changed == step.descriptor:
        raise NoSuchDataError
    _write(machine.memory, step.entry, changed)
    return (hex(step.entry), hex(address), hex(step.leads_to))


def _changed(step: WalkStep, change: str, page_size: int) -> int:
    """The descriptor of ``step`` with something else in it; bits below a page are no address."""
    if change == ADDRESS_ON:
        return step.descriptor ^ (page_size if step.descriptor & d.TYPE != d.BLOCK else _BLOCK_SPAN)
    mask, bits = _LEAF.get(change) or _TABLE[change]
    return step.descriptor & ~mask | bits


def _write(memory: GuestMemory, pa: int, word: int) -> None:
    memory.write_u64(pa, word & (1 << 64) - 1)
