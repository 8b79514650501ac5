"""What the old kernel prepared, as it is at the jump: list, struct kimage, code, tables.

A mistake here explains findings that would puzzle otherwise, and is a finding even where nothing
came of it this time. What the move does to these pages later is another matter: damage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from relokit.runtime.arch.walker import Fault
from relokit.runtime.guest.ledger import Region
from relokit.runtime.guest.owner import OwnerKind
from relokit.runtime.judge.rules.rule import Applies, Broken, Rule, before_the_jump
from relokit.runtime.judge.rules.severity import Severity
from relokit.runtime.record.known import Unknown, known
from relokit.runtime.record.memory_facts import (
    BrokenList,
    KimageWord,
    MisledPage,
    PageUse,
    Prepared,
    WordDifference,
)
from relokit.runtime.record.record import Record

# What each word is for, as causes say it.
FIELDS: dict[str, str] = {
    "head": "where the list starts",
    "start": "where the new kernel is entered (PA)",
    "dtb_mem": "what the new kernel gets in x0 (PA)",
    "kern_reloc": "where machine_kexec jumps (PA of the code in the control page)",
    "el2_vectors": "the copied EL2 vectors (PA), 0 where no stub waits at EL2",
    "ttbr0": "the identity map of the control page",
    "ttbr1": "the copy of the linear map (PA)",
    "zero_page": "the empty table between two values of TTBR1 (PA)",
    "phys_offset": "PA - VA of the linear map",
    "t0sz": "TCR.T0SZ of the identity map",
}
OVERWRITTEN = 3
"""More wrong words of struct kimage than this are not mistakes one by one."""
COPIES = {OwnerKind.CONTROL_PAGE: "relocation code", OwnerKind.EL2_VECTORS: "EL2 vectors"}


def _there(part: Callable[[Prepared], object], why: str) -> Applies:
    """Applies where ``part`` of what is prepared exists; else ``why`` it does not."""

    def applies(record: Record) -> str | None:
        prepared = record.prepared
        if prepared is None:
            return "no kimage takes part"
        if isinstance(prepared, Unknown):
            return None
        return why if part(prepared) is None else None

    return applies


def _prepared(record: Record) -> Prepared:
    assert record.prepared is not None
    return known(record.prepared)


def _kimage(record: Record) -> Iterator[Broken]:
    prepared = _prepared(record)
    wrong = [word for word in prepared.words if word.held != known(word.wanted)]
    if len(wrong) > OVERWRITTEN:
        yield Broken(
            f"struct kimage at PA {prepared.kimage:#x} was overwritten: {len(wrong)} of its "
            f"{len(prepared.words)} words are wrong",
            address=prepared.kimage,
            notes=tuple(f"{w.name} is {w.held:#x}, was {known(w.wanted):#x}" for w in wrong),
            cause="its page was a destination, or a store went astray",
        )
        return
    yield from (_word(prepared, word) for word in wrong)


def _word(prepared: Prepared, word: KimageWord) -> Broken:
    return Broken(
        f"kimage {word.name} is {word.held:#x}, and has to be {known(word.wanted):#x}",
        address=prepared.kimage,
        notes=_owned(word.held, word.owner),
        cause=f"it is {FIELDS[word.name]}: set wrongly, or overwritten",
    )


def _code(record: Record) -> Iterator[Broken]:
    """The copied code and vectors, byte by byte."""
    for copy in _prepared(record).copies or ():
        wrong = known(copy.difference)
        if wrong is not None:
            yield Broken(
                f"the copy of the {COPIES[copy.owner]} was changed: {wrong.held:#010x} instead of "
                f"{wrong.wanted:#010x} at PA {wrong.pa:#x}",
                address=wrong.pa,
            )


def _list(record: Record) -> Iterator[Broken]:
    """Where the list sends pages, against the segments."""
    prepared = _prepared(record)
    listed = known(prepared.listed)
    assert listed is not None
    notes = _changed(prepared.entry)
    if isinstance(listed, BrokenList):
        yield Broken(
            listed.why,
            notes=notes,
            cause="the list was built wrong, or a page that is not the list's was copied over it",
        )
        return
    if listed.pages != listed.wanted:
        yield Broken(
            f"the list moves {listed.pages} pages, and the segments have {listed.wanted}",
            notes=notes,
            cause="an entry is missing, is there twice, or has a flag that makes it another one",
        )
    astray = listed.misplaced
    if astray is not None:
        foreign = astray.owner is not None and not astray.owner.owner.is_destination
        yield Broken(
            f"page {astray.index} of the list goes to PA {astray.pa:#x} instead of "
            f"{astray.wanted:#x}",
            address=astray.pa,
            notes=(*_owned(astray.pa, astray.owner), *notes),
            cause=f"it overwrites what the move itself needs: {astray.owner}"
            if foreign
            else "its destination entry is wrong, or a source before it is missing",
        )
    elif listed.pages == listed.wanted and notes:
        yield Broken(
            "the list was changed since it was made, and moves other pages",
            notes=notes,
            cause="its page is nobody else's: a store that went astray",
        )


def _changed(entry: WordDifference | None) -> tuple[str, ...]:
    if entry is None:
        return ()
    return (
        f"the list's entry at PA {entry.pa:#x} is {entry.held:#x}, and was {entry.wanted:#x} when "
        "the list was made",
    )


def _empty_table(record: Record) -> Iterator[Broken]:
    """TTBR1 points there for a moment: any entry in it would be a live translation."""
    table = _prepared(record).empty_table
    assert table is not None
    if table.first is not None:
        yield Broken(f"the empty table at PA {table.pa:#x} is not empty", address=table.first)


def _tables(record: Record) -> Iterator[Broken]:
    """Whether the tables send every page of the list where the list says."""
    for page in known(_prepared(record).misled) or ():
        yield _idmap(page) if page.use is PageUse.CONTROL else _linear(page)


def _idmap(page: MisledPage) -> Broken:
    return Broken(
        f"the identity map sends the control page, PA {page.pa:#x}, to "
        f"{_end(page.walk.pa, page.fault)}",
        address=page.va,
        notes=_trail(page),
        cause="the code has to run on while TTBR1 and SCTLR change: TTBR0 must map its page "
        "to itself, executable",
    )


def _linear(page: MisledPage) -> Broken:
    return Broken(
        f"the copy of the linear map sends VA {page.va:#x}, the {page.use.value} page at PA "
        f"{page.pa:#x}, to {_end(page.walk.pa, page.fault)}",
        address=page.va,
        notes=_trail(page),
        cause="the entry was copied wrongly, or the table was overwritten",
    )


def _trail(page: MisledPage) -> tuple[str, ...]:
    return tuple(line.strip() for line in str(page.walk).splitlines())


def _end(pa: int | None, fault: Fault | None) -> str:
    return f"nothing: {fault}" if fault or pa is None else f"PA {pa:#x}"


def _owned(pa: int, owner: Region | None) -> tuple[str, ...]:
    return (f"PA {pa:#x} belongs to {owner}",) if owner else ()


_SKIPPED = "nothing is moved: the code that moves is skipped"
_NO_LIST = "there is no list: every segment is where it belongs"

SETUP = (
    Rule(
        "setup.kimage",
        "at the jump, each word of struct kimage that this state reads has its value",
        "series, patches 5 to 12: struct kimage and struct kimage_arch",
        Severity.ERROR,
        _there(lambda prepared: prepared.words, ""),
        before_the_jump(_kimage),
    ),
    Rule(
        "setup.code",
        "at the jump, the relocation code and the EL2 vectors are copied whole",
        "series, patches 2, 7 and 8",
        Severity.ERROR,
        _there(lambda prepared: prepared.copies, _SKIPPED),
        before_the_jump(_code),
        "its page is nobody else's: a destination that overlaps it, a store that "
        "went astray, or a copy of the wrong bytes",
    ),
    Rule(
        "setup.list",
        "at the jump, the list leads to its end and sends every page of every segment home",
        "include/linux/kexec.h: IND_DESTINATION, IND_INDIRECTION, IND_DONE, IND_SOURCE",
        Severity.ERROR,
        _there(lambda prepared: prepared.listed, _NO_LIST),
        before_the_jump(_list),
    ),
    Rule(
        "setup.zero-page",
        "at the jump, the table that TTBR1 holds for a moment maps nothing",
        "series, patch 11: break before make of TTBR1",
        Severity.ERROR,
        _there(lambda prepared: prepared.empty_table, "this state or path never uses it"),
        before_the_jump(_empty_table),
        "something was stored to it: between the two values of TTBR1 the CPU may take "
        "translations from it",
    ),
    Rule(
        "setup.tables",
        "at the jump, the tables send every page of the list, and the code, where it is",
        "series, patches 11 and 12: trans_pgd_create_copy, trans_pgd_idmap_page",
        Severity.ERROR,
        _there(lambda prepared: prepared.misled, "the MMU is off during the move, or no list is"),
        before_the_jump(_tables),
    ),
)
