"""The new kernel's run: what is told of where it ended, and what is no answer."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from relokit.codegen.base.documents import from_json, to_json
from relokit.codegen.target import MIB, Target
from relokit.runtime.board.devicetree import quads, virt_dtb
from relokit.runtime.board.fdt import parse
from relokit.runtime.judge.outcome import Outcome, Status
from relokit.runtime.kexec.job import RAM_BASE, Job
from relokit.runtime.record.record import Limits
from relokit.runtime.run import console
from relokit.runtime.run.verdict import run
from support.kernels import kernel_file
from support.machines import programs, quiet

HELLO = 'say "hello"\n'
FOR_EVER = "1: add x1, x1, #1\nb 1b\n"
SMALL = Job(memory=128 * MIB, plain=True, boot=0.02)


def outcome_of(code: str, job: Job = SMALL, watcher: Heard | None = None) -> Outcome:
    target = Target()
    job = replace(job, kernel=kernel_file(code))
    return run(target, programs(target), job, quiet, watcher=watcher)


class Heard:
    """What is told while it happens."""

    def __init__(self) -> None:
        self.text = ""
        self.outcomes: list[Outcome] = []

    def handed_over(self, outcome: Outcome) -> None:
        assert not self.text
        self.outcomes.append(outcome)

    def printed(self, text: str) -> None:
        self.text += text


@pytest.mark.parametrize("code", [HELLO + "off", HELLO + FOR_EVER, 'say "a\\nb\\nc"\n' + FOR_EVER])
def test_who_watches_is_told_what_the_outcome_has(code: str) -> None:
    heard = Heard()
    outcome = outcome_of(code, watcher=heard)
    assert heard.text == outcome.console
    [moved] = heard.outcomes
    assert (moved.passed, moved.console, moved.handoff) == (True, None, outcome.handoff)


def test_a_mebibyte_of_newlines_is_no_flood() -> None:
    flood = "mov w1, #10\nmov x2, #0x20000\n1: str w1, [x25]\nsubs x2, x2, #1\nb.ne 1b\n"
    heard = Heard()
    outcome = outcome_of(flood + 'say "the end"\noff', watcher=heard)
    assert heard.text == outcome.console
    assert len(outcome.console or "") < 1 << 15
    assert (outcome.console or "").endswith("the end")
    assert outcome.rules.not_judged["boot.panic"] == "not all that it printed is kept"
    last = outcome_of(flood + 'say "Kernel panic - not syncing: x"\noff')
    assert [finding.rule for finding in last.findings] == ["boot.panic"]


def test_limits_count_instructions() -> None:
    """The same on every host, to the instruction."""
    ends = {outcome_of(HELLO + FOR_EVER).ended for _ in range(2)}
    assert len(ends) == 1
    assert "stopped after 0.02 s: 5,000,00" in ends.pop()  # type: ignore[operator]


STAMPS = """
	mov	x5, #8
stamp:
	mrs	x4, cntvct_el0
	mov	x6, #16
1:	ror	x4, x4, #60
	and	x7, x4, #15
	add	x7, x7, #'A'
	str	w7, [x25]
	subs	x6, x6, #1
	b.ne	1b
	mrs	x4, cntvct_el0
	mov	x8, #62500
	add	x4, x4, x8
2:	mrs	x6, cntvct_el0
	cmp	x6, x4
	b.lo	2b
	subs	x5, x5, #1
	b.ne	stamp
"""


def test_time_stamps_are_the_same_on_every_host() -> None:
    """A kernel prints the counter, and waits by it, eight milliseconds in all."""
    first, second = (outcome_of(STAMPS + "off") for _ in range(2))
    assert (first.console, first.ended) == (second.console, second.ended)
    digits = [ord(letter) - ord("A") for letter in first.console or ""]
    stamps = [
        sum(digit << 60 - 4 * place for place, digit in enumerate(digits[at : at + 16]))
        for at in range(0, 128, 16)
    ]
    steps = {late - early for early, late in pairwise(stamps)}
    assert max(steps) < 62_500 + 60
    assert min(steps) >= 62_500
    short = outcome_of(STAMPS + "off", replace(SMALL, boot=0.004))
    assert (short.console or "") in (first.console or "")
    assert "stopped after 0.004 s" in (short.ended or "")


def test_the_hosts_time_is_no_verdict_on_the_new_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    # Little for the new kernel, and enough for the move on a host that is busy.
    monkeypatch.setattr(console, "Limits", lambda *_: Limits(1 << 40, 0.1))
    job = replace(SMALL, boot=0.1, expect="login:")
    outcome = outcome_of(HELLO + FOR_EVER, job)
    assert (outcome.status, outcome.unanswered) == (Status.NO_ANSWER, "timeout")
    assert [(one.rule, one.is_error) for one in outcome.findings] == [("boot.unanswered", False)]
    assert "--timeout" in (outcome.findings[0].hint or "")
    assert "boot.expect" in outcome.rules.not_judged


def test_what_is_expected_ends_it() -> None:
    job = replace(SMALL, expect="login:")
    outcome = outcome_of('say "x login: y"\n' + FOR_EVER, job)
    assert (outcome.passed, outcome.ended) == (True, "printed what was expected")
    assert outcome.console == "x login:"
    missing = outcome_of(HELLO + FOR_EVER, job)
    assert [finding.rule for finding in missing.findings] == ["boot.expect"]
    assert missing.findings[0].hint == "it may come later: give more than --boot 0.02"


def test_a_kernel_that_was_given_no_console_may_be_silent() -> None:
    outcome = outcome_of("off", replace(SMALL, cmdline="quiet"))
    assert outcome.passed
    assert "asks for no early console" in outcome.rules.not_judged["boot.silent"]


def test_a_device_that_only_the_tree_has_gives_no_answer(tmp_path: Path) -> None:
    """The kernel does what it should, and this board has no such device."""
    tree = virt_dtb(RAM_BASE, 128 * MIB)
    uart = next(node for node in parse(tree).root.children if node.name.startswith("pl011"))
    path = tmp_path / "tree.dtb"
    path.write_bytes(tree.replace(uart.properties["reg"], quads(0x0D00_0000, 0x1000)))
    read = HELLO + "mov x1, #0xd000000\nldr w0, [x1, #%d]\noff"
    job = replace(SMALL, dtb=path, cmdline="earlycon", memory=None)
    outcome = outcome_of(read % 8, job)
    assert (outcome.status, outcome.unanswered) == (Status.NO_ANSWER, "engine error")
    assert "is no device of this board" in (outcome.ended or "")
    beyond = outcome_of(read % 0x1000, job)
    assert [finding.rule for finding in beyond.findings] == ["boot.outside"]


def test_registers_that_the_cpu_has_not_are_counted_by_name() -> None:
    """The kernel's own handler goes on behind each. The code is 64 bytes into its image."""
    code = (
        "adr x1, table\nmsr vbar_el2, x1\nisb\n"
        "mrs x0, s3_0_c15_c2_1\nmsr s3_0_c15_c2_1, x0\nmrs x0, s3_0_c15_c2_7\n" + HELLO + "off\n"
        ".balign 2048\n.skip 2048 - 64\ntable:\n.skip 0x200\n"
        "mrs x2, elr_el2\nadd x2, x2, #4\nmsr elr_el2, x2\neret\n"
    )
    outcome = outcome_of(code)
    assert outcome.passed
    assert outcome.undefined == {"S3_0_C15_C2_1": 2, "S3_0_C15_C2_7": 1}
    assert from_json(Outcome, to_json(outcome)) == outcome
    assert outcome_of(HELLO + "off").undefined is None
