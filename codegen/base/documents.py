"""Dataclasses as JSON documents, and back: one mechanism, by annotations and a table.

A dataclass is an object with a key for each field. Where the document is another one, the class
has a table of it, :data:`DOCUMENT`: by key the attribute that is shown (a field, a property, a
method without arguments, or one of what one of these holds: ``"outcome.status"``), or a table of an
object within. The key ``*`` stands for all keys of an attribute. A field with the metadata
:data:`ABSENT` is left out where it has its default. Enums are their values, a tuple of (name,
value) is an object, bytes are hexadecimal, and numbers that are keys decimal. Where one of several
types may be, a dataclass is an object within one that has its name as the only key.

Reading is strict: what has another type, another key or not all keys is refused, since a document
comes out of the process in which guests run. What was computed to be shown is not read.
"""

from __future__ import annotations

import ast
import inspect
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum
from functools import cache
from importlib import import_module
from inspect import isfunction, ismethod
from pathlib import Path
from types import MappingProxyType, NoneType, UnionType
from typing import Any, TypeAlias, TypeVar, Union, get_args, get_origin, get_type_hints

from relokit.codegen.base.errors import FormatError

T = TypeVar("T")
Table: TypeAlias = Mapping[str, "str | Table"]
Writer = Callable[[Any], Any]
Reader = Callable[[Any], Any]

DOCUMENT = "DOCUMENT"
"""Name of the class attribute with the table, if a class needs one."""
SCHEMA = "SCHEMA"
"""Name of the class attribute with name and version of the document, of one that is printed."""
SCHEMA_KEY = "schema"
MAX_DIGITS = 40
"""Digits of a number that is a key."""
ALL = "*"
ABSENT: Mapping[str, bool] = MappingProxyType({"absent": True})
"""Metadata of a field that is left out of the document where it has its default."""


def shown(*names: str) -> dict[str, str]:
    """The part of a table in which keys are called as the attributes."""
    return {name: name for name in names}


def document(value: object) -> dict[str, Any]:
    """The whole document of ``value``, which a command prints: schema first."""
    return {SCHEMA_KEY: getattr(type(value), SCHEMA), **to_data(value)}


def to_data(value: object) -> Any:
    """The dataclass ``value`` as JSON data."""
    cls: Any = type(value)
    return _writer(cls)(value)


def hints_of(cls: type) -> Mapping[str, Any]:
    """By field, the types of the dataclass ``cls``, for :func:`data_of` and :func:`from_data`."""
    found: Mapping[str, Any] = _hints(cls)
    return found


def data_of(hint: Any, value: object) -> Any:
    """``value``, of a type that an annotation says, as JSON data."""
    return _writer(hint)(value)


def to_json(value: object) -> bytes:
    """A dataclass, or a tuple of them, as JSON text for :func:`from_json`."""
    data = [to_data(one) for one in value] if isinstance(value, tuple) else to_data(value)
    return json.dumps(data).encode()


def from_data(wanted: type[T], data: Any) -> T:
    """Read what :func:`to_data` or :func:`data_of` wrote of a ``wanted``.

    Raises FormatError for anything else.
    """
    hint: Any = wanted
    reader: Callable[[Any], T] = _reader(hint)
    try:
        return reader(data)
    except (KeyError, TypeError, ValueError) as error:
        name = getattr(wanted, "__name__", str(wanted))
        raise FormatError(f"not the document of {name}: {str(error)[:200]}") from None


