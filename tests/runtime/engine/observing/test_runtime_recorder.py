"""The recorder: ranges, events, what never happened, and where it ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from relokit.codegen.base.errors import MachineError
from relokit.codegen.system_registers import REGISTERS, register_key
from relokit.runtime.arch.exceptions import DELIVER
from relokit.runtime.engine import native_hooks
from relokit.runtime.engine.cpu import Cpu
from relokit.runtime.engine.observing.recorder import Recorder
from relokit.runtime.record.stop import StopReason
from relokit.runtime.record.trace import Trace, TraceFlag, TraceKind
from support.recording import CODE, DATA, LINE, NOISE, PAGE, RAM, record, shown

MakeBench = Callable[..., Any]


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
