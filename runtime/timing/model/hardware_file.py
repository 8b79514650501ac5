"""Hardware and measurements from TOML: those that come with relokit, and a person's own."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import field
from functools import cache
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from relokit.codegen.base.documents import ABSENT, from_data
from relokit.codegen.base.errors import FormatError
from relokit.codegen.base.host_file import read_small
from relokit.codegen.base.nouns import dataclass
from relokit.runtime.timing.model.hardware import CONSTANTS, Hardware, Parameter, ParameterName

T = TypeVar("T")
MACHINES = Path(__file__).parent / "machines"
COMMON = "common"
MAX_FILE = 1 << 18
MAX_MEASUREMENTS = 256
MAX_SECONDS = 1e6
RELATIVE = 0.11
"""The standard deviation of a time's logarithm where its row gives none: two experiments that are
told alike (Stingray, 25 MB) differ by 15 to 17 %, which is this times the root of two."""
MIB = 1 << 20
MAX_SIZE = 1 << 40
_SIZE = re.compile(r"([0-9]{1,12})([KMG])")
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


@dataclass(frozen=True, slots=True)
class ParameterEntry:
    """One of a machine's file."""

    source: str
    value: float | None = field(default=None, metadata=ABSENT)
    low: float | None = field(default=None, metadata=ABSENT)
    high: float | None = field(default=None, metadata=ABSENT)


@dataclass(frozen=True, slots=True)
class HardwareFile:
    """A machine's file."""

    name: str
    parameters: Mapping[str, ParameterEntry]


@dataclass(frozen=True, slots=True)
class MeasuredEntry:
    """A measurement: ``series`` and ``page_size`` (bytes) of the kernel, ``size`` as text."""

    seconds: float
    size: str
    series: int
    page_size: int = field(default=4096, metadata=ABSENT)
    relative: float = field(default=RELATIVE, metadata=ABSENT)


@dataclass(frozen=True, slots=True)
class MeasurementsFile:
    """A person's own: of a machine like ``like``, whose ``free`` parameters are to be found.

    ``parameters`` are those that the person knows better.
    """

    name: str
    like: str
    measurement: tuple[MeasuredEntry, ...]
    free: tuple[str, ...] = field(default=(), metadata=ABSENT)
    parameters: Mapping[str, ParameterEntry] = field(default_factory=dict, metadata=ABSENT)


@cache
def known_machines() -> tuple[str, ...]:
    """The keys of the machines that come with relokit."""
    return tuple(sorted(path.stem for path in MACHINES.glob("*.toml") if path.stem != COMMON))


@cache
def hardware(key: str) -> Hardware:
    """The machine called ``key``; FormatError for another word."""
    if key not in known_machines():
        raise FormatError(
            f"no machine {key[:40]!r}", hint=f"there are {', '.join(known_machines())}"
        )
    file = _read(MACHINES / f"{key}.toml", HardwareFile)
    shared = _read(MACHINES / f"{COMMON}.toml", HardwareFile)
    return Hardware(
        key,
        file.name,
        _parameters(file.parameters, f"{key}.toml"),
        _parameters(shared.parameters, f"{COMMON}.toml"),
    )


def read_measurements(path: Path) -> tuple[Hardware, MeasurementsFile]:
    """A person's file, and the machine that it is of; raises FormatError for what is none."""
    file = _read(path, MeasurementsFile)
    where = str(path)
    base = hardware(file.like)
    if not 1 <= len(file.measurement) <= MAX_MEASUREMENTS:
        _refuse(where, f"{len(file.measurement)} measurements", f"give 1 to {MAX_MEASUREMENTS}")
    for one in file.measurement:
        if not 0 < one.seconds <= MAX_SECONDS or not 0 < one.relative <= 1:
            _refuse(
                where,
                "a time or its relative error is out of range",
                f"give seconds above 0, up to {MAX_SECONDS:,.0f}, and relative above 0, up to 1",
            )
        parse_size(one.size, where)
    own = dict(base.own) | _parameters(file.parameters, where)
    for name in file.free:
        parameter = _name(name, where)
        if parameter in CONSTANTS:
            _refuse(where, f"{name} is no parameter that measurements tell", "leave it out of free")
        own[parameter] = Parameter(parameter, f"free: fitted to {where}")
    if file.name in ("", *known_machines()):
        _refuse(where, f"{file.name!r} is another machine's name, or none", "give it its own")
    return Hardware(file.name, file.name, own, base.shared), file


def parse_size(text: str, where: str) -> int:
    """Bytes of ``84M``."""
    match = _SIZE.fullmatch(text)
    size = int(match[1]) * _UNITS[match[2]] if match else 0
    if not 0 < size <= MAX_SIZE:
        _refuse(where, f"{text[:40]!r} is no size", "give a whole number with K, M or G")
    return size


def read_toml(path: Path, wanted: type[T]) -> T:
    """The file at ``path`` as a ``wanted``; raises FormatError for what is none."""
    return _read(path, wanted)


def _read(path: Path, wanted: type[T]) -> T:
    where = str(path)
    text = read_small(path, what="a file of measurements (docs/time.md)", limit=MAX_FILE)
    try:
        data: dict[str, Any] = tomllib.loads(text.decode())
    except (ValueError, RecursionError) as error:
        _refuse(where, f"no TOML: {str(error)[:80]}", "docs/time.md has an example")
    try:
        return from_data(wanted, data)
    except FormatError as error:
        _refuse(where, error.message, "docs/time.md has an example")


def _name(text: str, where: str) -> ParameterName:
    try:
        return ParameterName(text)
    except ValueError:
        names = ", ".join(one.value for one in ParameterName)
        _refuse(where, f"no parameter {text[:40]!r}", f"there are {names}")


def _parameters(
    entries: Mapping[str, ParameterEntry], where: str
) -> dict[ParameterName, Parameter]:
    found = {}
    for text, one in entries.items():
        name = _name(text, where)
        numbers = [number for number in (one.low, one.value, one.high) if number is not None]
        limits = min(numbers, default=0) >= 0 and max(numbers, default=0) <= 1e9
        in_order = numbers == sorted(numbers) and all(map(math.isfinite, numbers))
        positive = name in CONSTANTS or all(numbers)
        if not limits or not in_order or not positive or (one.value is None and numbers):
            _refuse(where, f"{text} is no value between its low and its high", "numbers above 0")
        if name in CONSTANTS and one.value is None:
            _refuse(where, f"{text} has no value", "measurements of a move do not tell it")
        if name in (ParameterName.OVERLAP, ParameterName.BARRIER_SHARE) and numbers[-1] > 1:
            _refuse(where, f"{text} is more than all of it", "give 0 to 1")
        found[name] = Parameter(name, one.source, one.value, one.low, one.high)
    return found


def _refuse(where: str, problem: str, hint: str) -> NoReturn:
    raise FormatError(problem, where=where, hint=hint)
