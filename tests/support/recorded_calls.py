"""A plugin of pytest: calls of the native library, written down as they are made, for a program in
C that makes them again (tests/sanitize/replay.c, which reads what is written here).

The process has AddressSanitizer in it, which knows of every address how much memory was asked for
there, and Python asks for each object by itself: so what a call was given is found without a word
about it. Memory that is mapped is taken up to the end of its mapping.

``RELOKIT_CALLS`` is the file. What cannot be written down is counted at its end.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import struct
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

from relokit.codegen.base import native

PIECE, MOST_BLOCKS, ARGUMENTS, NAME = 4096, 256, 12, 32
"""As in replay.c."""
ARGUMENT, STUB, MASK = (1 << 64) - 1, (1 << 64) - 2, (1 << 64) - 1
KEPT = 24
"""Calls of a function that are all kept; of those behind them each whose number is a power of 2."""
MOST_BYTES = 24 << 20
"""Of a call's memory, and then of all that a function has: what is more is left out."""
SCANNED = 1 << 12
"""Bytes of a block that may lead elsewhere."""
NESTED = {
    "references_read": (0,), "whole_align": (0,), "whole_shapes": (0, 4), "whole_ends": (2,),
    "whole_altered": (0, 1, 2), "whole_places": (0, 1), "whole_tally": (0, 1), "btf_walk": (4, 7),
    "content_read": (0,), "content_scatter": (0,), "content_compare": (0,), "walk_stage1": (0,),
    "count_blocks": (3,), "filter_system": (3,), "gic_load": (3,), "gic_store": (4,),
    "uart_load": (3,), "uart_store": (4,), "access_icc": (1,),
}  # fmt: skip
"""The arguments that are structures with addresses in them."""
MAPPED = frozenset({"walk_stage1", "content_read", "content_scatter", "content_compare"})
"""Those whose structures may lead to what is mapped."""
ASKED_FOR = range(0x6000_0000_0000, 0x6400_0000_0000)
"""Where AddressSanitizer puts what is asked for (x86-64): what else is there is nothing."""
LEAST = 1 << 16
"""No memory is below."""
HOOKS = {
    "count_blocks": (0, 4), "count_code": (0, 4), "count_each": (0, 4), "count_access": (0, 6),
    "filter_system": (32, 4), "gic_load": (64, 4), "gic_store": (0, 5), "uart_load": (64, 4),
    "uart_store": (0, 5), "load_zeros": (64, 4), "load_ones": (64, 4), "store_nothing": (0, 5),
    "access_icc": (32, 5),
}  # fmt: skip
"""Those that the engine calls, with it before all else: the bits of what they return, and how many
arguments they have. The others ask the engine for registers and memory: there is none in C."""
SIZES = {
    "kernel_find": {0: ((1,), 1), 3: ((4,), 1)},
    "alternatives_run": {0: ((1,), 1)},
    "alternatives_check": {0: ((1,), 1)},
    "alternatives_next": {0: ((2,), 1)},
    "btf_walk": {0: ((1,), 1), 2: ((3,), 1)},
    "kallsyms_markers": {0: ((1,), 4)},
    "kallsyms_counts": {0: ((1,), 4)},
    "kallsyms_walk": {0: ((1,), 1)},
    "kallsyms_offsets": {0: ((1,), 4)},
    "pointers_sample": {0: ((1,), 8)},
    "pointers_within": {0: ((1,), 8)},
    "pointers_relocated": {0: ((1,), 8)},
    "pointers_equal": {0: ((1,), 8)},
    "pointers_fill": {0: ((1,), 1)},
    "content_compare": {2: ((3, 4), 1)},
    "access_icc": {4: ((), 8)},
    "filter_system": {2: ((), 32)},
}
"""Readers of what is mapped as a whole: of which arguments how much there is, by others that are
multiplied, in so many bytes each. What has a size of its own lies on a stack, and is written to.
"""
NOT_AGAIN = (
    "prepare_bus_errors", "replace_page", "take_pages_lost", "board_interrupt", "board_sleep",
    "board_may_interrupt",
)  # fmt: skip
"""They are about this process's own signals, or ask an engine."""

