"""Routines called in the flat machine: how each leaves, what it left, and that none escapes."""

from __future__ import annotations

from typing import Any

import keystone
import numpy as np
import pytest

from relokit.runtime.behaviour.calls import CODE_OWNER, MAX_INSTRUCTIONS, observe_calls
from relokit.runtime.behaviour.flat_machine import (
    BLOCK,
    CODE,
    DATA,
    DATA_SIZE,
    POINTER,
    STACK,
    STACK_POINTER,
    Callee,
    block_of,
    data_text,
    level_of,
    owners,
    placed,
)
from relokit.runtime.behaviour.observation import Leaving, Observation
from relokit.runtime.behaviour.trials import TRIALS, initial_data, initial_registers

NAMES = [trial.name for trial in TRIALS]


def observe(text: str, name: str = "any", **unresolved: Any) -> tuple[Observation, ...]:
    engine = keystone.Ks(keystone.KS_ARCH_ARM64, keystone.KS_MODE_LITTLE_ENDIAN)
    code, _ = engine.asm(text, addr=0, as_bytes=True)
    return observe_calls(Callee(code, CODE, level_of(name), **unresolved))


def endings(text: str, name: str = "any") -> set[Leaving]:
    return {one.ending.leaving for one in observe(text, name)}


def by_trial(text: str, trial: str) -> Observation:
    return next(one for one in observe(text) if one.trial == trial)


def test_every_trial_is_run_and_named() -> None:
    assert [one.trial for one in observe("ret")] == NAMES
    assert len(set(NAMES)) == len(NAMES) >= 8


@pytest.mark.parametrize(
    ("text", "leaving"),
    [
        ("ret", Leaving.RETURN),
        ("mov x9, x30\nbr x9", Leaving.RETURN),
        ("br x19", Leaving.BRANCH),
        ("nop", Leaving.BRANCH),
        ("blr x19\nret", Leaving.CALL),
        ("mov x30, x19\nblr x30\nret", Leaving.CALL),
        ("bl #0x100000\nret", Leaving.CALL),
        ("bl #8\nret\nb #0x100000", Leaving.BRANCH),
        ("hvc #0\nret", Leaving.SYSTEM_CALL),
        ("svc #1\nret", Leaving.SYSTEM_CALL),
        ("smc #0\nret", Leaving.SYSTEM_CALL),
        ("eret", Leaving.EXCEPTION_RETURN),
        ("brk #7", Leaving.FAULT),
        ("mov x9, #1\nldr x9, [x9]", Leaving.FAULT),
        ("wfi\nret", Leaving.WAIT),
        ("b #0", Leaving.ENDLESS),
        ("add x1, x1, #1\nb #-4", Leaving.ENDLESS),
    ],
)
def test_how_it_leaves(text: str, leaving: Leaving) -> None:
    # A negative branch is to the start of the text: Keystone takes addresses.
    assert endings(text.replace("#-4", "#0")) == {leaving}


def test_where_it_goes_is_told() -> None:
    seen = by_trial("add x0, x0, #4\nbr x0", "pointers")
    assert (seen.ending.place, data_text(block_of(0) + 4)) == (block_of(0) + 4, "[x0 + 0x4]")
    assert by_trial("ldr x0, [x0]", "zeros").ending.place == 0


def test_levels_by_name() -> None:
    assert {one.jump.el for one in observe("ret")} == {1}
    at_el2 = observe("mrs x0, vbar_el2\nret", "elx_sync")
    assert {one.jump.el for one in at_el2} == {2}
    assert {one.ending.leaving for one in at_el2} == {Leaving.RETURN}
    assert endings("mrs x0, vbar_el2\nret") == {Leaving.FAULT}
    assert endings("eret", "elx_sync") == {Leaving.EXCEPTION_RETURN}
    # A vector table is entered where an HVC would enter it.
    table = "b #0\n" + "nop\n" * 255 + "ret"
    assert endings(table, "__hyp_stub_vectors") == {Leaving.RETURN}
    assert level_of("mine", "elx_sync").el == 2


