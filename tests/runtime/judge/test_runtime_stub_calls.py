"""call.*: a soft restart that vectors other than the stub's carry out, as KVM's do."""

from __future__ import annotations

import pytest

from relokit.codegen.facts import HVC_SET_VECTORS, HVC_SOFT_RESTART
from relokit.runtime.judge.book import judge
from support import records as r

PURGATORY = 0x6FFF_0000
CALLS = {"call.answer", "call.resumes"}


def found(asked: int, level: int) -> set[str]:
    """What is said where VBAR_EL2 is written for a call, and its ERET goes elsewhere."""
    story = r.moved().fetchable().hvc(asked).exception().msr("VBAR_EL2", 0x5004_0800)
    judgement = judge(r.traced(story.eret(to=level, back=PURGATORY)))
    return {one.rule for one in judgement.findings} & CALLS


@pytest.mark.parametrize(
    ("asked", "level", "told"),
    [
        (HVC_SOFT_RESTART, 2, set()),
        (HVC_SOFT_RESTART, 1, CALLS),
        (HVC_SET_VECTORS, 2, {"call.resumes"}),
        (5, 2, CALLS),
    ],
)
def test_a_soft_restart_goes_elsewhere_at_el2(asked: int, level: int, told: set[str]) -> None:
    assert found(asked, level) == told
