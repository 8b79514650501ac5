"""What the values of options are: sizes, addresses, counts, states; each refuses what is none."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from relokit.codegen.base.errors import RelokitError
from relokit.codegen.series import parse_state
from relokit.runtime.kexec.job import MAX_BANKS, MAX_PA, MAX_SIZE

# As text: most commands meet none of them, and to compile one takes as long as a small module.
_SIZE = r"(?i)(-?)(0x[0-9a-f]{1,16}|[0-9]{1,20})(?:\.([0-9]{1,12}))?([kmgt]?)(?:i?b)?"
_ADDRESS = r"(?i)0x[0-9a-f]{1,16}|[0-9]{1,20}"
_SYMBOL = r"[A-Za-z_.$][\w.$]{0,511}"
_COUNT = r"-?[0-9]{1,20}"
MAX_VA = (1 << 64) - 1
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def _number(digits: str) -> int:
    return int(digits, 16 if digits[:2].lower() == "0x" else 10)


class Size(click.ParamType[int]):
    """Bytes: a number with an optional K, M, G or T (powers of 1024); 3.5G is whole bytes, too."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        match = re.fullmatch(_SIZE, value.strip())
        if not match:
            self.fail(f"{value!r} is not a size; give bytes, or a number with K, M, G or T")
        unit, fraction = _UNITS[match[4].lower()], match[3] or ""
        parts, rest = divmod(int(fraction or "0") * unit, int(f"1{'0' * len(fraction)}"))
        if rest or (fraction and match[2][:2].lower() == "0x"):
            self.fail(f"{value!r} is not a whole number of bytes")
        size = _number(match[2]) * unit + parts
        if match[1] or not 0 < size <= MAX_SIZE:
            self.fail(f"{value!r} is out of range; a size is between 1 byte and 256T")
        return size


class OutputFile(click.Path):
    """A file that is written; what the same command reads is refused (:mod:`relokit.cli.once`)."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)


class OutputDirectory(click.Path):
    """A directory that is written into; an empty name would be that one in which one is."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not value:
            self.fail("an empty name is no directory; '.' is the current one", param, ctx)
        return super().convert(value, param, ctx)


class Address(click.ParamType[int]):
    """A physical address: hexadecimal with 0x, or decimal."""

    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        if not re.fullmatch(_ADDRESS, value.strip()):
            self.fail(f"{value!r} is not an address; give for example 0x40400000")
        address = _number(value.strip())
        if address > MAX_PA:
            self.fail(f"{value!r} is not a 52-bit physical address")
        return address


class Place(click.ParamType[int | str]):
    """An address of 64 bits, or the name of a symbol."""

    name = "address"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | str:
        if isinstance(value, int):
            return value
        text = value.strip()
        if re.fullmatch(_ADDRESS, text):
            if (address := _number(text)) > MAX_VA:
                self.fail(f"{value!r} is not an address of 64 bits")
            return address
        if not re.fullmatch(_SYMBOL, text):
            self.fail(f"{value!r} is no address and no symbol; give for example 0x40400000")
        return str(text)


class Bank(Size):
    """Bytes, and the physical address where they begin, if it is given: 512M@0x80000000.

    The value is (bytes, address or None).
    """

    name = "size@address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        size, separator, address = value.partition("@")
        at = Address().convert(address, param, ctx) if separator else None
        return super().convert(size, param, ctx), at


class MemoryMap(click.ParamType[tuple[tuple[int, int], ...]]):
    """Banks of memory, with a comma between any two: as (PA, bytes)."""

    name = "map"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[tuple[int, int], ...]:
        if not isinstance(value, str):
            return tuple(value)
        banks = [Bank().convert(bank, param, ctx) for bank in value.split(",", MAX_BANKS)]
        if any(at is None for _, at in banks):
            self.fail(f"{value!r} has a bank without an address; give SIZE@ADDRESS")
        return tuple((at, size) for size, at in banks)


class CountParam(click.ParamType[int]):
    """A whole number from ``least`` to ``most``."""

    name = "n"

    def __init__(self, least: int, most: int) -> None:
        self.least, self.most = least, most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        if not re.fullmatch(_COUNT, value.strip()):
            self.fail(f"{value!r} is not a whole number")
        count = int(value)
        if not self.least <= count <= self.most:
            self.fail(f"{value!r} is out of range; give {self.least} to {self.most}")
        return count


class Seconds(click.ParamType[float]):
    """A time limit: more than nothing, at most ``limit`` seconds."""

    name = "seconds"

    def __init__(self, limit: float) -> None:
        self.limit = limit

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        try:
            seconds = float(value)
        except ValueError:
            self.fail(f"{value!r} is not a number of seconds")
        # Written so that NaN fails too.
        if not 0 < seconds <= self.limit:
            self.fail(f"{value!r} is out of range; give more than 0 and at most {self.limit:g} s")
        return seconds


class StateParam(click.ParamType[int]):
    """A state of the series."""

    name = "state"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return parse_state(str(value))
        except RelokitError as error:
            self.fail(f"{error.message}; {error.hint}")