def from_json(wanted: type[T], text: bytes) -> T:
    """Read what :func:`to_json` wrote of a ``wanted``; raises FormatError for anything else."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise FormatError("not a JSON document") from None
    return from_data(wanted, data)


# Classes ------------------------------------------------------------------------------------


def _table(cls: Any) -> Table:
    table: Table | None = getattr(cls, DOCUMENT, None)
    return table if table is not None else {name: name for name in _names(cls)}


def _names(cls: Any) -> Iterable[str]:
    names: Iterable[str] = getattr(cls, "_fields", None) or [one.name for one in fields(cls)]
    return names


def _is_record(hint: Any) -> bool:
    return isinstance(hint, type) and (is_dataclass(hint) or hasattr(hint, "_fields"))


@cache
def _hints(cls: Any) -> dict[str, Any]:
    try:
        return get_type_hints(cls)
    except NameError:
        return get_type_hints(cls, localns=_for_types_only(cls.__module__))


def _for_types_only(name: str) -> dict[str, Any]:
    """What a module imports for its annotations, and not when it runs."""
    found: dict[str, Any] = {}
    tree = ast.parse(inspect.getsource(sys.modules[name]))
    blocks = [one for one in tree.body if isinstance(one, ast.If)]
    for block in blocks:
        if isinstance(block.test, ast.Name) and block.test.id == "TYPE_CHECKING":
            for one in block.body:
                if isinstance(one, ast.ImportFrom) and one.module:
                    module = import_module(one.module)
                    found |= {
                        alias.asname or alias.name: getattr(module, alias.name)
                        for alias in one.names
                    }
    return found


def _hint(cls: Any, path: str) -> Any:
    """The annotation of what an attribute path of ``cls`` leads to."""
    name, _, rest = path.partition(".")
    found = getattr(cls, name, None)
    if isinstance(found, property):
        hint = get_type_hints(found.fget)["return"]
    elif isfunction(found):
        hint = get_type_hints(found)["return"]
    else:
        hint = _hints(cls)[name]
    if not rest:
        return hint
    inner = _hint(_without_none(hint), rest)
    return inner if _without_none(hint) is hint else Union[inner, None]  # noqa: UP007


def _without_none(hint: Any) -> Any:
    if get_origin(hint) not in (Union, UnionType):
        return hint
    rest = [one for one in get_args(hint) if one is not NoneType]
    return rest[0] if len(rest) == 1 else hint


def _absent(cls: Any) -> dict[str, Any]:
    """By name, the defaults of fields that are left out where they have them."""
    if not is_dataclass(cls):
        return {}
    return {one.name: one.default for one in fields(cls) if one.metadata.get("absent")}


# Writing ------------------------------------------------------------------------------------


@cache
def _writer(hint: Any) -> Writer:
    """What turns a value of the type ``hint`` into JSON data."""
    origin, arguments = get_origin(hint), get_args(hint)
    if _is_record(hint):
        return _record_writer(hint, _table(hint))
    if origin is tuple and _is_object(arguments):
        each = _writer(get_args(arguments[0])[1])
        return lambda value: {name: each(one) for name, one in value}
    if origin is tuple and arguments[-1] is not ...:
        writers = [_writer(one) for one in arguments]
        return lambda value: [put(one) for put, one in zip(writers, value, strict=True)]
    if origin is not None and _is_subclass(origin, Mapping):
        names, each = _writer(arguments[0]), _writer(arguments[1])
        if arguments[0] is int:
            names = str
        return lambda value: {names(name): each(one) for name, one in value.items()}
    if origin is frozenset:
        each = _writer(arguments[0])
        return lambda value: sorted(map(each, value))
    if origin is not None and _is_subclass(origin, Iterable):
        each = _writer(arguments[0])
        return lambda value: [each(one) for one in value]
    if origin in (Union, UnionType):
        if _without_none(hint) is hint:
            return _choice_writer(arguments)
        inner = _writer(_without_none(hint))
        return lambda value: None if value is None else inner(value)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return lambda value: value.value
    if hint is bytes:
        return bytes.hex
    if hint is Path:
        return str
    return _same


def _choice_writer(hints: Iterable[Any]) -> Writer:
    """Of a value that has one of several types."""
    chosen: dict[Any, Writer] = {}
    for hint in hints:
        put = _writer(hint)
        chosen[get_origin(hint) or hint] = _named(hint.__name__, put) if _is_record(hint) else put

    def write(value: Any) -> Any:
        put = chosen.get(type(value))
        return value if put is None else put(value)

    return write


def _named(name: str, put: Writer) -> Writer:
    return lambda value: {name: put(value)}


def _same(value: Any) -> Any:
    return value


def _is_subclass(origin: Any, base: Any) -> bool:
    """``issubclass`` of what may be no class."""
    return isinstance(origin, type) and issubclass(origin, base)


def _is_object(arguments: tuple[Any, ...]) -> bool:
    """Of ``tuple[tuple[str, X], ...]``."""
    inner = get_args(arguments[0])
    return arguments[-1] is ... and get_origin(arguments[0]) is tuple and inner[0] is str


def _record_writer(cls: Any, table: Table) -> Writer:
    absent = _absent(cls)
    parts: list[tuple[str, Callable[[Any], Any], Writer, Any]] = []
    for key, path in table.items():
        if not isinstance(path, str):
            parts.append((key, _same, _record_writer(cls, path), MISSING))
            continue
        parts.append((key, _getter(path), _writer(_hint(cls, path)), absent.get(path, MISSING)))

    def write(value: Any) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key, get, put, default in parts:
            found = get(value)
            if key == ALL:
                data |= put(found)
            elif default is MISSING or found != default:
                data[key] = put(found)
        return data

    return write


def _getter(path: str) -> Callable[[Any], Any]:
    names = path.split(".")

    def get(value: Any) -> Any:
        for name in names:
            if value is None:
                return None
            value = getattr(value, name)
            if ismethod(value):
                value = value()
        return value

    return get


# Reading ------------------------------------------------------------------------------------

MAX_FLOAT = int(sys.float_info.max)
"""JSON and TOML have whole numbers that no float is as large as."""
_SCALARS: Mapping[Any, tuple[type, ...]] = {
    str: (str,),
    int: (int,),
    float: (int, float),
    bool: (bool,),
    NoneType: (NoneType,),
}


@cache
def _reader(hint: Any) -> Reader:
    """What turns JSON data into a value of the type ``hint``, or raises ValueError."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint in _SCALARS:
        return _scalar_reader(_SCALARS[hint])
    if _is_record(hint):
        return _record_reader(hint)
    if origin is tuple and _is_object(arguments):
        each = _reader(get_args(arguments[0])[1])
        return lambda data: tuple((name, each(one)) for name, one in _object(data).items())
    if origin is tuple and arguments[-1] is ...:
        each = _reader(arguments[0])
        return lambda data: tuple(each(one) for one in _array(data))
    if origin is tuple:
        readers = [_reader(one) for one in arguments]
        return lambda data: tuple(get(one) for get, one in zip(readers, _array(data), strict=True))
    if _is_subclass(origin, Mapping):
        names = _whole_number if arguments[0] is int else _reader(arguments[0])
        each = _reader(arguments[1])
        return lambda data: {names(name): each(one) for name, one in _object(data).items()}
    if origin is frozenset:
        each = _reader(arguments[0])
        return lambda data: frozenset(map(each, _array(data)))
    if origin in (Union, UnionType):
        if all(one in _SCALARS for one in arguments):
            return _scalar_reader(tuple(kind for one in arguments for kind in _SCALARS[one]))
        if _without_none(hint) is hint:
            return _choice_reader(arguments)
        inner = _reader(_without_none(hint))
        return lambda data: None if data is None else inner(data)
    if hint is bytes:
        return lambda data: bytes.fromhex(_text(data))
    assert _is_subclass(hint, Enum), f"{hint} is not read"
    members = {one.value: one for one in hint}
    return lambda data: _member(members, data)


