"""``behave``: two routines that do the same are told as such, and two that do not, likewise."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import relokit
from relokit import executed_diffs
from relokit.cli.main import main
from relokit.cli.terminal.diff_run_view import behaviour_tables, behaviour_text
from relokit.codegen.base.documents import from_json, to_json
from relokit.codegen.base.errors import MachineError, NativeCrashError, RelokitError
from relokit.executed_diffs import DEMO_INSTRUCTIONS, behave
from relokit.runtime.behaviour.flat_machine import Callee
from relokit.runtime.behaviour.observation import (
    BehaviourDiff,
    BehaviourKind,
    Leaving,
    TrialMode,
    Verdict,
)
from relokit.runtime.behaviour.trials import TRIALS
from relokit.runtime.kexec.job import DEFAULT_TIMEOUT, Job

RELOCATION = "arm64_relocate_new_kernel"

# Both copy x2 bytes from x1 to x0, leave the two ends in x0 and x1, and x2 alone.
BY_WORDS = """
	cbz	x2, 2f
	add	x8, x1, x2
1:	ldr	x9, [x1], #8
	str	x9, [x0], #8
	cmp	x1, x8
	b.ne	1b
2:	dsb	ish
	ret
"""
BY_PAIRS = """
	mov	x17, x2
	tst	x17, x17
	b.eq	4f
3:	ldp	x12, x13, [x1]
	add	x1, x1, #16
	stp	x12, x13, [x0]
	subs	x17, x17, #16
	add	x0, x0, #16
	b.hi	3b
4:	dsb	ish
	ret
