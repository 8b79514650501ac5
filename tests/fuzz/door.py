"""A door: where something comes in, what a case for it looks like, and what it may cost."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random
from types import FrameType
from zlib import crc32

from relokit.codegen.base.budget import budgeted
from relokit.codegen.base.errors import NativeLibraryError, RelokitError

Mutate = Callable[[Random, Sequence[bytes]], bytes]
AGAIN = 16
"""One case of so many is asked twice."""
MAX_TOLD = 3 * 4096
"""Characters of an error: its message, the line that it quotes, its hint."""


class TooLongError(BaseException):
    """A case used more CPU time than its door allows; no handler for Exception takes it."""


class WrongError(Exception):
    """What a door answered is no answer, or not the same twice."""


@dataclass(frozen=True)
class Door:
    """Where something comes in.

    ``seeds`` makes good inputs, once a process; ``mutate`` makes a case of them, with nothing
    but the Random that it is given; ``call`` takes a case in. RelokitErrors are answers. Anything
    else that is raised is a finding, and so are ``seconds`` of CPU time, ``memory`` MiB
    of addresses more than the process had, and its death. ``weight`` says how much of a
    campaign's time it gets; ``cost`` is what a case takes, in ms.
    """

    name: str
    what: str
    seeds: Callable[[], Sequence[bytes]]
    mutate: Mutate
    call: Callable[[bytes], object]
    cost: float
    weight: float = 1.0
    seconds: float = 5.0
    memory: int = 1024

    @cached_property
    def made(self) -> Sequence[bytes]:
        """The good inputs."""
        return self.seeds()

    def case(self, seed: int, number: int) -> bytes:
        """Case ``number`` of the campaign of that seed: the same bytes wherever it is made."""
        return self.mutate(Random(f"{seed}/{self.name}/{number}"), self.made)

    def answer(self, case: bytes) -> str:
        """What came of ``case``: "taken", or the name of the RelokitError that refused it.

        Some are asked twice: an error is the same, to the letter.
        """
        answer, said = self._asked(case)
        if crc32(case) % AGAIN == 0 and self._asked(case) != (answer, said):
            raise WrongError("another answer the second time")
        return answer

    def _asked(self, case: bytes) -> tuple[str, str]:
        """The answer, and what is said with it."""
        old = signal.signal(signal.SIGVTALRM, _too_long)
        signal.setitimer(signal.ITIMER_VIRTUAL, self.seconds)
        # Code that is not Python's does not look at signals: three times as much ends the process.
        signal.setitimer(signal.ITIMER_PROF, 3 * self.seconds)
        try:
            with budgeted(anew=True):
                self.call(case)
        except NativeLibraryError as error:
            raise WrongError("nothing was tried: build our library anew") from error
        except RelokitError as error:
            if len(str(error)) > MAX_TOLD:
                raise WrongError(f"an error of {len(str(error))} characters") from error
            return type(error).__name__, str(error)
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.signal(signal.SIGVTALRM, old)
        return "taken", ""


def _too_long(_signal: int, _frame: FrameType | None) -> None:
    raise TooLongError("too much CPU time")
