"""The native library: plain C beside its users, built at installation, loaded by ctypes.

Nothing that C and Python share is trusted. A library that was built from other sources than those
in the tree, or that has another idea of a constant, is refused when it is loaded.
"""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Mapping
from functools import cache
from itertools import count, takewhile
from pathlib import Path
from typing import Any

from relokit.codegen.base.errors import NativeLibraryError
from relokit.codegen.base.native_sources import SOURCES, digest

_LIBRARY = Path(__file__).with_name("_native.so")
_TOP = Path(__file__).parents[2]
_WAY_OUT = "install again what you run from: `pip install -e .` in the tree, or `pip install .`"


class _Shared(ctypes.Structure):
    """``struct shared`` of native.h."""

    _fields_ = (("name", ctypes.c_char_p), ("value", ctypes.c_uint64))


class _Buffer(ctypes.Structure):
    """``Py_buffer`` of CPython (PEP 3118, and the stable ABI since 3.11)."""

    _fields_ = (
        ("start", ctypes.c_void_p),
        ("owner", ctypes.c_void_p),
        ("size", ctypes.c_ssize_t),
        ("item_size", ctypes.c_ssize_t),
        ("read_only", ctypes.c_int),
        ("dimensions", ctypes.c_int),
        ("format", ctypes.c_char_p),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("suboffsets", ctypes.c_void_p),
        ("internal", ctypes.c_void_p),
    )


@cache
def library() -> ctypes.CDLL:
    """The library, loaded once; NativeLibraryError where there is none that fits these sources."""
    return load(_LIBRARY, _TOP)


def load(path: Path, top: Path) -> ctypes.CDLL:
    """The library at ``path``; where its sources lie below ``top``, it is built from them."""
    try:
        loaded = ctypes.CDLL(str(path))
        built_from = ctypes.c_uint32.in_dll(loaded, "relokit_sources").value
    except (OSError, ValueError) as error:
        raise NativeLibraryError(
            f"the native library cannot be loaded: {error}", where=str(path), hint=_WAY_OUT
        ) from error
    # An installation has the library only, which came with these very modules.
    if (top / SOURCES[0]).is_file() and built_from != digest(top):
        raise NativeLibraryError(
            "the native library was built from other C sources than those in the tree",
            where=str(path),
            hint=_WAY_OUT,
        )
    return loaded


def check_shared(loaded: ctypes.CDLL, table: str, expected: Mapping[str, int]) -> None:
    """Compare the C source's ``table`` of shared constants with what Python takes them for.

    A constant that only one side has is a difference too: NativeLibraryError names the first.
    """
    rows = ctypes.pointer(_Shared.in_dll(loaded, table))
    named = takewhile(lambda row: row.name is not None, (rows[at] for at in count()))
    found = {row.name.decode(): row.value for row in named}
    for name in sorted({*found, *expected}):
        if found.get(name) != expected.get(name):
            raise NativeLibraryError(
                f"{name} is {found.get(name, 'unknown')} in the native library"
                f" and {expected.get(name, 'unknown')} in Python",
                where=table,
                hint=_WAY_OUT,
            )


@cache
def address(loaded: ctypes.CDLL, function: str) -> int:
    """The address of one of the library's functions, for who calls it from elsewhere."""
    return ctypes.cast(loaded[function], ctypes.c_void_p).value or 0


@cache
def function(name: str, result: Any, *arguments: Any) -> Any:
    """One of the library's functions, with the ctypes of what it returns and is given."""
    found = library()[name]
    found.restype, found.argtypes = result, arguments
    return found


def place(content: bytes | bytearray | memoryview | array[int]) -> int:
    """The address of the bytes of ``content``, which may be read-only and mapped.

    It holds as long as whoever asks keeps ``content``. ctypes itself only gives that of what can
    be written to, and NumPy takes a tenth of a second to import.
    """
    found = _Buffer()
    ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(content), ctypes.byref(found), 0)
    start = found.start
    ctypes.pythonapi.PyBuffer_Release(ctypes.byref(found))
    return start or 0
