"""What the C half of kexec does to caches: which lines, when, by which operation; as data.

Nothing here runs: kernel C is not part of the guest. The rows say what each state of the series
has it do. Sources: patches 4, 5, 7, 8, 12 and 13; the calls that shipped kernels make (5.10:
machine_kexec, kexec_segment_flush, arch_kexec_protect_crashkres; 6.1: machine_kexec_post_load,
trans_pgd_copy_el2_vectors).
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from relokit.codegen.base.nouns import dataclass
from relokit.codegen.facts import VECTOR_TABLE_SIZE
from relokit.codegen.series import Feature
from relokit.codegen.target import Target
from relokit.runtime.kexec.hyp_mode import MODE_OF, is_hyp_nvhe

if TYPE_CHECKING:
    from relokit.runtime.kexec.kimage import Kimage

WORD = 8
"""Bytes of a list entry."""


class When(StrEnum):
    """The moment: kexec_load, or the reboot that jumps."""

    LOAD = "load"
    JUMP = "jump"


class What(StrEnum):
    """What is maintained."""

    CODE = "control code"
    LIST = "list words"
    SOURCES = "source pages"
    SEGMENTS = "segments in place"
    KIMAGE = "kimage"
    VECTORS = "EL2 vectors copy"


class CacheOperation(StrEnum):
    """What is done to each line (PoC and PoU: DDI 0487, D7.5.8)."""

    POC = "clean+invalidate to PoC"
    CODE = "clean+invalidate to PoC, invalidate I-cache to PoU"
    VECTORS = "clean to PoU, invalidate I-cache to PoU, clean+invalidate to PoC"


D_PASSES = {CacheOperation.POC: 1, CacheOperation.CODE: 1, CacheOperation.VECTORS: 2}
"""Data cache instructions a line gets."""


@dataclass(frozen=True, slots=True)
class Maintenance:
    """One call, or one loop of calls. ``bytes`` in ``lines`` different cache lines.

    ``instructions`` are the DC instructions that takes: a list word is cleaned on its own, so the
    words of one line clean it again and again.
    """

    when: When
    what: What
    operation: CacheOperation
    bytes: int
    lines: int
    instructions: int


def maintenance_of(
    target: Target, kimage: Kimage, *, code: int, crash: bool
) -> tuple[Maintenance, ...]:
    """The rows for ``kimage`` in ``target``'s state of the series, in the order they happen.

    ``code`` bytes go to the control page; ``crash`` says that it is a crash kernel's image.
    """
    line = target.cache_line
    at_load = target.has(Feature.FLUSH_AT_LOAD)
    lists = When.LOAD if at_load else When.JUMP
    # Before patch 4 a crash image was flushed when its memory was locked away: at load, too.
    segments = When.LOAD if at_load or crash else When.JUMP
    # The code was copied at the jump as long as kimage had no place to keep its address.
    copied = When.LOAD if at_load or kimage.layout.arch is not None else When.JUMP

    if kimage.in_place and target.has(Feature.SKIP_IN_PLACE):
        return (_segments(kimage, line, segments),)
    rows = []
    if target.has(Feature.KEXEC_EL2_VECTORS) and is_hyp_nvhe(MODE_OF[target.regime]):
        rows.append(
            _range(When.LOAD, What.VECTORS, CacheOperation.VECTORS, VECTOR_TABLE_SIZE, line)
        )
    rows.append(_range(copied, What.CODE, CacheOperation.CODE, code, line))
    if not target.has(Feature.NO_POC_FLUSH):
        if target.has(Feature.KIMAGE_ARGUMENT):
            spread = lines_of(kimage.pa, kimage.layout.size, line)
            rows.append(
                Maintenance(
                    lists, What.KIMAGE, CacheOperation.POC, kimage.layout.size, spread, spread
                )
            )
        rows.append(_list_words(kimage, line, lists))
        if not kimage.in_place:
            rows.append(_sources(kimage, line, lists))
    if kimage.in_place:
        rows.append(_segments(kimage, line, segments))
    return tuple(sorted(rows, key=lambda row: row.when is When.JUMP))


def lines_of(start: int, size: int, line: int) -> int:
    """Cache lines of ``line`` bytes that ``size`` bytes at ``start`` touch."""
    return (start + size - 1) // line - start // line + 1 if size else 0


def _range(when: When, what: What, operation: CacheOperation, size: int, line: int) -> Maintenance:
    """``size`` bytes from the start of a page."""
    lines = lines_of(0, size, line)
    return Maintenance(when, what, operation, size, lines, lines * D_PASSES[operation])


def _list_words(kimage: Kimage, line: int, when: When) -> Maintenance:
    """The head in struct kimage, and every word up to IND_DONE, each cleaned by itself."""
    words = lines = 0
    if kimage.list_pages:
        per_page = kimage.page_size // WORD
        pages = kimage.list_size // kimage.page_size
        # IND_DONE, and the indirections at the ends of all pages but the last.
        words = kimage.entries + pages
        in_last = words - (pages - 1) * per_page
        lines = (pages - 1) * (kimage.page_size // line)
        lines += lines_of(0, in_last * WORD, line)
    words += 1
    return Maintenance(when, What.LIST, CacheOperation.POC, words * WORD, lines + 1, words)


def _sources(kimage: Kimage, line: int, when: When) -> Maintenance:
    pages = sum(segment.pages(kimage.page_size) for segment in kimage.segments)
    lines = pages * (kimage.page_size // line)
    return Maintenance(
        when, What.SOURCES, CacheOperation.POC, pages * kimage.page_size, lines, lines
    )


def _segments(kimage: Kimage, line: int, when: When) -> Maintenance:
    size = sum(segment.memsz for segment in kimage.segments)
    lines = sum(lines_of(segment.mem, segment.memsz, line) for segment in kimage.segments)
    return Maintenance(when, What.SEGMENTS, CacheOperation.POC, size, lines, lines)
