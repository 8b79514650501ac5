"""Inputs to Inputs: bring the segments into the shape and on the path that a Job asks for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from relokit.codegen.base.errors import MachineError
from relokit.codegen.base.nouns import dataclass
from relokit.codegen.facts import POISON
from relokit.codegen.target import Target
from relokit.linker.image import Image
from relokit.runtime.guest.address_spans import merged, spans_of, without
from relokit.runtime.guest.content import BytesContent, PatternContent
from relokit.runtime.guest.payload import PayloadKind, PayloadPart
from relokit.runtime.kexec.edges import edges_of
from relokit.runtime.kexec.inputs import Inputs, Loaded
from relokit.runtime.kexec.job import KexecPath, Shape
from relokit.runtime.kexec.kimage import SEGMENT_MAX, KexecSegment

GAP_SEGMENTS = 5
"""Small segments that Shape.GAPS adds, each with a free page before and after it."""


OVER_OLD_KERNEL = "over the old kernel"
"""The segment that Shape.OLD_KERNEL adds."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A hand-over: code at PA ``pc`` is entered with ``x0``."""

    pc: int
    x0: int


def arrange(inputs: Inputs, target: Target, shape: Shape, seed: int) -> Inputs:
    """Add the segments, or take away the pages, that ``shape`` is about."""
    page = target.page_size
    if shape is Shape.ONE_PAGE:
        kernel = inputs.segments[0]
        content = PatternContent(page, seed)
        segment = KexecSegment("one page", kernel.segment.mem, page, page)
        return _with_segments(inputs, (Loaded(PayloadKind.PATTERN, segment, content),))
    if shape is Shape.GAPS:
        spots = enumerate(_holes(inputs, target, page, GAP_SEGMENTS))
        return _with_segments(
            inputs,
            (*inputs.segments, *(_pattern(f"gap {n}", at, page, seed + n) for n, at in spots)),
        )
    if shape is Shape.EDGES:
        edges = edges_of(inputs.ram)
        spots = enumerate(edges.last_pages(page))
        return _with_segments(
            inputs,
            (*inputs.segments, *(_pattern(f"edge {n}", at, page, seed + n) for n, at in spots)),
        )
    if shape is Shape.BOUNDARY:
        return _fill_list_page(inputs, target, seed)
    return inputs


def add_over(inputs: Inputs, at: int, size: int, page_size: int) -> Inputs:
    """Add a segment of ``size`` bytes at PA ``at``, where the old kernel is, before all others.

    Its last half page is left to be zeroed.
    """
    content = PatternContent(size - page_size // 2)
    segment = KexecSegment(OVER_OLD_KERNEL, at, size, content.size)
    loaded = Loaded(PayloadKind.PATTERN, segment, content)
    return _with_segments(inputs, (loaded, *inputs.segments))


def add_purgatory(inputs: Inputs, target: Target, purgatory: Image) -> tuple[Inputs, int]:
    """Add the purgatory as a segment; returns it and the PA of its entry."""
    code = bytearray(purgatory.flat)
    data = purgatory.symbol("purgatory_kernel") - purgatory.entry
    code[data : data + 8] = inputs.start.to_bytes(8, "little")
    code[data + 8 : data + 16] = inputs.dtb_at.to_bytes(8, "little")
    # It is the last page that is copied, and what it ends in stays in registers.
    code += (POISON.to_bytes(8, "little") * (target.page_size // 8))[len(code) :]
    [at] = _holes(inputs, target, target.page_size, 1)
    segment = KexecSegment("purgatory", at, target.page_size, len(code))
    loaded = Loaded(PayloadKind.PURGATORY, segment, BytesContent(bytes(code)))
    return _with_segments(inputs, (*inputs.segments, loaded)), at


def stages(inputs: Inputs, path: KexecPath, purgatory: int | None) -> tuple[Stage, ...]:
    """What is entered after the relocation, in order; the last one is the new kernel."""
    kernel = Stage(inputs.start, inputs.dtb_at)
    if path is KexecPath.PURGATORY:
        assert purgatory is not None
        # kexec_load knows of no device tree: that is what the purgatory is for.
        return Stage(purgatory, 0), kernel
    return (kernel,)


def _pattern(name: str, at: int, size: int, seed: int) -> Loaded:
    segment = KexecSegment(name, at, size, size)
    return Loaded(PayloadKind.PATTERN, segment, PatternContent(size, seed, hollow=True))


def _with_segments(inputs: Inputs, segments: tuple[Loaded, ...]) -> Inputs:
    if len(segments) > SEGMENT_MAX:
        raise MachineError(f"{len(segments)} segments", hint=f"kexec takes {SEGMENT_MAX} at most")
    known = {entry.at: entry for entry in inputs.description}
    description = tuple(
        known.get(
            loaded.segment.mem,
            PayloadPart(
                loaded.segment.name,
                loaded.kind,
                loaded.segment.mem,
                loaded.segment.bufsz,
                loaded.segment.memsz,
            ),
        )
        for loaded in segments
    )
    return replace(inputs, segments=segments, description=description)


def _holes(inputs: Inputs, target: Target, size: int, count: int) -> list[int]:
    """``count`` free ranges of ``size`` bytes, from the top of RAM down, a page between any two."""
    page = target.page_size
    taken = [(inputs.old_kernel.base, inputs.old_kernel.end)]
    taken += spans_of(inputs.ram.reserved)
    for loaded in inputs.segments:
        segment = loaded.segment
        taken.append((segment.mem, segment.mem + segment.pages(page) * page))
    free = without(spans_of(inputs.ram.destinations), merged(taken))

    def candidates() -> Iterator[int]:
        for low, high in reversed(free):
            yield from range(high - size - page, low + page - 1, -size - page)

    found = [at for at, _ in zip(candidates(), range(count), strict=False)]
    if len(found) < count:
        raise MachineError(
            f"no {size:#x} free bytes for another segment", hint="give the guest more RAM"
        )
    return found


def _fill_list_page(inputs: Inputs, target: Target, seed: int) -> Inputs:
    """One more segment, so long that IND_DONE falls into the last word of a list page."""
    page = target.page_size
    words = sum(1 + loaded.segment.pages(page) for loaded in inputs.segments)
    per_page = page // 8 - 1
    pages = -(words + 1) % per_page or per_page
    [at] = _holes(inputs, target, pages * page, 1)
    return _with_segments(inputs, (*inputs.segments, _pattern("filler", at, pages * page, seed)))
