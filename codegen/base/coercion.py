"""Fields of a dataclass made what their annotations say, or refused by name.

Enums come as members or as their spellings, paths as text, layouts by name. A value of another
type would be compared, found equal to nothing, and decide a verdict that nobody asked for.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from enum import StrEnum
from functools import lru_cache
from operator import index
from pathlib import Path
from types import MappingProxyType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from relokit.codegen.base.errors import RelokitError

E = TypeVar("E", bound=StrEnum)
T = TypeVar("T")
Spellings = Mapping[str, Callable[[str], object]]
"""By field, what reads a text that stands for a value of another type; raises RelokitError."""

_NONE: Spellings = MappingProxyType({})
_SHOWN = 40
_WANTED = {
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    str: "text",
    Path: "a path",
}


def coerce_fields(instance: Any, error: type[RelokitError], spellings: Spellings = _NONE) -> None:
    """Make each field of a frozen dataclass ``instance`` what its annotation says, in place.

    For its ``__post_init__``. Known are int, float, bool, str, Path, StrEnum, any class of which
    there is an instance, one of these or None, a tuple of many, and one or
    a tuple. Raises ``error`` naming the
    field and what it takes.
    """
    for name, (wanted, right) in _annotations(instance.__class__).items():
        given = getattr(instance, name)
        if type(given) in right:
            continue
        value = _coerced(name, given, wanted, error, spellings.get(name))
        if value is not given:
            object.__setattr__(instance, name, value)


def argument(
    name: str, value: object, kind: type[T], error: type[RelokitError] = RelokitError
) -> T:
    """``value``, which a function was given under ``name``, as a ``kind``; known are those of
    :func:`coerce_fields`. Raises ``error`` naming the argument and what it takes.
    """
    found: T = _coerced(name, value, kind, error, None)
    return found


def choice(kind: type[E], value: object, name: str, error: type[RelokitError] = RelokitError) -> E:
    """The member of ``kind`` ``value`` is or spells; raises ``error`` naming all there are."""
    if isinstance(value, kind):
        return value
    # A member of another enum may be spelled alike, and is something else.
    if type(value) is str:
        with suppress(ValueError):
            return kind(value)
    what = f"no {name} {_shown(value)}" if isinstance(value, str) else f"{name} {_is_no(value)}"
    raise error(what, hint=f"choose {', '.join(kind)}")


def choices(
    kind: type[E], values: Iterable[object], name: str, error: type[RelokitError] = RelokitError
) -> tuple[E, ...]:
    """The members of ``kind`` that ``values`` are or spell, in that order."""
    if isinstance(values, str):
        values = (values,)
    return tuple(choice(kind, value, name, error) for value in values)


def _shown(text: str) -> str:
    """``text`` for a message: no longer than that can bear."""
    return repr(str(text[:_SHOWN]))


def _is_no(value: object) -> str:
    if isinstance(value, str):
        return f"cannot be {_shown(value)}"
    return f"cannot be of type {type(value).__name__}"


@lru_cache
def _annotations(cls: type) -> dict[str, tuple[Any, frozenset[type]]]:
    """What each field wants, and the types whose values are that as they are."""
    hints = get_type_hints(cls)
    return {field.name: (hints[field.name], _right(hints[field.name])) for field in fields(cls)}


def _right(wanted: Any) -> frozenset[type]:
    ones = get_args(wanted) if get_origin(wanted) in (Union, UnionType) else (wanted,)
    return frozenset(
        type(Path()) if one is Path else one for one in ones if get_origin(one) is None
    )


def _coerced(
    name: str,
    value: Any,
    wanted: Any,
    error: type[RelokitError],
    spelling: Callable[[str], object] | None,
) -> Any:
    origin = get_origin(wanted)
    if origin in (Union, UnionType):
        if value is None:
            return None
        ones = [one for one in get_args(wanted) if one is not type(None)]
        several = isinstance(value, Sequence) and not isinstance(value, str)
        # Of "one, or a tuple of many" it is what the value looks like.
        fitting = [one for one in ones if (get_origin(one) is tuple) == several]
        return _coerced(name, value, (fitting or ones)[0], error, spelling)
    if origin is tuple:
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise error(f"{name} {_is_no(value)}", hint="give a tuple or a list")
        each = get_args(wanted)[0]
        return tuple(_coerced(name, one, each, error, spelling) for one in value)
    if issubclass(wanted, StrEnum):
        return choice(wanted, value, name, error)
    if spelling is not None and type(value) is str:
        return spelling(value)
    if _is(value, wanted):
        return value
    converted = _converted(value, wanted)
    if converted is None:
        article = _WANTED.get(wanted, f"a {wanted.__name__}")
        raise error(f"{name} {_is_no(value)}", hint=f"give {article}")
    return converted


def _is(value: object, wanted: type) -> bool:
    if wanted is Path:
        return isinstance(value, Path)
    if wanted in (int, str, bool):
        return type(value) is wanted
    return isinstance(value, wanted)


def _converted(value: Any, wanted: type) -> Any:
    """``value`` as a ``wanted``, None if it is nothing of the kind."""
    if wanted is Path and isinstance(value, (str, os.PathLike)):
        path = os.fspath(value)
        return Path(path) if isinstance(path, str) else None
    if wanted in (int, float) and not isinstance(value, bool):
        try:
            return index(value)  # NumPy's numbers too.
        except TypeError:
            return None
    return None