"""


def source(directory: Path, name: str, body: str, symbol: str = "copy") -> str:
    path = directory / f"{name}.S"
    path.write_text(
        f"\t.text\n\t.globl\t{symbol}\n\t.type\t{symbol}, %function\n{symbol}:\n{body}"
        f"\t.size\t{symbol}, . - {symbol}\n"
    )
    return str(path)


def whats(diff: BehaviourDiff, kind: BehaviourKind = BehaviourKind.RESULT) -> set[str]:
    return {one.what for routine in diff.routines for one in routine.differences
            if one.kind is kind}  # fmt: skip


def of(tmp_path: Path, left: str, right: str) -> BehaviourDiff:
    return behave(source(tmp_path, "left", left), source(tmp_path, "right", right))


def test_two_that_differ_in_every_line_and_do_the_same(tmp_path: Path) -> None:
    # Lengths that are no multiple of 16 go wrong in pairs: those trials are what is not the same.
    even = "\tand\tx2, x2, #~15\n"
    diff = of(tmp_path, even + BY_WORDS, even + BY_PAIRS)
    assert diff.verdict is Verdict.SAME
    assert whats(diff) == whats(diff, BehaviourKind.MAINTENANCE) == set()
    assert {"instructions"} <= whats(diff, BehaviourKind.COST)
    assert {"x8", "x9", "x17"} <= whats(diff, BehaviourKind.LEFTOVER)
    [routine] = diff.routines
    assert routine.mode is TrialMode.CALL
    lengths = [one for one in routine.left if one.trial == "pointers and a length"]
    assert [(one.counts.loaded, one.counts.stored) for one in lengths] == [(128, 128)]
    assert "copy: behaves the same" in behaviour_text(diff)


@pytest.mark.parametrize(
    ("operand", "other", "what"),
    [
        ("str	x9, [x0], #8", "str	x8, [x0], #8", "memory: [x0]"),
        ("str	x9, [x0], #8", "str	w9, [x0], #8", "memory: [x0]"),
        ("ldr	x9, [x1], #8", "ldr	x9, [x1], #16", "x0"),
        ("cbz	x2, 2f", "cbz	x3, 2f", "way out"),
        ("	ret", "	ret	x3", "way out"),
        ("	ret", "	mov	x19, x0\n	ret", "x19"),
    ],
)
def test_two_that_differ_in_one_operand_and_do_not(
    tmp_path: Path, operand: str, other: str, what: str
) -> None:
    assert operand in BY_WORDS
    diff = of(tmp_path, BY_WORDS, BY_WORDS.replace(operand, other))
    assert diff.verdict is Verdict.DIFFERENT
    assert any(found.startswith(what) for found in whats(diff)), whats(diff)
    assert "copy: behaves differently" in behaviour_text(diff)


def test_an_immediate(tmp_path: Path) -> None:
    diff = of(tmp_path, "\tadd\tx0, x0, #8\n\tret\n", "\tadd\tx0, x0, #16\n\tret\n")
    [difference] = diff.routines[0].differences
    assert (difference.kind, difference.what) == (BehaviourKind.RESULT, "x0")
    assert (difference.left, difference.right) == ("[x0 + 0x8]", "[x0 + 0x10]")
    assert len(difference.trials) == len(diff.routines[0].left)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("dc	civac, x0", "dc	ivac, x0"),
        ("dsb	ish", "dsb	sy"),
        ("isb", "nop"),
        ("tlbi	vmalle1", "tlbi	vmalle1is"),
    ],
)
def test_maintenance_that_differs_is_a_verdict_of_its_own(
    tmp_path: Path, left: str, right: str
) -> None:
    diff = of(tmp_path, f"\t{left}\n\tret\n", f"\t{right}\n\tret\n")
    assert diff.verdict is Verdict.MAINTENANCE
    assert whats(diff, BehaviourKind.MAINTENANCE) <= {
        text.replace("\t", " ").removesuffix(", x0") for text in (left, right)
    }
    assert "maintenance  " in behaviour_text(diff)


def test_system_registers(tmp_path: Path) -> None:
    written = "\tmsr\tvbar_el1, x0\n\tret\n"
    diff = of(tmp_path, written, written.replace("vbar", "tpidr"))
    assert whats(diff) == {"VBAR_EL1", "TPIDR_EL1"}
    assert whats(diff, BehaviourKind.COST) == {"msr VBAR_EL1", "msr TPIDR_EL1"}
    twice = of(tmp_path, written, "\tmsr\tvbar_el1, x1\n" + written)
    assert (twice.verdict, whats(twice, BehaviourKind.COST)) == (
        Verdict.SAME, {"instructions", "msr VBAR_EL1"},
    )  # fmt: skip


def test_calls_out_go_by_name_and_end_there(tmp_path: Path) -> None:
    call = "\tmov\tx9, x30\n\tmov\tx2, #4\n\tbl\tmemcpy\n\tret\tx9\n"
    assert of(tmp_path, call, call.replace("x9", "x10")).verdict is Verdict.SAME
    diff = of(tmp_path, call, call.replace("memcpy", "memset"))
    [found] = diff.routines[0].differences
    assert (found.what, found.left, found.right) == ("way out", "calls memcpy", "calls memset")
    assert diff.routines[0].cut == len(diff.routines[0].left)
    wrong = of(tmp_path, call, call.replace("#4", "#5"))
    assert whats(wrong) == {"x2"}
    # What the first does after the call is not seen, and that is said.
    assert f"not run to their end: {len(TRIALS)}" in behaviour_text(wrong)


def test_a_call_of_itself_is_followed(tmp_path: Path) -> None:
    body = "\tcbz\tx0, 1f\n\tmov\tx0, #0\n\tb\tcopy\n1:\tret\n"
    flat = "\tmov\tx0, #0\n\tret\n"
    diff = of(tmp_path, body, flat)
    assert diff.verdict is Verdict.SAME
    assert {one.ending.leaving for one in diff.routines[0].left} == {Leaving.RETURN}


def test_routines_of_two_names_are_compared_if_they_are_the_only_ones(tmp_path: Path) -> None:
    names = [source(tmp_path, name, "\tret\n", name) for name in ("one", "two")]
    [routine] = behave(*names).routines
    assert (routine.name, routine.verdict) == ("one → two", Verdict.SAME)


def test_nothing_in_common_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RelokitError, match="no routine in common") as caught:
        behave("series:15", source(tmp_path, "one", "\tret\n"))
    assert caught.value.hint


@pytest.mark.parametrize(
    "body",
    ["1:\tb\t1b\n", "\tbr\tx19\n", "\tadr\tx9, copy\n\tstr\tw0, [x9]\n\tret\n", "\tudf\t#0\n"],
)
def test_hostile_code_is_told_the_same_as_itself(tmp_path: Path, body: str) -> None:
    if "udf" in body:
        body = "\t.inst\t0\n"
    other = "\tnop\n" + body
    diff = of(tmp_path, body, other)
    assert diff.routines[0].left[0].trial == diff.routines[0].right[0].trial
    assert behaviour_text(diff)


# The kexec machine ------------------------------------------------------------------------------


def relocation(directory: Path, name: str, state: int, old: str = "", new: str = "") -> str:
    """Our relocation code of ``state`` as a file, with ``old`` replaced."""
    [unit] = [one for one in relokit.render(relokit.Target(series=state)).units
              if f"{RELOCATION}:" in one.text]  # fmt: skip
    assert re.search(old, unit.text)
    path = directory / f"{name}.S"
    path.write_text(re.sub(old, new, unit.text, count=1) if old else unit.text)
    return f"{path}:{RELOCATION}"


def test_eleven_and_twelve_do_the_same_with_other_maintenance() -> None:
    diff = behave(f"series:11:{RELOCATION}", "series:12")
    assert diff.verdict is Verdict.MAINTENANCE
    assert whats(diff, BehaviourKind.MAINTENANCE) == {"dc ivac", "dc civac", "isb"}
    assert whats(diff, BehaviourKind.SETUP) == {"state", "entered at"}
    text = behaviour_text(diff)
    assert "dc ivac 4,288 → 0; dc civac 0 → 4,288" in text
    assert "EL1, MMU off → EL1, MMU on" in text
    assert max(map(len, text.splitlines())) <= 80
    assert from_json(BehaviourDiff, to_json(diff)) == diff


def test_a_file_runs_in_the_machine_of_the_other_side(tmp_path: Path) -> None:
    for state in (3, 15):
        diff = behave(relocation(tmp_path, "same", state), f"series:{state},el=el1")
        assert diff.routines[0].differences == ()
        assert diff.routines[0].mode is TrialMode.RELOCATION


@pytest.mark.parametrize(
    ("old", "new", "verdict", "what"),
    [
        (r"dc\s+civac", "dc ivac", Verdict.MAINTENANCE, "dc ivac"),
        (r"mov\s+x1, xzr", "mov x1, x11", Verdict.DIFFERENT, "verdict"),
        (r"ldp\s+x2, x3, ", "ldp x3, x2, ", Verdict.DIFFERENT, "verdict"),
        (r"mov\s+x0, x26", "mov x0, x27", Verdict.DIFFERENT, "x0"),
    ],
)
def test_one_operand_of_the_relocation(
    tmp_path: Path, old: str, new: str, verdict: Verdict, what: str
) -> None:
    diff = behave("series:15,el=el1", relocation(tmp_path, "other", 15, old, new))
    assert diff.verdict is verdict
    kind = BehaviourKind.RESULT if verdict is Verdict.DIFFERENT else BehaviourKind.MAINTENANCE
    assert what in whats(diff, kind)


def test_the_job_is_the_same_for_both() -> None:
    job = relokit.Job(size=1 << 20, seed=7)
    diff = behave(f"series:14:{RELOCATION}", "series:15", job=job)
    [left], [right] = diff.routines[0].left, diff.routines[0].right
    assert left.memory == right.memory
    assert left.counts == right.counts
    assert left.counts.stored > 1 << 20
    with pytest.raises(MachineError, match="hibernation"):
        behave(f"series:15:{RELOCATION}", "series:14",
               job=relokit.Job(path=relokit.runtime.kexec.job.KexecPath.HIBERNATE))  # fmt: skip


def test_what_is_not_resolved_cannot_be_copied(tmp_path: Path) -> None:
    path = source(tmp_path, "open", "\tbl\tmemcpy\n\tret\n", RELOCATION)
    with pytest.raises(RelokitError, match=r"\+0x0 refers to memcpy") as caught:
        behave(path, "series:15")
    assert caught.value.where
    assert path in caught.value.where


def test_an_endless_relocation_is_bounded(tmp_path: Path) -> None:
    path = source(tmp_path, "hang", "1:\tadd\tx9, x9, #1\n\tb\t1b\n", RELOCATION)
    diff = behave(path, "series:15")
    assert diff.verdict is Verdict.DIFFERENT
    text = behaviour_text(diff)
    assert "does not come to an end" in text
    # By instructions: the host's time is another answer, and none.
    assert f"instructions {DEMO_INSTRUCTIONS:,} " in text


def test_how_fast_the_host_is_does_not_decide_what_is_endless(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loops of which each turn costs the engine much: a walk, a flush of what it has translated."""
    monkeypatch.setattr(executed_diffs, "DEMO_INSTRUCTIONS", 1 << 19)
    loop = "1:\tadd\tx9, x9, #1\n\ttlbi\tvmalle1\n\tldr\tx10, [x0]\n\tb\t1b\n"
    text = behaviour_text(behave(source(tmp_path, "slow", loop, RELOCATION), "series:15"))
    assert f"instructions {1 << 19:,} " in text
    assert executed_diffs._demo().timeout == DEFAULT_TIMEOUT


