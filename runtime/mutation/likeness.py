"""Whether a survivor differs from the good code in anything that the model of the rules can see."""

from __future__ import annotations

from dataclasses import replace
from hashlib import blake2b

import numpy as np

from relokit.codegen.base.nouns import dataclass
from relokit.codegen.target import Target
from relokit.runtime.arch.translation import SCTLR_EE, SCTLR_M, SCTLR_NMI
from relokit.runtime.guest.memory import GuestMemory
from relokit.runtime.judge.rules.traced.lapses_told import coherence
from relokit.runtime.mutation.layouts import MoveLayout
from relokit.runtime.mutation.mutant import Likeness
from relokit.runtime.record.known import known
from relokit.runtime.record.record import Record
from relokit.runtime.record.stations import CpuFacts, StationRole
from relokit.runtime.record.trace import Records, TraceKind

PAGE = 4096
PROMISED = {StationRole.PURGATORY: 1, StationRole.KERNEL: 4, StationRole.RESUMED: 0}
"""Registers from x0 on that what is entered may rely on (booting.rst; kexec; hibernation)."""
NOT_PROMISED = ("ESR", "ELR", "SPSR", "FAR")
"""System registers that only tell of the last exception."""
_LEVEL_AND_MASKS = 0x3CC
"""PSTATE as in SPSR: DAIF and the exception level."""
_SCTLR = ("SCTLR_EL1", "SCTLR_EL2")
_SCTLR_NAMED = SCTLR_NMI | SCTLR_EE | SCTLR_M
"""All that matters of it at an entry with M clear."""
_TTBRS = ("TTBR0_EL1", "TTBR1_EL1", "TTBR0_EL2", "TTBR1_EL2")
_TTBR_NAMED = (1 << 48) - 1
"""All but the ASID, which tags what is not global (D8.16): a kernel's own entries are."""
_NO_EFFECT = (TraceKind.FETCH, TraceKind.FILL)
_OF_AN_EFFECT = [
    "kind", "el", "va", "pa", "length", "value", "count", "stride", "size", "encoding",
    "attributes", "flags",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class MutantScene:
    """What a survivor is compared in: bytes of a cache line, and how much the seed is more."""

    line: int
    seed: int

    def of(self, target: Target, layout: MoveLayout) -> tuple[Target, MoveLayout]:
        """``target`` and ``layout`` in this scene."""
        # Shorter lines are more of them: each loop over lines takes as many turns.
        turns = max(1, target.cache_line // self.line)
        limit = layout.job.max_instructions
        job = replace(
            layout.job,
            seed=layout.job.seed + self.seed,
            max_instructions=limit and limit * turns,
        )
        return replace(target, cache_line=self.line), replace(layout, job=job)


SCENES = (MutantScene(64, 0), MutantScene(16, 1), MutantScene(2048, 2))
"""The first is the one in which a mutant is killed or not."""


@dataclass(frozen=True, slots=True)
class Imprint:
    """A run in digests: all ``effects`` in their order (accesses, maintenance, barriers, register
    writes, exceptions; not which instruction); and the ``state`` it leaves (registers handed over,
    RAM that was stored to, lines that may be dirty).
    """

    effects: bytes
    state: bytes


def imprint_of(record: Record, memory: GuestMemory) -> Imprint:
    """What a run did and left in ``memory``."""
    trace = known(record.trace)
    kinds = trace.records["kind"]
    shown = trace.records[~np.isin(kinds, [int(kind) for kind in _NO_EFFECT])]
    state = blake2b(digest_size=16)
    for _, promise, cpu in record.stations():
        state.update(repr(_handed_over(cpu, promise.role)).encode())
    for pa in _stored_pages(trace.of(TraceKind.STORE)):
        state.update(pa.to_bytes(8, "little") + _page(memory, pa))
    state.update(repr(sorted(coherence(record).dirty())).encode())
    return Imprint(_digest(shown), state.digest())


def likeness_of(one: Imprint, other: Imprint) -> Likeness:
    """What they have in common."""
    if one.state != other.state:
        return Likeness.NONE
    return Likeness.EFFECTS if one.effects == other.effects else Likeness.STATE


def _digest(records: Records) -> bytes:
    digest = blake2b(digest_size=16)
    for name in _OF_AN_EFFECT:
        digest.update(np.ascontiguousarray(records[name]).tobytes())
    return digest.digest()


def _handed_over(cpu: CpuFacts, role: StationRole) -> tuple[object, ...]:
    system = {
        name: value
        for name, value in cpu.system.items()
        if name.partition("_")[0] not in NOT_PROMISED
    }
    if role is not StationRole.RESUMED:
        # No other bit has an effect with the MMU off, and who is entered writes all of it.
        system |= {name: system[name] & _SCTLR_NAMED for name in _SCTLR if name in system}
        system |= {name: system[name] & _TTBR_NAMED for name in _TTBRS if name in system}
    return cpu.pc, cpu.pstate & _LEVEL_AND_MASKS, cpu.x[: PROMISED[role]], sorted(system.items())


def _stored_pages(stores: Records) -> list[int]:
    pages: set[int] = set()
    for pa, length in zip(stores["pa"].tolist(), stores["length"].tolist(), strict=True):
        pages.update(range(pa & -PAGE, pa + length, PAGE))
    return sorted(pages)


def _page(memory: GuestMemory, pa: int) -> bytes:
    return bytes(memory.read(pa, PAGE)) if memory.contains(pa, PAGE) else b""
