"""Rule: one thing that must hold, as a small function over a Record."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from relokit.codegen.base.nouns import dataclass
from relokit.runtime.judge.rules.made import Used
from relokit.runtime.judge.rules.profile import Guarantee
from relokit.runtime.judge.rules.severity import Severity
from relokit.runtime.record.record import Record


@dataclass(frozen=True, slots=True)
class Broken:
    """One way in which a rule is broken; the fields are those of a Finding.

    ``station`` is the number of what had been entered when it showed, None for what is about no
    moment: what shows first is told first. ``cause``, ``hint``, ``consequence`` and ``spared_by``
    take the place of the rule's. ``uses`` are what it is about, so
    that it can be told what made that: None is what the instruction at ``address`` goes by.
    What ``explains`` the rest is told before all that is not of the moment before the jump.
    """

    message: str
    address: int | None = None
    place: str | None = None
    listing: tuple[str, ...] = ()
    registers: tuple[tuple[str, int], ...] = ()
    notes: tuple[str, ...] = ()
    cause: str | None = None
    station: int | None = None
    hint: str | None = None
    spared_by: frozenset[Guarantee] = frozenset()
    consequence: str | None = None
    uses: tuple[Used, ...] | None = None
    explains: bool = False


AT_THE_JUMP = -1
"""The station of what is about the moment before the jump: it comes before all that follows."""
Applies = Callable[[Record], str | None]
"""None, or why the rule has nothing to say of this record."""
Check = Callable[[Record], Iterable[Broken]]
"""All that is broken. Asking for a fact that is unknown (record.known) ends it: not judged."""
CauseOf = str | Callable[[Record], str]


@dataclass(frozen=True, slots=True)
class Rule:
    """``must`` is what has to hold, in a sentence; ``source`` where that is written.

    ``cause`` is the probable reason if it is broken, None where each Broken brings its own.
    ``consequence`` is what becomes of a machine on which it is broken, and so why it must hold;
    ``hint`` is what right code looks like. ``executed`` is False if nothing that is emulated has
    what it is about: it is tried on records made by hand only. ``spared_by`` are
    guarantees of which one is enough for a CPU on which it does not bite.
    """

    name: str
    must: str
    source: str
    severity: Severity
    applies: Applies
    check: Check
    cause: CauseOf | None = None
    consequence: str | None = None
    hint: str | None = None
    executed: bool = True
    spared_by: frozenset[Guarantee] = frozenset()


def before_the_jump(check: Check) -> Check:
    """``check``, of what is so at the jump: what it finds comes before all that follows."""

    def found(record: Record) -> Iterator[Broken]:
        return (replace(broken, station=AT_THE_JUMP) for broken in check(record))

    return found


def always(record: Record) -> None:
    """Applies to every record."""
