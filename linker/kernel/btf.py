"""Struct layouts out of the BTF that a kernel Image carries.

Format: Documentation/bpf/btf.rst. A walk over all types (btf.c) that stops at the named struct; a
type's size follows from its kind and count, so nothing else has to be understood.
"""

from __future__ import annotations

import ctypes
import re
import struct
from collections.abc import Iterator, Mapping
from ctypes import c_char_p, c_int, c_uint32, c_uint64, c_void_p
from functools import cache
from types import MappingProxyType
from typing import Any

from relokit.codegen.base import native
from relokit.codegen.base.errors import FormatError
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.kimage_layouts import KimageLayout
from relokit.linker.kernel.finding import occurrences

MAGIC = b"\x9f\xeb\x01\x00"
"""Magic 0xeB9F little-endian, version 1, no flags."""
HEADER = struct.Struct("<4s5I")
"""Magic, header length, then offset and length of types and of strings, from the header's end."""
TYPE = struct.Struct("<III")
"""Name offset, info (count, kind, kind flag), size or type."""
MEMBER = struct.Struct("<III")
"""Name offset, type, offset in bits."""
STRUCT_KIND = 4
BITFIELD_OFFSET = (1 << 24) - 1

# What follows a type, by its kind: bytes, and bytes for each of its count.
KINDS: tuple[tuple[int, int], ...] = (
    (0, 0),  # void
    (4, 0),  # int
    (0, 0),  # pointer
    (12, 0),  # array
    (0, 12),  # struct
    (0, 12),  # union
    (0, 8),  # enum
    (0, 0),  # forward
    (0, 0),  # typedef
    (0, 0),  # volatile
    (0, 0),  # const
    (0, 0),  # restrict
    (0, 0),  # function
    (0, 8),  # function prototype
    (4, 0),  # variable
    (0, 12),  # data section
    (0, 0),  # float
    (4, 0),  # declaration tag
    (0, 0),  # type tag
    (0, 12),  # 64-bit enum
)

# Members of struct kimage_arch that a KimageLayout places; the same since the series.
ARCH_MEMBERS = (
    "dtb_mem",
    "kern_reloc",
    "el2_vectors",
    "ttbr0",
    "ttbr1",
    "zero_page",
    "phys_offset",
    "t0sz",
)

BANNER = b"Linux version "
MAX_BANNER = 256
MAX_TYPES = 4 << 20
MAX_NAME = 512
MAX_STRUCT = 1 << 16
"""Bytes; the largest structs of the kernel that anybody lays out by hand are far below."""


@dataclass(frozen=True, slots=True)
class BtfStruct:
    """A struct's size in bytes and its named members' offsets in bits."""

    name: str
    size: int
    bit_offsets: Mapping[str, int]

    def offset(self, member: str) -> int:
        """Offset of ``member`` in bytes (of its first byte, for a bit field); raises KeyError."""
        return self.bit_offsets[member] // 8


def read_struct(image: memoryview, name: str, *, where: str = "Image") -> BtfStruct | None:
    """The first struct called ``name`` that the Image's BTF defines, or None.

    Raises FormatError where the Image has no BTF or a damaged one.
    """
    return read_structs(image, name, where=where).get(name)


def read_structs(image: memoryview, *names: str, where: str = "Image") -> dict[str, BtfStruct]:
    """The first struct of each of these names that the Image's BTF defines, in one walk.

    Raises FormatError where the Image has no BTF or a damaged one.
    """
    types, strings = _find_blob(image, where)
    found: dict[str, BtfStruct] = {}
    for name, at in _places(types, strings, names, where):
        _, info, size = TYPE.unpack_from(types, at)
        at += TYPE.size
        end = at + MEMBER.size * (info & 0xFFFF)
        if end > len(types):
            raise FormatError(f"BTF ends inside struct {name}", where=where)
        found[name] = _struct(name, size, types[at:end], bool(info >> 31), strings, where)
    return found


class _BtfWalk(ctypes.Structure):
    """``struct btf_walk`` of btf.c."""

    _fields_ = tuple((name, c_uint64) for name in ("at", "types", "last", "name", "kind"))


class _BtfKind(ctypes.Structure):
    """``struct btf_kind`` of btf.c."""

    _fields_ = (("fixed", c_uint32), ("each", c_uint32))


_OVER, _FOUND, _UNKNOWN = range(3)


def _places(
    types: memoryview, strings: memoryview, names: tuple[str, ...], where: str
) -> Iterator[tuple[str, int]]:
    """Each name, and where among the types the first struct of that name is, in that order."""
    walk = _BtfWalk()
    kinds = (_BtfKind * len(KINDS))(*(_BtfKind(*kind) for kind in KINDS))
    step = _native_walk()
    wanted = list(names)
    while wanted:
        texts = (c_char_p * len(wanted))(*(name.encode() for name in wanted))
        end = step(
            native.place(types), len(types), native.place(strings), len(strings), kinds,
            len(kinds), STRUCT_KIND, texts, len(texts), MAX_TYPES, ctypes.byref(walk),
        )  # fmt: skip
        if end == _UNKNOWN:
            raise FormatError(f"BTF has a type of kind {walk.kind}, which is unknown", where=where)
        if end == _OVER and walk.types == MAX_TYPES:
            raise FormatError(f"BTF has more than {MAX_TYPES} types", where=where)
        if end == _OVER:
            return
        yield wanted.pop(walk.name), walk.last


