"""Every number in a noun that ``relokit`` gives has a unit, or is a plain one on purpose."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterator
from typing import Any

import relokit
from relokit.codegen.base.documents import hints_of
from relokit.codegen.base.noun_reprs import UNITS

_PLAIN = """
absent addend after asked attr_index before bits blocks count cpu cpu_bits cpus discarded down
dropped el entries exceptions expected first full_at got group head_from in_place index
instructions interrupts last left_out level line lines max_instructions moved number operations
overwritten pa_bits places records register running runs section sections seed segment series
source_el stale symbol target_el times type undefined unrecorded used va_bits wanted words
"""
PLAIN = frozenset(_PLAIN.split())
"""Counts, levels, numbers of something, and what is no quantity."""


def parts(hint: Any) -> Iterator[Any]:
    """What a hint is made of."""
    yield hint
    for one in typing.get_args(hint):
        yield from parts(one)


def reached() -> dict[type, dict[str, Any]]:
    """The nouns that public ones are made of, with the hints of their fields."""
    found: dict[type, dict[str, Any]] = {}
    left = [getattr(relokit, name) for name in relokit.__all__]
    while left:
        noun = left.pop()
        if isinstance(noun, types.FunctionType):
            continue
        if dataclasses.is_dataclass(noun) and isinstance(noun, type) and noun not in found:
            found[noun] = hints_of(noun)
            left += [one for hint in found[noun].values() for one in parts(hint)]
    return found


def test_every_number_has_a_unit_or_is_plain_on_purpose() -> None:
    undecided = {
        f"{noun.__name__}.{name}"
        for noun, hints in reached().items()
        for name, hint in hints.items()
        if int in parts(hint) and not {name, f"{noun.__name__}.{name}", noun.__name__} & {*UNITS}
        if name not in PLAIN
    }
    assert undecided == set()
    names = {name for hints in reached().values() for name in hints}
    assert PLAIN - names == set(), "plain, and no field's name"
