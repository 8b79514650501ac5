"""What changes in machine code from one build to the next: routine by routine, as instructions.

An instruction that is the same but for where it stands, or for how far its target is, has not
changed. A branch has changed when it leads to another instruction than before.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from relokit.codegen.object import SymbolType
from relokit.linker.image import Image, ImageSymbol
from relokit.runtime.disassembly import disassemble

CONTEXT = 3
"""Unchanged instructions shown around a change."""
MAX_WORDS = 4096
"""Words of one routine that are compared; a longer one counts as changed or not, no more."""

# PC-relative forms (DDI 0487, C4.1): mask, value, lowest bit and width of the field, its unit.
_RELATIVE = (
    (0x7C000000, 0x14000000, 0, 26, 4),  # B, BL
    (0xFF000000, 0x54000000, 5, 19, 4),  # B.cond
    (0x7E000000, 0x34000000, 5, 19, 4),  # CBZ, CBNZ
    (0x7E000000, 0x36000000, 5, 14, 4),  # TBZ, TBNZ
    (0x3B000000, 0x18000000, 5, 19, 4),  # LDR (literal)
)


@dataclass(frozen=True, slots=True)
class Instruction:
    """One word of a routine: byte ``offset`` in it, text with targets by name or offset.

    ``key`` is the text without a target inside the routine, which is ``target`` then.
    """

    offset: int
    word: int
    text: str
    key: str
    target: int | None


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a diff: ``sign`` is a blank, ``-`` or ``+``; offsets in bytes, None if absent."""

    sign: str
    before: int | None
    after: int | None
    word: int
    text: str

    def to_json(self) -> dict[str, Any]:
        """The line as JSON data."""
        return {
            "sign": self.sign,
            "before": self.before,
            "after": self.after,
            "word": self.word,
            "text": self.text,
        }


