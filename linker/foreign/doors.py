"""A file of any kind to the code of kexec that is in it."""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from relokit.codegen.base.errors import FormatError
from relokit.codegen.base.host_file import HostFile
from relokit.codegen.facts import ASSEMBLY, RELOCATION
from relokit.codegen.gas.includes import check_included
from relokit.codegen.gas.instructions.encoder import Encoder
from relokit.codegen.kexec_routines import INCLUDED, NAMES, CodeFile, CodePart
from relokit.codegen.kimage_layouts import KimageLayout
from relokit.codegen.object import Object, SectionType, Symbol
from relokit.linker.elf_format import ELF_MAGIC, ET_REL
from relokit.linker.foreign.code import ForeignCode
from relokit.linker.foreign.cut import cut
from relokit.linker.foreign.packed import is_archive, members, unpacked
from relokit.linker.foreign.several import IMAGE, LINKED, together
from relokit.linker.foreign.shown import (
    fields_read,
    folds_addresses,
    page_size_of,
    states_beside,
    states_of,
    words_of,
)
from relokit.linker.image import Image
from relokit.linker.kernel.btf import has_btf, kernel_version, kimage_layout_from
from relokit.linker.kernel.opened import Files, OpenedKernel
from relokit.linker.link.merge import merge_objects
from relokit.linker.link.substitution import WHOLE

MAX_FILE = 1 << 32
"""Bytes; a vmlinux with its debug information has some hundred million."""
WHAT = "code to run (.o, linked ELF, vmlinux, .S, Image)"
_ELF_HINT = "give an object (.o) or a linked ELF for arm64, or the kernel's Image"


def open_code(
    paths: Path | Sequence[Path],
    files: Files,
    encoder: Callable[[], Encoder],
    include_dir: Path | None = None,
) -> ForeignCode:
    """The code in the files at ``paths``; ``encoder`` is asked for if there is any to assemble,
    which may include the files below ``include_dir``.

    Raises FormatError for a file that has none, or is none of these, and for a directory of which
    nothing is included; AssemblyError.
    """
    several = (paths,) if isinstance(paths, Path) else paths
    found = together([_open_one(path, files, encoder, include_dir) for path in several])
    check_included(include_dir, anything=any(one.kind == INCLUDED for one in found.files))
    return found


def _open_one(
    path: Path, files: Files, encoder: Callable[[], Encoder], include_dir: Path | None
) -> ForeignCode:
    outer, file = unpacked(files, path, what=WHAT, limit=MAX_FILE)
    if is_archive(file.content):
        return _archive_code(file)
    if Path(path).suffix in ASSEMBLY:
        from relokit.codegen.gas.assembly_file import assemble_file

        encode = encoder().encode
        unit, included = assemble_file(file.content, file.where, encode, include_dir)
        found = object_code(unit, outer, "assembly")
        more = tuple(CodeFile(one.where, INCLUDED, one.sha256) for one in included)
        return replace(found, files=(*found.files, *more))
    if file.content[:4] == ELF_MAGIC:
        return _elf_code(file, outer)
    return kernel_code(_kernel(path, files, outer, file), outer)


def _kernel(path: Path, files: Files, outer: HostFile, file: HostFile) -> OpenedKernel:
    """The kernel that is read once if it is the whole file at ``path``."""
    if file is outer and os.path.exists(path):
        return files.kernel(path)
    from relokit.linker.kernel.kernel_file import read_kernel

    return OpenedKernel(read_kernel(file))


def layout_in(path: str | Path, files: Files) -> KimageLayout:
    """struct kimage by the BTF of a kernel: Image, or vmlinux. Raises FormatError without any."""
    what = "a kernel with BTF (Image, vmlinuz, vmlinux)"
    outer, file = unpacked(files, Path(path), what=what, limit=MAX_FILE)
    if file.content[:4] == ELF_MAGIC:
        return kimage_layout_from(file.content, where=file.where)
    return _kernel(Path(path), files, outer, file).layout


