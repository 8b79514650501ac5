"""A shipped kernel's run, by its own symbols and words."""

from __future__ import annotations

import struct
from pathlib import Path

from relokit.codegen.target import Target
from relokit.linker.kernel.kallsyms import read_kallsyms
from relokit.linker.kernel.kernel_file import open_kernel
from relokit.runtime.kexec.job import Job
from relokit.runtime.run.verdict import run
from support.machines import programs, quiet


def test_a_kernel_that_parks_itself_is_told_by_symbol(kernel_6_1: Path, tmp_path: Path) -> None:
    """As where the CPU has no pages of its size: it waits, with the MMU off and no console."""
    image = bytearray(open_kernel(kernel_6_1).image)
    symbols = read_kallsyms(memoryview(image))
    here, there = symbols.offset("primary_entry"), symbols.offset("__no_granule_support")
    branch = 0x14000000 | (there - here) // 4 & 0x3FF_FFFF
    image[here : here + 4] = struct.pack("<I", branch)
    path = tmp_path / "Image"
    path.write_bytes(image)
    target, job = Target(), Job(kernel=path, plain=True, boot=0.1)
    outcome = run(target, programs(target), job, quiet)
    found = {finding.rule: finding for finding in outcome.findings}
    assert set(found) == {"boot.silent", "boot.parked"}
    parked = found["boot.parked"]
    assert (parked.place or "").startswith("__no_granule_support+0x")
    assert {"sp", "x30", "VBAR_EL2"} <= set(dict(parked.registers))


def test_a_shipped_kernel_comes_up_and_finds_no_root(kernel_6_1: Path) -> None:
    target = Target()
    outcome = run(target, programs(target), Job(kernel=kernel_6_1, plain=True, boot=4), quiet)
    assert outcome.passed
    assert [finding.rule for finding in outcome.findings] == ["boot.root"]
    job = Job(kernel=kernel_6_1, plain=True, boot=0.4)
    first, second = (run(target, programs(target), job, quiet) for _ in range(2))
    assert first.passed
    assert "] " in (first.console or "")
    assert (first.console, first.ended) == (second.console, second.ended)
    job = Job(kernel=kernel_6_1, plain=True, boot=4, expect="Booting Linux on physical CPU")
    outcome = run(target, programs(target), job, quiet)
    assert (outcome.passed, outcome.ended) == (True, "printed what was expected")
