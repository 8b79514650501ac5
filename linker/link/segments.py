"""Segments: the program headers that PHDRS asks for, or the default ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from relokit.codegen.base.bits import MASK64
from relokit.codegen.base.budget import spend
from relokit.codegen.base.errors import LinkError
from relokit.codegen.object import SectionFlag, SectionType
from relokit.codegen.source import Unit
from relokit.linker.elf_format import EHDR, PAGE, PHDR, PT_LOAD, PT_NOTE, PT_PHDR
from relokit.linker.image import PlacedSection, Segment, SegmentFlag
from relokit.linker.link.layout import Layout
from relokit.linker.link.sections import MAX_GAP, Output
from relokit.linker.script.statements import Header, script_error

MAX_SEGMENT_ALIGN = 65536
"""Largest p_align: a section's own alignment may be 1 GiB, a file's must not be."""


def access(flags: SectionFlag) -> SegmentFlag:
    """The access that a section with ``flags`` needs."""
    result = SegmentFlag.R
    if flags & SectionFlag.WRITE:
        result |= SegmentFlag.W
    if flags & SectionFlag.EXEC:
        result |= SegmentFlag.X
    return result


def build_segments(
    layout: Layout, source: Unit, outputs: Sequence[Output], sections: list[PlacedSection]
) -> tuple[Segment, ...]:
    """Group allocated sections into segments; ``outputs`` and ``sections`` run in parallel.

    A NOBITS section with stored bytes
    after it in its segment is turned into zeros, in ``sections``. Raises LinkError for a PT_LOAD
    that is writable and executable, or whose sections do not keep one distance from VA to PA.
    """
    if layout.script.headers:
        segments = _described(layout, source, outputs, sections)
    else:
        segments = _default(sections)
    if not any(segment.head for segment in segments):
        segments = [segment for segment in segments if segment.sections]
    # Else the table is loaded, and has as many as the script says.
    for segment in segments:
        if segment.type == PT_LOAD and segment.sections:
            _check(segment, sections)
            _store_inner_nobits(segment, sections)
    return tuple(segments)


def _described(
    layout: Layout, source: Unit, outputs: Sequence[Output], sections: list[PlacedSection]
) -> list[Segment]:
    members: dict[str, list[int]] = {header.name: [] for header in layout.script.headers}
    current: tuple[str, ...] | None = None
    for index, output in enumerate(outputs):
        statement = output.statement
        if not sections[index].flags & SectionFlag.ALLOC:
            continue
        current = statement.headers or current
        if current is None:
            raise script_error(
                source,
                statement.line,
                f"section {statement.name} has no program header",
                "name one (:header) from PHDRS, or :NONE",
            )
        for name in current:
            if name == "NONE":
                continue
            if name not in members:
                raise script_error(
                    source, statement.line, f"no program header {name}", "describe it in PHDRS"
                )
            members[name].append(index)
    segments = []
    for header in layout.script.headers:
        inside = members[header.name]
        if header.flags is not None:
            flags = SegmentFlag(layout.settled(header.line, header.flags) & 7)
        else:
            flags = _flags_of([sections[i] for i in inside])
        if header.type == PT_PHDR and inside:
            raise script_error(source, header.line, f"sections in {header.name}, which is PT_PHDR")
        segment = _segment(header.name, header.type, flags, inside, sections)
        if header.holds_headers:
            segment = _with_headers(segment, header, source, layout, sections)
        if header.load_address is not None:
            at = layout.settled(header.line, header.load_address)
            _load_at(segment, at, header, source, sections)
        segments.append(segment)
    _check_table(segments, layout.script.headers, source, sections)
    return segments


def _check_table(
    segments: Sequence[Segment],
    headers: Sequence[Header],
    source: Unit,
    sections: Sequence[PlacedSection],
) -> None:
    """That the program headers are loaded if PT_PHDR says where, and from where they are."""
    held = any(one.table and one.holds_headers for one in headers)
    if not held and any(one.type == PT_PHDR for one in segments):
        raise LinkError(
            "PT_PHDR, and no PT_LOAD with PHDRS", where=source.name, hint="load the table, too"
        )
    loads = [one for one in segments if one.type == PT_LOAD and one.sections]
    low = min(loads, key=lambda one: sections[one.sections[0]].pa - one.head, default=None)
    for one in loads:
        if one.head_from and one is not low:
            raise LinkError(
                f"PHDRS without FILEHDR in {one.name}, which is not loaded lowest",
                where=source.name,
                hint="GNU ld stores segments by load address; add FILEHDR",
            )


def _with_headers(
    segment: Segment,
    header: Header,
    source: Unit,
    layout: Layout,
    sections: Sequence[PlacedSection],
) -> Segment:
    """GNU ld: the file's headers stand as far before the first section as they do in the file."""
    if not segment.sections:
        raise script_error(source, header.line, f"headers of the file alone in {header.name}")
    aligned = max(sections[index].align for index in segment.sections)
    if aligned > MAX_SEGMENT_ALIGN:
        raise script_error(
            source,
            header.line,
            f"headers of the file before a section aligned to {aligned:#x} in {header.name}",
            f"at most {MAX_SEGMENT_ALIGN:#x}",
        )
    first = sections[segment.sections[0]]
    end = EHDR.size + PHDR.size * len(layout.script.headers)
    offset = end + (first.va - end) % segment.align
    if min(first.va, first.pa if header.load_address is None else first.va) < offset:
        raise script_error(
            source,
            header.line,
            f"no room for the file's headers before {first.name} at {first.va:#x}",
            ". = x + SIZEOF_HEADERS leaves room",
        )
    begin = 0 if header.elf else EHDR.size
    below = first.va - offset + begin
    for section in sections:
        inside = section.flags & SectionFlag.ALLOC and section.size
        if inside and section.va < first.va and below < section.va + section.size:
            raise script_error(
                source,
                header.line,
                f"the file's headers would be loaded over {section.name}, from {below:#x} on",
                ". = x + SIZEOF_HEADERS leaves room",
            )
    return replace(segment, head=offset - begin, head_from=begin)


