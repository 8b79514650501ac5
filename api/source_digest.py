"""What a verdict depends on, as one digest: templates, rules and engine, as they are in the tree.

Only sources count, not what is built from them nor the libraries: the digest is the same on every
machine, so it can be committed beside what was found.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from pathlib import Path

import relokit.codegen
import relokit.linker
import relokit.runtime
from relokit.codegen.built_in import TEMPLATES

_SOURCES = frozenset({".py", ".c", ".h", ".j2", ".toml"})
_NO_PART = frozenset({"campaign", "behaviour", "state", "room"})
"""Sub-rooms of runtime that no verdict on a mutant depends on."""
_NO_TOOL = frozenset({"base", "elf", "kernel"})
"""Sub-rooms of codegen and linker that neither assemble nor link."""


def source_digest() -> bytes:
    """32 bytes of templates, codegen, linker and runtime. Some ten milliseconds."""
    packages = (relokit.codegen, relokit.linker, relokit.runtime)
    return _digest((TEMPLATES, *(Path(one.__path__[0]) for one in packages)), _NO_PART)


def tools_digest() -> bytes:
    """32 bytes of the assembler and the linker alone: what docs/suites.json is of."""
    packages = (relokit.codegen, relokit.linker)
    return _digest([Path(one.__path__[0]) for one in packages], _NO_TOOL)


def _digest(folders: Iterable[Path], apart: frozenset[str]) -> bytes:
    digest = blake2b(digest_size=32)
    for folder in folders:
        for name, path in sorted(_files(folder, apart)):
            for part in (folder.name.encode(), name.encode(), path.read_bytes()):
                digest.update(len(part).to_bytes(8, "little") + part)
    return digest.digest()


def _files(folder: Path, apart: frozenset[str]) -> Iterator[tuple[str, Path]]:
    for path in folder.rglob("*"):
        name = path.relative_to(folder)
        if path.suffix in _SOURCES and name.parts[0] not in apart and path.is_file():
            yield name.as_posix(), path
