"""What twins of bbm.* and tlb.* share: tables A and B, and a switch from one to the other."""

from __future__ import annotations

from dataclasses import replace

from relokit.runtime.arch import descriptors as d
from relokit.runtime.record.known import known
from relokit.runtime.record.record import Record
from support import records as r
from support.tables import TCR, UPPER, leaves, tables_of
from support.traces import FULL, NON, Story

A, B, EMPTY, IDMAP = 0x7100_0000, 0x7200_0000, 0x7300_0000, 0x7400_0000
VA = UPPER + 0x4000_0000
MAPS = {
    A: (leaves(VA, r.SPARE, bits=d.KERNEL_RO), leaves(VA + 0x8000, r.SPARE + 0x8000)),
    B: (leaves(VA, r.SPARE),),
    IDMAP: (leaves(r.CONTROL, r.CONTROL, bits=d.KERNEL_RX),),
}


def begun(**registers: int) -> Story:
    """The old kernel's tables in TTBR1, code in an identity map."""
    start = {"TCR_EL1": TCR, "MAIR_EL1": d.MAIR, "TTBR0_EL1": IDMAP, "TTBR1_EL1": A} | registers
    return r.moved().fetchable().starting(**start)


def emptied(story: Story | None = None) -> Story:
    """With the empty table in TTBR1."""
    return (story or begun()).msr("TTBR1_EL1", EMPTY).isb()


def invalidated(story: Story | None = None) -> Story:
    """And a TLBI, which is complete."""
    return (story or emptied()).tlbi().dsb(FULL, NON)


def switched(story: Story | None = None) -> Story:
    """And the new tables in TTBR1."""
    return (story or invalidated()).msr("TTBR1_EL1", B).isb()


def told(story: Story) -> Record:
    """The record of ``story``, up to the end with the MMU off."""
    return r.traced(story.mmu_off(), maps=MAPS)


def missing(story: Story, root: int, pa: int) -> Record:
    """The same, where the tables at ``root`` lead to one at ``pa`` that is not in RAM."""
    record = told(story)
    facts = tables_of(known(record.trace), MAPS, missing={root: pa})
    return replace(record, tables=facts)


SWITCHED = told(switched())
