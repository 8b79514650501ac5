"""``dataclass``: the standard library's, made in a quarter of the time if it is frozen (ADR 14).

A process of ours defines a hundred of them before it does anything else. For each, the standard
library compiles six methods, which takes a third of a millisecond. Of those only ``__init__``
differs from class to class by more than the names of the fields, so only that is compiled here,
and not before the first one is made: of most classes that are imported a process makes none.
The rest is the standard library's: fields, replace, matching, keyword-only fields and factories;
but for ``__repr__``, which is for people (noun_reprs).
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(
        *, frozen: bool = False, slots: bool = False, kw_only: bool = False, eq: bool = True
    ) -> Callable[[type], type]:
        """Takes what ``dataclasses.dataclass`` takes."""
        if not frozen:
            return dataclasses.dataclass(slots=slots, kw_only=kw_only, eq=eq)

        def make(cls: type) -> type:
            # Without methods it compiles nothing.
            plain = dataclasses.dataclass(
                init=False, repr=False, eq=False, slots=slots, kw_only=kw_only
            )
            return _with_methods(plain(cls), eq=eq)

        return make


_draw: list[Callable[[object], str]] = []


def draw_by(draw: Callable[[object], str]) -> None:
    """Have ``draw`` make the HTML of nouns from now on.

    Who makes pages knows nouns, and is not known to them: the facade says who that is.
    """
    _draw[:] = [draw]


def drawn(noun: object) -> str | None:
    """``noun`` as HTML: what a class has as ``_repr_html_``; None where nobody draws."""
    return _draw[0](noun) if _draw else None


def _with_methods(cls: Any, *, eq: bool) -> type:
    fields = dataclasses.fields(cls)
    cls.__init__ = _init_by_need(cls, fields)
    cls.__signature__ = _Signature(cls)
    cls.__setattr__ = _refuse_to_set
    cls.__delattr__ = _refuse_to_delete
    if "__repr__" not in vars(cls):
        cls.__repr__ = _repr
    if eq:
        cls.__eq__, cls.__hash__ = _eq_and_hash([one.name for one in fields if one.compare])
    if "__slots__" in vars(cls):
        # Of what has no dict, pickle would set one attribute after the other.
        cls.__getstate__, cls.__setstate__ = _state(tuple(one.name for one in fields))
    return cls  # type: ignore[no-any-return]


def _init_by_need(cls: Any, fields: tuple[dataclasses.Field[Any], ...]) -> Callable[..., None]:
    """What makes the class's ``__init__``, puts it in its own place, and calls it."""

    def __init__(self: Any, *values: Any, **named: Any) -> None:  # noqa: N807
        init = _init(cls, fields)
        if vars(cls)["__init__"] is __init__:
            cls.__init__ = init
        init(self, *values, **named)

    _check_order(fields)
    __init__.__qualname__ = f"{cls.__qualname__}.__init__"
    __init__.__annotations__ = {one.name: one.type for one in fields} | {"return": None}
    return __init__


class _Signature:
    """That of the class itself, not of one derived from it, for whoever asks (inspect, help)."""

    def __init__(self, cls: type) -> None:
        self._cls = cls

    def __get__(self, instance: object, owner: type) -> Any:
        import inspect

        cls = self._cls
        if instance is not None or owner is not cls:
            raise AttributeError("__signature__")
        whole = inspect.signature(_init(cls, dataclasses.fields(cls)))
        _, *others = whole.parameters.values()
        return whole.replace(parameters=others)


def _check_order(fields: tuple[dataclasses.Field[Any], ...]) -> None:
    """Raise TypeError at once, as the standard one does, for what would not compile."""
    absent, late = dataclasses.MISSING, False
    for field in fields:
        if field.kw_only:
            continue
        if field.default is not absent or field.default_factory is not absent:
            late = True
        elif late:
            raise TypeError(f"non-default argument {field.name!r} follows default argument")


def _init(cls: Any, fields: tuple[dataclasses.Field[Any], ...]) -> Callable[..., None]:
    """``__init__``, the only method with an argument for each field."""
    given: dict[str, Any] = {"_nouns_set": object.__setattr__, "_nouns_absent": dataclasses.MISSING}
    arguments: list[str] = []
    keywords: list[str] = []
    lines: list[str] = []
    for field in fields:
        name = value = field.name
        argument = name
        if field.default is not dataclasses.MISSING:
            given[f"_nouns_default_{name}"] = field.default
            argument = f"{name}=_nouns_default_{name}"
        elif field.default_factory is not dataclasses.MISSING:
            given[f"_nouns_make_{name}"] = field.default_factory
            argument = f"{name}=_nouns_absent"
            value = f"_nouns_make_{name}() if {name} is _nouns_absent else {name}"
        (keywords if field.kw_only else arguments).append(argument)
        lines.append(f"  _nouns_set(self, {name!r}, {value})")
    if hasattr(cls, "__post_init__"):
        lines.append("  self.__post_init__()")
    if keywords:
        arguments += ["*", *keywords]
    text = "\n".join(
        [
            f"def make({', '.join(given)}):",
            f" def __init__({', '.join(['self', *arguments])}):",
            *(lines or ["  pass"]),
            " return __init__",
        ]
    )
    made: dict[str, Callable[..., Any]] = {}
    # Its globals are those of the class, where the names in annotations mean something.
    exec(text, vars(sys.modules[cls.__module__]), made)
    init: Callable[..., None] = made["make"](**given)
    init.__qualname__ = f"{cls.__qualname__}.__init__"
    init.__annotations__ = {one.name: one.type for one in fields} | {"return": None}
    return init


def _repr(self: Any) -> str:
    # Imported when somebody looks: most processes show nobody a noun.
    from relokit.codegen.base.noun_reprs import noun_repr

    return noun_repr(self)


def _eq_and_hash(
    names: list[str],
) -> tuple[Callable[[Any, object], Any], Callable[[Any], int]]:
    if len(names) > 1:
        values: Callable[[Any], Any] = attrgetter(*names)
    else:

        def values(self: Any) -> Any:
            return tuple(getattr(self, name) for name in names)

    def __eq__(self: Any, other: object) -> Any:  # noqa: N807
        if other.__class__ is not self.__class__:
            return NotImplemented
        return values(self) == values(other)

    def __hash__(self: Any) -> int:  # noqa: N807
        return hash(values(self))

    return __eq__, __hash__


def _state(names: tuple[str, ...]) -> tuple[Callable[[Any], list[Any]], Callable[..., None]]:
    def __getstate__(self: Any) -> list[Any]:  # noqa: N807
        return [getattr(self, name) for name in names]

    def __setstate__(self: Any, state: list[Any]) -> None:  # noqa: N807
        for name, value in zip(names, state, strict=True):
            object.__setattr__(self, name, value)

    return __getstate__, __setstate__


def _refuse_to_set(self: Any, name: str, value: object) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_to_delete(self: Any, name: str) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")