def test_the_hosts_time_is_no_answer_and_has_its_own_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = source(tmp_path, "hang", "1:\tadd\tx9, x9, #1\n\tb\t1b\n", RELOCATION)
    job = Job(timeout=0.05, max_instructions=1 << 50)
    monkeypatch.setattr(executed_diffs, "_demo", lambda: job)
    assert main(["diff", path, path, "--run", "--el", "nvhe"]) == 3
    assert "no answer" in capsys.readouterr().out
    assert main(["diff", path, path, "--run", "--el", "nvhe", "--json"]) == 3


def test_all_routines_of_two_states() -> None:
    diff = behave("series:14", "series:15")
    assert diff.routines[0].name == RELOCATION
    assert len(diff.routines) > 8
    assert diff.same
    text = behaviour_text(diff)
    assert len(text.splitlines()) < 40
    assert max(map(len, text.splitlines())) <= 80


def test_the_parent_never_loads_the_engine(tmp_path: Path) -> None:
    left, right = (source(tmp_path, name, "\tret\n") for name in ("left", "right"))
    script = (
        "import sys\n"
        "from relokit.executed_diffs import behave\n"
        f"assert behave({left!r}, {right!r}).same\n"
        "print(sorted({'unicorn', 'numpy'} & {*sys.modules}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout == "[]\n"


def test_the_page_gets_a_table_for_each_routine_with_differences(tmp_path: Path) -> None:
    diff = of(tmp_path, "\tadd\tx0, x0, #8\n\tisb\n\tret\n", "\tadd\tx0, x0, #16\n\tnop\n\tret\n")
    shown = behaviour_tables(diff)
    assert shown.verdict == "behaves differently"
    [table] = shown.tables
    runs = str(len(TRIALS))
    assert table.rows == (
        ("results", "x0", "[x0 + 0x8]", "[x0 + 0x10]", runs),
        ("maintenance", "isb", "1", "0", runs),
    )
    assert table.columns[2:4] == (diff.left, diff.right)
    same = behaviour_tables(of(tmp_path, "\tret\n", "\tret\n"))
    assert (same.verdict, same.tables) == ("behaves the same", ())
    assert same.remarks == ("without any difference: copy",)


def test_an_engine_that_goes_down_names_the_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Room:
        def start(self) -> None:
            pass

        def call(self, callee: Callee) -> bytes:
            raise NativeCrashError("the machine (Unicorn) was killed by SIGSEGV")

    monkeypatch.setattr(executed_diffs, "process_session", Room)
    path = source(tmp_path, "deadly", "\tret\n")
    with pytest.raises(NativeCrashError, match="SIGSEGV") as caught:
        behave(path, path)
    assert caught.value.where == path


def test_no_more_is_claimed_than_was_run(tmp_path: Path) -> None:
    """What follows a call is not run: only that far the two are the same."""
    left, right = (f"\tmov\tx0, #1\n\tbl\toutside\n\tmov\tx0, #{n}\n\tret\n" for n in (2, 3))
    diff = of(tmp_path, left, right)
    assert diff.same
    text = " ".join(behaviour_text(diff).split())
    assert "copy: behaves the same as far as it ran" in text
    assert f"(not run to their end: {len(TRIALS)})" in text


def test_scratch_in_argument_registers_is_nobodys(tmp_path: Path) -> None:
    same = of(tmp_path, "\tmov\tx2, #1\n\tadd\tx0, x0, x2\n\tret\n", "\tadd\tx0, x0, #1\n\tret\n")
    assert same.verdict is Verdict.SAME
    # What is set and not read is for somebody.
    handed = of(tmp_path, "\tmov\tx2, #1\n\tret\n", "\tret\n")
    assert handed.verdict is Verdict.DIFFERENT
