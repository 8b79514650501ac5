"""True defects of the series itself: where they show, and as what. A matrix counts them apart.

A cell shows one if what is found is exactly that, and what a run may come to that goes on with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from relokit.codegen.base.nouns import dataclass
from relokit.runtime.campaign.cells import Cell, Payload
from relokit.runtime.judge.outcome import Finding

FOLLOWS = frozenset({"exception", "bus", "run", "call", "handoff", "interrupt"})
"""What a CPU that goes on with a wrong address or level breaks: first words of rules' names."""


@dataclass(frozen=True, slots=True)
class KnownDefect:
    """``rule`` is broken at ``instructions`` (their beginnings) in ``states``, with ``payload``.

    ``patch`` brought it, ``fixed`` took it away; ``why`` says what is wrong.
    """

    states: range
    payload: Payload
    patch: int
    fixed: int
    rule: str
    instructions: tuple[str, ...]
    why: str


KNOWN_DEFECTS: tuple[KnownDefect, ...] = (
    KnownDefect(
        states=range(7, 12),
        payload=Payload.OLD_KERNEL,
        patch=7,
        fixed=12,
        rule="own.read",
        instructions=("ldr x28, [x25, #", "ldr x26, [x25, #", "ldr x27, [x25, #"),
        why="start, dtb_mem and el2_vectors are read from struct kimage after the copy, which may "
        "have overwritten it: it is ordinary memory, and may lie in a destination",
    ),
)
"""All there are. Source: patches 7, 9 and 12 of the series; a fix of the same in 5.17.11."""


def known_defect(
    cell: Cell, findings: Iterable[Finding], not_judged: Mapping[str, str]
) -> KnownDefect | None:
    """The defect that explains all errors among ``findings``; None if one is something else."""
    errors = [one for one in findings if one.is_error]
    for defect in KNOWN_DEFECTS:
        if cell.series not in defect.states or cell.payload is not defect.payload:
            continue
        itself = [one for one in errors if _shows(defect, one)]
        rest = [one for one in errors if one not in itself]
        # Without a trace nobody can tell what a run failed of; what it came to has to do.
        untold = defect.rule.split(".")[0] in not_judged
        if (itself or untold) and all(one.rule.split(".")[0] in FOLLOWS for one in rest):
            return defect
    return None


def _shows(defect: KnownDefect, finding: Finding) -> bool:
    at = [line for line in finding.listing if line.startswith(">")]
    return finding.rule == defect.rule and any(
        text in line for text in defect.instructions for line in at
    )
