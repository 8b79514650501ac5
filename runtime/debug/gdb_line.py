"""One debugger at a time, over a socket of this host: packets in, answers out."""

from __future__ import annotations

import select
import socket
from collections import deque
from collections.abc import Callable, Iterator

from relokit.codegen.base.errors import MachineError
from relokit.runtime.debug.debuggee import Debuggee
from relokit.runtime.debug.packets import LineSign, Packet, PacketReader, framed
from relokit.runtime.debug.stub import Stub

HOST = "127.0.0.1"
_CHUNK = 1 << 14
MAX_WAITING = 64
"""Packets that may wait while the guest runs; whoever sends more is no debugger."""


class Line:
    """A connection to a debugger."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._reader = PacketReader()
        self._waiting: deque[Packet | LineSign] = deque()
        self.open = True

    def send(self, data: bytes) -> None:
        """Send it; a debugger that has gone is none."""
        try:
            self._connection.sendall(data)
        except OSError:
            self.open = False

    def say(self, text: str) -> None:
        """Have the debugger print it; only while the guest is said to run."""
        self.send(framed(b"O" + text.encode().hex().encode()))

    def interrupted(self) -> bool:
        """Whether the debugger wants the guest to halt, or has gone."""
        while self.open and len(self._waiting) < MAX_WAITING and self._readable():
            self._receive()
        if LineSign.INTERRUPT in self._waiting:
            self._waiting.remove(LineSign.INTERRUPT)
            return True
        return not self.open or len(self._waiting) >= MAX_WAITING

    def incoming(self) -> Iterator[Packet | LineSign]:
        """What comes, until the line is closed."""
        while True:
            while self._waiting:
                yield self._waiting.popleft()
            if not self.open:
                return
            self._receive()

    def _readable(self) -> bool:
        ready, _, _ = select.select([self._connection], [], [], 0)
        return bool(ready)

    def _receive(self) -> None:
        try:
            data = self._connection.recv(_CHUNK)
        except OSError:
            data = b""
        self.open = bool(data)
        self._waiting.extend(self._reader.feed(data))


def serve(
    make: Callable[[Callable[[], bool]], Debuggee], port: int, listening: Callable[[int], None]
) -> tuple[int, str]:
    """Serve one debugger that connects to ``port`` of this host, 0 for any; ``listening`` is told
    which.

    ``make`` makes the Debuggee, given what to ask whether it is to halt. Returns how many
    instructions were carried out where it was left, and why it was. Raises MachineError for a port
    that cannot be had.
    """
    line: Line | None = None
    debuggee = make(lambda: line is not None and line.interrupted())
    try:
        with _listener(port) as listener:
            listening(listener.getsockname()[1])
            connection, _ = listener.accept()
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            line = Line(connection)
            return _converse(line, debuggee)
    finally:
        debuggee.close()


def _listener(port: int) -> socket.socket:
    listener = socket.socket()
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.listen(1)
    except OSError as error:
        listener.close()
        raise MachineError(
            f"port {port} of {HOST} cannot be listened on: {error.strerror or error}",
            hint="leave --port out: any that is free will do",
        ) from None
    return listener


def _converse(line: Line, debuggee: Debuggee) -> tuple[int, str]:
    stub = Stub(debuggee, line.say)
    sent = b""
    for one in line.incoming():
        if one is LineSign.NACK:
            line.send(sent)
        elif one is LineSign.GARBLED:
            line.send(LineSign.NACK.value)
        elif isinstance(one, Packet):
            if stub.acknowledges:
                line.send(LineSign.ACK.value)
            sent = framed(stub.handle(one.data))
            line.send(sent)
            if stub.ended is not None:
                return debuggee.number, stub.ended
    return debuggee.number, "the debugger has gone"
