"""What the recorder says an instruction accesses, against the engine's own memory hooks."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relokit.runtime.engine.cpu import Cpu
from relokit.runtime.engine.observing.recorder import Recorder
from relokit.runtime.guest.memory import GuestMemory
from relokit.runtime.record.stop import Stop, StopReason
from relokit.runtime.record.trace import Trace, TraceFlag, TraceKind
from support.accesses import Seen, merged, recorded, watched

RAM, CODE, DATA = 0x4000_0000, 0x4040_0000, 0x4080_0000
CLREX, NOP = 0xD5033F5F, 0xD503201F
ACCESSES = TraceKind.LOAD, TraceKind.STORE


@cache
def machine() -> Cpu:
    cpu = Cpu("max", GuestMemory(RAM, 16 << 20))
    cpu.write("CPACR_EL1", 3 << 20)
    return cpu


def prepare(*words: int, at: int, code: int = CODE, **registers: int) -> None:
    """``words`` at ``code`` with the address ``at`` in the base register of the last, small
    numbers in the others but for ``registers``.
    """
    cpu = machine()
    cpu.memory.write(code, b"".join(word.to_bytes(4, "little") for word in words))
    for number in range(31):
        cpu.set_x(number, registers.get(f"x{number}", 8 * number))
    cpu.set_sp(DATA)
    base = words[-1] >> 5 & 31
    if base == 31:
        cpu.set_sp(at)
    else:
        cpu.set_x(base, at)


def step(*words: int, at: int, **registers: int) -> tuple[Stop, Trace, Seen]:
    """Run ``words`` so prepared, recorded and watched."""
    prepare(*words, at=at, **registers)
    cpu = machine()
    with watched(cpu) as seen, Recorder(cpu, room=1000) as recorder:
        stop = cpu.run(CODE, until=CODE + 4 * len(words), max_instructions=10, timeout_s=20)
    return stop, recorder.trace(), seen


def forced(mask: int, value: int) -> st.SearchStrategy[int]:
    """Words with the bits of ``mask`` as in ``value``."""
    return st.integers(0, 2**32 - 1).map(lambda word: word & ~mask | value)


# ARM DDI 0487, C4.1 "Loads and stores": mask and bits of each class.
CLASSES = {
    "exclusive, ordered, CAS": (0x3F000000, 0x08000000),
    "CAS and CASP": (0x3FA07C00, 0x08A07C00),
    "structures": (0xBFBF0000, 0x0C000000),
    "structures, post-indexed": (0xBFA00000, 0x0C800000),
    "one element": (0xBF9F0000, 0x0D000000),
    "one element, post-indexed": (0xBF800000, 0x0D800000),
    "ordered, unscaled": (0x3F200C00, 0x19000000),
    "literal": (0x3B000000, 0x18000000),
    "pair": (0x3A000000, 0x28000000),
    "unscaled": (0x3B200C00, 0x38000000),
    "post-indexed": (0x3B200C00, 0x38000400),
    "unprivileged": (0x3B200C00, 0x38000800),
    "pre-indexed": (0x3B200C00, 0x38000C00),
    "atomic": (0x3B200C00, 0x38200000),
    "register offset": (0x3B200C00, 0x38200800),
    "with pointer authentication": (0x3B200400, 0x38200400),
    "unsigned offset": (0x3B000000, 0x39000000),
}


def tells_its_status(word: int) -> bool:
    """Whether it is no store-exclusive that puts its status into the zero register.

    Nothing then says whether it stored; the trace has it as one that did (docs/trace.md).
    """
    return word & 0x3FC00000 & ~0x00200000 != 0x08000000 or word >> 16 & 0x1F != 0x1F


@pytest.mark.parametrize("name", CLASSES)
@settings(max_examples=100)
@given(data=st.data(), offset=st.integers(0, 64))
def test_every_instruction_accesses_what_the_engine_says(
    name: str, data: st.DataObject, offset: int
) -> None:
    word = data.draw(forced(*CLASSES[name]).filter(tells_its_status))
    stop, trace, seen = step(CLREX, word, at=DATA + offset)
    text = f"{word:#010x} {stop.reason}"
    if stop.reason is not StopReason.REACHED:
        # Whatever it did before, it has not happened: there is no record, or of what follows.
        assert len(trace.of(*ACCESSES)) == 0, text
        return
    if len(trace.of(TraceKind.UNKNOWN)):
        assert name == "with pointer authentication", text
        return
    assert merged(recorded(trace)) == merged(seen.spans), text
    # The MMU is off.
    assert recorded(trace, "va") == recorded(trace), text


LDRB = 0x39400000
"""LDRB (immediate); size 0, unsigned offset in bits 21:10, base in 9:5, result in 4:0."""


@pytest.mark.parametrize("name", ["pair", "unsigned offset", "pre-indexed", "post-indexed"])
@settings(max_examples=60)
@given(data=st.data())
def test_the_next_one_goes_by_the_base_as_it_is_then(name: str, data: st.DataObject) -> None:
    goes_on_right(data.draw(forced(*CLASSES[name])))


@pytest.mark.parametrize(
    "word",
    [
        0xA94018A5,  # ldp x5, x6, [x5]
        0xA94014A6,  # ldp x6, x5, [x5]
        0xA84018A5,  # ldnp x5, x6, [x5]
        0x294018A5,  # ldp w5, w6, [x5]
        0x694014A6,  # ldpsw x6, x5, [x5]
        0xA8C118A7,  # ldp x7, x6, [x5], #16
        0xA9C118A7,  # ldp x7, x6, [x5, #16]!
        0xA9001CA5,  # stp x5, x7, [x5]
        0xA8811CA6,  # stp x6, x7, [x5], #16
        0xAD4018A5,  # ldp q5, q6, [x5]
        0xF94000A5,  # ldr x5, [x5]
    ],
)
def test_so_it_does_where_the_base_is_loaded_or_written_back(word: int) -> None:
    goes_on_right(word)


def goes_on_right(word: int) -> None:
    """LDRB by the base of ``word`` right behind it: at the address that the engine has."""
    base = word >> 5 & 31
    behind = LDRB | 3 << 10 | base << 5 | 9
    machine().memory.write(DATA, (DATA + 512).to_bytes(8, "little") * 1024)
    stop, trace, seen = step(word, behind, at=DATA + 1024)
    if stop.reason is StopReason.REACHED and not len(trace.of(TraceKind.UNKNOWN)):
        assert merged(recorded(trace)) == merged(seen.spans), f"{word:#010x} {behind:#010x}"


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize(
    ("load", "store", "size"),
    [
        (0x085F7D42, 0x08017D42, 1),  # ldxrb w2, [x10]; stxrb w1, w2, [x10]
        (0xC85F7D42, 0xC8017D42, 8),  # ldxr x2, [x10]; stxr w1, x2, [x10]
        (0x887F0D42, 0x88210D42, 8),  # ldxp w2, w3, [x10]; stxp w1, w2, w3, [x10]
        (0xC87F0D42, 0xC8210D42, 16),  # ldxp x2, x3, [x10]; stxp w1, x2, x3, [x10]
    ],
)
def test_a_store_exclusive_stores_or_not(load: int, store: int, size: int, kept: bool) -> None:
    _, trace, seen = step(load, NOP if kept else CLREX, store, at=DATA)
    expected = [("load", DATA, DATA + size), ("store", DATA, DATA + size)][: 1 + kept]
    assert recorded(trace) == merged(seen.spans) == expected
    assert set(trace.of(*ACCESSES)["flags"].tolist()) == {TraceFlag.EXCLUSIVE}


@pytest.mark.parametrize("name", CLASSES)
def test_the_classes_are_full_of_instructions(name: str) -> None:
    """So that the test above is one: of 500 words, how many the engine carries out."""
    mask, value = CLASSES[name]
    cpu, carried_out = machine(), 0
    for number in range(500):
        word = number * 0x9E3779B1 & 0xFFFFFFFF & ~mask | value
        prepare(CLREX, word, at=DATA, code=CODE + 8 * number)
        stop = cpu.run(
            CODE + 8 * number, until=CODE + 8 * number + 8, max_instructions=10, timeout_s=20
        )
        carried_out += stop.reason is StopReason.REACHED
    cpu.flush_code()
    assert carried_out >= 25, carried_out


@settings(max_examples=250)
@given(word=st.integers(0, 2**32 - 1))
def test_what_accesses_memory_is_not_taken_for_plain(word: int) -> None:
    stop, trace, seen = step(CLREX, word, at=DATA)
    if stop.reason is StopReason.REACHED and not len(trace.of(TraceKind.UNKNOWN)):
        assert merged(recorded(trace)) == merged(seen.spans), f"{word:#010x}"
