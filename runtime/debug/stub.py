"""GDB's remote protocol, its inside: what a packet asks a Debuggee for, and what it is answered.

Whatever a packet holds, the answer is one of the protocol's: E01 for what is malformed or
refused, nothing for what is not known. Source: "Packets", "Stop Reply Packets" and "General Query
Packets" of GDB's manual.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from relokit.codegen.base.errors import MachineError, RelokitError
from relokit.runtime.debug.debuggee import Debuggee
from relokit.runtime.debug.description import CORE, description
from relokit.runtime.debug.halts import Halt, HaltCause, WatchKind, Watchpoint
from relokit.runtime.debug.monitor import Monitor, told
from relokit.runtime.debug.packets import PACKET_SIZE
from relokit.runtime.record.stop import Stop, StopReason

MAX_READ = PACKET_SIZE // 2
OK, BAD, UNKNOWN = b"OK", b"E01", b""
_INT, _ILL, _TRAP, _KILL, _BUS, _SEGV, _ALRM = 2, 4, 5, 9, 10, 11, 14
_SIGNALS = {
    StopReason.REACHED: _TRAP,
    StopReason.EXCEPTION: _ILL,
    StopReason.BAD_VECTOR: _SEGV,
    StopReason.UNMAPPED: _BUS,
    StopReason.SPIN: _INT,
    StopReason.INSTRUCTION_LIMIT: _ALRM,
    StopReason.TIMEOUT: _ALRM,
}
"""GDB's numbers of signals."""
_HEX = re.compile(rb"[0-9a-fA-F]{1,16}")
_BYTES = re.compile(rb"(?:[0-9a-fA-F]{2})*")
_KINDS = {b"2": WatchKind.WRITE, b"3": WatchKind.READ, b"4": WatchKind.ACCESS}
_FEATURES = b";".join(
    (
        b"PacketSize=%x" % PACKET_SIZE,
        b"qXfer:features:read+",
        b"ReverseStep+",
        b"ReverseContinue+",
        b"QStartNoAckMode+",
        b"vContSupported+",
    )
)


