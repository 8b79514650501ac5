"""What a file of code is inside of: a compressed file, a unified kernel image, an archive.

Sources: RFC 1952 (gzip), RFC 8878 (zstd), the .xz file format, ar(5), LLVM's bitcode format,
PE/COFF and the UKI specification (section .linux).
"""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from relokit.codegen.base.budget import spend
from relokit.codegen.base.errors import FormatError
from relokit.codegen.base.host_file import HostFile, memory_descriptor
from relokit.linker.elf_format import ELF_MAGIC
from relokit.linker.kernel.opened import MAX_FILE, Files

MAX_EXPANDED = 1 << 32
"""Bytes that an ELF file may have once it is expanded."""
MAX_WINDOW = 1 << 27
_STEP = 1 << 20
_ZSTD_STEP = 1 << 10
"""Bytes taken at a time: four of them may stand for 128 KiB."""
_HEAD = 64

GZIP, ZSTD, XZ = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\0"
ARCHIVES = b"!<arch>\n", b"!<thin>\n"
BITCODE = b"BC\xc0\xde", b"\xde\xc0\x17\x0b"
MEMBER = struct.Struct("16s12s6s6s8s10s2s")
"""Name, time, user, group, mode, size and end of a member's header (ar(5))."""
_MEMBER = re.compile(r"(.+)\(([^()]+)\)", re.DOTALL)
NAMED = 8
"""Members of an archive that are named."""

PE_SECTION = struct.Struct("<8sIIII16x")
"""Name, bytes in memory, place in memory, bytes in the file, place in it."""


class UnpackedFiles(Files):
    """As Files, but what is compressed or in another file is opened."""

    def file(self, path: str | Path, *, what: str, limit: int = MAX_FILE) -> HostFile:
        """As there; raises FormatError for what is no machine code yet, or several files."""
        path = Path(path)
        if path in self._files:
            return self._files[path]
        archive, name = _named_member(path)
        found = super().file(archive, what=what, limit=limit)
        if name is not None and is_archive(found.content):
            found = member(found.content, name, found.where)
        self._files[path] = opened(found.content, found.where) or found
        return self._files[path]


def unpacked(files: Files, path: Path, *, what: str, limit: int) -> tuple[HostFile, HostFile]:
    """The file (or member) at ``path``, and what is in it: itself, unless it is packed; or an
    archive.
    """
    archive, name = _named_member(path)
    outer = files.file(archive, what=what, limit=limit)
    if is_archive(outer.content):
        if name is None:
            return outer, outer
        outer = member(outer.content, name, outer.where)
    return outer, opened(outer.content, outer.where) or outer


def _named_member(path: Path) -> tuple[Path, str | None]:
    """The archive and the member that ``ARCHIVE(MEMBER)`` names; a file that is there is itself."""
    found = _MEMBER.fullmatch(str(path))
    if found is None or os.path.exists(path):
        return path, None
    return Path(found[1]), found[2]


def opened(content: memoryview, where: str) -> HostFile | None:
    """The file that is in ``content``: an ELF file that is compressed, the kernel in a UKI.

    None where there is nothing to be opened here. Raises FormatError for an archive and for
    bitcode, with the way out, and for what is damaged.
    """
    head = bytes(content[:8])
    if is_archive(content):
        raise _which(content, "is an archive", where)
    if head[:4] in BITCODE:
        raise FormatError(
            "is LLVM bitcode, no machine code yet",
            where=where,
            hint="compile it (llc -filetype=obj -o FILE.o FILE), or build without -flto",
        )
    if head[:2] == b"MZ":
        linux = _linux_section(content)
        if linux is None:
            return None
        spend(len(linux), "unpacked kernels", where)
        return _kept(bytes(linux), where)
    return _expanded(content, where)


def is_archive(content: memoryview) -> bool:
    """Whether ``content`` is one of ar's."""
    return bytes(content[: len(ARCHIVES[0])]) in ARCHIVES


def members(content: memoryview) -> Iterator[tuple[str, memoryview | None]]:
    """Name and content of each member of an archive, but for its tables; a thin one has no content.

    One that is cut short ends it.
    """
    at, thin = len(ARCHIVES[0]), bytes(content[:8]) == ARCHIVES[1]
    long_names = b""
    while at + MEMBER.size <= len(content):
        name, *_, size, _ = MEMBER.unpack_from(content, at)
        digits = size.strip()
        start = at + MEMBER.size
        if not digits.isdigit() or (not thin and start + int(digits) > len(content)):
            return
        end = start + int(digits)
        name = name.rstrip()
        table = name in (b"/", b"//", b"/SYM64/")
        if name == b"//":
            long_names = bytes(content[start:end])
        elif not table:
            if name[:1] == b"/" and name[1:].isdigit():
                name = long_names[int(name[1:]) :].partition(b"\n")[0]
            shown = name.rstrip(b"/").decode("utf-8", "backslashreplace")
            yield shown, None if thin else content[start:end]
        at = start if thin and not table else end + int(digits) % 2


