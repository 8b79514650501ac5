"""Shipped kernels' own machine code beside ours, in the same machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from relokit.executed_diffs import behave
from relokit.runtime.behaviour.observation import (
    BehaviourDiff,
    BehaviourKind,
    Leaving,
    TrialMode,
    Verdict,
)

pytestmark = pytest.mark.oracle

RELOCATION = "arm64_relocate_new_kernel"


def whats(diff: BehaviourDiff, *kinds: BehaviourKind) -> set[str]:
    return {one.what for one in diff.routines[0].differences if one.kind in kinds}


@pytest.mark.parametrize(
    ("ours", "kernel"),
    [
        ("series:0,layout=5.10", "kernel_5_10"),
        ("series:15", "kernel_6_1"),
        ("series:15,el=vhe", "kernel_6_1"),
        ("series:15,el=el1", "kernel_6_12"),
        ("series:15,page=16k,el=vhe", "kernel_6_12_16k"),
    ],
)
def test_our_relocation_behaves_as_the_shipped_one(
    ours: str, kernel: str, request: pytest.FixtureRequest
) -> None:
    path: Path = request.getfixturevalue(kernel)
    diff = behave(f"{ours}:{RELOCATION}", str(path))
    # 5.10's own soft restart leaves a bit of SCTLR set, which is a warning.
    warned = ["handoff.sctlr"] if kernel == "kernel_5_10" else []
    assert diff.verdict is (Verdict.DIFFERENT if warned else Verdict.SAME)
    [routine] = diff.routines
    assert routine.mode is TrialMode.RELOCATION
    [left], [right] = routine.left, routine.right
    assert left.ending.leaving is right.ending.leaving is Leaving.HAND_OVER
    assert left.memory == right.memory
    assert left.findings == ()
    assert [one.rule for one in right.findings] == warned
    # The copy loops are not the same; what they load and store is.
    state = {"state"} if warned else set()
    assert whats(diff, BehaviourKind.MAINTENANCE, BehaviourKind.SETUP) == state
    assert whats(diff, BehaviourKind.RESULT) == ({"verdict"} if warned else set())
    assert whats(diff, BehaviourKind.COST) == {"instructions"}


def test_before_and_after_the_series(kernel_5_10: Path, kernel_6_1: Path) -> None:
    diff = behave(f"{kernel_5_10}:{RELOCATION}", str(kernel_6_1))
    # Its soft restart leaves another SCTLR at either level.
    assert whats(diff, BehaviourKind.RESULT) == {"verdict", "SCTLR_EL1", "SCTLR_EL2"}
    assert {"dc ivac", "dc civac", "tlbi vmalle1"} <= whats(diff, BehaviourKind.MAINTENANCE)
    assert whats(diff, BehaviourKind.SETUP) == {"state", "entered at"}


def test_two_shipped_kernels(kernel_6_1: Path, kernel_6_12: Path) -> None:
    diff = behave(f"{kernel_6_1}:{RELOCATION}", str(kernel_6_12))
    assert diff.verdict is Verdict.SAME
    for name in ("memcpy", "memcmp", "strlen"):
        [routine] = behave(f"{kernel_6_1}:{name}", str(kernel_6_12)).routines
        assert (routine.mode, routine.verdict, routine.cut) == (TrialMode.CALL, Verdict.SAME, 0)
        assert {one.ending.leaving for one in routine.left} >= {Leaving.RETURN, Leaving.FAULT}


def test_our_soft_restart_and_stub_beside_the_shipped_ones(kernel_6_1: Path) -> None:
    names = ("cpu_soft_restart", "__hyp_set_vectors", "__hyp_reset_vectors", "elx_sync")
    for name in names:
        [routine] = behave(f"series:15:{name}", str(kernel_6_1)).routines
        assert routine.verdict is Verdict.SAME, routine.differences


def test_calls_and_data_of_a_kernel_have_their_names(kernel_6_12: Path) -> None:
    [routine] = behave(f"{kernel_6_12}:machine_kexec", str(kernel_6_12)).routines
    assert routine.verdict is Verdict.SAME
    assert routine.cut == len(routine.left)
    assert {one.ending.text for one in routine.left} == {
        "uses data of its own program: kexec_crash_image"
    }
    [routine] = behave(f"{kernel_6_12}:strlen", f"{kernel_6_12}:strnlen").routines
    assert routine.verdict is Verdict.DIFFERENT
    assert routine.name == "strlen → strnlen"