@cache
def _native_walk() -> Any:
    shared = {
        "TYPE_SIZE": TYPE.size,
        "WALK_OVER": _OVER,
        "WALK_FOUND": _FOUND,
        "WALK_UNKNOWN": _UNKNOWN,
        "struct btf_walk": ctypes.sizeof(_BtfWalk),
        "struct btf_kind": ctypes.sizeof(_BtfKind),
    }
    native.check_shared(native.library(), "btf_shared", shared)
    return native.function(
        "btf_walk", c_int, c_void_p, c_uint64, c_void_p, c_uint64, c_void_p, c_uint64, c_uint64,
        c_void_p, c_uint64, c_uint64, c_void_p,
    )  # fmt: skip


def has_btf(image: memoryview) -> bool:
    """Whether there is BTF in it whose header is sound."""
    return _blob(image) is not None


def kimage_layout_from(image: memoryview, *, where: str = "Image") -> KimageLayout:
    """struct kimage as this kernel lays it out, named for its version (``6.1``).

    Raises FormatError where the BTF does not tell, or tells a layout that is unlike all known.
    """
    structs = read_structs(image, "kimage", "kimage_arch", where=where)
    kimage, arch = structs.get("kimage"), structs.get("kimage_arch")
    if kimage is None:
        raise FormatError(
            "BTF has no struct kimage",
            where=where,
            hint="the kernel needs CONFIG_KEXEC_CORE",
        )
    try:
        layout = KimageLayout(
            name=kernel_version(image),
            size=kimage.size,
            head=kimage.offset("head"),
            entry=kimage.offset("entry"),
            last_entry=kimage.offset("last_entry"),
            start=kimage.offset("start"),
            control_code_page=kimage.offset("control_code_page"),
            nr_segments=kimage.offset("nr_segments"),
            segment=kimage.offset("segment"),
            flags=kimage.offset("type"),
            arch=kimage.offset("arch") if "arch" in kimage.bit_offsets else None,
        )
    except KeyError as error:
        raise FormatError(f"BTF: struct kimage has no member {error}", where=where) from None
    if layout.arch is not None and arch is not None:
        for member in ARCH_MEMBERS:
            if member not in arch.bit_offsets:
                continue
            if layout.arch + arch.offset(member) != getattr(layout, member):
                raise FormatError(
                    f"BTF: kimage_arch.{member} is at {arch.offset(member):#x}, "
                    "unlike in any known kernel",
                    where=where,
                )
    return layout


def _find_blob(image: memoryview, where: str) -> tuple[memoryview, memoryview]:
    found = _blob(image)
    if found is None:
        raise FormatError(
            "no BTF in this Image",
            where=where,
            hint="the kernel needs CONFIG_DEBUG_INFO_BTF; name a known kimage layout instead",
        )
    return found


def _blob(image: memoryview) -> tuple[memoryview, memoryview] | None:
    """Types and strings of the first blob whose header is sound."""
    for start in occurrences(image, MAGIC):
        if start + HEADER.size > len(image):
            break
        _, length, types_at, types_size, strings_at, strings_size = HEADER.unpack_from(image, start)
        body = start + length
        strings_end = body + strings_at + strings_size
        if (
            length < HEADER.size
            or types_at % 4
            or not types_size
            or types_at + types_size > strings_at
            or not strings_size
            or strings_end > len(image)
            or image[body + strings_at]
            or image[strings_end - 1]
        ):
            continue
        types = image[body + types_at : body + types_at + types_size]
        return types, image[body + strings_at : strings_end]
    return None


def _struct(
    name: str, size: int, members: memoryview, bitfields: bool, strings: memoryview, where: str
) -> BtfStruct:
    if size > MAX_STRUCT:
        raise FormatError(f"BTF: struct {name} has {size} bytes", where=where)
    bit_offsets: dict[str, int] = {}
    for name_at, _, offset in MEMBER.iter_unpack(members):
        text, end, _ = bytes(strings[name_at : name_at + MAX_NAME]).partition(b"\0")
        offset = offset & BITFIELD_OFFSET if bitfields else offset
        if not end or offset > 8 * size:
            raise FormatError(f"BTF: struct {name} has a damaged member", where=where)
        # An anonymous member has the empty name.
        if text:
            bit_offsets[text.decode("ascii", "replace")] = offset
    return BtfStruct(name, size, MappingProxyType(bit_offsets))


def banner_of(image: memoryview) -> str | None:
    """The line that the kernel prints first, cut at MAX_BANNER bytes; None where there is none."""
    for at in occurrences(image, BANNER):
        line = bytes(image[at : at + MAX_BANNER])
        if line[len(BANNER) : len(BANNER) + 1].isdigit():
            return re.split(rb"[\0\n]", line)[0].decode("ascii", "replace")
    return None


def kernel_version(image: memoryview) -> str:
    """``6.12``, as its banner says; ``unknown`` where there is none."""
    for at in occurrences(image, BANNER):
        match = re.match(rb"\d+\.\d+", image[at + len(BANNER) :])
        if match:
            return match[0].decode()
    return "unknown"
