"""A GDB stub that is foreign, silent or gone: bounded, and told."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from threading import Thread

import pytest

from relokit.codegen.base.errors import MachineError
from relokit.codegen.base.host_file import open_file
from relokit.runtime.capture import gdb
from relokit.runtime.capture.cpu_reading import check_ram, tree_to_boot_with
from relokit.runtime.capture.gdb import GdbClient, RegisterSpot
from relokit.runtime.capture.qemu import attached, check, memory_of

TARGET = '<target><xi:include href="core.xml"/></target>'
CORE = (
    '<feature><reg name="x0" bitsize="64"/><reg name="pc" bitsize="64" regnum="32"/>'
    '<reg name="cpsr" bitsize="31"/></feature>'
)
ANSWERS = {
    b"qSupported:xmlRegisters=aarch64": b"PacketSize=1000;qXfer:features:read+",
    b"qXfer:features:read:target.xml:0,800": b"l" + TARGET.encode(),
    b"qXfer:features:read:core.xml:0,800": b"m" + CORE[:0x2A].encode(),
    b"qXfer:features:read:core.xml:2a,800": b"l" + CORE[0x2A:].encode(),
    b"p0": b"8877665544332211",
    b"p20": b"E14",
    b"m1000,8": b"0*+1",
    b"m2000,4": b"",
    b"qfThreadInfo": b"m01,02",
    b"qsThreadInfo": b"l",
    b"Hg02": b"OK",
    b"qThreadExtraInfo,02": b"CPU#1 [halted ]".hex().encode(),
    b"c": b"T05thread:02;",
}


class Drip:
    """A connection over which one byte comes at a time, for ever."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection, self.count = connection, 0

    def recv(self, size: int) -> bytes:
        self.count += 1
        assert self.count < 1000, "it never ends"
        return b"0"[:size]

    def sendall(self, data: bytes) -> None:
        self._connection.sendall(data)

    def settimeout(self, seconds: float) -> None:
        self._connection.settimeout(seconds)


def _sum(command: bytes) -> bytes:
    return b"%02x" % (sum(command) % 256)


class Stub:
    """Answers to commands; what it has no answer to, it does not support."""

    def __init__(self, answers: dict[bytes, bytes | None]) -> None:
        self._answers = answers
        self.acknowledged = self.answered = 0
        ours, self._theirs = socket.socketpair()
        self.client = GdbClient(ours, "stub")
        self._thread = Thread(target=self._serve, daemon=True)
        self._thread.start()
        self._ours = ours

    def _serve(self) -> None:
        held = b""
        while data := self._theirs.recv(1 << 16):
            held += data
            while b"#" in held and len(held) >= held.index(b"#") + 3:
                end = held.index(b"#")
                self.acknowledged += held[: held.index(b"$")].count(b"+")
                command, sent = held[held.index(b"$") + 1 : end], held[end + 1 : end + 3]
                held = held[end + 3 :]
                answer = self._answers.get(command, b"") if sent == _sum(command) else b"E22"
                self.answered += 1
                if answer is None:
                    self._theirs.close()
                    return
                self._theirs.sendall(b"+$%s#00" % answer)

    def close(self) -> None:
        self._ours.close()
        self._thread.join(5)
        self._theirs.close()


@pytest.fixture
def stub() -> Iterator[Stub]:
    one = Stub(dict(ANSWERS))
    yield one
    one.close()


def test_registers_memory_and_cpus_are_read(stub: Stub) -> None:
    client = stub.client
    spots = client.registers()
    assert spots == {
        "x0": RegisterSpot(0, 8),
        "pc": RegisterSpot(32, 8),
        "cpsr": RegisterSpot(33, 4),
    }
    assert client.register(spots["x0"]) == 0x1122334455667788
    assert client.register(spots["pc"]) is None
    # A zero and 14 more, as the protocol shortens them.
    assert client.memory(0x1000, 8) == bytes(7) + b"\x01"
    assert client.memory(0x2000, 4) is None
    assert client.cpus() == ["01", "02"]
    client.look_at("02")
    assert client.halted("02")
    assert client.go(5) == "02"
    # All but the last one, behind which nothing was asked.
    assert stub.acknowledged == stub.answered - 1 > 0


def test_a_file_that_is_not_the_machines_ram_is_told(tmp_path: Path) -> None:
    path = tmp_path / "ram"
    path.write_bytes(bytes(255) + b"\x01")
    physical = {b"Qqemu.PhyMemMode:1": b"OK", b"Qqemu.PhyMemMode:0": b"OK"}
    for last, problem in ((b"01", False), (b"02", True)):
        stub = Stub({**physical, b"m8000,100": b"00" * 255 + last})
        try:
            with nullcontext() if not problem else pytest.raises(MachineError, match="not what"):
                check_ram(stub.client, 0x8000, open_file(path, what="", limit=256))
        finally:
            stub.close()