def _archive_code(file: HostFile) -> ForeignCode:
    """The routines of those members of an archive that have some."""
    from relokit.linker.elf.elf_reader import read_object

    units = []
    for name, content in members(file.content):
        if content is not None and content[:4] == ELF_MAGIC:
            unit = read_object(content, f"{file.where}({name})", to_link=False)
            if any(True for _ in _parts(unit)):
                units.append(unit)
    if not units:
        raise FormatError(
            "is an archive without a routine that a kexec runs",
            where=file.where,
            hint="give an object (.o), or the vmlinux; a thin archive has only names of objects",
        )
    return _code(merge_objects(units, file.where), file, "archive")


def kernel_code(opened: OpenedKernel, file: HostFile | None = None) -> ForeignCode:
    """The code of a kernel Image, with what the kernel says of itself; ``file`` is what it was in,
    if that is known.
    """
    from relokit.linker.kernel.shipped import shipped_image

    kernel = opened.file
    unit = cut(shipped_image(kernel, opened.symbols), opened.where)
    layout = opened.layout if has_btf(kernel.image) else None
    page_size = kernel.header.page_size
    version = kernel_version(kernel.image)
    return _code(unit, file or kernel.data, IMAGE, layout, page_size, version)


def object_code(unit: Object, file: HostFile, kind: str) -> ForeignCode:
    """The code of an object, read or assembled from ``file``."""
    return _code(unit, file, kind)


def _elf_code(file: HostFile, outer: HostFile) -> ForeignCode:
    from relokit.linker.elf.elf_reader import read_code, read_object

    content = file.content
    kind = struct.unpack_from("<H", content, 16)[0] if len(content) >= 18 else None
    try:
        if kind == ET_REL:
            return object_code(read_object(content, file.where, to_link=False), outer, "object")
        image = read_code(content, file.where)
    except FormatError as error:
        error.hint = error.hint or _ELF_HINT
        raise
    layout = kimage_layout_from(content, where=file.where) if has_btf(content) else None
    unit = cut(image, file.where)
    return _code(unit, outer, LINKED, layout, None, kernel_version(content))


def _code(
    unit: Object,
    file: HostFile,
    kind: str,
    layout: KimageLayout | None = None,
    page_size: int | None = None,
    version: str | None = None,
) -> ForeignCode:
    parts = tuple(replace(part, file=file.where) for part in _parts(unit))
    if not parts:
        raise FormatError(
            "has no routine that a kexec runs",
            where=file.where,
            hint=f"one of {', '.join(NAMES)}: in the objects of arch/arm64/kernel and mm, or in a "
            "vmlinux that is not stripped",
        )
    relocation = next((_bytes(unit, one) for one in unit.symbols if one.name == RELOCATION), b"")
    words = words_of(relocation)
    names = {symbol.name for symbol in unit.symbols if symbol.section >= 0}
    return ForeignCode(
        files=(CodeFile(file.where, kind, hashlib.sha256(file.content).hexdigest()),),
        parts=parts,
        unit=unit,
        states=states_of(words, names) if words else states_beside(names),
        page_size=page_size or page_size_of(words),
        version=None if version == "unknown" else version,
        layout=layout,
        fields=fields_read(words),
        folds=folds_addresses(words),
    )


def own_parts(image: Image) -> dict[str, CodePart]:
    """The routines of ours in ``image``, by symbol, as they are linked."""
    parts = _parts(cut(image, image.name))
    return {part.symbol: replace(part, foreign=False) for part in parts}


def _parts(unit: Object) -> Iterator[CodePart]:
    for symbol in unit.symbols:
        if symbol.name in NAMES and symbol.section >= 0:
            code = _bytes(unit, symbol)
            digest = hashlib.sha256(code).hexdigest()
            yield CodePart(NAMES[symbol.name], True, symbol.name, len(code), digest)


def _bytes(unit: Object, symbol: Symbol) -> bytes:
    """What runs of a routine: up to its end, or all of a section that is copied whole."""
    if symbol.section < 0:
        return b""
    section = unit.sections[symbol.section]
    if section.type is SectionType.NOBITS:
        raise FormatError(f"{symbol.name} is in a section without bytes", where=unit.name)
    if section.name in WHOLE:
        return section.data
    end = symbol.value + symbol.size if symbol.size else section.size
    return section.data[symbol.value : end]