class Stub:
    """Speaks for ``debuggee``; ``say`` tells whoever debugs while it runs.

    ``ended`` is why there is nothing more to ask, once there is not.
    """

    def __init__(self, debuggee: Debuggee, say: Callable[[str], None]) -> None:
        self.debuggee, self._say = debuggee, say
        self.monitor = Monitor(debuggee)
        self.acknowledges = True
        self.ended: str | None = None
        self._description = description(debuggee.registers)
        self._last = b"T%02xthread:1;" % _TRAP
        self._seen_over = False
        self._verbs: dict[bytes, Callable[[bytes], bytes]] = {
            b"?": lambda _: self._last,
            b"g": self._read_all,
            b"G": self._write_all,
            b"p": self._read_one,
            b"P": self._write_one,
            b"m": self._read_memory,
            b"M": self._write_memory,
            b"X": self._write_memory_raw,
            b"Z": self._mark,
            b"z": self._unmark,
            b"s": self._step,
            b"S": self._step,
            b"c": self._go,
            b"C": self._go,
            b"b": self._backwards,
            b"v": self._verbose,
            b"q": self._query,
            b"Q": self._set,
            b"H": lambda _: OK,
            b"T": lambda _: OK,
            b"D": self._leave,
            b"k": self._leave,
        }

    def handle(self, packet: bytes) -> bytes:
        """The answer to ``packet``; never raises for what is in there."""
        verb = self._verbs.get(packet[:1])
        if verb is None:
            return UNKNOWN
        try:
            return verb(packet[1:])
        except RelokitError:
            return BAD

    # Registers ------------------------------------------------------------------------------

    def _read_all(self, _: bytes) -> bytes:
        return b"".join(map(self._register, range(CORE)))

    def _write_all(self, text: bytes) -> bytes:
        data, at = _data(text), 0
        if len(data) != sum(one.size for one in self.debuggee.registers[:CORE]):
            return BAD
        for number, one in enumerate(self.debuggee.registers[:CORE]):
            value = int.from_bytes(data[at : at + one.size], "little")
            at += one.size
            if value != self.debuggee.read_register(number):
                self.debuggee.write_register(number, value)
        return OK

    def _read_one(self, text: bytes) -> bytes:
        return self._register(_number(text))

    def _write_one(self, text: bytes) -> bytes:
        name, _, value = text.partition(b"=")
        number, data = _number(name), _data(value)
        if number >= len(self.debuggee.registers):
            return BAD
        if len(data) != self.debuggee.registers[number].size:
            return BAD
        self.debuggee.write_register(number, int.from_bytes(data, "little"))
        return OK

    def _register(self, number: int) -> bytes:
        value = self.debuggee.read_register(number)
        size = self.debuggee.registers[number].size
        return (value & (1 << 8 * size) - 1).to_bytes(size, "little").hex().encode()

    # Memory ---------------------------------------------------------------------------------

    def _read_memory(self, text: bytes) -> bytes:
        address, size = _extent(text)
        data = self.debuggee.read(address, min(size, MAX_READ), physical=self.monitor.physical)
        return data.hex().encode() if data or not size else BAD

    def _write_memory(self, text: bytes) -> bytes:
        where, _, data = text.partition(b":")
        return self._write(where, _data(data))

    def _write_memory_raw(self, text: bytes) -> bytes:
        where, _, data = text.partition(b":")
        return self._write(where, data)

    def _write(self, where: bytes, data: bytes) -> bytes:
        address, size = _extent(where)
        if size != len(data):
            return BAD
        if data:
            self.debuggee.write(address, data, physical=self.monitor.physical)
        return OK

    # Marks ----------------------------------------------------------------------------------

    def _mark(self, text: bytes) -> bytes:
        kind, address, size = _place(text)
        if kind in (b"0", b"1"):
            self.debuggee.break_at(address)
        elif kind in _KINDS:
            self.debuggee.watch(Watchpoint(_KINDS[kind], address, size))
        else:
            return UNKNOWN
        return OK

    def _unmark(self, text: bytes) -> bytes:
        kind, address, size = _place(text)
        if kind in (b"0", b"1"):
            self.debuggee.breakpoints.discard(address)
        elif kind in _KINDS:
            self.debuggee.watchpoints.pop(Watchpoint(_KINDS[kind], address, size), None)
        else:
            return UNKNOWN
        return OK

    # Running --------------------------------------------------------------------------------

    def _step(self, _: bytes) -> bytes:
        return self._moved(self.debuggee.step)

    def _go(self, _: bytes) -> bytes:
        return self._moved(self.debuggee.go)

    def _backwards(self, text: bytes) -> bytes:
        if text == b"s":
            return self._moved(self.debuggee.step_back)
        return self._moved(self.debuggee.go_back) if text == b"c" else UNKNOWN

    def _verbose(self, text: bytes) -> bytes:
        if text == b"Cont?":
            return b"vCont;c;C;s;S;r"
        if text.startswith(b"Kill"):
            return self._leave(b"")
        if not text.startswith(b"Cont;"):
            return UNKNOWN
        action = text[5:].partition(b";")[0].partition(b":")[0]
        if action[:1] in (b"s", b"S"):
            return self._step(b"")
        if action[:1] in (b"c", b"C"):
            return self._go(b"")
        if action[:1] == b"r":
            first, end = _extent(action[1:])
            return self._moved(lambda: self.debuggee.step_within(first, end))
        return BAD

    def _moved(self, move: Callable[[], Halt]) -> bytes:
        """Carry out ``move``, or what is wanted in its place; GDB's stop reply."""
        back = move in (self.debuggee.step_back, self.debuggee.go_back)
        if self._seen_over and self.debuggee.over and not back and not self.monitor.wanted:
            return self._exited(self.debuggee.over)
        move, self.monitor.wanted = self.monitor.wanted or move, None
        halt = move()
        self._seen_over = halt.cause is HaltCause.OVER
        self._last = b"".join(self._stop_reply(halt))
        return self._last

    def _stop_reply(self, halt: Halt) -> Iterator[bytes]:
        signal = _TRAP
        if halt.cause is HaltCause.INTERRUPTED:
            signal = _INT
        if halt.stop is not None:
            signal = _SIGNALS.get(halt.stop.reason, _ALRM)
            self._say(f"{told(halt.stop, self.debuggee.guest)}\n")
        elif halt.text:
            self._say(f"{halt.text}\n")
        yield b"T%02xthread:1;" % signal
        if halt.cause is HaltCause.START:
            yield b"replaylog:begin;"
        if halt.watched is not None:
            yield b"%s:%x;" % (halt.watched.kind.encode(), halt.watched.va)

    def _exited(self, stop: Stop) -> bytes:
        self.ended = told(stop, self.debuggee.guest)
        if stop.reason is StopReason.REACHED:
            return b"W00"
        return b"X%02x" % _SIGNALS.get(stop.reason, _KILL)

    def _leave(self, _: bytes) -> bytes:
        self.ended = "left by the debugger"
        return OK

    # Questions ------------------------------------------------------------------------------

    def _query(self, text: bytes) -> bytes:
        if text.startswith(b"Supported"):
            return _FEATURES
        if text.startswith(b"Xfer:features:read:target.xml:"):
            offset, size = _extent(text.rpartition(b":")[2])
            part = self._description[offset : offset + min(size, MAX_READ)]
            return (b"m" if offset + len(part) < len(self._description) else b"l") + part
        if text.startswith(b"Rcmd,"):
            line = _data(text[5:]).decode("utf-8", "replace")
            return self.monitor.answer(line)[:MAX_READ].encode()[:MAX_READ].hex().encode() or OK
        answers = {
            b"C": b"QC1",
            b"fThreadInfo": b"m1",
            b"sThreadInfo": b"l",
            b"Attached": b"1",
            b"Symbol::": OK,
        }
        return answers.get(text, UNKNOWN)

    def _set(self, text: bytes) -> bytes:
        if text != b"StartNoAckMode":
            return UNKNOWN
        self.acknowledges = False
        return OK


def _number(text: bytes) -> int:
    if not _HEX.fullmatch(text):
        raise MachineError("no hexadecimal number")
    return int(text, 16)


def _extent(text: bytes) -> tuple[int, int]:
    first, _, second = text.partition(b",")
    return _number(first), _number(second)


def _place(text: bytes) -> tuple[bytes, int, int]:
    kind, _, rest = text.partition(b",")
    return kind, *_extent(rest.partition(b";")[0])


def _data(text: bytes) -> bytes:
    if not _BYTES.fullmatch(text):
        raise MachineError("no hexadecimal bytes")
    return bytes.fromhex(text.decode())
