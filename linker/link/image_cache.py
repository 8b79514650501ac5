"""Linked programs, from disk where they were built before: no template, Keystone or lark then.

``RELOKIT_CACHE`` names the directory, and is empty for none; by default it is ``relokit`` in the
user's cache directory. The cache is never an error: what it cannot give is built.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from relokit.codegen.base.file_store import FileStore
from relokit.codegen.build import KERNEL, Recipe
from relokit.codegen.target import Target
from relokit.linker.link.build_key import build_key, sources_digest
from relokit.linker.stored_image import (
    StoredImageError,
    check_image,
    decode_image,
    encode_image,
)

if TYPE_CHECKING:
    from relokit.codegen.gas.instructions.encoder import Encoder
    from relokit.linker.image import Image
    from relokit.linker.link.substitution import Replacement

VARIABLE = "RELOKIT_CACHE"
MAX_FILES = 1024
MAX_SIZE = 4 << 20
MAX_TOTAL = 128 << 20
"""Bytes of the whole cache; a kernel for one target takes 40 thousand, a demo kernel 280."""

_enabled = True


class Sources:
    """What programs are built from; read once for all that are asked for with the same one.

    ``overrides`` is a directory of templates that win over the built-in ones, ``foreign`` are
    routines that win over theirs in the old kernel.
    """

    def __init__(self, overrides: Path | None = None, foreign: Replacement | None = None) -> None:
        self.overrides = overrides
        self.foreign = foreign

    @cached_property
    def digest(self) -> bytes | None:
        """See :func:`sources_digest`."""
        return sources_digest(self.overrides)


def stored_images(
    recipes: Sequence[Recipe], target: Target, encoder: Callable[[], Encoder], sources: Sources
) -> tuple[bytes, ...]:
    """The linked program of each of ``recipes`` for ``target``, built or as it was built before.

    ``encoder`` is asked for if one has to be built. What is kept is of ``sources`` as they were
    when they were read. Raises TemplateError, AssemblyError or LinkError, naming template, line
    and cause.
    """
    store, overrides = _store(), sources.overrides
    digest = sources.digest if store is not None else None
    if store is None or digest is None:
        return tuple(_built(recipe, target, encoder(), sources) for recipe in recipes)
    images, fresh = [], {}
    for recipe in recipes:
        foreign = sources.foreign if recipe is KERNEL else None
        key = build_key(digest, recipe, target, foreign.digest if foreign else "")
        image = _kept(store, key)
        if image is None:
            image = fresh[key] = _built(recipe, target, encoder(), sources)
        images.append(image)
    # Whatever was edited meanwhile may or may not have gone into it.
    if fresh and sources_digest(overrides) == digest:
        for key, image in fresh.items():
            store.put(key, image)
    return tuple(images)


def linked_images(
    recipes: Sequence[Recipe],
    target: Target,
    encoder: Callable[[], Encoder],
    *,
    overrides: Path | None = None,
) -> tuple[Image, ...]:
    """What :func:`stored_images` are of."""
    return tuple(map(decode_image, stored_images(recipes, target, encoder, Sources(overrides))))


@contextmanager
def without_cache() -> Iterator[None]:
    """For as long as the context lasts, everything is built, and nothing kept."""
    global _enabled
    before, _enabled = _enabled, False
    try:
        yield
    finally:
        _enabled = before


def _built(recipe: Recipe, target: Target, encoder: Encoder, sources: Sources) -> bytes:
    encoder.start()  # it imports while the templates are rendered
    from relokit.linker.link.program import build_program

    program = build_program(
        recipe,
        target,
        encoder,
        overrides=sources.overrides,
        foreign=sources.foreign if recipe is KERNEL else None,
    )
    return encode_image(program.image)


def _kept(store: FileStore, key: str) -> bytes | None:
    content = store.get(key)
    if content is not None:
        with suppress(StoredImageError):
            check_image(content)
            return content
    return None


def _store() -> FileStore | None:
    directory = _directory() if _enabled else None
    if directory is None:
        return None
    return FileStore(directory, max_files=MAX_FILES, max_size=MAX_SIZE, max_total=MAX_TOTAL)


def _directory() -> Path | None:
    named = os.environ.get(VARIABLE)
    if named is not None:
        return Path(named) if named else None
    base = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(base):  # XDG Base Directory Specification: others are ignored
        return Path(base) / "relokit"
    try:
        return Path.home() / ".cache" / "relokit"
    except RuntimeError:
        return None
