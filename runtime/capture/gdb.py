"""The remote protocol of GDB, as far as a snapshot needs it.

Source: the GDB manual, appendix E; ``Qqemu.PhyMemMode``: QEMU's docs/system/gdb.rst.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from time import monotonic

from relokit.codegen.base.errors import MachineError
from relokit.codegen.base.nouns import dataclass

MAX_PACKET = 1 << 20
MAX_XML = 1 << 20
MAX_REGISTERS = 4096
MAX_BITS = 4096
ANSWER_SECONDS = 30.0
INTERRUPT = b"\x03"
CHUNK = 0x800
"""Bytes of memory or of a description that are asked for at once."""
_THREAD = re.compile(rb"thread:([0-9a-f]+);")
_HALTED = "halted"
_INCLUDE = re.compile(r'<xi:include href="([A-Za-z0-9._-]{1,64})"')
_REGISTER = re.compile(r"<reg ([^<>]*)>")
_ATTRIBUTE = re.compile(r'([a-z]+)="([^"]*)"')
MAX_PARTS, MAX_DIGITS = 32, 9


@dataclass(frozen=True, slots=True)
class RegisterSpot:
    """Where a stub has a register: its number, and its size in bytes."""

    number: int
    size: int


class GdbClient:
    """A connection to a GDB stub whose machine is stopped when it is made.

    Every method raises MachineError, naming ``where``, for a stub that is silent, ends or answers
    what the protocol has not.
    """

    def __init__(self, connection: socket.socket, where: str) -> None:
        self._socket, self._where = connection, where
        self._pending = b""
        self._socket.settimeout(ANSWER_SECONDS)

    @property
    def connection(self) -> socket.socket:
        """What it speaks over, between two questions."""
        return self._socket

    def close(self) -> None:
        """End the connection; the machine stays as it is."""
        self._socket.close()

    def ask(self, command: str) -> bytes:
        """The answer to ``command``."""
        self._send(command)
        return self._packet(ANSWER_SECONDS, f"an answer to {command[:40]!r}")

    def expect_ok(self, command: str, what: str) -> None:
        """Ask for what there is nothing to answer to; ``what`` says what is lacking otherwise."""
        answer = self.ask(command)
        if answer != b"OK":
            raise self._error(f"{what} ({command} is answered {answer[:20]!r})")

    def registers(self) -> Mapping[str, RegisterSpot]:
        """All registers of the machine by the stub's names."""
        if b"qXfer:features:read+" not in self.ask("qSupported:xmlRegisters=aarch64"):
            raise self._error("the stub does not describe its registers (qXfer:features:read)")
        found: dict[str, RegisterSpot] = {}
        number = 0
        # QEMU's own is no XML: its prefix "xi" is bound to nothing.
        for part in _INCLUDE.findall(self._description("target.xml"))[:MAX_PARTS]:
            for text in _REGISTER.findall(self._description(part)):
                own = dict(_ATTRIBUTE.findall(text))
                number = _number(own.get("regnum"), number)
                bits = _number(own.get("bitsize"), 0)
                if not 0 < bits <= MAX_BITS or number > MAX_REGISTERS:
                    raise self._error("the stub describes registers that cannot be")
                found[own.get("name", "")] = RegisterSpot(number, -(-bits // 8))
                number += 1
        return found

    def _description(self, name: str) -> str:
        data = b""
        while len(data) < MAX_XML:
            part = self.ask(f"qXfer:features:read:{name}:{len(data):x},{CHUNK:x}")
            if part[:1] not in (b"l", b"m"):
                break
            data += part[1:]
            if part[:1] == b"l":
                return data.decode("ascii", "replace")
        raise self._error(f"the stub's description {name} cannot be read")

    def register(self, spot: RegisterSpot) -> int | None:
        """The value of a register of the CPU that is looked at; None if the stub has none."""
        answer = self.ask(f"p{spot.number:x}")
        try:
            value = bytes.fromhex(answer.decode("ascii"))
        except ValueError:
            return None
        return int.from_bytes(value, "little") if len(value) == spot.size else None

    def cpus(self) -> list[str]:
        """Names of all CPUs, in the stub's order."""
        found: list[str] = []
        answer = self.ask("qfThreadInfo")
        while answer[:1] == b"m" and len(found) < MAX_REGISTERS:
            found += answer[1:].decode("ascii", "replace").split(",")
            answer = self.ask("qsThreadInfo")
        return found

    def look_at(self, cpu: str) -> None:
        """Ask for the registers of ``cpu`` from now on."""
        self.expect_ok(f"Hg{cpu}", f"there is no CPU {cpu}")

    def halted(self, cpu: str) -> bool:
        """Whether ``cpu`` waits for an event, or is off; False where the stub does not say."""
        try:
            text = bytes.fromhex(self.ask(f"qThreadExtraInfo,{cpu}").decode("ascii"))
        except ValueError:
            return False
        return _HALTED in text.decode("ascii", "replace")

    def physical(self, on: bool) -> None:
        """Whether memory is asked for by PA."""
        self.expect_ok(f"Qqemu.PhyMemMode:{int(on)}", "the stub cannot read by physical address")

    def memory(self, at: int, size: int) -> bytes | None:
        """Memory as the CPU that is looked at has it; None where there is none."""
        data = b""
        while len(data) < size:
            answer = self.ask(f"m{at + len(data):x},{min(CHUNK, size - len(data)):x}")
            try:
                part = bytes.fromhex(answer.decode("ascii"))
            except ValueError:
                return None
            if not part:
                return None
            data += part
        return data[:size]

    def break_at(self, va: int) -> None:
        """Stop where any CPU is about to execute ``va``."""
        self.expect_ok(f"Z1,{va:x},4", "the stub has no hardware breakpoints")

    def unbreak(self, va: int) -> None:
        """Do not stop there any more."""
        self.expect_ok(f"z1,{va:x},4", "the stub has no hardware breakpoints")

    def go(self, seconds: float, *, interrupt: bool = False) -> str | None:
        """Let all CPUs run until one stops; its name.

        After ``seconds`` they are stopped (``interrupt``), or this is None and they run on.
        """
        self._send("c")
        stop = self._stop(seconds)
        if stop is None and interrupt:
            self.interrupt()
            stop = self._stop(ANSWER_SECONDS)
            if stop is None:
                raise self._error("the machine does not stop when it is asked to")
        return stop

    def interrupt(self) -> None:
        """Ask the machine to stop."""
        self._write(INTERRUPT)

    def _stop(self, seconds: float) -> str | None:
        try:
            packet = self._packet(seconds, "a stop")
        except TimeoutError:
            return None
        if not packet.startswith((b"S", b"T")):
            ended = packet.startswith((b"W", b"X"))
            raise self._error("the machine has ended" if ended else f"no stop but {packet[:20]!r}")
        named = _THREAD.search(packet)
        return named[1].decode("ascii") if named else ""

    def _send(self, command: str) -> None:
        data = command.encode("ascii")
        self._write(b"$%s#%02x" % (data, sum(data) & 0xFF))

    def _write(self, data: bytes) -> None:
        try:
            self._socket.settimeout(ANSWER_SECONDS)
            self._socket.sendall(data)
        except OSError as error:
            raise self._error(f"the connection is gone: {error.strerror or error}") from None

    def _packet(self, seconds: float, what: str) -> bytes:
        """The next packet, acknowledged; TimeoutError for a stop that does not come."""
        limit = monotonic() + seconds
        while True:
            start = self._pending.find(b"$")
            end = self._pending.find(b"#", start) if start >= 0 else -1
            if end >= 0 and len(self._pending) >= end + 3:
                body, self._pending = self._pending[start + 1 : end], self._pending[end + 3 :]
                self._write(b"+")
                return _plain(body)
            if len(self._pending) > MAX_PACKET:
                raise self._error(f"no end of {what}")
            try:
                # However little comes at a time.
                left = limit - monotonic()
                if left <= 0:
                    raise TimeoutError
                self._socket.settimeout(left)
                more = self._socket.recv(1 << 16)
            except TimeoutError:
                if what == "a stop":
                    raise
                raise self._error(f"{what} does not come in {seconds:g} s") from None
            except OSError as error:
                raise self._error(f"the connection is gone: {error.strerror or error}") from None
            if not more:
                raise self._error(f"the connection ended before {what}")
            self._pending += more

    def _error(self, message: str) -> MachineError:
        return MachineError(message, where=self._where)


def _number(text: str | None, default: int) -> int:
    """``text`` as a number of a description; ``default`` where it is none that could be one."""
    sound = text is not None and len(text) <= MAX_DIGITS and text.isascii() and text.isdigit()
    return int(text) if text is not None and sound else default


def _plain(body: bytes) -> bytes:
    """``body`` without escapes and run lengths."""
    if b"}" not in body and b"*" not in body:
        return body
    found, at = bytearray(), 0
    while at < len(body):
        byte = body[at]
        if byte == ord("}") and at + 1 < len(body):
            found.append(body[at + 1] ^ 0x20)
            at += 2
        elif byte == ord("*") and found and at + 1 < len(body):
            found += found[-1:] * max(0, body[at + 1] - 29)
            at += 2
        else:
            found.append(byte)
            at += 1
    return bytes(found)
