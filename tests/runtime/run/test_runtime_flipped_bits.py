"""Any bit of what a move needs, flipped: it does no harm, or it is found."""

from __future__ import annotations

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from relokit.codegen.target import MIB, PAGE_SIZES, Regime, Target
from relokit.runtime.judge.outcome import Finding, Status
from relokit.runtime.kexec.job import Job
from relokit.runtime.kexec.kimage import WORD_FIELDS, read_field, walk_list
from relokit.runtime.kexec.machine import Machine
from relokit.runtime.run.verdict import run_machine
from support.inside import complete, entries, linear, trail
from support.machines import prepared, quiet

TARGETS = [Target(page_size=page, regime=el) for page in PAGE_SIZES.values() for el in Regime]


def live_words(machine: Machine) -> dict[str, list[int]]:
    """PAs of 64-bit words that the move depends on, by kind."""
    memory, kimage = machine.memory, machine.kimage
    destinations, sources = walk_list(memory, kimage.head, machine.target.page_size)
    tables = {
        step.entry
        for pa in (*map(int, destinations), *map(int, sources))
        for step in trail(machine, linear(machine, pa))
    } | {step.entry for step in trail(machine, kimage.control_page)}
    vectors = read_field(memory, kimage, "el2_vectors")
    used = [name for name in WORD_FIELDS if name not in ("entry", "last_entry")]
    return {
        "table": sorted(tables),
        "list": [entries(machine) + 8 * n for n in range(kimage.entries + 1)],
        "code": [
            kimage.control_page + at for at in range(0, len(machine.routines.relocation) - 7, 8)
        ],
        "vectors": [vectors + 0x400 + at for at in range(0, 0x80, 8)] if vectors else [],
        "kimage": [kimage.pa + int(getattr(kimage.layout, name)) for name in used],
    }


BOUNDED = Job(size=40_000, memory=160 * MIB, max_instructions=400_000, timeout=5)


@settings(max_examples=75, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    target=st.sampled_from(TARGETS),
    kind=st.sampled_from(["table", "list", "code", "vectors", "kimage"]),
    number=st.integers(0, 1 << 20),
    bit=st.integers(0, 63),
)
def test_any_flipped_bit_is_harmless_or_found(
    target: Target, kind: str, number: int, bit: int
) -> None:
    """Never an exception, never without end, and what failed has words for it."""
    with prepared(target, BOUNDED) as machine:
        words = live_words(machine)[kind]
        assume(words)
        at = words[number % len(words)]
        machine.memory.write_u64(at, machine.memory.read_u64(at) ^ 1 << bit)
        outcome = run_machine(machine, BOUNDED, quiet)
        findings: tuple[Finding, ...] = outcome.findings
        assert (outcome.status is Status.PASS) == (not findings)
        if not findings:
            assert outcome.handoff is not None
            assert outcome.verified_bytes == outcome.relocation.bytes
        complete(machine, outcome)
