"""Loops, which the recorder takes as a whole, against the same code by the instruction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from relokit.runtime.engine.observing.recorder import Recorder
from relokit.runtime.record.stop import StopReason
from relokit.runtime.record.trace import TraceKind
from support.recording import CODE, DATA, RAM

MakeBench = Callable[..., Any]
END = RAM + (16 << 20)
POINTER = DATA + 0x1_0000

BODY = (
    "ldp x4, x5, [x0]",
    "ldp x4, x5, [x0, #16]",
    "ldp x4, x5, [x0], #16",
    "stp x4, x5, [x1]",
    "stp x4, x5, [x1, #16]",
    "stp x4, x5, [x1], #16",
    "str x4, [x1], #8",
    "ldr x4, [x0, #8]!",
    "ldp x4, x5, [x0, #-16]!",
    "str w4, [x1, #4]",
    "ldrb w4, [x0], #1",
    "stur x4, [x1, #-8]",
    "ldr q0, [x0], #16",
    "stp q0, q1, [x1], #32",
    "ld1 {v0.16b}, [x0], #16",
    "ldr x4, [sp, #8]",
    "ldar x4, [x0]",
    "ldtr x4, [x0, #8]",
    "str x4, [x1, x6]",
    "ldr x0, [x3]",
    "ldp x4, x0, [x3]",
    "prfm pldl1keep, [x0]",
    "dc civac, x0",
    "dc civac, x1",
    "dc ivac, x2",
    "dc zva, x2",
    "ldr x4, [x0]",
    "ldr x4, [x0, #24]",
    "str x4, [x0]",
    "str x4, [x0, #64]",
    "add x0, x0, #8",
    "add x0, x0, #16",
    "add x0, x0, #64",
    "add x1, x1, #64",
    "sub x1, x1, #8",
    "sub x1, x1, #1, lsl #12",
    "add x2, x2, #64",
    "add x0, x0, x6",
    "add x1, x0, #32",
    "mov x2, x1",
    "csel x0, x0, x1, eq",
    "mrs x0, ctr_el0",
    "dmb ish",
    "nop",
)
BETWEEN = (
    "nop",
    "dmb ish",
    "mov x1, x0",
    "add x1, x0, #32",
    "add x1, x1, #16",
    "mov x0, x2",
    "ldr w4, [x0]",
    "str x4, [x1]",
    "str x4, [x2]",
)
LOAD_AND_STORE = ["ldr x4, [x0]", "add x0, x0, #8", BODY[5]]
TWO_LOADS = ["ldr x4, [x0], #16", "ldr x5, [x1], #16"]
TWO_KINDS = ["ldar w4, [x0]", "ldr w5, [x0, #4]", "add x0, x0, #8"]
PLACE_OF_CODE = CODE + 0xE00
PLACES = (
    DATA,
    DATA + 4,
    DATA + 4096 - 64,
    DATA + 3 * 4096,
    CODE - 192,
    CODE + 0x100,
    END - 192,
)


class ByInstruction(Recorder):
    """It is not told of blocks."""

    def _tell_of_blocks(self, path: int) -> None:
        pass


def told(bench: Any, recorder: type[Recorder], text: str, limit: int, *at: int) -> tuple[Any, ...]:
    """What is recorded of ``text`` with ``at`` in x0, x1 and x2, and how it ended."""
    bench.memory.write(DATA, bytes(POINTER - DATA) + DATA.to_bytes(8, "little") * 2)
    bench.cpu.set_sp(DATA)
    for number, value in enumerate((*at, POINTER, 1, 2, 32)):
        bench.cpu.set_x(number, value)
    with recorder(bench.cpu, room=20_000) as recording:
        stop = bench.run(text, at=PLACE_OF_CODE, max_instructions=limit)
    trace = recording.trace()
    return trace.records.tobytes(), trace.instructions, stop.reason, stop.pc


def program(body: list[str], turns: int, outer: int, between: list[str]) -> str:
    """The body ``turns`` times in a loop, which is in a loop that doubles the turns each time."""
    begin = f"mov x10, #{outer}; mov x11, #{turns}; cmp x10, #0; again: mov x9, x11; b loop"
    inner = "; ".join(["loop: nop", *body, "subs x9, x9, #1; b.ne loop"])
    end = "; ".join([*between, "add x11, x11, x11; subs x10, x10, #1; b.ne again; nop"])
    return f"{begin}; {inner}; {end}"


def test_a_loop_is_recorded_as_its_instructions_are(bench: MakeBench) -> None:
    one = bench()
    place = st.sampled_from(PLACES)
    pair, at = [BODY[2], BODY[5]], (DATA, DATA, DATA)

    @settings(max_examples=200)
    @given(
        body=st.lists(st.sampled_from(BODY), min_size=1, max_size=8),
        turns=st.integers(1, 50),
        outer=st.integers(1, 3),
        between=st.lists(st.sampled_from(BETWEEN), max_size=3),
        source=place,
        destination=place,
        line=place,
        limit=st.sampled_from([100_000, 100_000, 100_000, 150]),
    )
    # A load runs into what was stored, rounds before; a store runs ahead of a load.
    @example(["ldr x4, [x0]", "str x4, [x0, #64]", "add x0, x0, #8"], 40, 1, [], *at, 100_000)
    @example(["str x4, [x0]", "ldr x4, [x0, #24]", "add x0, x0, #8"], 40, 1, [], *at, 100_000)
    # Into another page, out of RAM, and what is no longer known of a base.
    @example(pair, 150, 1, [], DATA + 4096 - 64, DATA + 3 * 4096, DATA, 100_000)
    @example(pair, 150, 1, [], DATA, END - 192, DATA, 100_000)
    @example(["dc civac, x1", "add x1, x1, #64"], 9, 1, [], DATA, END - 192, DATA, 100_000)
    @example([BODY[2], "ldr x0, [x3]", BODY[5]], 20, 1, [], DATA, DATA + 4096, DATA, 100_000)
    # Into the page of the code, of which every store is told, with no fill: that was before.
    @example([BODY[5]], 10, 3, [BETWEEN[-1]], DATA, CODE - 608, CODE + 0x100, 100_000)
    @example([BODY[5]] * 2, 5, 3, [BETWEEN[-1]], DATA, CODE - 592, CODE + 0x100, 100_000)
    # A store that comes after loads were begun, to where they go on; that catches up with them,
    # in their page, or from the one before.
    @example([BODY[2]], 9, 2, ["mov x1, x0", "str x4, [x1]"], *at, 100_000)
    @example(LOAD_AND_STORE, 60, 1, [], DATA + 256, DATA, DATA, 100_000)
    @example(LOAD_AND_STORE, 60, 1, [], DATA + 4096 + 64, DATA + 4096 - 64, DATA, 100_000)
    # The second load goes on where the first one did, or a load of another kind.
    @example(TWO_LOADS, 9, 2, ["sub x1, x1, #8", "add x0, x0, #64"], DATA, DATA + 8, DATA, 100_000)
    @example(TWO_KINDS, 9, 3, ["dmb ish", "ldr w5, [x0]"], *at, 100_000)
    # More bases than are kept of a loop.
    @example([f"ldr x4, [{base}]" for base in ("x0", "x1", "x2", "x3", "sp")], 9, 1, [], *at, 999)
    def check(
        body: list[str],
        turns: int,
        outer: int,
        between: list[str],
        source: int,
        destination: int,
        line: int,
        limit: int,
    ) -> None:
        text = program(body, turns, outer, between)
        at = source, destination, line
        expected = told(one, ByInstruction, text, limit, *at)
        assert told(one, Recorder, text, limit, *at) == expected

    check()


def test_code_that_changes_the_loop_it_is_in(bench: MakeBench) -> None:
    """The tenth round stores another instruction over one that comes before the store."""
    text = """
        mov x9, #20
        adr x1, there
        loop: ldr x4, [x0], #8
        there: add x0, x0, #8
        cmp x9, #10
        csel x7, x1, x3, eq
        ldr w6, [x7]
        csel w6, w5, w6, eq
        str w6, [x7]
        subs x9, x9, #1
        b.ne loop
        nop
    """
    one = bench()
    results = []
    for recorder in (ByInstruction, Recorder):
        one.memory.write(DATA, bytes(POINTER - DATA + 8))
        for number, value in enumerate((DATA, 0, 0, POINTER, 0, 0x91004000)):
            one.cpu.set_x(number, value)
        with recorder(one.cpu) as recording:
            stop = one.run(text)
        assert stop.reason is StopReason.REACHED, stop
        trace = recording.trace()
        results.append((trace.records.tobytes(), trace.instructions))
        assert len(trace.of(TraceKind.LOAD)["va"]) > 20
    assert results[0] == results[1]


@pytest.mark.parametrize("room", [1, 3, 5, 8])
def test_room_that_ends_in_a_loop(bench: MakeBench, room: int) -> None:
    text = (
        "mov x9, #99; loop: ldr x4, [x0], #16; str x4, [x1], #24; subs x9, x9, #1; b.ne loop; nop"
    )
    one = bench()
    results = []
    for recorder in (ByInstruction, Recorder):
        one.cpu.set_x(0, DATA)
        one.cpu.set_x(1, POINTER)
        with recorder(one.cpu, room=room) as recording:
            one.run(text)
        trace = recording.trace()
        results.append((trace.records.tobytes(), trace.instructions, trace.full_at))
    assert results[0][2] is not None
    assert results[0] == results[1]
