"""What a finding is about, and what made that: nouns, which cost nothing to import."""

from __future__ import annotations

from dataclasses import field
from enum import StrEnum

from relokit.codegen.base.documents import ABSENT
from relokit.codegen.base.nouns import dataclass


@dataclass(frozen=True, slots=True)
class Used:
    """What is used: general ``registers`` by the instruction at VA ``pc``, and ``system`` by name.

    None are those that its address is made of, or all that it reads. Without a ``pc`` they are what
    is there when ``begun`` instructions were begun, or at the end. ``cost`` is how far it is from
    what is wrong: 2 is a step. With ``loop`` it is in one that does not end; with ``itself`` the
    instruction may be wrong as well. ``choices`` are the branches that always went one way, where
    what is wrong is that something has not happened.
    """

    pc: int | None = None
    registers: tuple[int, ...] | None = None
    system: tuple[str, ...] = ()
    begun: int | None = None
    cost: int = 0
    loop: bool = False
    itself: bool = False
    choices: bool = False


class MadeHow(StrEnum):
    """What an instruction has to do with what is wrong."""

    MADE = "made"
    """It has set a register by which the one at ``used`` went."""
    BEFORE = "set before the jump"
    """It has, but before the jump: an argument, or what the code that moves forgot to set."""
    DECIDED = "decided"
    """It is the branch that decided that the one at ``used`` was come to."""
    REPEATED = "repeats"
    """It is the branch that has the loop around ``used`` go on or end."""
    UNUSED = "made for nothing"
    """It has set a register, and nothing has used that when the one at ``used`` set it again."""
    SET_AGAIN = "set again"
    """It has set a register, and nothing had used what the one at ``used`` had set it to."""
    PENDING = "never used"
    """It has set a register that nothing has used up to the end."""
    IN_VAIN = "without effect"
    """It was executed and has no effect."""
    IDLE = "does nothing"
    """It is the branch of a loop from ``used`` on that does nothing but count."""
    ENDLESS = "goes by what stays"
    """It has to do with a loop's end that nothing in the loop brings nearer: its branch, what sets
    the flags for that, what the register there is used by."""
    FIRST = "first used by"
    """It is the first one to use a register that nothing has set since the jump."""
    CAME = "come by"
    """It is the last branch before ``used`` that was taken."""
    NEVER = "set by nothing"
    """It is the last one before a system register counted that nothing has set."""
    DONE = "done by"
    """It has done what is to be done, perhaps in another place, or might have had it done."""


@dataclass(frozen=True, slots=True)
class Made:
    """``text`` is the instruction at VA ``address``; ``how`` says what it has to do with a finding.

    ``sets`` names the register that it has set, ``used`` is the VA of the instruction that went by
    that.
    """

    how: MadeHow
    address: int
    text: str
    place: str | None = field(default=None, metadata=ABSENT)
    sets: str | None = field(default=None, metadata=ABSENT)
    used: int | None = field(default=None, metadata=ABSENT)