def _choice_reader(hints: Iterable[Any]) -> Reader:
    """Of a value that has one of several types, told by the kind of the data.

    A dataclass among them is an object with its name, once more. No two of the others may look the
    same in JSON.
    """
    named: dict[str, Reader] = {}
    plain: dict[type, Reader] = {}
    for hint in hints:
        get = _reader(hint)
        if _is_record(hint):
            named[hint.__name__] = get
            continue
        for kind in _SCALARS.get(hint) or (_kind(hint),):
            assert kind not in plain, f"{hint} is not told from another"
            plain[kind] = get
    assert not named or dict not in plain, f"{named} are not told from a mapping"

    def read(data: Any) -> Any:
        if isinstance(data, dict) and named:
            if len(data) != 1 or not data.keys() <= named.keys():
                raise ValueError(f"an object that is none of {', '.join(named)}")
            name, inner = next(iter(data.items()))
            return named[name](inner)
        if type(data) not in plain:
            raise ValueError(f"{type(data).__name__} where that cannot be")
        return plain[type(data)](data)

    return read


def _kind(hint: Any) -> type:
    """What the type ``hint``, which is no dataclass and no scalar, is in JSON."""
    origin = get_origin(hint)
    if _is_subclass(hint, Enum):
        return type(next(iter(hint)).value)
    if (origin is tuple and _is_object(get_args(hint))) or _is_subclass(origin, Mapping):
        return dict
    return str if hint is bytes else list


def _scalar_reader(kinds: tuple[type, ...]) -> Reader:
    names = " or ".join(kind.__name__ for kind in kinds)

    def read(data: Any) -> Any:
        if type(data) not in kinds:
            raise ValueError(f"{type(data).__name__} where {names} belongs")
        if type(data) is int and float in kinds and abs(data) > MAX_FLOAT:
            raise ValueError("a number that is too large for any of its kind")
        return data

    return read


def _member(members: Mapping[str | int, Enum], data: Any) -> Enum:
    if type(data) not in (str, int) or data not in members:
        raise ValueError(f"{str(data)[:40]!r} is none of {', '.join(map(str, members))}")
    return members[data]


def _whole_number(data: str) -> int:
    """An integer that is a key: only as :class:`str` writes it."""
    if len(data) > MAX_DIGITS or not data.lstrip("-").isdecimal() or str(int(data)) != data:
        raise ValueError(f"the key {data[:40]!r} where a number belongs")
    return int(data)


def _text(data: Any) -> str:
    if not isinstance(data, str):
        raise ValueError(f"{type(data).__name__} where text belongs")
    return data


def _object(data: Any) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise ValueError(f"{type(data).__name__} where an object belongs")
    return data


def _array(data: Any) -> list[Any]:
    if not isinstance(data, list):
        raise ValueError(f"{type(data).__name__} where an array belongs")
    return data


def _record_reader(cls: Any) -> Reader:
    known: dict[str, Field[Any]] = {one.name: one for one in fields(cls)}
    table = _table(cls)
    readers = {
        key: (path, _reader(_hint(cls, path)))
        for key, path in table.items()
        if isinstance(path, str) and path in known
    }
    lacking = known.keys() - {path for path, _ in readers.values()}
    assert not lacking, f"{cls.__name__} is not read: {lacking} are not in its document"

    def read(data: Any) -> Any:
        unknown = _object(data).keys() - table.keys()
        if unknown:
            raise ValueError(f"{cls.__name__} has no {min(unknown)[:40]!r}")
        values = {}
        for key, (name, get) in readers.items():
            if key in data:
                try:
                    values[name] = get(data[key])
                except ValueError as error:
                    raise ValueError(f"{key}: {error}") from None
            elif not known[name].metadata.get("absent"):
                raise ValueError(f"{cls.__name__} without {key!r}")
        return cls(**values)

    return read