def _load_at(
    segment: Segment, at: int, header: Header, source: Unit, sections: list[PlacedSection]
) -> None:
    """AT() of PHDRS is where the segment is loaded, if GNU ld loads all of it there.

    It goes on from the address that a section has, where that is higher, and loses gaps.
    """
    if not segment.sections:
        return
    end = first = sections[segment.sections[0]].va
    for index in segment.sections:
        section = sections[index]
        if section.pa != section.va:
            raise script_error(
                source,
                header.line,
                f"AT() of {header.name}, and a load address of {section.name}'s own",
                "say it once",
            )
        pa = (at + segment.head + section.va - first) & MASK64
        if pa != section.va and (section.va > pa or section.va > end):
            raise script_error(
                source,
                header.line,
                f"AT({at:#x}) of {header.name} with {section.name} at {section.va:#x}, which is "
                + ("higher" if section.va > pa else "not where the section before ends"),
                "use AT() of its sections",
            )
        end = section.va + section.size
        sections[index] = replace(section, pa=pa)


def _default(sections: Sequence[PlacedSection]) -> list[Segment]:
    """One PT_LOAD a run of sections with the same access and the same VA-PA distance."""
    segments: list[Segment] = []
    run: list[int] = []
    kind: object = None

    def close() -> None:
        if run:
            inside = [sections[i] for i in run]
            segments.append(
                _segment(inside[0].name, PT_LOAD, _flags_of(inside), list(run), sections)
            )
            run.clear()

    for index, section in enumerate(sections):
        if not section.flags & SectionFlag.ALLOC:
            continue
        this = (access(section.flags), (section.va - section.pa) % (1 << 64))
        last = sections[run[-1]] if run else None
        if this != kind or last is None or not 0 <= section.va - last.va - last.size <= PAGE:
            close()
        kind = this
        run.append(index)
    close()
    for index, section in enumerate(sections):
        if section.type is SectionType.NOTE and section.flags & SectionFlag.ALLOC:
            segments.append(_segment(section.name, PT_NOTE, SegmentFlag.R, [index], sections))
    return segments


def _flags_of(sections: Sequence[PlacedSection]) -> SegmentFlag:
    flags = SegmentFlag.R
    for section in sections:
        flags |= access(section.flags)
    return flags


def _segment(
    name: str, kind: int, flags: SegmentFlag, inside: list[int], sections: Sequence[PlacedSection]
) -> Segment:
    align = max((sections[i].align for i in inside), default=1)
    if kind == PT_LOAD:
        align = min(max(align, PAGE), MAX_SEGMENT_ALIGN)
    return Segment(name, kind, flags, tuple(inside), align)


def _check(segment: Segment, sections: Sequence[PlacedSection]) -> None:
    if segment.flags & SegmentFlag.W and segment.flags & SegmentFlag.X:
        names = ", ".join(sections[i].name for i in segment.sections)
        raise LinkError(
            f"segment {segment.name} would be writable and executable ({names})",
            hint="put code and data into different segments",
        )
    first = sections[segment.sections[0]]
    distance = (first.va - first.pa) % (1 << 64)
    end = first.va
    for index in segment.sections:
        section = sections[index]
        if section.va < end:
            raise LinkError(
                f"section {section.name} at {section.va:#x} lies before its segment's end, "
                f"{end:#x}",
                hint=f"give it a segment of its own, or place it later in {segment.name}",
            )
        if section.va - end > MAX_GAP:
            raise LinkError(
                f"a gap of {section.va - end} bytes before {section.name} in segment "
                f"{segment.name}",
                hint="give the section a segment of its own",
            )
        if (section.va - section.pa) % (1 << 64) != distance:
            raise LinkError(
                f"section {section.name} has another distance from VA to PA than segment "
                f"{segment.name} begins with",
                hint="give it a segment of its own, or the same AT() offset",
            )
        end = section.va + section.size


def _store_inner_nobits(segment: Segment, sections: list[PlacedSection]) -> None:
    stored = False
    zeros = 0
    for index in reversed(segment.sections):
        section = sections[index]
        if section.type is not SectionType.NOBITS:
            stored = True
        elif stored:
            zeros += section.size
            if zeros > MAX_GAP:
                raise LinkError(
                    f"section {section.name} without contents lies before stored ones, and "
                    f"{zeros} zeros are too many to store",
                    hint="place it last in its segment",
                )
            spend(section.size, "zeros of stored sections", section.name)
            sections[index] = replace(section, type=SectionType.PROGBITS, data=bytes(section.size))
