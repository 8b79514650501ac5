"""Every rule that fails a run has a fault in real code that it finds, or a reason why not."""

from __future__ import annotations

from relokit.runtime.judge.book import whole_book
from relokit.runtime.judge.rules.severity import Severity
from support.scenarios import scenarios

REFUSED = "what is placed or written so is refused, or put right, before there is a machine"
NEVER_GOT_THERE = "the way there ends before: what it would enter, or go on by, is mapped otherwise"
PLAIN = "of a plain run only: a trace tells of every store (own.store)"
NO_MACHINE = "no CPU that is emulated has what it takes"
REASONS = {
    **dict.fromkeys(
        (
            "handoff.tree", "handoff.tree-place", "handoff.cpus", "handoff.image-base",
            "handoff.image-range", "handoff.image-room", "handoff.image-above",
            "handoff.image-pages", "handoff.initrd", "own.safe", "own.reserved", "own.others",
        ),
        REFUSED,
    ),
    **dict.fromkeys(
        (
            "handoff.entry", "handoff.mmu", "resume.el", "resume.ttbr1", "resume.mmu", "run.off",
            "relocation.el", "relocation.mmu", "tlb.enable", "tlb.stale", "tlb.legality",
            "caches.read-hidden", "context.hypervisor",
        ),
        NEVER_GOT_THERE,
    ),
    **dict.fromkeys(
        ("damage.kimage", "damage.code", "damage.list", "damage.zero-page", "damage.tables"), PLAIN
    ),
    "context.vectors": NO_MACHINE,
    "handoff.firmware": "no code below EL3 reaches what it is about",
    "boot.demo": "the demo kernel says so itself: tests/runtime/run/test_runtime_boot.py",
}  # fmt: skip
"""All of them are tried on records (tests/support/twins)."""


def found_by_scenarios() -> set[str]:
    each = scenarios("bad_*.toml")
    return {name for one in each for name in (one.fields["rule"], *one.fields.get("also", ()))}


def test_every_rule_that_fails_a_run_has_one_or_a_reason() -> None:
    errors = {rule.name for rule in whole_book() if rule.severity is Severity.ERROR}
    by_hand = {rule.name for rule in whole_book() if not rule.executed}
    assert errors - by_hand - found_by_scenarios() == set(REASONS) & errors - by_hand


def test_no_reason_outlives_its_rule() -> None:
    assert set(REASONS) <= {rule.name for rule in whole_book()}
    assert not set(REASONS) & found_by_scenarios()
