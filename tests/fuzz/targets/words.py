"""Words of the command line: values of options, @FILE, operands of diff."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from fuzz import files
from fuzz.door import Door, WrongError
from fuzz.mutations import text_of
from relokit.cli import parameters
from relokit.cli.argument_files import words_of
from relokit.cli.limit_option import MOST, LimitParam
from relokit.cli.lists import States
from relokit.codegen.base.budget import LIMITS
from relokit.codegen.base.errors import RelokitError
from relokit.codegen.kimage_layouts import layout_named
from relokit.diffing.read.sides import parse_operand, parse_target

KINDS: tuple[click.ParamType, ...] = (
    parameters.Size(), parameters.Address(), parameters.Place(), parameters.Bank(),
    parameters.MemoryMap(), parameters.CountParam(0, 100), parameters.Seconds(3600.0),
    parameters.StateParam(), States(), LimitParam(),
)  # fmt: skip
VALUES = (
    "3.5G", "0x10000", "1.3K", "-84M", "0x4000_0000", "4096", "2g@0x40000000",
    "2g@0x40000000,1g@0x100000000", "12.5", "1e3", "15", "0-15", "0,3,9-12", "1e999", "nan",
    "start", "kernel+0x10", "memory=8G", "cpu=10min,time=2d", "steps=3M,lines=1,console=64KiB",
)  # fmt: skip


SOUND: Mapping[type[click.ParamType], Callable[[Any], bool]] = {
    parameters.Size: lambda size: 0 < size <= parameters.MAX_SIZE,
    parameters.Address: lambda at: 0 <= at < 1 << 52,
    parameters.Place: lambda at: isinstance(at, str) or 0 <= at < 1 << 64,
    parameters.Bank: lambda bank: bank[0] > 0 and (bank[1] is None or 0 <= bank[1] < 1 << 52),
    parameters.MemoryMap: lambda banks: all(0 <= at < 1 << 52 and size > 0 for at, size in banks),
    parameters.CountParam: lambda count: 0 <= count <= 100,
    parameters.Seconds: lambda seconds: 0 < seconds <= 3600,
    parameters.StateParam: lambda state: 0 <= state <= 15,
    States: lambda states: bool(states) and set(states) <= set(range(16)),
    LimitParam: lambda limits: (
        limits.keys() <= LIMITS.keys() and all(0 < one <= MOST for one in limits.values())
    ),
}
"""What whoever takes a value relies on."""


def _values() -> Sequence[bytes]:
    return [bytes([kind]) + one.encode() for kind in range(len(KINDS)) for one in VALUES]


def _value(case: bytes) -> object:
    kind = KINDS[case[0] % len(KINDS)] if case else KINDS[0]
    text = case[1:].decode("utf-8", "surrogateescape")
    try:
        value = kind.convert(text, None, None)
    except click.ClickException as error:
        raise RelokitError(error.format_message()[:4096]) from error
    if not SOUND.get(type(kind), bool)(value):
        raise WrongError(f"{type(kind).__name__} takes {value!r}"[:80])
    return value


ARGUMENTS = """
# nightly
run --size 1M --el "vhe" --page-size 16k   # behind
--cmdline 'console=ttyAMA0 quiet' --code-from a\\ file.o
matrix @other --series 0-15
"""
OPERANDS = ("series:12,page=16k,el=vhe,va=48,pa=48,cpu=48,layout=6.1", "series:0", "x.o:symbol")


def _operand(case: bytes) -> object:
    text = case.decode("utf-8", "surrogateescape")
    if text.startswith("layout="):
        return layout_named(text[7:])
    operand = parse_operand(text)
    return parse_target(operand.text) if operand.text.startswith("series:") else operand


_SIGNS = (
    "memory= cpu= time= steps= min h d 0x k K M G T . , - + @ : = e E _ nan inf ٣ 9e99 "
    "0-9999999999 el page va \\ ' \" # series:"
)

DOORS = (
    Door("option", "values of options", _values, text_of(_SIGNS), _value, 0.1, weight=0.5),
    Door("arguments", "@FILE", lambda: [ARGUMENTS.encode()], text_of(_SIGNS),
         lambda case: words_of(str(files.put(case))), 0.1),
    Door("operand", "what diff compares", lambda: [one.encode() for one in OPERANDS],
         text_of(_SIGNS), _operand, 0.05, weight=0.5),
)  # fmt: skip
