"""What a loaded image needs between its load and its use, page by page by digest."""

from __future__ import annotations

from collections.abc import Iterator
from zlib import crc32

from relokit.codegen.base.nouns import dataclass
from relokit.runtime.found.loaded_image import LoadedImage
from relokit.runtime.guest.memory import GuestMemory
from relokit.runtime.guest.owner import OwnerKind


@dataclass(frozen=True, slots=True)
class ChangedPages:
    """``count`` pages of ``owner`` are not what they were when the load was over, the first at
    PA ``pa``.
    """

    owner: str
    count: int
    pa: int


class PageDigests:
    """Digests of what ``loaded`` needs, as it is now."""

    def __init__(self, memory: GuestMemory, loaded: LoadedImage) -> None:
        self._memory = memory
        self._pages = dict(_pages(loaded))
        self._size = loaded.kimage.page_size
        self._digests = {pa: self._digest(pa) for pa in self._pages}

    def _digest(self, pa: int) -> int:
        return crc32(self._memory.read(pa, self._size))

    @property
    def count(self) -> int:
        """How many pages there are."""
        return len(self._pages)

    @property
    def code(self) -> tuple[int, ...]:
        """PAs of the pages that code was copied to."""
        kinds = (OwnerKind.CONTROL_PAGE, OwnerKind.EL2_VECTORS)
        return tuple(pa for pa, owner in self._pages.items() if owner in kinds)

    def changed(self) -> tuple[ChangedPages, ...]:
        """What is different now."""
        found: dict[str, list[int]] = {}
        for pa, owner in self._pages.items():
            if self._digest(pa) != self._digests[pa]:
                found.setdefault(owner.value, []).append(pa)
        return tuple(ChangedPages(owner, len(pas), min(pas)) for owner, pas in found.items())


def _pages(loaded: LoadedImage) -> Iterator[tuple[int, OwnerKind]]:
    kimage, words = loaded.kimage, loaded.words
    for pa in loaded.sources.tolist():
        yield pa, OwnerKind.SOURCES
    if kimage.in_place:
        for one in kimage.segments:
            for number in range(one.pages(kimage.page_size)):
                yield one.mem + number * kimage.page_size, OwnerKind.DESTINATION
    for region in kimage.list_pages:
        yield region.base, OwnerKind.LIST
    if words.get("kern_reloc"):
        yield kimage.control_page, OwnerKind.CONTROL_PAGE
    if words.get("el2_vectors"):
        yield words["el2_vectors"], OwnerKind.EL2_VECTORS
