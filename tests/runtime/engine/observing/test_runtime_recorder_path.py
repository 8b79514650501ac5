"""The path: in which order blocks were run, against each instruction as the engine tells it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from unicorn import unicorn_const as u

from relokit.runtime.engine.observing.recorder import Recorder
from relokit.runtime.record.code_path import PATH_HEAD, PATH_TAIL, CodePath
from relokit.runtime.record.executed import MAX_EXECUTED, Executed
from relokit.runtime.record.known import Unknown
from relokit.runtime.record.stop import StopReason
from support.recording import CODE

MakeBench = Callable[..., Any]
CALLS = """
    mov x1, #5
    outer: mov x2, #3
    inner: subs x2, x2, #1
    b.ne inner
    tbz x1, #0, even
    add x3, x3, #1
    even: subs x1, x1, #1
    b.ne outer
    nop
"""


def run(bench: Any, text: str) -> tuple[CodePath, int, list[int]]:
    """The path of ``text``, how many instructions it has begun, and their addresses."""
    seen: list[int] = []
    hook = bench.cpu.uc.hook_add(u.UC_HOOK_CODE, lambda _uc, pc, _size, _data: seen.append(pc))
    with Recorder(bench.cpu, room=10_000) as recorder:
        stop = bench.run(text)
    bench.cpu.uc.hook_del(hook)
    assert stop.reason is StopReason.REACHED, stop
    return recorder.path(), recorder.trace().instructions, seen


def unrolled(path: CodePath) -> list[int]:
    return [
        int(row["pc"]) + 4 * at
        for row in path.rows()
        for _ in range(row["times"])
        for at in range(row["length"])
    ]


def test_the_path_has_every_instruction_in_its_order(bench: MakeBench) -> None:
    path, instructions, seen = run(bench(), CALLS)
    assert unrolled(path) == seen
    assert len(seen) == instructions
    assert path.left_out == 0


def test_a_block_that_follows_itself_is_one(bench: MakeBench) -> None:
    path, _, _ = run(bench(), "mov x1, #100; loop: subs x1, x1, #1; b.ne loop; nop")
    again = [(int(row["pc"]), int(row["times"])) for row in path.rows() if row["times"] > 1]
    assert again == [(CODE + 4, 99)]


@pytest.mark.parametrize("turns", [PATH_HEAD // 2, PATH_HEAD + PATH_TAIL])
def test_the_first_and_the_last_are_kept(bench: MakeBench, turns: int) -> None:
    text = f"mov x1, #{turns}; loop: subs x1, x1, #1; b there; there: cbnz x1, loop; nop"
    path, _, seen = run(bench(), text)
    kept = unrolled(path)
    head = [int(row["pc"]) for row in path.rows()[:PATH_HEAD]]
    assert len(path.rows()) == min(2 * turns + 1, PATH_HEAD + PATH_TAIL)
    assert (path.left_out > 0) == (2 * turns > PATH_HEAD + PATH_TAIL)
    assert kept[-PATH_TAIL:] == seen[-PATH_TAIL:]
    assert head[0] == seen[0]


CALLS_EL2 = """
    mov x1, #7
    again: mov x2, #1
    add x2, x2, x1
    hvc #0
    sub x1, x1, #1
    cbnz x1, again
    nop
"""
STUB, VECTORS = "mrs x6, elr_el2\nadd x7, x7, #1\neret", CODE + 0x1_0000


@pytest.mark.parametrize(
    "text",
    [
        CALLS,
        "mov x1, #100; loop: subs x1, x1, #1; b.ne loop; nop",
        f"mov x1, #{PATH_HEAD + PATH_TAIL}; loop: subs x1, x1, #1; b there; there: cbnz x1, loop",
        CALLS_EL2,
    ],
    ids=["calls", "itself", "more than the path keeps", "exceptions"],
)
def test_how_often_each_instruction_was_begun(bench: MakeBench, text: str) -> None:
    """Of all of them, however long the way."""
    seen: Counter[int] = Counter()
    one = bench()
    one.load(STUB, VECTORS + 0x400)
    one.cpu.write("VBAR_EL2", VECTORS)
    one.cpu.set_el(1)
    hook = one.cpu.uc.hook_add(u.UC_HOOK_CODE, lambda _uc, pc, *_: seen.update([pc]))
    with Recorder(one.cpu) as recorder:
        stop = one.run(text)
    one.cpu.uc.hook_del(hook)
    assert stop.reason is StopReason.REACHED, stop
    executed = recorder.executed()
    assert isinstance(executed, Executed)
    found: Counter[int] = Counter()
    for row in executed.rows():
        for at in range(row["length"]):
            found[int(row["pc"]) + 4 * at] += int(row["times"])
    assert found == seen
    assert sum(found.values()) == recorder.trace().instructions


def test_more_blocks_than_there_is_room_for_are_not_known(bench: MakeBench) -> None:
    one = bench()
    count = MAX_EXECUTED + 1
    one.memory.write(CODE, (0x14000001).to_bytes(4, "little") * count)
    with Recorder(one.cpu) as recorder:
        stop = one.cpu.run(CODE, until=CODE + 4 * count, max_instructions=2 * count, timeout_s=20.0)
    assert stop.reason is StopReason.REACHED
    assert isinstance(recorder.executed(), Unknown)
