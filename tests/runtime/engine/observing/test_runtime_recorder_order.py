"""The recorder: what is in which order, and that equal runs give equal traces."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from relokit.runtime.record.trace import RECORD, Records, Trace, TraceFlag, TraceKind
from support.recording import DATA, GRANULE, LINE, record

MakeBench = Callable[..., Any]
OPERATIONS = {
    "load": "ldr w2, [x0, #{}]",
    "load 8": "ldr x2, [x0, #{}]",
    "store": "str w2, [x0, #{}]",
    "store 8": "str x2, [x0, #{}]",
    "clean": "add x1, x0, #{}; dc cvac, x1",
    "discard": "add x1, x0, #{}; dc ivac, x1",
    "barrier": "dsb sy",
}
SIZES = {"load": 4, "load 8": 8, "store": 4, "store 8": 8, "clean": LINE, "discard": LINE}
Step = tuple[str, int, int, bool]
"""What is done, at which offset from DATA, to how many bytes, and whether that is unaligned."""


def steps_of(trace: Trace) -> Iterator[Step]:
    """The records as steps, each range at once."""
    names = {TraceKind.LOAD: "load", TraceKind.STORE: "store", TraceKind.DSB: "barrier"}
    for one in trace.records:
        kind = TraceKind(one["kind"])
        name = names.get(kind)
        if kind is TraceKind.DC:
            name = "clean" if one["encoding"] >> 3 & 15 == 10 else "discard"
        if name:
            yield from expanded(name, one)


def expanded(name: str, one: Records) -> Iterator[Step]:
    at, stride = int(one["va"]) - DATA, int(one["stride"])
    unaligned = bool(one["flags"] & TraceFlag.UNALIGNED)
    if not stride:
        yield name, at, int(one["length"]), unaligned
        return
    for number in range(one["count"]):
        yield name, at + number * stride, LINE, unaligned


def judged(steps: Iterator[Step]) -> dict[str, set[int]]:
    """A small rule book: what a granule's discard loses, what is read while it is dirty, what is
    dirty or not yet certainly clean in the end, what is accessed unaligned.
    """
    dirty: set[int] = set()
    cleaned: set[int] = set()
    lost: set[int] = set()
    read_dirty: set[int] = set()
    crooked: set[int] = set()
    for name, at, size, unaligned in steps:
        covered = set(range(at, at + size))
        if unaligned:
            crooked |= covered
        if name == "clean":
            first, last = at // LINE * LINE, (at + size - 1) // LINE * LINE
            cleaned |= set(range(first, last + LINE)) & dirty
        elif name == "discard":
            first, last = at // GRANULE * GRANULE, (at + size - 1) // GRANULE * GRANULE
            lost |= set(range(first, last + GRANULE)) & dirty
        elif name == "barrier":
            dirty -= cleaned
            cleaned = set()
        elif name == "store":
            dirty |= covered
            cleaned -= covered
        else:
            read_dirty |= covered & (dirty - cleaned)
    return {
        "dirty": dirty,
        "cleaned": cleaned,
        "lost": lost,
        "read dirty": read_dirty,
        "crooked": crooked,
    }


def test_order_is_kept_wherever_a_rule_can_tell(bench: MakeBench) -> None:
    """Loops over some operations, each turn a little further on."""
    one = bench()

    def plain(*names: tuple[str, int]) -> list[tuple[str, int, int, int]]:
        return [(name, 0, 0, at // 4) for name, at in names]

    @settings(max_examples=300)
    @given(
        program=st.lists(
            st.tuples(
                st.sampled_from([*OPERATIONS, "load 8", "store 8", "load 8", "store 8"]),
                st.sampled_from([0, 0, 0, 1024, 2048, 3072]),
                st.sampled_from([0, 0, 0, 1, 2]),
                st.sampled_from([0, 2, 4, 6, 1]),
            ),
            min_size=1,
            max_size=8,
        ),
        stride=st.sampled_from([8, 8, 8, 16, 0, 4, 12, 64, 128, 1024, 4096]),
        turns=st.integers(1, 12),
    )
    # A load runs after a store that is just ahead of it, or runs into what was stored before.
    @example(program=plain(("load 8", 0), ("store 8", 8)), stride=8, turns=9)
    @example(program=plain(("store 8", 0), ("load 8", 64)), stride=8, turns=19)
    @example(program=plain(("load 8", 0), ("store 8", 64), ("load 8", 24)), stride=8, turns=19)
    @example(program=[*plain(("load", 0)), ("load 8", 0, 0, 1)], stride=12, turns=9)
    # Ranges that were closed go on where they ended.
    @example(
        program=plain(("store 8", 0), ("store 8", 8), ("store 8", 16), ("barrier", 0)),
        stride=24,
        turns=5,
    )
    def check(program: list[tuple[str, int, int, int]], stride: int, turns: int) -> None:
        body: list[Step] = []
        lines = []
        for name, block, line, word in program:
            size = SIZES.get(name, 0)
            at = block + line * LINE + (0 if size == LINE else word * 4)
            # The instruction has a scaled offset: what is 4 more than that goes by the base.
            text = OPERATIONS[name].format(at if at % (size or 1) == 0 else at - 4)
            if at % (size or 1):
                text = text.replace("x0", "x3")
            body.append((name.split()[0], at, size, bool(size in (4, 8) and at % size)))
            lines.append(text)
        steps = [
            (name, at + turn * stride, size, bool(size in (4, 8) and (at + turn * stride) % size))
            for turn in range(turns)
            for name, at, size, _ in body
        ]
        # A line of maintenance is where its operand is.
        text = "; ".join(["loop: add x3, x0, #4", *lines, f"mov x4, #{stride}; add x0, x0, x4"])
        trace = record(one, f"mov x9, #{turns}; {text}; subs x9, x9, #1; b.ne loop; nop")
        assert judged(steps_of(trace)) == judged(iter(steps))

    check()


def test_records_are_in_the_order_they_were_begun(bench: MakeBench) -> None:
    """Twenty ranges that grow in turn: more than are kept open."""
    text = "; ".join(
        f"ldr x2, [x0, #{0x100 * number + 8 * turn}]"
        for turn, number in itertools.product(range(3), range(20))
    )
    trace = record(bench(), text)
    before = trace.records["before"].tolist()
    assert before == sorted(before)
    assert int(trace.of(TraceKind.LOAD)["length"].sum()) == 3 * 20 * 8


def test_the_record_is_as_long_as_it_says() -> None:
    assert RECORD.itemsize == 64


def test_equal_runs_give_equal_traces(bench: MakeBench) -> None:
    text = "str x1, [x0]; dc cvac, x0; dsb sy; isb; ldr x1, [x0]"
    traces = [record(bench(), text) for _ in range(2)]
    assert traces[0] == traces[1]
    assert traces[0].records.tobytes() == traces[1].records.tobytes()
