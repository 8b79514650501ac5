"""The recorder: ranges and their order, events, what never happened, and where it ends."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from relokit.codegen.base.errors import MachineError
from relokit.codegen.system_registers import REGISTERS, register_key
from relokit.runtime.arch.exceptions import DELIVER
from relokit.runtime.engine import native_hooks
from relokit.runtime.engine.cpu import Cpu
from relokit.runtime.engine.recorder import Recorder
from relokit.runtime.record.stop import StopReason
from relokit.runtime.record.trace import RECORD, Records, Trace, TraceFlag, TraceKind

MakeBench = Callable[..., Any]
RAM, CODE = 0x4000_0000, 0x4010_0000
DATA = RAM + 0x20_0000
PAGE, GRANULE, LINE = 4096, 2048, 64
NOISE = TraceKind.FETCH, TraceKind.FILL, TraceKind.VECTORS


def record(bench: Any, text: str, *, room: int = 10_000, **registers: int) -> Trace:
    """Run ``text`` to its end, recorded, with x0 at DATA unless told otherwise."""
    for name, value in ({"x0": DATA} | registers).items():
        bench.cpu.set_x(int(name[1:]), value)
    with Recorder(bench.cpu, room=room) as recorder:
        stop = bench.run(text)
    assert stop.reason is StopReason.REACHED, stop
    return recorder.trace()


def shown(trace: Trace) -> list[tuple[Any, ...]]:
    """Kind, offset from DATA, bytes and count of each record but fetches, fills and vectors."""
    keep = ~np.isin(trace.records["kind"], [int(kind) for kind in NOISE])
    return [
        (TraceKind(one["kind"]).name, int(one["va"]) - DATA, int(one["length"]), int(one["count"]))
        if one["length"]
        else (TraceKind(one["kind"]).name,)
        for one in trace.records[keep]
    ]


def test_a_copy_is_a_range_of_loads_and_one_of_stores(bench: MakeBench) -> None:
    trace = record(
        bench(),
        """
        mov x1, #64
        loop: ldp x2, x3, [x0], #16
        stp x2, x3, [x4], #16
        subs x1, x1, #1
        b.ne loop
        dsb sy
        """,
        x4=DATA + 0x2000,
    )
    assert shown(trace) == [("LOAD", 0, 1024, 64), ("STORE", 0x2000, 1024, 64), ("DSB",)]
    load, store = trace.of(TraceKind.LOAD, TraceKind.STORE)
    assert (load["pc"], store["pc"], load["size"]) == (CODE + 4, CODE + 8, 16)
    assert (load["before"], store["before"]) == (1, 2)
    assert trace.instructions == 1 + 4 * 64 + 1
    assert trace.full_at is None


def test_a_page_copied_onto_itself_is_two_records(bench: MakeBench) -> None:
    trace = record(
        bench(),
        """
        mov x1, #256
        loop: ldp x2, x3, [x0]
        stp x2, x3, [x0], #16
        subs x1, x1, #1
        b.ne loop
        """,
    )
    assert shown(trace) == [("LOAD", 0, PAGE, 256), ("STORE", 0, PAGE, 256)]


def test_a_load_of_what_was_stored_comes_after_the_store(bench: MakeBench) -> None:
    trace = record(bench(), "ldr x1, [x0]; str x1, [x0, #8]; ldr x1, [x0, #8]; ldr x1, [x0, #16]")
    assert shown(trace) == [("LOAD", 0, 8, 1), ("STORE", 8, 8, 1), ("LOAD", 8, 16, 2)]


def test_ranges_go_on_across_pages_that_lie_side_by_side(bench: MakeBench) -> None:
    trace = record(
        bench(),
        "mov x1, #1536; loop: str x1, [x0], #8; subs x1, x1, #1; b.ne loop",
    )
    assert shown(trace) == [("STORE", 0, 3 * PAGE, 1536)]
    fills = trace.of(TraceKind.FILL)
    assert fills["va"][fills["encoding"] == 1].tolist() == [DATA, DATA + PAGE, DATA + 2 * PAGE]


def test_an_access_across_the_end_of_a_page_is_whole(bench: MakeBench) -> None:
    trace = record(bench(), "str x1, [x0]; ldr x2, [x0]", x0=DATA + PAGE - 4)
    assert [(kind, va, length) for kind, va, length, _ in shown(trace)] == [
        ("STORE", PAGE - 4, 8),
        ("LOAD", PAGE - 4, 8),
    ]
    assert trace.of(TraceKind.LOAD)["flags"].tolist() == [TraceFlag.UNALIGNED]


def test_unaligned_accesses_are_flagged_and_apart(bench: MakeBench) -> None:
    trace = record(bench(), "ldp x1, x2, [x0]; ldr x1, [x0, #16]; ldr w1, [x0, #24]", x0=DATA + 4)
    loads = trace.of(TraceKind.LOAD)
    assert loads["flags"].tolist() == [TraceFlag.UNALIGNED, 0]
    assert loads["length"].tolist() == [24, 4]


@pytest.mark.parametrize("line", [16, 64, 2048])
def test_maintenance_by_line_is_a_range_of_lines(bench: MakeBench, line: int) -> None:
    trace = record(
        bench(cache_line=line),
        f"mov x1, #8; mov x2, #{line}; loop: dc cvac, x0; add x0, x0, x2;"
        "subs x1, x1, #1; b.ne loop",
    )
    (clean,) = trace.of(TraceKind.DC)
    assert (clean["va"], clean["pa"], clean["length"]) == (DATA, DATA, 8 * line)
    assert (clean["size"], clean["stride"], clean["count"]) == (line, 0, 8)
    assert clean["encoding"] == 1 << 14 | 3 << 11 | 7 << 7 | 10 << 3 | 1


@pytest.mark.parametrize("stride", [32, 128, 4096])
def test_maintenance_by_another_stride_tells_it(bench: MakeBench, stride: int) -> None:
    trace = record(
        bench(),
        f"mov x1, #8; mov x2, #{stride}; loop: dc civac, x0; add x0, x0, x2;"
        "subs x1, x1, #1; b.ne loop",
        x0=DATA + 8,
    )
    (clean,) = trace.of(TraceKind.DC)
    assert (clean["va"], clean["stride"], clean["count"]) == (DATA + 8, stride, 8)
    assert clean["length"] == 7 * stride + LINE


def test_set_and_way_is_an_event_with_its_operand(bench: MakeBench) -> None:
    trace = record(bench(), "dc cisw, x1; dc isw, xzr", x1=0x1234)
    assert trace.of(TraceKind.DC)["value"].tolist() == [0x1234, 0]
    assert trace.of(TraceKind.DC)["length"].tolist() == [0, 0]


def test_events_have_what_they_were_given(bench: MakeBench) -> None:
    trace = record(
        bench(),
        """
        msr ttbr1_el1, x1
        isb
        dsb nshst
        tlbi vae1, x2
        tlbi vmalle1
        dmb ishld
        dsb sy
        at s1e1r, x0
        mrs x3, par_el1
        mrs x3, ctr_el0
        msr daifset, #15
        ic iallu
        """,
        x1=0x4123_4000,
        x2=0x77,
    )
    events = trace.records[~np.isin(trace.records["kind"], [int(kind) for kind in NOISE])]
    tlbi = 1 << 14 | 8 << 7 | 7 << 3
    assert [(TraceKind(one["kind"]).name, one["encoding"], one["value"]) for one in events] == [
        ("MSR", REGISTERS["TTBR1_EL1"], 0x4123_4000),
        ("ISB", 15, 0),
        ("DSB", 0b0110, 0),
        ("TLBI", tlbi | 1, 0x77),
        ("TLBI", tlbi, 0),
        ("DMB", 0b1001, 0),
        ("DSB", 0b1111, 0),
        ("AT", 1 << 14 | 7 << 7 | 8 << 3, DATA),
        ("MRS", register_key("PAR_EL1"), bench_par(trace)),
        ("MSR_FIELD", 3 << 11 | 4 << 7 | 15 << 3 | 6, 0),
        ("IC", 1 << 14 | 7 << 7 | 5 << 3, 0),
    ]
    assert events["before"].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11]
    assert events["pc"].tolist() == [CODE + 4 * int(at) for at in events["before"]]


def bench_par(trace: Trace) -> int:
    """What PAR_EL1 says of a successful walk of DATA: at least its address."""
    (value,) = trace.of(TraceKind.MRS)["value"].tolist()
    assert value & ~0xFFF & (1 << 48) - 1 == DATA
    assert not value & 1
    return int(value)


def test_a_fetch_is_recorded_once_until_something_changes(bench: MakeBench) -> None:
    trace = record(bench(), "mov x1, #9; loop: subs x1, x1, #1; b.ne loop; isb; nop; dsb sy; nop")
    fetches = [(int(one["va"]) - CODE, one["length"]) for one in trace.of(TraceKind.FETCH)]
    # Anew behind the ISB; not behind the barrier.
    assert fetches == [(0, 16), (16, 8), (24, 4)]


def test_a_fetch_is_recorded_anew_after_what_it_depends_on(bench: MakeBench) -> None:
    trace = record(bench(), "mov x1, #3; loop: isb; nop; subs x1, x1, #1; b.ne loop")
    fetches = [(int(one["va"]) - CODE, one["length"]) for one in trace.of(TraceKind.FETCH)]
    assert fetches == [(0, 8), (8, 12), (4, 4), (8, 12), (4, 4), (8, 12)]


def test_a_store_beside_code_that_ran_has_it_recorded_anew(bench: MakeBench) -> None:
    """The stores had begun before the page was known to hold code."""
    one = bench()
    page = DATA + PAGE
    one.load("ret", at=page + 0x900)
    text = "str x1, [x0]; blr x2; str x1, [x0, #8]; blr x2"
    trace = record(one, text, x0=page, x2=page + 0x900)
    assert shown(trace) == [("STORE", PAGE, 16, 2)]
    fetches = trace.of(TraceKind.FETCH)["va"].tolist()
    assert fetches.count(page + 0x900) == 2


def test_instruction_maintenance_has_its_own_line(
    bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Cpu, "cache_type", property(lambda _: 5 << 16 | 3))
    trace = record(bench(), "dc cvau, x0; ic ivau, x0")
    assert trace.of(TraceKind.DC, TraceKind.IC)["size"].tolist() == [128, 32]


def test_code_that_changes_is_decoded_anew(bench: MakeBench) -> None:
    """A load that becomes a store of another size, by a store to the line it is in."""
    one = bench()
    one.load("str w3, [x0, #4]", at=DATA)
    trace = record(
        one,
        """
        mov x5, #2
        ldr w1, [x0]
        adr x2, patched
        loop: isb
        patched: ldr x3, [x0, #8]
        str w1, [x2]
        ic ivau, x2
        subs x5, x5, #1
        b.ne loop
        """,
    )
    patched = CODE + 16
    assert shown(trace) == [
        ("LOAD", 0, 4, 1),
        ("ISB",),
        ("LOAD", 8, 8, 1),
        ("STORE", patched - DATA, 4, 1),
        ("IC", patched - DATA, LINE, 1),
        ("ISB",),
        ("STORE", 4, 4, 1),
        ("STORE", patched - DATA, 4, 1),
        ("IC", patched - DATA, LINE, 1),
    ]
    # The store is before the fetch of what it stored.
    kinds = [(TraceKind(one["kind"]), one["va"]) for one in trace.records]
    store = kinds.index((TraceKind.STORE, patched))
    assert any(kind is TraceKind.FETCH for kind, _ in kinds[store:])


def test_code_stored_to_as_it_was_is_fetched_anew(bench: MakeBench) -> None:
    """The same bytes may be in a cache, and others in memory."""
    trace = record(
        bench(),
        "mov x1, #2; adr x2, loop; loop: ldr w3, [x2]; str w3, [x2]; subs x1, x1, #1; b.ne loop",
    )
    fetches = [(int(one["va"]) - CODE, one["length"]) for one in trace.of(TraceKind.FETCH)]
    assert fetches == [(0, 16), (16, 8), (8, 8), (16, 8)]


def test_an_access_that_faults_has_not_happened(bench: MakeBench) -> None:
    one = bench()
    one.cpu.set_x(0, DATA)
    one.cpu.set_x(1, RAM + (1 << 48))
    with Recorder(one.cpu) as recorder:
        stop = one.run("str x2, [x0]; ldr x3, [x1]; str x2, [x0, #8]")
    assert stop.reason is StopReason.EXCEPTION
    trace = recorder.trace()
    assert shown(trace) == [("STORE", 0, 8, 1), ("EXCEPTION",)]
    (taken,) = trace.of(TraceKind.EXCEPTION)
    assert stop.event is not None
    assert (taken["pc"], taken["va"], taken["value"]) == (CODE + 4, RAM + (1 << 48), stop.event.esr)
    assert (taken["el"], taken["encoding"]) == (1, 0x200)


def test_a_vector_right_behind_what_faults_changes_nothing(bench: MakeBench) -> None:
    one = bench()
    vectors = CODE & -2048
    one.cpu.write("VBAR_EL1", vectors)
    one.cpu.policy = DELIVER
    one.load("ldr x1, [x2]; nop", at=vectors + 0x1FC)
    one.cpu.set_x(2, 1 << 60)
    with Recorder(one.cpu) as recorder:
        stop = one.cpu.run(vectors + 0x1FC, until=vectors + 0x204, max_instructions=9, timeout_s=9)
    assert stop.reason is StopReason.REACHED
    assert shown(recorder.trace()) == [("EXCEPTION",)]


def test_an_access_that_nothing_answers_has_not_happened(bench: MakeBench) -> None:
    one = bench()
    one.cpu.set_x(0, DATA)
    with Recorder(one.cpu) as recorder:
        stop = one.run("str x2, [x0]; str x2, [xzr]".replace("[xzr]", "[x9]"))
    assert stop.reason is StopReason.UNMAPPED
    assert shown(recorder.trace()) == [("STORE", 0, 8, 1)]


def test_calls_and_returns_change_the_exception_level(bench: MakeBench) -> None:
    one = bench()
    vectors = RAM + 0x30_0000
    one.load("str x1, [x2]; eret", at=vectors + 0x400)
    one.cpu.write("VBAR_EL2", vectors)
    one.cpu.policy = DELIVER
    trace = record(one, "str x1, [x2]; hvc #7; ldr x1, [x2]", x2=DATA, x0=5)
    events = trace.records[~np.isin(trace.records["kind"], [int(kind) for kind in NOISE])]
    assert [(TraceKind(one["kind"]).name, one["el"]) for one in events] == [
        ("STORE", 1), ("HVC", 1), ("EXCEPTION", 2), ("STORE", 2), ("ERET", 2), ("LOAD", 1),
    ]  # fmt: skip
    call, taken = trace.of(TraceKind.HVC, TraceKind.EXCEPTION)
    assert (call["encoding"], call["value"]) == (7, 5)
    assert (taken["pc"], taken["encoding"]) == (CODE + 8, 0x400)


def test_a_window_is_what_is_recorded(bench: MakeBench) -> None:
    one = bench()
    one.cpu.set_x(0, DATA)
    one.run("str x1, [x0], #8")
    recorder = Recorder(one.cpu)
    with recorder:
        one.run("str x1, [x0], #8")
    one.run("str x1, [x0], #8")
    assert shown(recorder.trace()) == [("STORE", 8, 8, 1)]
    assert recorder.trace().start["PC"] == CODE + 4
    with recorder:
        one.run("str x1, [x0], #8; nop")
    trace = recorder.trace()
    assert shown(trace) == [("STORE", 24, 8, 1)]
    assert trace.instructions == 2


def test_a_trace_that_is_full_says_where(bench: MakeBench) -> None:
    text = "mov x1, #50; loop: str x1, [x0], #16; dsb sy; subs x1, x1, #1; b.ne loop"
    whole = record(bench(), text)
    room = 30
    part = record(bench(), text, room=room)
    assert len(part.records) == room
    assert np.array_equal(part.records, whole.records[:room])
    assert part.full_at == whole.records["before"][room]
    assert whole.full_at is None


@pytest.mark.parametrize("room", [0, -1, 1 << 30])
def test_room_for_records_is_bounded(bench: MakeBench, room: int) -> None:
    with pytest.raises(MachineError, match="no trace of"):
        Recorder(bench().cpu, room=room)


def test_more_code_than_is_remembered(bench: MakeBench) -> None:
    """Code in 300 pages, each with a store, run twice."""
    one = bench()
    pages = 300
    for number in range(pages):
        at = CODE + number * PAGE
        one.load("str x1, [x0], #8; b .+4092", at=at)
    trace_end = CODE + pages * PAGE
    one.load("nop", at=trace_end)
    for _ in range(2):
        one.cpu.set_x(0, DATA + 0x20_0000)
        with Recorder(one.cpu) as recorder:
            stop = one.cpu.run(CODE, until=trace_end, max_instructions=10_000, timeout_s=20)
        assert stop.reason is StopReason.REACHED
        trace = recorder.trace()
        assert trace.instructions == stop.instructions == 2 * pages
        assert int(trace.of(TraceKind.STORE)["length"].sum()) == 8 * pages
        assert len(trace.of(TraceKind.FETCH)) == pages


def test_a_loop_that_looks_endless_is_recorded_once(bench: MakeBench) -> None:
    """The engine is stopped and started again at a block that follows itself so often."""
    turns = 3 * native_hooks.SPIN_REPEATS
    trace = record(bench(), f"mov x1, #{turns}; loop: str x1, [x0], #8; subs x1, x1, #1; b.ne loop")
    stores = trace.of(TraceKind.STORE)
    assert (int(stores["length"].sum()), int(stores["count"].sum())) == (8 * turns, turns)
    assert trace.instructions == 1 + 3 * turns


def test_a_cpu_that_is_not_recorded_has_nothing_of_it(bench: MakeBench) -> None:
    one = bench()
    with Recorder(one.cpu):
        one.run("str x1, [x0]", at=CODE)
    assert one.cpu.on_exception is None
    assert one.cpu.mmu.is_told is False


# Order ------------------------------------------------------------------------------------------

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
