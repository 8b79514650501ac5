"""What a verdict depends on, as one digest: templates, rules and engine, as they are in the tree.

Only sources count, not what is built from them nor the libraries: the digest is the same on every
machine, so it can be committed beside what was found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from pathlib import Path

import relokit.codegen
import relokit.linker
import relokit.runtime
from relokit.codegen.built_in import TEMPLATES

_SOURCES = frozenset({".py", ".c", ".h", ".j2", ".toml"})
_NO_PART = frozenset({"campaign", "behaviour", "state", "room"})
"""Sub-rooms of runtime that no verdict on a mutant depends on."""
_TOOL_ROOMS = frozenset({"gas", "link", "script"})
_TOOL_FILES = frozenset(
    {
        "aarch64_elf.py",
        "elf_format.py",
        "image.py",
        "object.py",
        "peripheral_registers.py",
        "source.py",
        "system_registers.py",
    }
)
"""What assembles and links: sub-rooms of codegen and linker, and files beside them."""


def source_digest() -> bytes:
    """32 bytes of templates, codegen, linker and runtime. Some ten milliseconds."""
    packages = (relokit.codegen, relokit.linker, relokit.runtime)
    return _digest(
        (TEMPLATES, *(Path(one.__path__[0]) for one in packages)),
        lambda first: first not in _NO_PART,
    )


def tools_digest() -> bytes:
    """32 bytes of the assembler and the linker alone: what docs/suites.json is of."""
    packages = (relokit.codegen, relokit.linker)
    return _digest(
        [Path(one.__path__[0]) for one in packages],
        lambda first: first in _TOOL_ROOMS or first in _TOOL_FILES,
    )


def _digest(folders: Iterable[Path], counts: Callable[[str], bool]) -> bytes:
    digest = blake2b(digest_size=32)
    for folder in folders:
        for name, path in sorted(_files(folder, counts)):
            for part in (folder.name.encode(), name.encode(), path.read_bytes()):
                digest.update(len(part).to_bytes(8, "little") + part)
    return digest.digest()


def _files(folder: Path, counts: Callable[[str], bool]) -> Iterator[tuple[str, Path]]:
    for path in folder.rglob("*"):
        name = path.relative_to(folder)
        if path.suffix in _SOURCES and counts(name.parts[0]) and path.is_file():
            yield name.as_posix(), path
