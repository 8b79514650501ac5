"""Where a whole program's code comes from: a kernel Image with its kallsyms, or a linked ELF."""

from __future__ import annotations

from dataclasses import replace

from relokit.codegen.object import SectionFlag, SymbolType
from relokit.diffing.read.routine import DiffError
from relokit.diffing.read.sides import MAX_FILE
from relokit.linker.elf.elf_reader import read_code
from relokit.linker.elf_format import ELF_MAGIC
from relokit.linker.kernel.kallsyms import Kallsyms
from relokit.linker.kernel.opened import Files


def read_program(path: str, files: Files) -> tuple[memoryview, Kallsyms]:
    """The bytes of the program at ``path`` and its symbols, by offset in these.

    Raises FormatError for a damaged file, LinkError for one that is spread too far, DiffError for
    an ELF file without functions.
    """
    content = files.file(path, what="a kernel or a linked ELF file", limit=MAX_FILE).content
    if bytes(content[:4]) != ELF_MAGIC:
        kernel = files.kernel(path)
        return kernel.file.image, kernel.symbols
    image = read_code(content, path)
    code = [one for one in image.sections if one.flags & SectionFlag.EXEC and one.data]
    flat = memoryview(replace(image, sections=tuple(code)).flat)
    base = min((section.va for section in code), default=0)
    named = sorted(
        (symbol.value - base, symbol.name, "t" if symbol.type is SymbolType.FUNC else "d")
        for symbol in image.symbols
        if symbol.value >= base and not symbol.name.startswith(("$", ".L"))
    )
    if not any(letter == "t" for _, _, letter in named):
        raise DiffError("names no function", where=path, hint="give one that is not stripped")
    # What comes last ends with the code.
    named.append((max(len(flat), named[-1][0]), "", "d"))
    offsets, names, letters = zip(*named, strict=True)
    return flat, Kallsyms(names, "".join(letters), offsets, base)