def member(content: memoryview, name: str, where: str) -> HostFile:
    """The member ``name`` of the archive ``where``; raises FormatError if it has not that."""
    for one, inside in members(content):
        if one == name and inside is not None:
            spend(len(inside), "members of archives", where)
            return _kept(bytes(inside), f"{where}({name})")
    raise _which(content, f"has no member {name}", where)


def _which(content: memoryview, what: str, where: str) -> FormatError:
    """What is said of an archive, with the names of what is in it."""
    names = [name for name, _ in members(content)]
    some = ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
    if bytes(content[:8]) == ARCHIVES[1]:
        hint = "it is a thin one: give the object itself"
    else:
        hint = "name a member: 'FILE(MEMBER)'"
    return FormatError(what, where=where, hint=f"{hint}{f' (it has {some})' if some else ''}")


def _linux_section(content: memoryview) -> memoryview | None:
    """The kernel in a UKI, None in any other PE file."""
    (start,) = struct.unpack_from("<I", content, 60) if len(content) >= _HEAD else (0,)
    if bytes(content[start : start + 4]) != b"PE\0\0" or start + 24 > len(content):
        return None
    count, optional = struct.unpack_from("<H12xH", content, start + 6)
    at = start + 24 + optional
    for row in range(at, at + count * PE_SECTION.size, PE_SECTION.size):
        if row + PE_SECTION.size > len(content):
            return None
        name, memory, _, size, offset = PE_SECTION.unpack_from(content, row)
        if name == b".linux\0\0":
            return content[offset : offset + min(memory, size)]
    return None


def _expanded(content: memoryview, where: str) -> HostFile | None:
    """A compressed ELF file; None for anything else, a compressed kernel too."""
    made = _decompressor(bytes(content[:8]))
    if made is None:
        return None
    step, failures = made
    found = bytearray()
    try:
        for part in step(content):
            spend(len(part), "unpacked objects", where)
            found += part
            if len(found) >= len(ELF_MAGIC) and found[: len(ELF_MAGIC)] != ELF_MAGIC:
                return None
            if len(found) > MAX_EXPANDED:
                raise FormatError(
                    f"expands to more than {MAX_EXPANDED >> 20} MiB",
                    where=where,
                    hint="expand it, and strip it of what debuggers need: strip -g FILE",
                )
    except failures as error:
        if found[: len(ELF_MAGIC)] != ELF_MAGIC:
            return None
        raise FormatError(f"is damaged: {error}", where=where) from error
    return _kept(bytes(found), where) if found[: len(ELF_MAGIC)] == ELF_MAGIC else None


Parts = Callable[[memoryview], Iterator[bytes]]


def _decompressor(head: bytes) -> tuple[Parts, tuple[type[Exception], ...]] | None:
    """What gives the content in parts of a bounded size, and what it raises."""
    if head.startswith(GZIP):
        return _gzip, (zlib.error,)
    if head.startswith(ZSTD):
        import zstandard

        return _zstd, (zstandard.ZstdError,)
    if head.startswith(XZ):
        import lzma

        return _xz, (lzma.LZMAError,)
    return None


def _gzip(content: memoryview) -> Iterator[bytes]:
    stream = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    rest: bytes | memoryview = content
    while rest and not stream.eof:
        yield stream.decompress(rest, _STEP)
        rest = stream.unconsumed_tail
    if not stream.eof:
        raise zlib.error("it ends too early")


def _zstd(content: memoryview) -> Iterator[bytes]:
    import zstandard

    stream = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW).decompressobj()
    at = 0
    while at < len(content) and not stream.eof:
        yield stream.decompress(bytes(content[at : at + _ZSTD_STEP]))
        at += _ZSTD_STEP
    if not stream.eof:
        raise zstandard.ZstdError("it ends too early")


def _xz(content: memoryview) -> Iterator[bytes]:
    import lzma

    stream = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=2 * MAX_WINDOW)
    rest: bytes | memoryview = content
    while not stream.eof:
        part = stream.decompress(rest, _STEP)
        rest = b""
        if not part and stream.needs_input and not stream.eof:
            raise lzma.LZMAError("it ends too early")
        yield part


def _kept(content: bytes, where: str) -> HostFile:
    """``content`` as a file."""
    descriptor = memory_descriptor("opened", where)
    file = HostFile(descriptor, len(content), where)
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
    return file