def test_memory_is_told_word_by_word_with_its_owner() -> None:
    seen = by_trial("mov x9, #5\nstr x9, [x1, #24]\nstrb wzr, [x0]\nret", "pointers")
    words = {one.owner: one.words for one in seen.memory}
    [(offset, value)] = words["x1 data"]
    assert (offset, value) == (POINTER + 24, 5)
    [(offset, value)] = words["x0 data"]
    assert offset == POINTER
    assert value == int(initial_data()[POINTER // 8]) & ~0xFF


def test_what_is_below_the_stack_pointer_is_nobodys() -> None:
    pushed = by_trial("stp x29, x30, [sp, #-16]!\nldp x29, x30, [sp], #16\nret", "pointers")
    assert pushed.memory == ()
    kept = by_trial("str x0, [sp, #-16]!\nret", "pointers")
    [stack] = kept.memory
    assert stack.on_stack
    assert stack.words == ((0, block_of(0)),)
    assert stack.base == kept.registers["sp"] == STACK_POINTER - 16


def test_system_registers_that_change_are_told_and_no_others() -> None:
    changed = by_trial("msr vbar_el1, x0\nmsr par_el1, x1\nmsr daifclr, #15\nret", "pointers")
    assert changed.system == {"VBAR_EL1": block_of(0), "PAR_EL1": block_of(1)}
    assert changed.daif == 0
    assert by_trial("mrs x9, vbar_el1\nmsr vbar_el1, x9\nret", "pointers").system == {}


def test_the_same_trial_is_the_same_every_time() -> None:
    text = "mul x0, x9, x27\nstr x0, [x1]\nmrs x2, nzcv\nret"
    assert observe(text) == observe(text)


def test_trials_give_what_they_are_called() -> None:
    arguments = {trial.name: initial_registers(trial)[:8] for trial in TRIALS}
    assert arguments["pointers"] == [block_of(n) for n in range(8)]
    assert arguments["zeros"] == [0] * 8
    assert arguments["pointers and a length"][:3] == [block_of(0), block_of(1), 128]
    first, end = arguments["a pointer and its end"][:2]
    assert DATA <= first < end < DATA + BLOCK
    places = {base for _, base, _ in owners()}
    assert sum(size for _, _, size in owners()) == DATA_SIZE
    assert STACK in places
    pointers = initial_data()[2::4]
    assert set(np.unique(pointers).tolist()) == {block_of(n) for n in range(8)}


def test_an_unresolved_reference_ends_the_trial_there() -> None:
    text = "mov x0, #3\nbl #0\nmov x0, #4\nret"
    [seen, *_] = observe(text, unresolved={4: "memcpy"})
    assert (seen.ending.leaving, seen.ending.text) == (Leaving.CALL, "calls memcpy")
    assert seen.registers["x0"] == 3
    [seen, *_] = observe("adrp x0, #0\nret", unresolved={0: "table"})
    assert seen.ending.text == "refers to table"


@pytest.mark.parametrize(
    "text",
    [
        "b #0",
        "adr x9, #0\nstr x0, [x9], #8\nb #4",  # over its own code
        "str x9, [x0], #8\nb #0",
        "mov x9, #0\nmov sp, x9\nstr x0, [sp]",
        "mrs x0, sctlr_el1\norr x0, x0, #1\nmsr sctlr_el1, x0\nisb\nret",  # MMU on, no tables
        "msr spsel, #0\nmov x0, #0\nmov sp, x0\nret",
        "dc zva, x19\nret",
        "mov x30, #0\nret",
        "msr elr_el1, x19\nmsr spsr_el1, x20\neret",
        "ldr x9, #0x100000\nret",
    ],
)
def test_hostile_code_comes_to_an_end(text: str) -> None:
    seen = observe(text)
    assert [one.trial for one in seen] == NAMES
    assert all(one.counts.instructions <= MAX_INSTRUCTIONS + 1024 for one in seen)


def test_random_words_come_to_an_end() -> None:
    for seed in range(12):
        code = np.random.RandomState(seed).bytes(4096)
        assert len(
            observe_calls(Callee(code, CODE, level_of("elx_sync" if seed % 2 else "")))
        ) == len(NAMES)


def test_code_that_changes_itself_is_told() -> None:
    text = "adr x9, #16\nmovz w10, #0x03c0\nmovk w10, #0xd65f, lsl #16\nstr w10, [x9]\nb #0"
    [seen, *_] = observe(text)
    assert seen.ending.leaving is Leaving.RETURN
    assert [one.owner for one in seen.memory] == [CODE_OWNER]


def test_data_is_not_executed() -> None:
    [seen, *_] = observe("br x0")
    assert (seen.ending.leaving, seen.counts.instructions) == (Leaving.BRANCH, 1)


def test_a_routine_full_of_barriers_that_runs_off_its_end() -> None:
    code = 0xD5033FDF.to_bytes(4, "little") * (1 << 12)
    [seen, *_] = observe_calls(Callee(code, placed(0x123C), level_of("")))
    assert seen.counts.barriers == {"isb": 1 << 12}
    assert (seen.ending.leaving, seen.ending.place) == (Leaving.BRANCH, CODE + 0x23C + len(code))