_locate = ctypes.CDLL(None).__asan_locate_address
_locate.restype = ctypes.c_char_p
_locate.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_void_p,
                    ctypes.c_void_p)  # fmt: skip
_poisoned = ctypes.CDLL(None).__asan_region_is_poisoned
_poisoned.restype = ctypes.c_void_p
_poisoned.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_engines: set[int] = set()
left_out: Counter[str] = Counter()


class TooMuchError(Exception):
    """A call that nobody can make again from a file; why."""


class Maps:
    """What is mapped: (first, end, rights), ascending."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, int, str]] = []
        for line in Path("/proc/self/maps").read_text().splitlines():
            extent, rights, *rest = line.split(None, 5)
            if rest[3:] and rights == "rw-p":
                # Data of a program (an object of one byte is Python's own): others write there.
                rights = "r--p"
            first, end = (int(one, 16) for one in extent.split("-"))
            self.rows.append((first, end, rights))

    def find(self, at: int) -> tuple[int, int, str] | None:
        row = bisect_right(self.rows, (at, MASK)) - 1
        if row >= 0 and self.rows[row][0] <= at < self.rows[row][1]:
            return self.rows[row]
        return None


def located(at: int) -> tuple[int, int] | None:
    """Where the memory begins that was asked for and that ``at`` is in, and its bytes."""
    first, size = ctypes.c_void_p(), ctypes.c_size_t()
    name = ctypes.create_string_buffer(8)
    kind = _locate(at, name, 8, ctypes.byref(first), ctypes.byref(size))
    # What was given back is known, too: a word may lead there that nobody has used since.
    if kind != b"heap" or not size.value or _poisoned(first, size):
        return None
    start = first.value or 0
    return (start, size.value) if start <= at < start + size.value else None


class Snapshot:
    """Memory that ``arguments`` lead to, as blocks and links between them."""

    def __init__(
        self, arguments: list[int], pointers: list[bool], name: str = ""
    ) -> None:  # fmt: skip
        self.maps = Maps()
        self.extents: list[tuple[int, int, bool]] = []
        self.links: list[tuple[int, int, int, int]] = []
        self.contents: list[bytes] = []
        found = [
            at for at, is_pointer in zip(arguments, pointers, strict=True) if is_pointer and at
        ]
        # Of one extent the lowest address is where a block begins.
        for number, (factors, each) in SIZES.get(name, {}).items():
            if pointers[number] and arguments[number]:
                size = each * prod(arguments[one] for one in factors)
                self._put(arguments[number], size, writable=not factors)
        for at in sorted(found):
            self._block(at)
        for number, at in enumerate(arguments):
            if pointers[number] and at and at not in _engines:
                self._link(ARGUMENT, 8 * number, at)
        direct = len(self.extents)
        for number in NESTED.get(name, ()):
            own = [target for block, at, target, _ in self.links
                   if (block, at) == (ARGUMENT, 8 * number)]  # fmt: skip
            for target in own:
                self._scan(target, name, deeper=True)
        for inner in range(direct, len(self.extents)):
            self._scan(inner, name, deeper=False)
        if sum(size for _, size, _ in self.extents) > MOST_BYTES:
            raise TooMuchError("too much memory")

    def _block(self, at: int) -> int | None:
        for number, (first, size, _) in enumerate(self.extents):
            if first <= at < first + max(size, 1):
                return number
        if at < LEAST or at in _engines:
            return None
        known = located(at)
        writable = True
        if known is None:
            row = self.maps.find(at)
            if row is None or "x" in row[2] or "r" not in row[2] or at in ASKED_FOR:
                return None
            known, writable = (row[0], row[1] - row[0]), "w" in row[2]
        end = known[0] + known[1]
        return self._put(at, end - at, writable=writable)

    def _put(self, at: int, size: int, *, writable: bool) -> int:
        if len(self.extents) == MOST_BLOCKS:
            raise TooMuchError("too many blocks")
        if size > MOST_BYTES:
            raise TooMuchError("too much memory")
        self.extents.append((at, size, writable))
        self.contents.append(ctypes.string_at(at, size))
        return len(self.extents) - 1

    def _link(self, block: int, offset: int, at: int) -> bool:
        number = self._block(at)
        if number is None:
            return False
        self.links.append((block, offset, number, at - self.extents[number][0]))
        return True

    def _scan(self, number: int, name: str, *, deeper: bool) -> None:
        """Links in a block: to functions, and to other blocks, if ``deeper``."""
        first, size, _ = self.extents[number]
        if size > SCANNED or first % 8 or located(first) is None:
            return
        words = struct.unpack_from(f"<{size // 8}Q", self.contents[number])
        for at, word in enumerate(words):
            if not LEAST < word < 1 << 47 or word in _engines:
                continue
            row = self.maps.find(word)
            if row is None:
                continue
            if "x" in row[2]:
                self.links.append((number, 8 * at, STUB, 0))
            elif deeper and (located(word) is not None or name in MAPPED):
                self._link(number, 8 * at, word)

    def again(self) -> list[bytes]:
        """What the blocks have now. Raises TooMuchError for addresses that are others."""
        found = [
            ctypes.string_at(at, size) if writable else old
            for (at, size, writable), old in zip(self.extents, self.contents, strict=True)
        ]
        for block, offset, _, _ in self.links:
            if block != ARGUMENT:
                span = slice(offset, offset + 8)
                if found[block][span] != self.contents[block][span]:
                    raise TooMuchError("it changes where memory is")
        return found


class Calls:
    """The file, and how much of each function is in it."""

    def __init__(self, path: str) -> None:
        self._file = open(path, "wb")  # noqa: SIM115  # as long as the process
        self._seen: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()
        atexit.register(self._end)

    def wants(self, name: str) -> bool:
        self._seen[name] += 1
        count = self._seen[name]
        return (count <= KEPT or count & count - 1 == 0) and self._bytes[name] < MOST_BYTES

    def keep(
        self, name: str, given: list[int], before: Snapshot, after: list[bytes], result: int,
        bits: int,
    ) -> None:  # fmt: skip
        plain = given[:]
        for block, offset, _, _ in before.links:
            if block == ARGUMENT:
                plain[offset // 8] = 0
        plain = [0 if one in _engines else one for one in plain] + [0] * (ARGUMENTS - len(plain))
        parts = [
            name.encode().ljust(NAME, b"\0"),
            struct.pack("<17Q", len(given), *plain, result & MASK, bits, len(after),
                        len(before.links)),
        ]  # fmt: skip
        for (_, size, writable), old, new in zip(
            before.extents, before.contents, after, strict=True
        ):
            parts.append(struct.pack("<QQ", size, writable))
            parts += pieces(old)
            parts += pieces(new) if writable else ()
        parts += (struct.pack("<4Q", *link) for link in before.links)
        data = b"".join(parts)
        self._bytes[name] += len(data)
        self._file.write(data)

    def _end(self) -> None:
        self._file.close()
        lines = (f"{count} {why}\n" for why, count in sorted(left_out.items()))
        Path(f"{self._file.name}.left").write_text("".join(lines))


def pieces(data: bytes) -> Iterator[bytes]:
    """``data`` without the pieces of it that are zeros."""
    kept = [at for at in range(0, len(data), PIECE) if data[at : at + PIECE].strip(b"\0")]
    yield struct.pack("<Q", len(kept))
    for at in kept:
        yield struct.pack("<Q", at // PIECE) + data[at : at + PIECE]


def number_of(value: Any) -> tuple[int, bool | None]:
    """An argument as 64 bits, and whether it is an address, None if nobody says."""
    if value is None:
        return 0, False
    if isinstance(value, int):
        return value & MASK, None
    if isinstance(value, bytes):
        return native.place(value), True
    if isinstance(value, ctypes.c_void_p):
        return value.value or 0, True
    if isinstance(value, ctypes._SimpleCData):
        inner = value.value
        return (inner & MASK, False) if isinstance(inner, int) else (0, None)
    inner = getattr(value, "_obj", value)
    return ctypes.addressof(inner), True


class Recorded:
    """A function of the library, as ctypes has it, and every call of it written down."""

    def __init__(self, name: str, function: Any) -> None:
        self.__dict__["name"], self.__dict__["function"] = name, function

    def __getattr__(self, name: str) -> Any:
        return getattr(self.function, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.function, name, value)

    def __call__(self, *arguments: Any) -> Any:
        if not calls.wants(self.name):
            return self.function(*arguments)
        numbers = [number_of(one) for one in arguments]
        types = self.function.argtypes or [None] * len(numbers)
        given = [one for one, _ in numbers]
        pointers = [
            kind if kind is not None else wanted in (None, ctypes.c_void_p)
            for (_, kind), wanted in zip(numbers, types, strict=True)
        ]
        kind = self.function.restype
        bits = 0 if kind is None or not issubclass(kind, ctypes._SimpleCData) else (
            8 * ctypes.sizeof(kind))  # fmt: skip
        try:
            before = Snapshot(given, pointers, self.name)
        except TooMuchError as error:
            left_out[f"{self.name}: {error}"] += 1
            return self.function(*arguments)
        result = self.function(*arguments)
        try:
            value = result if isinstance(result, int) else 0
            calls.keep(self.name, given, before, before.again(), value, bits)
        except TooMuchError as error:
            left_out[f"{self.name}: {error}"] += 1
        return result


def _hook(name: str, function: Any) -> int:
    """The address of a function that writes down what the engine calls ``name`` with."""
    bits, count = HOOKS[name]
    kind = ctypes.CFUNCTYPE(ctypes.c_uint64 if bits else None, *[ctypes.c_uint64] * count)
    own = kind(ctypes.cast(function, ctypes.c_void_p).value or 0)

    def called(engine: int, *arguments: int) -> int | None:
        _engines.add(engine)
        if not calls.wants(name):
            return own(engine, *arguments)
        given = [engine, *arguments]
        try:
            sized = SIZES.get(name, {})
            pointers = [at in sized or located(one) is not None for at, one in enumerate(given)]
            before = Snapshot(given, pointers, name)
        except TooMuchError as error:
            left_out[f"{name}: {error}"] += 1
            return own(engine, *arguments)
        result = own(engine, *arguments)
        try:
            calls.keep(name, given, before, before.again(), result or 0, bits)
        except TooMuchError as error:
            left_out[f"{name}: {error}"] += 1
        return result

    made = kind(called)
    _hooks.append(made)
    return ctypes.cast(made, ctypes.c_void_p).value or 0


_hooks: list[Any] = []
_made: dict[str, int] = {}


def _install() -> None:
    """Before anything else has asked for a function."""
    library, address = native.library(), native.address

    def function(name: str, result: Any, *arguments: Any) -> Any:
        found = library[name]
        found.restype, found.argtypes = result, arguments
        return found if name in NOT_AGAIN else Recorded(name, found)

    def recorded_address(loaded: ctypes.CDLL, name: str) -> int:
        if name not in HOOKS or loaded is not library:
            return address(loaded, name)
        if name not in _made:
            _made[name] = _hook(name, loaded[name])
        return _made[name]

    native.function = function
    native.address = recorded_address
    for name in ("walk_stage1", "walk_rights", "walk_is_device", "content_read", "content_scatter",
                 "content_compare"):  # fmt: skip
        setattr(library, name, Recorded(name, library[name]))


calls = Calls(os.environ["RELOKIT_CALLS"])
_install()
