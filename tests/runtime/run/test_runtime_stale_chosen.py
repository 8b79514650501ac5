"""Runs whose loader leaves the old kernel's facts in /chosen, or forgets those of the new one."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from relokit.codegen.target import MIB, Target
from relokit.runtime.board import chosen
from relokit.runtime.kexec.job import Job, KexecPath
from relokit.runtime.run.verdict import run
from support.device_trees import GIB, Board
from support.machines import programs, quiet

RANGE = struct.pack(">QQ", GIB + 512 * MIB, MIB)
STALE = {
    "chosen.memory": {"linux,usable-memory-range": RANGE},
    "chosen.core-header": {"linux,elfcorehdr": RANGE},
    "chosen.seeds": {"kaslr-seed": bytes(8)},
    "chosen.kho": {"linux,kho-fdt": RANGE, "linux,kho-scratch": RANGE},
}


def rules(job: Job) -> set[str]:
    return {finding.rule for finding in run(Target(), programs(Target()), job, quiet).findings}


@pytest.mark.parametrize("rule", STALE)
def test_what_is_left_in_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rule: str
) -> None:
    path = tmp_path / "board.dtb"
    path.write_bytes(Board(chosen=STALE[rule]).blob())
    job = Job(dtb=path, size=MIB)
    assert rules(job) == set()
    monkeypatch.setattr(chosen, "without_old", lambda dtb, seed: dtb)
    assert rules(job) == {rule}


def test_what_is_forgotten_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    initrd = tmp_path / "initrd"
    initrd.write_bytes(b"initrd" * 1000)
    jobs = {
        "chosen.initrd": Job(size=MIB, initrd=initrd),
        "chosen.memory": Job(size=MIB, path=KexecPath.CRASH),
    }
    before = {rule: rules(job) for rule, job in jobs.items()}
    monkeypatch.setattr(chosen, "with_chosen", lambda dtb, **_: dtb)
    for rule, job in jobs.items():
        assert rule not in before[rule]
        assert rule in rules(job)
