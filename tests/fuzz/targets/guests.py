"""Guest code: words of the routines changed, or of the new kernel; run and judged, twice.

A case is a way to leave (one byte, of WAYS), and edits of eight bytes: which word, and what it is.
"""

from __future__ import annotations

import gc
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from random import Random

from fuzz import files
from fuzz.door import Door, WrongError
from relokit.codegen.base.documents import to_json
from relokit.codegen.target import MIB, PAGE_SIZES, Regime, Target
from relokit.runtime.judge.outcome import Outcome
from relokit.runtime.judge.rules.severity import Severity
from relokit.runtime.kexec.job import Job, KexecPath
from relokit.runtime.kexec.programs import Programs
from relokit.runtime.mutation.mutant import RoutineName
from relokit.runtime.mutation.mutated import with_words, words_of
from relokit.runtime.run.verdict import run
from support.machines import programs, quiet

EDIT = struct.Struct("<II")
STATES = (0, 9, 12, 15)
MOST = 20_000
"""Instructions of a case."""
SMALL = {"memory": 160 * MIB, "max_instructions": MOST, "timeout": 600}
"""Time of the host decides nothing."""


@dataclass(frozen=True)
class Way:
    """A machine, and the way in which it is left."""

    target: Target
    path: KexecPath

    @property
    def job(self) -> Job:
        return Job(size=16384, path=self.path, **SMALL)  # type: ignore[arg-type]


WAYS = tuple(
    Way(Target(series=series, regime=regime), path)
    for series in STATES
    for regime in Regime
    for path in KexecPath
) + tuple(
    Way(Target(page_size=size, regime=regime), KexecPath.NORMAL)
    for size in PAGE_SIZES.values()
    for regime in Regime
)


@cache
def _words(target: Target) -> tuple[tuple[int, int], ...]:
    """VA and word of all that may be executed, but for what is far from it."""
    image = programs(target).kernel
    found: dict[int, int] = {}
    for routine in (one for one in RoutineName if one is not RoutineName.DATA):
        found |= words_of(image, routine, target)
    return tuple(found.items())


def hostile(random: Random, good: int) -> int:
    """A word in the place of ``good``: its neighbour, one of a kind that does much, or any."""
    kind = random.randrange(10)
    if kind < 3:
        return good ^ 1 << random.randrange(32)
    if kind < 5:
        return random.choice(KINDS) | random.getrandbits(32) & random.choice(MASKS)
    if kind == 5:
        # MSR, MRS, SYS, hints and barriers, whatever they are of.
        return 0xD500_0000 | random.getrandbits(22)
    if kind == 6:
        return random.choice(EXACT)
    if kind == 7:
        # Loads and stores of every kind.
        return 0x0800_0000 | random.getrandbits(32) & 0xF7FF_FFFF
    return random.getrandbits(32)


KINDS = (0x1400_0000, 0x9400_0000, 0x5400_0000, 0xB400_0000, 0x3600_0000, 0xD61F_0000, 0xD63F_0000,
         0xD400_0001, 0xD51E_1000, 0xD518_2000, 0xD508_7000, 0xC800_0000, 0x9100_0000, 0xF900_0000,
         0x0000_0000, 0x0E00_0000, 0x0400_0000, 0xA400_0000)  # fmt: skip
"""Branches, exceptions, SCTLR and table bases, TLBI, exclusives, vectors, SVE."""
MASKS = (0x1F, 0x3FF, 0xFFFF, 0x3F_FFFF)
EXACT = (0x1400_0000, 0xD69F_03E0, 0xD400_0002, 0xD400_0003, 0xD420_0000, 0xD503_207F,
         0xD503_205F, 0xD4A0_0003, 0xD65F_03C0, 0xD503_201F, 0, 0xFFFF_FFFF, 0xD503_3FDF,
         0xD509_871F)  # fmt: skip
"""b ., eret, hvc, smc, brk, wfi, wfe, dcps3, ret, nop, isb and their like."""


def _edited(random: Random, seeds: Sequence[bytes]) -> bytes:
    way = random.randrange(len(WAYS))
    words = _words(WAYS[way].target)
    edits = b""
    for _ in range(random.choice((1, 1, 1, 2, 4, 16, 200))):
        number = random.randrange(len(words))
        edits += EDIT.pack(number, hostile(random, words[number][1]))
    return bytes([way]) + edits


def _run(case: bytes) -> object:
    way = WAYS[(case[0] if case else 0) % len(WAYS)]
    words = _words(way.target)
    edits = {}
    for number, word in EDIT.iter_unpack(case[1 : 1 + len(case[1:]) // EDIT.size * EDIT.size]):
        edits[words[number % len(words)][0]] = word
    built = programs(way.target)
    built = replace(built, kernel=with_words(built.kernel, edits))
    return same_twice(way.target, built, way.job)


def same_twice(target: Target, built: Programs, job: Job) -> Outcome:
    """The outcome; raises WrongError if it is another the second time, or none at all."""
    first, second = (run(target, built, job, quiet) for _ in range(2))
    # What is left of an engine is a circle, and a gigabyte of addresses.
    gc.collect()
    if told(first) != told(second):
        raise WrongError("another verdict the second time")
    failed = any(one.severity is Severity.ERROR for one in first.findings)
    if first.passed == failed and not first.unanswered:
        raise WrongError("neither passed nor found")
    return first


def told(outcome: Outcome) -> bytes:
    """``outcome`` without what a clock said."""
    relocation = replace(outcome.relocation, seconds=0.0)
    return to_json(replace(outcome, timings={}, relocation=relocation))


@cache
def _demo(target: Target) -> bytes:
    file = programs(target).demo_file
    assert file is not None
    return file


NEW = tuple(Target(regime=regime) for regime in Regime)
CODE = 512
"""Words of the new kernel that are changed: behind its header."""


def _new_kernel(random: Random, seeds: Sequence[bytes]) -> bytes:
    way = random.randrange(len(NEW))
    file = _demo(NEW[way])
    edits = b""
    for _ in range(random.choice((1, 2, 8, 100, 400))):
        number = random.randrange(CODE)
        good = int.from_bytes(file[64 + 4 * number : 68 + 4 * number], "little")
        edits += EDIT.pack(number, hostile(random, good))
    return bytes([way]) + edits


def _boot(case: bytes) -> object:
    target = NEW[(case[0] if case else 0) % len(NEW)]
    file = bytearray(_demo(target))
    for number, word in EDIT.iter_unpack(case[1 : 1 + len(case[1:]) // EDIT.size * EDIT.size]):
        at = 64 + 4 * (number % CODE)
        file[at : at + 4] = word.to_bytes(4, "little")
    job = Job(kernel=files.put(bytes(file), "Image"), boot=1e-4, memory=160 * MIB, timeout=600)
    return same_twice(target, programs(target), job)


def _ways() -> Sequence[bytes]:
    """One case without an edit for each; what they run is built here, before a process is forked
    for cases.
    """
    for way in WAYS:
        _words(way.target)
    return [bytes([number]) for number in range(len(WAYS))]


def _kernels() -> Sequence[bytes]:
    for target in NEW:
        _demo(target)
    return [bytes([number]) for number in range(len(NEW))]


DOORS = (
    Door("guest", "words of the routines, on every path, in every regime and page size",
         _ways, _edited, _run, 40.0, weight=6.0, seconds=30.0, memory=8192),
    Door("new-kernel", "words of a new kernel that runs on, on the board",
         _kernels, _new_kernel, _boot, 60.0, weight=3.0, seconds=30.0,
         memory=8192),
)  # fmt: skip
