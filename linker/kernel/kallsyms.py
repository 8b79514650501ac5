"""The symbol table a kernel carries for itself, read out of an uncompressed arm64 Image.

Its names stay together as they are expanded, and one becomes a string when it is asked for: an
Image has a hundred thousand, and most commands ask for twenty.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import field
from functools import cached_property
from itertools import accumulate

from relokit.codegen.base.budget import spend
from relokit.codegen.base.errors import FormatError
from relokit.codegen.base.nouns import dataclass
from relokit.linker.kernel.kallsyms_tables import SymbolTables, expanded, find_name, find_tables
from relokit.linker.kernel.kernel_file import HEADER, MAX_IMAGE
from relokit.linker.kernel.lowest_symbol import lowest_symbol
from relokit.linker.kernel.pointers import HIGHEST_VA, LOWEST_VA, voted_base

MAX_TEXT = 64 << 20
"""Characters of all names together."""
SYMBOL_BYTES = 40
"""Of memory for a symbol, beside its name twice: its number, offsets and type."""


@dataclass(frozen=True, slots=True)
class KernelSymbol:
    """``type`` is nm's letter, ``address`` the VA the kernel is linked at, without KASLR."""

    name: str
    type: str
    address: int


@dataclass(frozen=True)
class Kallsyms:
    """All symbols, ascending by address. Offsets are bytes from the start of the Image.

    ``text`` has the names in Latin-1, each with a zero behind it and one before the first;
    ``begins`` is where each begins and where they end, ``letters`` has their types.
    """

    text: bytes | bytearray = field(repr=False)
    begins: array[int] = field(repr=False)
    letters: bytes | bytearray = field(repr=False)
    offsets: array[int] = field(repr=False)
    link_base: int
    """VA of the Image's first byte."""

    @classmethod
    def of(cls, symbols: Iterable[tuple[str, str, int]], link_base: int) -> Kallsyms:
        """Those with these names, types and offsets, which ascend."""
        names, letters, offsets = tuple(zip(*symbols, strict=True)) or ((), (), ())
        texts = [name.encode("latin-1") + b"\0" for name in names]
        return cls(
            text=b"\0" + b"".join(texts),
            begins=array("I", accumulate(map(len, texts), initial=1)),
            letters="".join(letters).encode("latin-1"),
            offsets=array("q", offsets),
            link_base=link_base,
        )

    @cached_property
    def names(self) -> tuple[str, ...]:
        """All names."""
        return tuple(self.text.decode("latin-1").split("\0")[1:-1])

    @cached_property
    def types(self) -> str:
        """All types."""
        return self.letters.decode("latin-1")

    def __len__(self) -> int:
        return len(self.offsets)

    def __iter__(self) -> Iterator[KernelSymbol]:
        for name, kind, offset in zip(self.names, self.types, self.offsets, strict=True):
            yield KernelSymbol(name, kind, self.link_base + offset)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.number(name) is not None

    def offset(self, name: str) -> int:
        """Offset of the first symbol called ``name``; raises KeyError."""
        number = self.number(name)
        if number is None:
            raise KeyError(name)
        return self.offsets[number]

    def address(self, name: str) -> int:
        """Link VA of the first symbol called ``name``; raises KeyError."""
        return self.link_base + self.offset(name)

    def offsets_of(self, name: str) -> tuple[int, ...]:
        """Offsets of every symbol called ``name``: static functions share names."""
        found: list[int] = []
        number = self.number(name)
        while number is not None:
            found.append(self.offsets[number])
            number = self.number(name, number + 1)
        return tuple(found)

    def end(self, offset: int) -> int:
        """Offset of the next symbol after ``offset``; of the last one, its own."""
        at = bisect_right(self.offsets, offset)
        return self.offsets[at] if at < len(self.offsets) else self.offsets[-1]

    def names_at(self, offset: int) -> tuple[str, ...]:
        """The names that the byte at ``offset`` has."""
        low, high = bisect_left(self.offsets, offset), bisect_right(self.offsets, offset)
        return tuple(map(self._name, range(low, high)))

    def before(self, offset: int) -> tuple[str, int] | None:
        """The name that the byte at ``offset`` is in, and where that begins."""
        start = self.start(offset)
        return None if start is None else (self.names_at(start)[0], start)

    def start(self, offset: int) -> int | None:
        """Offset of the symbol that the byte at ``offset`` is in."""
        at = bisect_right(self.offsets, offset) - 1
        return self.offsets[at] if at >= 0 else None

    def within(self, start: int, end: int) -> Iterator[tuple[str, str, int]]:
        """Name, type and offset of every symbol from offset ``start`` up to ``end``."""
        for at in range(bisect_left(self.offsets, start), bisect_left(self.offsets, end)):
            yield self._name(at), chr(self.letters[at]), self.offsets[at]

    def _name(self, number: int) -> str:
        return self.text[self.begins[number] : self.begins[number + 1] - 1].decode("latin-1")

    def number(self, name: str, start: int = 0) -> int | None:
        """Number of the first symbol called ``name``, from number ``start`` on."""
        try:
            wanted = name.encode("latin-1")
        except UnicodeEncodeError:
            return None
        number = find_name(self.text, self.begins, wanted, start)
        return number if number >= 0 else None


_SHOWN = bytes(at if not at or chr(at).isprintable() else ord("?") for at in range(256))
"""Names may have any bytes, and a newline would make lines of its own in what is printed."""


def read_kallsyms(image: memoryview, *, where: str = "Image") -> Kallsyms:
    """Read the table out of a whole Image; raises FormatError if it has none that holds."""
    _, _, _, image_size, *_ = HEADER.unpack_from(image)
    tables = find_tables(image, min(image_size, MAX_IMAGE))
    if tables is None:
        raise FormatError(
            "no kallsyms in this Image",
            where=where,
            hint="the kernel needs CONFIG_KALLSYMS",
        )
    if tables.names.characters > MAX_TEXT:
        raise FormatError(f"kallsyms names pass {MAX_TEXT} characters", where=where)
    size = 2 * tables.names.characters + SYMBOL_BYTES * tables.names.count
    spend(size, "names of kernels", where)
    text, begins, letters = expanded(image, tables.tokens, tables.names)
    text = text.translate(_SHOWN)
    from_lowest = Kallsyms(text, begins, letters, tables.offsets, 0)
    lowest = lowest_symbol(image, tables.offsets, from_lowest.number, where)
    offsets = array("q", (lowest + at for at in tables.offsets)) if lowest else tables.offsets
    return Kallsyms(text, begins, letters, offsets, _link_base(image, tables, offsets, where))


def _link_base(image: memoryview, tables: SymbolTables, offsets: array[int], where: str) -> int:
    """The VA that the Image's first byte is linked at."""
    if tables.base_at is not None:
        at = tables.base_at & ~7
        stored = int.from_bytes(image[at : at + 8], "little")
        # Zero in kernels whose relocations, in one of several formats, write it at boot.
        if LOWEST_VA <= stored < HIGHEST_VA:
            return stored - offsets[0]
    base = voted_base(image, offsets)
    if base is None:
        raise FormatError("cannot tell what address this kernel is linked at", where=where)
    return base
