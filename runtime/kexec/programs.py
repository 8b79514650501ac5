"""What is built before a machine can be: the old kernel, the demo kernel, the purgatory."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING

from relokit.codegen.base.nouns import dataclass
from relokit.codegen.build import DEMO, KERNEL, PURGATORY, Recipe
from relokit.linker.stored_image import decode_image
from relokit.runtime.kexec.job import Job, KexecPath

if TYPE_CHECKING:
    from relokit.linker.image import Image


@dataclass(frozen=True)
class Programs:
    """Linked Images; ``demo`` and ``purgatory`` are None where no job has a use for them
    (:func:`recipes_for`).
    """

    kernel: Image
    demo: Image | None = None
    purgatory: Image | None = None

    @cached_property
    def demo_file(self) -> bytes | None:
        """The demo kernel as the Image file of a kernel."""
        return None if self.demo is None else demo_kernel(self.demo)


@dataclass(frozen=True, slots=True)
class StoredPrograms:
    """Programs as bytes (:mod:`relokit.linker.stored_image`): how they go to the machine room."""

    kernel: bytes
    demo: bytes | None = None
    purgatory: bytes | None = None

    def decoded(self) -> Programs:
        """The programs that these are. They were checked by whoever took them from the cache."""
        return Programs(
            decode_image(self.kernel, checked=True),
            None if self.demo is None else decode_image(self.demo, checked=True),
            None if self.purgatory is None else decode_image(self.purgatory, checked=True),
        )


def recipes_for(jobs: Iterable[Job]) -> tuple[Recipe, ...]:
    """What has to be built for ``jobs``; Programs has a field of each recipe's name."""
    jobs = tuple(jobs)
    recipes = [KERNEL]
    if any(job.kernel is None and job.size is None for job in jobs):
        recipes.append(DEMO)
    if any(job.path is KexecPath.PURGATORY for job in jobs):
        recipes.append(PURGATORY)
    return tuple(recipes)


def demo_kernel(image: Image) -> bytes:
    """Flatten the linked demo kernel, pad it to its image_size and fill in ``__checksum``.

    The checksum is the sum of 64-bit word i times 2i+1, modulo 2^64, over all words before it.
    """
    # Here, so that the parent process, which never runs a guest, does without.
    import numpy as np

    base = min(section.va for section in image.sections)
    flat = bytearray(image.flat)
    flat += bytes(image.symbol("_end") - base - len(flat))
    at = image.symbol("__checksum") - base
    words = np.frombuffer(flat, dtype="<u8", count=at // 8)
    weights = np.arange(1, 2 * len(words), 2, dtype=np.uint64)
    flat[at : at + 8] = int((words * weights).sum(dtype=np.uint64)).to_bytes(8, "little")
    return bytes(flat)
