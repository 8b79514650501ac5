"""A file of assembly that a person names, to an Object and what it included."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path

from relokit.codegen.base.budget import FIXED
from relokit.codegen.base.errors import FormatError
from relokit.codegen.gas.assembler import TEXT_LIMIT, assemble
from relokit.codegen.gas.emit import Encode
from relokit.codegen.gas.includes import Included, Includes
from relokit.codegen.object import Object
from relokit.codegen.source import Unit

_PREPROCESSOR = re.compile(rb"^[ \t]*#[ \t]*include\b", re.MULTILINE)


def assemble_file(
    content: memoryview, where: str, encode: Encode, include_dir: Path | None
) -> tuple[Object, tuple[Included, ...]]:
    """The object, and the files below ``include_dir`` that it included; ``where`` is the file.

    Raises FormatError for what is no assembly, or not preprocessed; AssemblyError.
    """
    if len(content) > TEXT_LIMIT:
        raise FormatError(
            f"longer than {TEXT_LIMIT >> 20} MiB",
            where=where,
            hint=f"{FIXED}: give it in several files, and bytes by .incbin",
        )
    included = _PREPROCESSOR.search(content)
    if included:
        line = bytes(content[: included.start()]).count(b"\n") + 1
        raise FormatError(
            "not preprocessed: it includes other files",
            where=f"{where}:{line}",
            hint="give what the kernel's build makes of it: make arch/arm64/kernel/"
            f"{Path(where).stem}.o, or the same with .s",
        )
    try:
        unit = Unit.from_text(where, str(content, "utf-8"))
    except UnicodeDecodeError as error:
        raise FormatError(f"not UTF-8 text: byte {error.start}", where=where) from None
    if include_dir is None:
        return assemble(unit, encode), ()
    with closing(Includes(include_dir)) as includes:
        return assemble(unit, encode, includes), includes.used