@dataclass(frozen=True, slots=True)
class RoutineChange:
    """``change`` is added, removed, changed or renamed (then ``was`` is the name it had).

    ``before`` and ``after`` are sizes in bytes.
    """

    name: str
    change: str
    before: int
    after: int
    was: str | None = None
    hunks: tuple[tuple[Line, ...], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The routine as JSON data."""
        document: dict[str, Any] = {
            "name": self.name,
            "change": self.change,
            "before": self.before,
            "after": self.after,
        }
        if self.was is not None:
            document["was"] = self.was
        document["hunks"] = [[line.to_json() for line in hunk] for hunk in self.hunks]
        return document


@dataclass(frozen=True, slots=True)
class CodeChange:
    """The routines that differ, in the order they are placed, and symbols that come and go."""

    routines: tuple[RoutineChange, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]


def compare_code(before: Image, after: Image) -> CodeChange:
    """Everything that differs between two Images but addresses."""
    old, new = _routines(before), _routines(after)
    gone = {name: routine for name, routine in old.items() if name not in new}
    names: dict[str, str] = {}  # of renamed routines, new by old
    for name in new:
        same = (was for was in gone if was not in names and _keys(old[was]) == _keys(new[name]))
        was = None if name in old else next(same, None)
        if was is not None:
            names[was] = name
    changes = []
    for name, routine in new.items():
        size = 4 * len(routine)
        if name in names.values():
            was = next(one for one, other in names.items() if other == name)
            changes.append(RoutineChange(name, "renamed", size, size, was))
        elif name not in old:
            changes.append(RoutineChange(name, "added", 0, size, None, (_all("+", routine),)))
        else:
            hunks = tuple(_hunks(old[name], routine, names))
            if hunks:
                size_before = 4 * len(old[name])
                changes.append(RoutineChange(name, "changed", size_before, size, None, hunks))
    for name, routine in gone.items():
        if name not in names:
            size = 4 * len(routine)
            changes.append(RoutineChange(name, "removed", size, 0, None, (_all("-", routine),)))
    here, there = _names(before) - set(names), _names(after) - set(names.values())
    return CodeChange(tuple(changes), tuple(sorted(there - here)), tuple(sorted(here - there)))


def _names(image: Image) -> set[str]:
    return {symbol.name for symbol in image.symbols if _is_name(symbol)}


def _is_name(symbol: ImageSymbol) -> bool:
    """Whether a person gave the name: not a mapping symbol, section or file."""
    typed = symbol.type in (SymbolType.SECTION, SymbolType.FILE)
    return bool(symbol.name) and symbol.name[0] not in "$." and not typed


def _routines(image: Image) -> dict[str, tuple[Instruction, ...]]:
    """Every sized function and object of allocated sections, by name, ascending by address."""
    found = (s for s in image.symbols if s.size and s.section >= 0 and _is_name(s))
    return {
        symbol.name: tuple(_instructions(image, symbol))
        for symbol in sorted(found, key=lambda symbol: symbol.value)
        if image.section_at(symbol.value)
    }


def _instructions(image: Image, symbol: ImageSymbol) -> Iterator[Instruction]:
    code = image.read(symbol.value, symbol.size // 4 * 4)
    for offset in range(0, min(len(code), 4 * MAX_WORDS), 4):
        word = int.from_bytes(code[offset : offset + 4], "little")
        if symbol.type is SymbolType.OBJECT:
            text = f".word {word:#x}"
            yield Instruction(offset, word, text, text, None)
            continue
        yield _instruction(image, symbol, offset, word)


def _instruction(image: Image, symbol: ImageSymbol, offset: int, word: int) -> Instruction:
    text = disassemble(word, symbol.value + offset)
    distance = _distance(word)
    if distance is None:
        return Instruction(offset, word, text, text, None)
    head = text.rpartition("#")[0]
    target = offset + distance
    if 0 <= target < symbol.size:
        return Instruction(offset, word, f"{head}+{target:#x}", head, target)
    name, beyond = image.symbol_at(symbol.value + target) or (f"{distance:+#x}", 0)
    shown = head + name + (f"+{beyond:#x}" if beyond else "")
    return Instruction(offset, word, shown, shown, None)


def _distance(word: int) -> int | None:
    """Bytes from a PC-relative instruction to its target; ADRP, which names a page, has none."""
    if word & 0x9F000000 == 0x10000000:  # ADR: its two low bits stand apart
        field = (word >> 5 & 0x7FFFF) << 2 | word >> 29 & 3
        return field - (field >> 20 << 21)
    for mask, value, low, width, unit in _RELATIVE:
        if word & mask == value:
            field = word >> low & (1 << width) - 1
            return (field - (field >> width - 1 << width)) * unit
    return None


def _keys(routine: tuple[Instruction, ...]) -> list[tuple[str, int | None]]:
    return [(one.key, one.target) for one in routine]


def _all(sign: str, routine: tuple[Instruction, ...]) -> tuple[Line, ...]:
    return tuple(
        Line(
            sign,
            one.offset if sign == "-" else None,
            one.offset if sign == "+" else None,
            one.word,
            one.text,
        )
        for one in routine
    )


def _hunks(
    old: tuple[Instruction, ...], new: tuple[Instruction, ...], renamed: dict[str, str]
) -> Iterator[tuple[Line, ...]]:
    """The changed parts with their context, like those of a unified diff."""
    names = [_renamed(one.key, renamed) for one in old]
    matcher = SequenceMatcher(None, names, [one.key for one in new], autojunk=False)
    # Where an unchanged instruction went, by offset: a branch to it has to follow.
    went: dict[int, int] = {}
    for a, b, size in matcher.get_matching_blocks():
        went |= {old[a + n].offset: new[b + n].offset for n in range(size)}
    lines: list[Line] = []
    for tag, a1, a2, b1, b2 in matcher.get_opcodes():
        if tag != "equal":
            lines += _all("-", old[a1:a2])
            lines += _all("+", new[b1:b2])
            continue
        for was, now in zip(old[a1:a2], new[b1:b2], strict=True):
            if was.target is not None and went.get(was.target, now.target) != now.target:
                lines += [*_all("-", (was,)), *_all("+", (now,))]
            else:
                lines.append(Line(" ", was.offset, now.offset, now.word, now.text))
    yield from _with_context(lines)


def _renamed(key: str, renamed: dict[str, str]) -> str:
    head, blank, target = key.rpartition(" ")
    return head + blank + renamed.get(target, target)


def _with_context(lines: list[Line]) -> Iterator[tuple[Line, ...]]:
    changed = [at for at, line in enumerate(lines) if line.sign != " "]
    start = 0
    for index, at in enumerate(changed):
        if index and at - changed[index - 1] > 2 * CONTEXT + 1:
            yield tuple(lines[max(0, changed[start] - CONTEXT) : changed[index - 1] + CONTEXT + 1])
            start = index
    if changed:
        yield tuple(lines[max(0, changed[start] - CONTEXT) : changed[-1] + CONTEXT + 1])
