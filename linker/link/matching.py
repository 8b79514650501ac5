"""Which input section goes where: the script's patterns against the objects' sections."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from relokit.codegen.base.errors import LinkError
from relokit.codegen.object import Object, SectionFlag
from relokit.codegen.source import Unit
from relokit.linker.link.orphans import MAX_ORPHANS, UndecidedError, place_orphans
from relokit.linker.link.patterns import matches, takes
from relokit.linker.link.sections import DISCARDED, NOWHERE, Item, Output, Piece, classify
from relokit.linker.script.statements import (
    DISCARD,
    InputSections,
    OutputSection,
    Pattern,
    Script,
    SortKey,
    Statement,
    script_error,
)

MAX_TRIES = 10_000_000


def _wanted(patterns: Sequence[Pattern], file: str, name: str) -> bool:
    return any(
        matches(pattern.section, name)
        and not any(matches(excluded, file) for excluded in pattern.exclude)
        for pattern in patterns
    )


def _take(item: InputSections, free: list[Piece], objects: Sequence[Object]) -> list[Piece]:
    if item.file == "*" and not any(pattern.exclude for pattern in item.patterns):
        # By far the usual case: it is enough to look at each name once.
        names = {piece.section.name for piece in free}
        wanted = {name for name in names if _wanted(item.patterns, "", name)}
        taken = [piece for piece in free if piece.section.name in wanted] if wanted else []
    else:
        taken = [
            piece
            for piece in free
            if matches(item.file, objects[piece.unit].name)
            and _wanted(item.patterns, objects[piece.unit].name, piece.section.name)
        ]
    # Sorting is stable: the key that counts most comes last.
    for key in reversed(item.order):
        taken.sort(key=_SORT_KEYS[key])
    return taken


def _priority(piece: Piece) -> int:
    """What GNU ld's SORT_BY_INIT_PRIORITY goes by: the number at the end of the section's name.

    That of .ctors.N and .dtors.N counts from 65535 down; without a number a section comes last.
    """
    name, _, number = piece.section.name.rpartition(".")
    if not (number.isascii() and number.isdigit() and len(number) <= 5):
        return 1 << 16
    return 65535 - int(number) if name in (".ctors", ".dtors") else int(number)


_SORT_KEYS: dict[SortKey, Callable[[Piece], str | int]] = {
    SortKey.NAME: lambda piece: piece.section.name,
    SortKey.ALIGNMENT: lambda piece: -piece.section.align,
    SortKey.PRIORITY: _priority,
}


def _load_region(statement: OutputSection, before: Output | None) -> str | None:
    """AT>region, or that of the section before if both lie in one region, as GNU ld has it."""
    if statement.load_region is not None:
        return statement.load_region
    if (
        before is not None
        and statement.load_address is None
        and statement.address is None
        and statement.region == before.statement.region
    ):
        return before.load_region
    return None


def _refuse_file_of_its_own(item: InputSections, objects: Sequence[Object], source: Unit) -> None:
    """GNU ld opens a file that a script names without wildcards."""
    if not any(sign in item.file for sign in "*?[") and all(
        one.name != item.file for one in objects
    ):
        raise script_error(
            source,
            item.line,
            f"no object is called {item.file}",
            "GNU ld would link that file, too; give it, or write a pattern",
        )


def distribute(
    objects: Sequence[Object], pieces: Sequence[Piece], script: Script, source: Unit
) -> tuple[tuple[Statement, ...], list[Output]]:
    """Give every piece its output section (in ``piece.output``) and return those, in order.

    The first pattern that matches has the section; an allocated one that none matches is placed as
    GNU ld does. The statements are the script's and what these orphans add. Raises LinkError.
    """
    outputs: list[Output] = []
    seen: set[str] = set()
    free = list(pieces)
    tried = 0
    for statement in script.statements:
        if not isinstance(statement, OutputSection):
            continue
        discard = statement.name == DISCARD
        if statement.name in seen and not discard:
            raise script_error(
                source, statement.line, f"output section {statement.name} is described twice"
            )
        seen.add(statement.name)
        index = DISCARDED if discard else len(outputs)
        items: list[Item] = []
        kept = False
        for item in statement.body:
            if not isinstance(item, InputSections):
                items.append(item)
                continue
            _refuse_file_of_its_own(item, objects, source)
            tried += len(free) * len(item.patterns)
            if tried > MAX_TRIES:
                raise script_error(
                    source, item.line, f"more than {MAX_TRIES} patterns to try on sections"
                )
            taken = _take(item, free, objects) if free else []
            if taken:
                for piece in taken:
                    piece.output = index
                free = [piece for piece in free if piece.output == NOWHERE]
                items.append(taken)
                kept |= item.keep
        if not discard:
            before = outputs[-1] if outputs else None
            output = Output(statement, items, _load_region(statement, before), kept)
            if not output.pieces and takes(statement, ".got") and items:
                raise script_error(
                    source,
                    statement.line,
                    f"GNU ld may have something of its own in {statement.name}, to be written",
                    "relokit makes no .got; leave its pattern out",
                )
            classify(output)
            outputs.append(output)
    orphans = [piece for piece in free if piece.section.flags & SectionFlag.ALLOC]
    # With MEMORY, what is empty may join a section, and no other orphan finds a region.
    homeless = [piece for piece in orphans if piece.section.size or not script.regions]
    if homeless and (
        script.regions or len({piece.section.name for piece in homeless}) > MAX_ORPHANS
    ):
        homeless = [piece for piece in homeless if piece.section.size] or homeless
        others = len({piece.section.name for piece in homeless}) - 1
        name = homeless[0].section.name
        raise LinkError(
            f"section {name} is not placed by the script"
            + (f", nor are {others} others" if others > 1 else ""),
            where=objects[homeless[0].unit].name,
            hint=f"add *({name}) to an output section, or to {DISCARD}: with MEMORY no place is "
            f"found for it, and without for {MAX_ORPHANS} at most",
        )
    if not orphans:
        return script.statements, outputs
    try:
        return place_orphans(orphans, script, outputs)
    except UndecidedError as error:
        statement = error.output.statement
        raise script_error(
            source,
            statement.line,
            f"{error.why}; where {error.name} goes depends on that",
            f"describe a section for {error.name}",
        ) from None
