"""Which moves a mutant is tried in: enough for every instruction of its routine to be executed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from relokit.codegen.base.nouns import dataclass
from relokit.codegen.series import Feature
from relokit.codegen.target import Target
from relokit.runtime.guest.order import Order
from relokit.runtime.kexec.job import Job, KexecPath, Shape
from relokit.runtime.mutation.mutant import RoutineName

SECONDS = 10.0
"""What a mutant may take, by the host's clock, before there is no answer."""
PAGES = 4
"""Pages of the payload: as many as it takes for a first, a last and two between."""


@dataclass(frozen=True, slots=True)
class MoveLayout:
    """A move by name: what is moved, which way, and what its list looks like."""

    name: str
    job: Job


def layouts_for(target: Target, base: Job) -> tuple[MoveLayout, ...]:
    """All that a target's mutants are tried in; ``base`` has templates, code and seed."""
    size = PAGES * target.page_size
    job = replace(base, size=size, timeout=SECONDS)
    shapes = (
        MoveLayout("shuffled", replace(job, order=Order.SHUFFLED)),
        MoveLayout("own-place", replace(job, shape=Shape.OWN_PLACE)),
    )
    in_place = MoveLayout("in-place", replace(job, path=KexecPath.IN_PLACE))
    # The resume side of hibernation is ours alone: nothing of a shipped kernel runs there.
    resume = MoveLayout("hibernate", replace(job, path=KexecPath.HIBERNATE))
    return (*shapes, in_place) if base.code_from else (*shapes, in_place, resume)


def fits(layout: MoveLayout, routine: RoutineName, target: Target) -> bool:
    """Whether ``routine`` is executed in ``layout`` at all."""
    return layout.job.path in _paths(routine, target)


def _paths(routine: RoutineName, target: Target) -> Iterator[KexecPath]:
    match routine:
        case RoutineName.RELOCATION:
            yield KexecPath.NORMAL
        case RoutineName.VECTORS:
            yield from (KexecPath.NORMAL, KexecPath.HIBERNATE)
        case RoutineName.SOFT_RESTART:
            if not target.has(Feature.MMU_ON):
                yield KexecPath.NORMAL
            yield KexecPath.IN_PLACE
        case RoutineName.HIBERNATE_EXIT:
            yield KexecPath.HIBERNATE
