"""The data that compared routines take the address of: followed from both, and compared."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

from relokit.codegen.base.bits import signed
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.instruction_forms import ADRP, BR, LITERAL, UNSIGNED_OFFSET
from relokit.diffing.instructions.decode import NAMELESS, PLACE, Instruction, variable_at
from relokit.diffing.instructions.normalise import Key
from relokit.diffing.read.data import MAX_DATUM, Datum
from relokit.diffing.read.routine import Extent, Routine, Side
from relokit.diffing.routines.model import RoutineDiff

MAX_DATA = 1 << 12
"""Pieces of data that are compared in one diff."""
MAX_DATA_BYTES = 1 << 20
TYPE_HASH = 4
NO_NAMES = "variables without a name"


@dataclass(frozen=True, slots=True)
class _Visit:
    """A place on each side, what it is called, and the routines whose code takes it.

    ``bytes`` are as many as are accessed there, 0 where that is not known.
    """

    places: tuple[int, int]
    label: str
    users: tuple[Routine, Routine]
    bytes: int = 0


Reading = tuple[Routine, tuple[Instruction, ...], tuple[Key, ...]]
"""A piece of data as lines, and what these are compared by."""


class DataFollower:
    """Finds what the rows of ``routines`` refer to alike on both sides, and what that refers to.

    ``compared`` are the names of data that was compared, ``left_out`` of what was not.
    """

    def __init__(self, left: Side, right: Side, routines: Sequence[RoutineDiff]) -> None:
        self._sides = left, right
        self._routines = [one for one in routines if not one.one_sided]
        self._maps = _Labels(self._routines, 0), _Labels(self._routines, 1)
        self._budget = MAX_DATA_BYTES
        self._taken: set[int] = set()
        self._unread = {one.address for side in (left, right) for one in side.unread}
        self._seen: set[tuple[int, int, int]] = set()
        self.compared: dict[str, None] = {}
        self.left_out: dict[str, None] = {}

    def pairs(self) -> Iterator[tuple[Reading, Reading]]:
        """What differs; each pair of places once."""
        work = deque(self._starts())
        known = {
            (one.address, other.address)
            for one, other in ((rd.left, rd.right) for rd in self._routines)
            if one and other
        }
        seen = self._seen
        tables = self._tables()
        while visit := work.popleft() if work else next(tables, None):
            found = self._data(visit)
            if found is None:
                continue
            one, other = found
            self._taken |= {one.area.address, other.area.address}
            key = one.address, other.address, one.size
            if key in seen or key[:2] in known:
                continue
            seen.add(key)
            label = visit.label
            if len(seen) > MAX_DATA or self._budget < 0:
                self.left_out[label] = None
                continue
            self._budget -= one.size + other.size
            unread = self._unread & {one.area.address, other.area.address}
            if unread or max(one.size, other.size) > MAX_DATUM:
                self.left_out[label] = None
            else:
                self.compared[label] = None
            left, right = (
                self._read(datum, label, visit.users[side], side)
                for side, datum in enumerate(found)
            )
            left, right = self._with_distances(left, right)
            if left[2] != right[2]:
                yield left, right
            work.extend(_pointed(left, right, visit))

    def _starts(self) -> Iterator[_Visit]:
        for routine in self._routines:
            assert routine.left is not None
            assert routine.right is not None
            users = routine.left, routine.right
            for row in routine.rows.told.values():
                one, other = row.left, row.right
                if one and other and NAMELESS in (one.variable, other.variable):
                    self.left_out[NO_NAMES] = None
                elif one and other and _alike(one, other) and not ADRP.holds(one.word):
                    places = one.address, other.address
                    label = one.place if one.named and not one.datum else ""
                    label = label or f"data of {routine.name}{one.offset:+#x}"
                    size = max(_accessed(one.word), _accessed(other.word))
                    yield _Visit(places, label.partition("+0x")[0], users, size)
            hashes = [
                side.hashes.get(one.name) for side, one in zip(self._sides, users, strict=True)
            ]
            if hashes[0] is not None and hashes[1] is not None:
                label = f"type hash of {routine.name}"
                yield _Visit((hashes[0], hashes[1]), label, users, TYPE_HASH)

    def _tables(self) -> Iterator[_Visit]:
        """Sections of which no code here takes anything, so others do: of two objects by piece."""
        left, right = (_numbered(side.tables) for side in self._sides)
        if not (left or right):
            return
        if not all(side.part for side in self._sides):
            # Linked, there is no telling what their numbers stand for.
            untaken = {*self._untaken(0, left), *self._untaken(1, right)}
            self.left_out.update(dict.fromkeys(sorted(untaken)))
            return
        self.left_out.update(dict.fromkeys(sorted(left.keys() ^ right.keys())))
        for name, one in left.items():
            other = right.get(name)
            if other is None:
                continue
            if {one.address, other.address} & self._taken:
                yield from self._rest(one, other)
                continue
            offset = 0
            while offset < max(one.size, other.size):
                places = one.address + offset, other.address + offset
                users = Routine(name, places[0], bytes(4)), Routine(name, places[1], bytes(4))
                found = self._data(_Visit(places, name, users))
                if found is None:
                    self.left_out[name] = None
                    break
                label = found[0].name or name
                yield _Visit(places, label, users)
                ends = {
                    datum.address + datum.size - place
                    for datum, place in zip(found, places, strict=True)
                }
                if len(ends) > 1:
                    break
                offset += ends.pop()

    def _rest(self, one: Extent, other: Extent) -> Iterator[_Visit]:
        """Variables of a section of two objects that nothing led to, beside others."""
        left, right = self._named(0, one), self._named(1, other)
        for name in sorted(left.keys() & right.keys()):
            places = left[name], right[name]
            users = Routine(name, places[0], bytes(4)), Routine(name, places[1], bytes(4))
            yield _Visit(places, name, users)
        for side, found, others in ((0, left, right), (1, right, left)):
            seen = {key[side] for key in self._seen}
            alone = sorted(name for name in found.keys() - others.keys() if found[name] not in seen)
            self.left_out.update(dict.fromkeys(alone))

    def _named(self, side: int, one: Extent) -> dict[str, int]:
        return self._sides[side].names.data.sized(one.address, one.address + one.size)

    def _untaken(self, side: int, tables: Mapping[str, Extent]) -> Iterator[str]:
        """What is in a linked file, section or variable, and that nothing led to."""
        seen = {key[side] for key in self._seen}
        for name, one in tables.items():
            if one.address in self._taken:
                named = self._named(side, one)
                yield from (name for name, address in named.items() if address not in seen)
            else:
                yield name

    def _data(self, visit: _Visit) -> tuple[Datum, Datum] | None:
        """Both pieces of data, as far as they are to be compared; None where there are not two."""
        found = [
            side.names.data.at(place) for side, place in zip(self._sides, visit.places, strict=True)
        ]
        one, other = found
        if one is None or other is None:
            if one is not other:
                self.left_out[visit.label] = None
            return None
        # A piece that is only accessed there is no longer than that; one of unknown end no longer
        # than what is known of the other.
        sizes = [
            min(datum.size, visit.bytes) if visit.bytes and not datum.sized else datum.size
            for datum in (one, other)
        ]
        if not (one.exact and other.exact):
            sizes = [min(sizes)] * 2
        return replace(one, size=sizes[0]), replace(other, size=sizes[1])

    def _with_distances(self, left: Reading, right: Reading) -> tuple[Reading, Reading]:
        """Both with words that are distances, from themselves to the same place, as equal ones."""
        keys = list(left[2]), list(right[2])
        for number, lines in enumerate(zip(left[1], right[1], strict=False)):
            if keys[0][number] == keys[1][number] or any(line.place for line in lines):
                continue
            places = [
                side.names.pointed(datum.address + line.offset + signed(line.word, 32))
                for side, (datum, _, _), line in zip(self._sides, (left, right), lines, strict=True)
            ]
            if places[0] is not None and places[0] == places[1]:
                keys[0][number] = keys[1][number] = _key(f".word {places[0]} - .")
        return (*left[:2], tuple(keys[0])), (*right[:2], tuple(keys[1]))

    def _read(self, datum: Datum, label: str, user: Routine, side: int) -> Reading:
        content = datum.content
        content += bytes(-len(content) % 4)
        routine = Routine(label, datum.address, content, section=datum.area.name, data=True)
        lines = [*_DataLines(self._sides[side], self._maps[side], datum, user).read(content)]
        while len(lines) > 1 and not lines[-1][0].word and not lines[-1][0].place:
            lines.pop()
        return routine, tuple(one for one, _ in lines), tuple(key for _, key in lines)


def _numbered(tables: Sequence[Extent]) -> dict[str, Extent]:
    """By name, of several with one name by number too."""
    found: dict[str, Extent] = {}
    counts: Counter[str] = Counter()
    for one in tables:
        if not one.size:
            continue
        number = counts[one.name]
        name = f"{one.name} ({number + 1})" if number else one.name
        counts[name.partition(" (")[0]] += name not in found
        found[name] = one
    return found


def _alike(one: Instruction, other: Instruction) -> bool:
    """Whether both take what may be the same data: of a string it is known already."""
    if not one.taken or not other.taken or one.place.startswith('"'):
        return False
    if one.variable and one.variable == other.variable:
        return True
    return (one.datum and other.datum) or one.place == other.place


def _accessed(word: int) -> int:
    """Bytes that a load or store with a place in it accesses, 0 for what takes an address."""
    if LITERAL.holds(word):
        return (4, 8, 16, 0)[word >> 30] if word >> 26 & 1 else (4, 8, 4, 0)[word >> 30]
    if UNSIGNED_OFFSET.holds(word):
        return 16 if word >> 26 & word >> 23 & 1 else 1 << (word >> 30)
    return 0


def _pointed(left: Reading, right: Reading, visit: _Visit) -> Iterator[_Visit]:
    for one, other in zip(left[1], right[1], strict=False):
        if _alike(one, other):
            label = f"{visit.label}{one.offset:+#x}" if one.datum else one.place.partition("+0x")[0]
            yield _Visit((one.address, other.address), label, visit.users)


class _Labels:
    """Places in compared routines, called alike on both sides: by the pair of rows they are at."""

    def __init__(self, routines: Sequence[RoutineDiff], side: int) -> None:
        found = []
        for routine in routines:
            one = (routine.left, routine.right)[side]
            assert one is not None
            found.append((one.address, one.address + len(one.code), routine))
        self._found = sorted(found, key=lambda entry: entry[:2])
        self._starts = [start for start, _, _ in self._found]
        self._side = side
        self._numbers: dict[int, list[int]] = {}

    def at(self, address: int) -> str | None:
        """What VA ``address`` is called."""
        at = bisect_right(self._starts, address) - 1
        if at < 0 or address >= self._found[at][1] or (address - self._starts[at]) % 4:
            return None
        routine = self._found[at][2]
        if at not in self._numbers:
            self._numbers[at] = [*self._following(routine)]
        numbers = self._numbers[at]
        index = (address - self._starts[at]) // 4
        return f"{routine.name}@{numbers[min(index, len(numbers) - 1)]}"

    def _following(self, routine: RoutineDiff) -> Iterator[int]:
        """By instruction: how many pairs of rows there are before it."""
        pairs = 0
        for sides in routine.rows.layout():
            if sides[self._side]:
                yield pairs
            pairs += all(sides)
        yield pairs


class _DataLines:
    """A piece of data, word by word, with what its words point to."""

    def __init__(self, side: Side, labels: _Labels, datum: Datum, user: Routine) -> None:
        self._names, self._labels, self._datum, self._user = side.names, labels, datum, user
        self._pointers = datum.pointers
        self._linked = not side.part

    def read(self, content: bytes) -> Iterator[tuple[Instruction, Key]]:
        """Each line with what it is compared by."""
        offset = 0
        while offset < len(content):
            pointer = self._pointers.get(offset)
            word = int.from_bytes(content[offset : offset + 4], "little")
            line: tuple[Instruction, Key] | None = None
            size = 4
            if pointer is not None and pointer.size:
                place = pointer.address
                target = place - offset if pointer.relative else place
                if pointer.size == 4 and pointer.relative and self._in_table(target):
                    line = self._entry(offset, word, target)
                else:
                    size = pointer.size
                    line = self._pointer(offset, word, place, pointer.size, pointer.relative)
            elif self._linked and (value := self._address(content, offset)) is not None:
                size, line = 8, self._pointer(offset, word, value, 8, relative=False)
            elif self._linked or self._datum.area.code:
                target = self._datum.address + signed(word, 32)
                if word and self._in_table(target):
                    line = self._entry(offset, word, target)
            yield line or self._plain(offset, word)
            offset += size

    def _address(self, content: bytes, offset: int) -> int | None:
        """What 64 bits are the address of, if they are one of this program."""
        if (self._datum.address + offset) % 4 or offset + 8 > len(content):
            return None
        value = int.from_bytes(content[offset : offset + 8], "little")
        known = self._names.data.area(value) is not None or self._names.name(value) is not None
        return value if known and value >> 16 else None

    @cached_property
    def _jumps(self) -> bool:
        code = memoryview(self._user.code).cast("I")
        return any(BR.holds(word) for word in code)

    def _in_table(self, target: int) -> bool:
        """Whether a distance from the start of the data leads into the code that jumps by it."""
        start = self._user.address
        inside = start <= target < start + len(self._user.code) and not target % 4
        return inside and self._jumps

    def _entry(self, offset: int, word: int, target: int) -> tuple[Instruction, Key]:
        distance = target - self._user.address
        place = f"{self._user.name}{distance:+#x}" if distance else self._user.name
        line = Instruction(
            offset, word, ".word", f"{PLACE} - {self._datum.name or 'table'}",
            place=place, named=True, address=target, distance=distance,
        )  # fmt: skip
        return line, _key(f".word {self._labels.at(target) or place} - table")

    def _pointer(
        self, offset: int, word: int, place: int, size: int, relative: bool
    ) -> tuple[Instruction, Key]:
        data = self._names.data
        name = self._names.pointed(place)
        string = name is not None and name[0] == '"'
        nameless = not string and not data.named_at(place) and data.is_constant(place)
        line = Instruction(
            offset, word, ".quad" if size == 8 else ".word", f"{PLACE} - ." if relative else PLACE,
            place=name or f"{place:#x}", named=name is not None, address=place,
            distance=place - self._user.address, taken=True, datum=nameless,
            variable=variable_at(place, name, self._names, taken=False),
        )  # fmt: skip
        if nameless or (not string and data.is_unknown(place)):
            return line, _key(f"{line.mnemonic} data{' - .' if relative else ''}")
        shown = None if string else self._labels.at(place)
        shown = shown or line.variable or line.place
        return line, _key(f"{line.mnemonic} {shown}{' - .' if relative else ''}")

    def _plain(self, offset: int, word: int) -> tuple[Instruction, Key]:
        """A word, with the relocations in it that are of no kind to follow."""
        operands = f"{word:#010x}"
        shape = operands
        for at in range(offset, offset + 4):
            pointer = self._pointers.get(at)
            if pointer is not None and (at != offset or not pointer.size):
                place = pointer.address - at if pointer.relative else pointer.address
                name = self._names.name(place) or f"{place:#x}"
                note = f" (+{at - offset}: relocation {pointer.kind}, {{}})"
                operands += note.format(name)
                shape += note.format(self._labels.at(place) or name)
        return Instruction(offset, word, ".word", operands), _key(f".word {shape}")


def _key(shape: str) -> Key:
    return Key(shape, (), None, ".word")
