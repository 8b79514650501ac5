"""The code of several files as that of one: what goes before what, and what fits together."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from relokit.codegen.base.errors import FormatError
from relokit.codegen.facts import RELOCATION
from relokit.codegen.kexec_routines import BESIDE, NAMES
from relokit.codegen.object import Object
from relokit.codegen.series import BEFORE, COMPLETE
from relokit.linker.foreign.code import ForeignCode
from relokit.linker.link.merge import merge_objects

LINKED, IMAGE = "linked ELF", "kernel Image"
"""Kinds of files that are whole programs."""
ALL_STATES = range(BEFORE, COMPLETE + 1)
MAX_FILES = 64

T = TypeVar("T")


def together(codes: Sequence[ForeignCode]) -> ForeignCode:
    """All of ``codes``, at least one, linked with each other as ``ld -r`` does.

    A routine of an object goes before that of a whole program, in whatever order they come. Raises
    FormatError for a routine that two of a kind have, a file of which nothing is left, and files
    of different kernels; LinkError.
    """
    if len(codes) == 1:
        return codes[0]
    if len(codes) > MAX_FILES:
        raise FormatError(f"{len(codes)} files of code", hint=f"give {MAX_FILES} at most")
    owners = _owners(codes)
    kept = [_with(code, {name for name, one in owners.items() if one is code}) for code in codes]
    states = range(max(code.states[0] for code in kept), min(code.states[-1] for code in kept) + 1)
    if not states:
        raise FormatError(
            "are of no state of the series together",
            where=", ".join(code.where for code in kept),
            hint="give files of one kernel",
        )
    return ForeignCode(
        files=tuple(file for code in kept for file in code.files),
        parts=tuple(part for code in kept for part in code.parts),
        unit=merge_objects([_unit(code) for code in kept], ", ".join(code.where for code in kept)),
        states=states,
        page_size=_agreed("page size", [(one.where, one.page_size) for one in kept]),
        version=next((code.version for code in kept if code.version is not None), None),
        layout=_agreed("struct kimage", [(one.where, one.layout) for one in kept]),
        fields=frozenset().union(*(code.fields for code in kept)),
    )


def _is_program(code: ForeignCode) -> bool:
    return code.files[0].kind in (LINKED, IMAGE)


def _unit(code: ForeignCode) -> Object:
    assert code.unit is not None
    return code.unit


def _owners(codes: Sequence[ForeignCode]) -> dict[str, ForeignCode]:
    """Whose each routine is, by symbol."""
    owners: dict[str, ForeignCode] = {}
    for code in sorted(codes, key=_is_program):
        for part in code.parts:
            other = owners.setdefault(part.symbol, code)
            if other is not code and _is_program(other) == _is_program(code):
                raise FormatError(
                    f"has {part.symbol}, which {other.where} has, too",
                    where=code.where,
                    hint="leave one of them out",
                )
    return owners


def _with(code: ForeignCode, names: Collection[str]) -> ForeignCode:
    """``code`` with the routines ``names`` alone."""
    gone = {part.symbol for part in code.parts} - {*names}
    if not gone:
        return code
    if not names:
        raise FormatError(
            "does nothing: the other files have all of its routines",
            where=code.where,
            hint="leave it out",
        )
    gone |= {name for name, of in BESIDE.items() if of in gone}
    return replace(
        code,
        parts=tuple(part for part in code.parts if part.symbol in names),
        unit=_without(_unit(code), gone),
        states=ALL_STATES if RELOCATION in gone else code.states,
        fields=frozenset() if RELOCATION in gone else code.fields,
    )


def _without(unit: Object, gone: Collection[str]) -> Object:
    """``unit``, which was cut out of a program (a section for each routine), without those."""
    there = {one.section for one in unit.symbols if one.name in gone}
    for one in unit.symbols:
        if one.section in there and one.name in NAMES and one.name not in gone:
            raise FormatError(
                f"has {one.name} in one piece with what another file has",
                where=unit.name,
                hint=f"give a file that has {one.name}, too",
            )
    numbers = {
        old: new for new, old in enumerate(n for n in range(len(unit.sections)) if n not in there)
    }
    sections = tuple(one for number, one in enumerate(unit.sections) if number in numbers)
    symbols = tuple(
        replace(one, section=numbers[one.section]) for one in unit.symbols if one.section in numbers
    )
    return Object(unit.name, sections, symbols)


def _agreed(what: str, said: Iterable[tuple[str, T | None]]) -> T | None:
    """What those files say that say something."""
    found: tuple[str, T] | None = None
    for where, value in said:
        if value is None:
            continue
        if found is not None and value != found[1]:
            raise FormatError(
                f"is built for another {what} than {found[0]}",
                where=where,
                hint="give files of one kernel",
            )
        found = found or (where, value)
    return None if found is None else found[1]
