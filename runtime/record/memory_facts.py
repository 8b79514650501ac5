"""Facts about guest RAM: what was prepared, at the jump; what arrived and what suffered, later.

Each fact has what is there and what has to be, so that a rule only compares. ``wanted`` may be
unknown of a machine that nobody here has built.
"""

from __future__ import annotations

from dataclasses import field
from enum import Enum

from relokit.codegen.base.documents import ABSENT
from relokit.codegen.base.nouns import dataclass
from relokit.runtime.arch.walker import Fault, Walk
from relokit.runtime.guest.content import Verification
from relokit.runtime.guest.ledger import Region
from relokit.runtime.guest.owner import Owner, OwnerKind
from relokit.runtime.guest.payload import PayloadKind
from relokit.runtime.record.known import Unknown


@dataclass(frozen=True, slots=True)
class KimageWord:
    """A word of struct kimage by KimageLayout's name. ``owner`` has the page at PA ``held``."""

    name: str
    held: int
    wanted: int | Unknown
    owner: Region | None


@dataclass(frozen=True, slots=True)
class WordDifference:
    """The first word at which two pieces of memory differ, at PA ``pa``: 32 bits of code, 64 of
    a list.
    """

    pa: int
    held: int
    wanted: int


@dataclass(frozen=True, slots=True)
class CodeCopy:
    """Code that was copied to a page of its own: ``size`` bytes at PA ``base``."""

    owner: OwnerKind
    base: int
    size: int
    difference: WordDifference | Unknown | None


@dataclass(frozen=True, slots=True)
class MisplacedPage:
    """Page number ``index`` of the list goes to PA ``pa``, which ``owner`` has."""

    index: int
    pa: int
    wanted: int
    owner: Region | None


@dataclass(frozen=True, slots=True)
class ListFacts:
    """What the list asks for: ``pages`` of the ``wanted``, and the first that goes astray."""

    pages: int
    wanted: int
    misplaced: MisplacedPage | None


@dataclass(frozen=True, slots=True)
class BrokenList:
    """A list that cannot be walked to its end."""

    why: str


@dataclass(frozen=True, slots=True)
class EmptyTable:
    """The table that maps nothing, at PA ``pa``; ``first`` is the PA of a byte that is not 0."""

    pa: int
    first: int | None


class PageUse(Enum):
    """What a page is for during the move; the value is how that is shown."""

    DESTINATION = "destination"
    SOURCE = "source"
    CONTROL = "control"


@dataclass(frozen=True, slots=True)
class MisledPage:
    """The tables do not send VA ``va`` to the page at PA ``pa``: see ``walk``.

    ``fault`` is what the access that the page is for gets, if anything.
    """

    use: PageUse
    pa: int
    va: int
    walk: Walk
    fault: Fault | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What the move finds at the jump. None means that this state or path has no such thing.

    ``kimage`` is the PA of struct kimage, ``misled`` the first wrong page of each use. ``entry``
    is the first word of the list that is not what it was when the list was made.
    """

    kimage: int
    words: tuple[KimageWord, ...]
    copies: tuple[CodeCopy, ...] | None
    listed: ListFacts | BrokenList | Unknown | None
    empty_table: EmptyTable | None
    misled: tuple[MisledPage, ...] | Unknown | None
    entry: WordDifference | None = field(default=None, metadata=ABSENT)

    def word(self, name: str) -> KimageWord | None:
        """The word of struct kimage that is called ``name``."""
        return next((word for word in self.words if word.name == name), None)

    def copy(self, owner: OwnerKind) -> CodeCopy | None:
        """The copied code that ``owner`` has."""
        return next((copy for copy in self.copies or () if copy.owner is owner), None)


@dataclass(frozen=True, slots=True)
class Damage:
    """Pages of ``owner`` that were changed between the jump and the end.

    ``count`` 64-bit words differ, the first at PA ``pa``; it was ``before`` and is ``after``.
    ``in_destination`` says that this page is one that the move fills.
    """

    owner: Owner
    pa: int
    before: int
    after: int
    count: int
    in_destination: bool


@dataclass(frozen=True, slots=True)
class Arrival:
    """A segment at the end: ``result`` compares what is at PA ``base`` with what was to come."""

    name: str
    kind: PayloadKind
    base: int
    result: Verification