@pytest.mark.parametrize(
    ("change", "tree"),
    [
        ({}, 0x9000),
        # Other code, no tree there, nothing mapped: a firmware enters the kernel, or it is gone.
        ({b"m8000,20": b"c1000058" + b"00" * 20 + b"0090000000000000"}, None),
        ({b"m9000,4": b"00000000"}, None),
        ({b"m8000,20": b"E14"}, None),
    ],
)
def test_the_tree_that_qemu_enters_a_kernel_with(
    change: dict[bytes, bytes], tree: int | None
) -> None:
    answers = {
        b"Qqemu.PhyMemMode:1": b"OK",
        b"Qqemu.PhyMemMode:0": b"OK",
        b"m8000,20": b"c0000058" + b"00" * 20 + b"0090000000000000",
        b"m9000,4": b"d00dfeed",
    }
    stub = Stub({**answers, **change})
    try:
        assert tree_to_boot_with(stub.client, 0x8000) == tree
    finally:
        stub.close()


@pytest.mark.parametrize(
    ("command", "answer", "message"),
    [
        (b"qSupported:xmlRegisters=aarch64", b"", "does not describe"),
        (b"qXfer:features:read:core.xml:0,800", b"E00", "cannot be read"),
        (b"qXfer:features:read:core.xml:0,800", b'l<reg name="a" bitsize="9999"/>', "cannot be"),
        (b"qXfer:features:read:target.xml:0,800", None, "connection"),
    ],
)
def test_a_stub_that_does_not_serve_is_told(
    command: bytes, answer: bytes | None, message: str
) -> None:
    stub = Stub(ANSWERS | {command: answer})
    with pytest.raises(MachineError, match=message):
        stub.client.registers()
    stub.close()


@pytest.mark.parametrize(
    ("answer", "message"), [(b"W00", "has ended"), (b"hello", "no stop but"), (None, "connection")]
)
def test_a_machine_that_ends_is_told(answer: bytes | None, message: str) -> None:
    stub = Stub(ANSWERS | {b"c": answer})
    with pytest.raises(MachineError, match=message):
        stub.client.go(5)
    stub.close()


def test_a_stub_that_is_silent_or_floods_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gdb, "ANSWER_SECONDS", 0.05)
    monkeypatch.setattr(gdb, "MAX_PACKET", 1 << 10)
    ours, theirs = socket.socketpair()
    client = GdbClient(ours, "stub")
    with pytest.raises(MachineError, match="does not come in"):
        client.ask("g")
    theirs.sendall(b"$" + b"0" * 4096)
    with pytest.raises(MachineError, match="no end of"):
        client.ask("g")
    ours.close()
    theirs.close()


def test_a_stub_that_never_ends_an_answer_is_left_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then is no answer."""
    clock = iter(range(1000))
    monkeypatch.setattr(gdb, "monotonic", lambda: float(next(clock)))
    ours, theirs = socket.socketpair()
    ours.setblocking(True)
    client = GdbClient(ours, "stub")
    dripping = Drip(ours)
    monkeypatch.setattr(client, "_socket", dripping)
    with pytest.raises(MachineError, match="does not come in"):
        client.ask("g")
    assert client.go(5) is None
    assert dripping.count < 100
    ours.close()
    theirs.close()


@pytest.mark.parametrize("address", ["localhost", "localhost:", ":1", "localhost:99999", "x:1y"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(MachineError, match="no HOST:PORT"):
        attached(address)


def test_nobody_at_an_address_is_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(MachineError, match="nobody to speak to"):
            attached(f"127.0.0.1:{taken.getsockname()[1]}")


def test_what_qemu_is_driven_with_is_ours() -> None:
    assert memory_of(["-M", "virt"]) == 1 << 30
    assert memory_of(["-m", "512"]) == memory_of(["-m", "size=512M,slots=0"]) == 512 << 20
    assert [memory_of(["-m", text]) for text in ("64", "131072K", "1g", "1TB")] == [
        64 << 20,
        128 << 20,
        1 << 30,
        1 << 40,
    ]
    for text in ("0", "x", "1", "63", "65", "2T", "99999T", "-1", ""):
        with pytest.raises(MachineError, match="no memory"):
            memory_of(["-m", text])
    # QEMU takes two dashes for one.
    for name in ("--gdb", "--daemonize", "--m"):
        with pytest.raises(MachineError, match="one dash"):
            check([name, "x"])
    with pytest.raises(MachineError, match="no memory"):
        memory_of(["-m"])
    for words in (["-gdb", "tcp::1234"], ["-smp", "2", "-S"], ["-loadvm", "x"], ["-daemonize"]):
        with pytest.raises(MachineError, match=f"{words[-1 if len(words) == 3 else 0]} is not"):
            check(words)
    check(["-smp", "2", "-append", "gdb"])
