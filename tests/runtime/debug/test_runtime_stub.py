"""What a debugger may ask, and what anybody else may send: an answer, and never an exception."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relokit.runtime.debug.stub import MAX_READ, Stub
from support.debuggees import debuggee


@pytest.fixture(name="stub", scope="module")
def _stub() -> Iterator[Stub]:
    with debuggee() as one:
        yield Stub(one, lambda _: None)


def test_memory_and_registers_go_round(stub: Stub) -> None:
    one = stub.debuggee
    base = one.guest.old.linear_offset + one.guest.memory.base
    assert stub.handle(b"M%x,4:0a0b0c0d" % base) == b"OK"
    assert stub.handle(b"m%x,4" % base) == b"0a0b0c0d"
    # Of another length than it says, nothing is written.
    assert stub.handle(b"M%x,2:ffffff" % base) == stub.handle(b"X%x,4:x" % base) == b"E01"
    assert stub.handle(b"m%x,4" % base) == b"0a0b0c0d"
    assert stub.handle(b"X%x,2:\x00$" % base) == b"OK"
    assert stub.handle(b"m%x,4" % base) == b"00240c0d"
    assert stub.handle(b"P5=efbeadde00000000") == b"OK"
    assert stub.handle(b"p5") == b"efbeadde00000000"
    everything = stub.handle(b"g")
    assert len(everything) == 2 * (33 * 8 + 4)
    assert stub.handle(b"G" + everything) == b"OK"


def test_memory_ends_where_there_is_none(stub: Stub) -> None:
    one = stub.debuggee
    end = one.guest.old.linear_offset + one.guest.memory.end
    assert len(stub.handle(b"m%x,40" % (end - 16))) == 32
    assert stub.handle(b"m%x,4" % end) == b"E01"
    # No more is read than an answer has room for.
    start = one.guest.old.linear_offset + one.guest.memory.base
    assert len(stub.handle(b"m%x,1000000" % start)) == 2 * MAX_READ
    assert stub.handle(b"M%x,20:%s" % (end - 16, b"00" * 32)) == b"E01"


@pytest.mark.parametrize(
    "packet",
    [
        b"m", b"m,", b"m1", b"mffffffffffffffff1,1", b"m-1,4", b"m0x10,4", b"m1,_1", b"M0,4:00",
        b"M0,1:zz", b"M0,1:0", b"X0,5:a", b"p", b"pfff", b"p-1", b"P0", b"P0=", b"P0=00",
        b"Pffff=00", b"G", b"G00", b"Z2,0,ffffffff", b"Z2,10,0", b"Z0,", b"Z0", b"z2",
        b"vCont;", b"vCont;x",
        b"vCont;r", b"vCont;r1", b"qXfer:features:read:target.xml:", b"qRcmd,zz", b"qRcmd,0",
    ],
)  # fmt: skip
def test_what_is_malformed_is_refused(stub: Stub, packet: bytes) -> None:
    assert stub.handle(packet) == b"E01"


_PREFIX = st.sampled_from(
    [b"", b"m", b"M", b"X", b"p", b"P", b"G", b"Z0,", b"Z2,", b"z3,", b"Z4,", b"q", b"Q", b"qRcmd,",
     b"qXfer:features:read:target.xml:", b"vCont;r", b"H", b"T", b"!", b"R"]
)  # fmt: skip
_TEXT = st.one_of(
    st.binary(max_size=40),
    st.text("0123456789abcdef,;:=-", max_size=40).map(str.encode),
)


@given(_PREFIX, _TEXT)
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_packet_is_answered(stub: Stub, prefix: bytes, text: bytes) -> None:
    assert isinstance(stub.handle(prefix + text), bytes)


@given(
    st.sampled_from(["pa", "walk", "goto", "memory", "where", "jump", "help", ""]),
    st.lists(st.one_of(st.integers().map(hex), st.text(max_size=90)), max_size=3),
)
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_monitor_command_is_answered(stub: Stub, name: str, operands: list[str]) -> None:
    line = " ".join([name, *operands]).encode("utf-8", "surrogatepass")
    answer = stub.handle(b"qRcmd," + line.hex().encode())
    assert bytes.fromhex(answer.decode()).decode().endswith("\n")


@pytest.mark.parametrize("text", ["-1", f"{1 << 64:#x}", "here"])
def test_what_is_no_address_is_said(stub: Stub, text: str) -> None:
    for name in ("pa", "walk", "goto"):
        assert f"{text!r} is no number" in stub.monitor.answer(f"{name} {text}")


def test_the_number_of_marks_is_bounded() -> None:
    with debuggee() as one:
        stub = Stub(one, lambda _: None)
        answers = [stub.handle(b"Z0,%x,4" % (4 * number)) for number in range(300)]
        assert answers[0] == b"OK"
        assert answers[-1] == b"E01"
        assert stub.handle(b"z0,0,4") == b"OK"
        assert stub.handle(b"Z1,0,4") == b"OK"
