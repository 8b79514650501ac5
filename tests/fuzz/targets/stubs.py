"""What a GDB stub answers to `relokit record`."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence

from fuzz.door import Door
from fuzz.mutations import mutated, text_of
from relokit.runtime.capture.gdb import GdbClient

MOST = 1 << 15
"""Bytes that are sent before anything is asked."""


def packets(*bodies: bytes) -> bytes:
    return b"".join(b"+$%s#%02x" % (one, sum(one) & 0xFF) for one in bodies)


TARGET = b'l<target><xi:include href="core.xml"/><xi:include href="sys.xml"/></target>'
CORE = b'm<feature><reg name="x0" bitsize="64" regnum="0"/><reg name="x1" bitsize="64"/>'
MORE = b'l<reg name="cpsr" bitsize="32"/></feature>'
ASKED: tuple[Callable[[GdbClient], object], ...] = (
    lambda client: client.registers(),
    lambda client: client.cpus(),
    lambda client: client.memory(0x4000_0000, 4096),
    lambda client: client.go(1.0),
    lambda client: client.halted("1"),
    lambda client: client.look_at("p1.1"),
)


def _talks() -> Sequence[bytes]:
    return [
        b"\0" + packets(b"PacketSize=1000;qXfer:features:read+", TARGET, CORE, MORE, b"l" + CORE),
        b"\1" + packets(b"m1,2,p01.03", b"m4", b"l"),
        b"\2" + packets(b"00" * 2048, b"0* " * 40, b"E14"),
        b"\3" + packets(b"T05thread:p1.2;"),
        b"\4" + packets(b"CPU#1 [halted]".hex().encode()),
        b"\5" + packets(b"OK"),
    ]


def _asked(case: bytes) -> object:
    theirs, ours = socket.socketpair()
    with theirs, ours:
        theirs.sendall(case[1 : MOST + 1])
        theirs.shutdown(socket.SHUT_WR)
        return ASKED[(case[0] if case else 0) % len(ASKED)](GdbClient(ours, "stub"))


_words = text_of('+ $ # * } l m OK E01 thread: T05 W00 <reg name="x" bitsize="64" regnum="5"/> ~ {')

DOORS = (
    Door("stub", "answers of a GDB stub", _talks,
         lambda random, seeds: (_words if random.random() < 0.5 else mutated)(random, seeds),
         _asked, 0.1),
)  # fmt: skip
