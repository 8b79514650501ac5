"""Well-formed traces of whatever order: what a CPU may do, one thing behind another, judged.

A case is what happens, three bytes each: what, where, how much. Nothing of it is refused, so what
is asked is that the judge ends, says the same again, and says it of what is stored and read, too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random

import numpy as np

from fuzz import files
from fuzz.door import Door, WrongError
from fuzz.mutations import mutated
from relokit.codegen.base.documents import to_json
from relokit.codegen.base.errors import FormatError
from relokit.codegen.target import Target
from relokit.runtime.evidence.casemate import casemate_chunks
from relokit.runtime.evidence.conclusion import conclude
from relokit.runtime.evidence.evidence import Evidence, Subject
from relokit.runtime.evidence.evidence_file import evidence_chunks, judge_file
from relokit.runtime.evidence.timeline import timeline_chunks
from relokit.runtime.judge.outcome import JudgedTarget, Outcome
from relokit.runtime.record.trace import Trace
from support.casemate import steps
from support.records import (
    CONTROL,
    DTB,
    GOOD,
    KERNEL,
    KIMAGE,
    LIST,
    SIZE,
    SOURCES,
    SPARE,
)
from support.tables import UPPER, leaves, tables_of
from support.traces import MMU_OFF, NON_CACHEABLE, WRITE_BACK, Story

PLACES = (KERNEL, KERNEL + 64, KERNEL + SIZE - 64, DTB, CONTROL, CONTROL + 0x80, KIMAGE, LIST,
          SOURCES, SPARE, SPARE + 0x1000, KERNEL + 0x40_0000)  # fmt: skip
SIZES = (4, 16, 64, 128, 0x400, 0x1000, SIZE)
REGISTERS = ("SCTLR_EL1", "SCTLR_EL2", "TTBR0_EL1", "TTBR1_EL1", "TTBR0_EL2", "TCR_EL1", "TCR_EL2",
             "MAIR_EL1", "VBAR_EL1", "VBAR_EL2", "HCR_EL2", "CPACR_EL1", "ELR_EL2", "SPSR_EL2",
             "TPIDR_EL1")  # fmt: skip
VALUES = (0, 0b1000000000101, 0b1000000000100, KERNEL, SPARE, CONTROL, 1 << 27, 1 << 31, 0x3C5,
          (1 << 64) - 1)  # fmt: skip
INVALIDATIONS = ("vmalle1", "vmalle1is", "alle1", "alle2", "alle2is", "vae1is", "vale1is",
                 "aside1is", "vmalls12e1", "vae2is")  # fmt: skip
ATTRIBUTES = (WRITE_BACK, NON_CACHEABLE, MMU_OFF)
Step = Callable[[Story, int, int], object]
STEPS: tuple[Step, ...] = (
    lambda story, at, size: story.store(_at(PLACES, at), _at(SIZES, size)),
    lambda story, at, size: story.store(
        _at(PLACES, at), _at(SIZES, size), va=0xFFFF << 48 | _at(PLACES, at)
    ),
    lambda story, at, size: story.load(_at(PLACES, at), _at(SIZES, size)),
    lambda story, at, size: story.fetch(_at(PLACES, at), 4 + size // 16 * 4),
    lambda story, at, size: story.executed(_at(PLACES, at), 4 + size // 16 * 4),
    lambda story, at, size: story.dc("civac", _at(PLACES, at), _at(SIZES, size)),
    lambda story, at, size: story.dc("cvau", _at(PLACES, at), _at(SIZES, size)),
    lambda story, at, size: story.dc("cvac", _at(PLACES, at), _at(SIZES, size), stride=128),
    lambda story, at, size: story.dc("ivac", _at(PLACES, at), _at(SIZES, size)),
    lambda story, at, size: story.dc("zva", _at(PLACES, at), _at(SIZES, size)),
    lambda story, at, size: story.dc_by_way(_at(("isw", "csw", "cisw"), at)),
    lambda story, at, size: story.ic(_at(("iallu", "ialluis"), at)),
    lambda story, at, size: story.ic_by_address(_at(PLACES, at), _at(SIZES, size)),
    lambda story, at, size: story.dsb(at % 4, size % 4, nxs=at > 250),
    lambda story, at, size: story.dsb(),
    lambda story, at, size: story.dmb(at % 4),
    lambda story, at, size: story.isb(),
    lambda story, at, size: story.msr(_at(REGISTERS, at), _at(VALUES, size)),
    lambda story, at, size: story.mrs(_at(("PAR_EL1", "SCTLR_EL1", "CTR_EL0"), at)),
    lambda story, at, size: story.tlbi(_at(INVALIDATIONS, at), _at(VALUES, size)),
    lambda story, at, size: story.at(_at(("s1e1r", "s1e1w", "s1e2r"), at)),
    lambda story, at, size: story.hvc(size),
    lambda story, at, size: story.exception(1 + at % 2, offset=0x80 * (size % 16)),
    lambda story, at, size: story.eret(1 + at % 2, x0=size),
    lambda story, at, size: story.vectors(_at(PLACES, at), daif=size % 16, pa=_at(PLACES, at)),
    lambda story, at, size: story.mmu_off(),
    lambda story, at, size: story.mmu_on(),
    lambda story, at, size: story.fetchable(),
    lambda story, at, size: setattr(story, "attributes", _at(ATTRIBUTES, at)),
    lambda story, at, size: setattr(story, "pc", _at(PLACES, at)),
)  # fmt: skip
MOST = 400
"""Steps of a story."""


def _at(rows: Sequence[object], number: int) -> object:
    return rows[number % len(rows)]


def story_of(case: bytes) -> Story:
    story = Story(
        pc=CONTROL, el=1 + (case[0] if case else 0) % 2, line=_at((64, 32, 128), len(case))
    )
    for at in range(1, min(len(case) - 2, 3 * MOST), 3):
        what, where, size = case[at : at + 3]
        _at(STEPS, what)(story, where, size)
    return story


def _stories() -> Sequence[bytes]:
    """Good ones (a move, as far as one is told in steps), and any."""
    random = Random(0)
    move = bytes((0, 0, 6, 5, 0, 6, 14, 0, 0, 0, 3, 5, 5, 3, 5, 27, 0, 0, 25, 0, 0))
    return [b"\0" + move, b"\1" + 4 * move, *(random.randbytes(1 + 3 * 40) for _ in range(20))]


SUBJECT = Subject("a story", JudgedTarget.of(Target()), (), 5)
MAPS = {
    root: [leaves(top | at, at, 2 << 20, level=2) for at in (KERNEL, SPARE, CONTROL)]
    for root, top in ((SPARE, UPPER), (KERNEL, 0))
}
"""What the tables map that a story may have in force."""


def _judged(case: bytes) -> object:
    """Judged, stored, read and judged again."""
    trace = story_of(case).trace()
    evidence = Evidence(SUBJECT, replace(GOOD, trace=trace, tables=tables_of(trace, MAPS)))
    outcome = conclude(evidence)
    if _told(conclude(evidence)) != _told(outcome):
        raise WrongError("another verdict the second time")
    path = files.put(b"".join(evidence_chunks(evidence)), "trace")
    again, read = judge_file(path)
    if not np.array_equal(_trace(again).records, trace.records):
        raise WrongError("another trace is read than was written")
    if _told(read) != _told(outcome):
        raise WrongError("another verdict of what was stored")
    json.loads(b"".join(timeline_chunks(evidence, outcome.findings)))
    try:
        text = b"".join(casemate_chunks(evidence)).decode()
    except FormatError:
        return outcome
    steps(text)
    return outcome


def _trace(evidence: Evidence) -> Trace:
    trace = evidence.record.trace
    assert isinstance(trace, Trace)
    return trace


def _told(outcome: Outcome) -> bytes:
    relocation = replace(outcome.relocation, seconds=0.0)
    return to_json(replace(outcome, timings={}, relocation=relocation, trace=None))


DOORS = (
    Door("story", "well-formed traces of any order, judged, stored and judged again", _stories,
         mutated, _judged, 25.0, weight=3.0, seconds=15.0),
)  # fmt: skip
