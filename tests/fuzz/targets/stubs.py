"""GDB's protocol from both ends: answers to `record`, and what is asked of `debug`."""

from __future__ import annotations

import gc
import os
import socket
from collections.abc import Callable, Sequence
from functools import cache
from itertools import islice
from random import Random
from unittest.mock import patch

from fuzz.door import Door
from fuzz.mutations import mutated, text_of
from relokit.codegen.base.host_file import HostFile
from relokit.codegen.target import MIB
from relokit.runtime.capture.cpu_reading import (
    check_ram,
    cpu_snapshot,
    devices,
    tree_to_boot_with,
)
from relokit.runtime.capture.gdb import GdbClient, RegisterSpot
from relokit.runtime.debug.packets import Packet, PacketReader
from relokit.runtime.debug.stub import Stub
from relokit.runtime.kexec.job import Job
from support.debuggees import debuggee

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
    lambda client: cpu_snapshot(client, SPOTS, "1", leaving=False),
    lambda client: devices(client, 2),
    lambda client: tree_to_boot_with(client, 0x4000_0000),
    lambda client: check_ram(client, 0x4000_0000, _ram()),
    lambda client: client.break_at(0x1000),
)
SPOTS = {"x0": RegisterSpot(0, 8), "pc": RegisterSpot(32, 8), "CPSR": RegisterSpot(33, 4)}


@cache
def _ram() -> HostFile:
    descriptor = os.memfd_create("ram")
    os.truncate(descriptor, 4096)
    return HostFile(descriptor, 4096, "ram")


def _talks() -> Sequence[bytes]:
    return [
        b"\0" + packets(b"PacketSize=1000;qXfer:features:read+", TARGET, CORE, MORE, b"l" + CORE),
        b"\1" + packets(b"m1,2,p01.03", b"m4", b"l"),
        b"\2" + packets(b"00" * 2048, b"0* " * 40, b"E14"),
        b"\3" + packets(b"T05thread:p1.2;"),
        b"\4" + packets(b"CPU#1 [halted]".hex().encode()),
        b"\5" + packets(b"OK"),
        b"\6"
        + packets(
            b"OK",
            b"00" * 8,
            b"0010000000000000",
            b"c5030000",
            b"CPU#1 [halted]".hex().encode(),
            b"020000d4",
            b"020000d4",
        ),
        b"\7"
        + packets(
            *[b"3b000000", b"01000000", b"8f071042" * 2, b"0" * 16] * 3,
            b"3b000000",
            *[b"%016x" % (1 << 63)] * 12,
        ),
        b"\x08"
        + packets(b"OK", b"c0000058" + b"00" * 20 + b"0000004800000000", b"d00dfeed", b"OK"),
        b"\x09" + packets(b"OK", *[b"0" * 512] * 16, b"OK"),
        b"\x0a" + packets(b"OK"),
    ]


def _asked(case: bytes) -> object:
    theirs, ours = socket.socketpair()
    with theirs, ours:
        theirs.sendall(case[1 : MOST + 1])
        theirs.shutdown(socket.SHUT_WR)
        # Who asks for more than anyone reads would wait for long.
        with patch("relokit.runtime.capture.gdb.ANSWER_SECONDS", 0.5):
            return ASKED[(case[0] if case else 0) % len(ASKED)](GdbClient(ours, "stub"))


_words = text_of('+ $ # * } l m OK E01 thread: T05 W00 <reg name="x" bitsize="64" regnum="5"/> ~ {')

MEMORY = 0xFFFF_0000_4020_0000
"""A VA of the old kernel's linear map, or near it."""


def _questions() -> Sequence[bytes]:
    asked = (
        b"qSupported:xmlRegisters=aarch64", b"?", b"g", b"p21", b"P5=efbeadde00000000",
        b"m%x,40" % MEMORY, b"M%x,4:0a0b0c0d" % MEMORY, b"Z2,%x,8" % MEMORY, b"z2,%x,8" % MEMORY,
        b"Z1,%x,4" % MEMORY, b"s", b"c", b"bs", b"bc", b"vCont?", b"vCont;s:1", b"vCont;r0,1000",
        b"qXfer:features:read:target.xml:0,100", b"qRcmd," + b"goto 100".hex().encode(),
        b"qRcmd," + b"walk 0x40000000".hex().encode(), b"qRcmd," + b"memory 0 16".hex().encode(),
        b"QStartNoAckMode", b"H0", b"D",
    )  # fmt: skip
    return [packets(*asked[at : at + 6]) for at in range(0, len(asked), 3)]


def _questioned(case: bytes) -> object:
    """A machine of its own for each case: what is asked changes it."""
    # What is left of the engines of the last one are circles, and a gigabyte of addresses each.
    gc.collect()
    answers = []
    with debuggee(job=Job(size=16384, memory=160 * MIB)) as one:
        stub = Stub(one, lambda _: None)
        found = (sign for sign in PacketReader().feed(case) if isinstance(sign, Packet))
        for packet in islice(found, ASKINGS):
            answers.append(stub.handle(packet.data))
            if stub.ended is not None:
                break
    return answers


def _asking(random: Random, seeds: Sequence[bytes]) -> bytes:
    """Packets, whose checksums hold: what has another goes no further."""
    bodies = [one.partition(b"#")[0] for one in random.choice(seeds).split(b"+$")[1:]]
    at = random.randrange(len(bodies))
    bodies[at] = (_words if random.random() < 0.5 else mutated)(random, [bodies[at]])
    return packets(*(one.replace(b"#", b"").replace(b"$", b"") for one in bodies))


ASKINGS = 12
"""Packets that are answered of a case."""

DOORS = (
    Door("debugger", "what a debugger asks, of a machine that runs", _questions, _asking,
         _questioned, 15.0, memory=8192),
    Door("stub", "answers of a GDB stub", _talks,
         lambda random, seeds: (_words if random.random() < 0.5 else mutated)(random, seeds),
         _asked, 0.1),
)  # fmt: skip
