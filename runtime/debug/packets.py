"""GDB's remote protocol, its outside: bytes to packets, and packets to bytes.

Source: "GDB Remote Serial Protocol", Overview (framing, checksum, escapes) of GDB's manual.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum

from relokit.codegen.base.nouns import dataclass

PACKET_SIZE = 0x4000
"""Bytes of the largest packet that is taken, without its frame."""
_START, _END, _ESCAPE, _FLIP = b"$"[0], b"#"[0], b"}"[0], 0x20
_SPECIAL = b"$#}*"
"""Bytes that stand for themselves only when they are escaped ('*' in what we send)."""
_CHECKSUM = 2


class LineSign(Enum):
    """What comes between packets."""

    ACK = b"+"
    NACK = b"-"
    INTERRUPT = b"\x03"
    GARBLED = b""
    """A packet whose checksum is not that of its bytes."""


@dataclass(frozen=True, slots=True)
class Packet:
    """The bytes of a packet, escapes undone."""

    data: bytes


_SIGNS = {sign.value[0]: sign for sign in LineSign if sign.value}


class PacketReader:
    """Takes what comes over the line, in pieces of whatever size.

    No more than PACKET_SIZE bytes are kept: a longer packet is garbled.
    """

    def __init__(self) -> None:
        self._body: bytearray | None = None
        self._sum: bytearray | None = None

    def feed(self, data: bytes) -> Iterator[Packet | LineSign]:
        """What ``data`` completes; what belongs to nothing is passed over."""
        for byte in data:
            if self._sum is not None:
                self._sum.append(byte)
                if len(self._sum) == _CHECKSUM:
                    yield self._finished()
            elif self._body is None:
                if byte == _START:
                    self._body = bytearray()
                elif byte in _SIGNS:
                    yield _SIGNS[byte]
            elif byte == _END:
                self._sum = bytearray()
            elif byte == _START:
                # The end of the one before was lost.
                self._body.clear()
            elif len(self._body) <= PACKET_SIZE:
                self._body.append(byte)

    def _finished(self) -> Packet | LineSign:
        assert self._body is not None
        assert self._sum is not None
        body, sent = self._body, bytes(self._sum)
        self._body = self._sum = None
        if len(body) > PACKET_SIZE or sent.lower() != b"%02x" % (sum(body) & 0xFF):
            return LineSign.GARBLED
        return Packet(_unescaped(body))


def _unescaped(body: bytearray) -> bytes:
    if _ESCAPE not in body:
        return bytes(body)
    found, flip = bytearray(), 0
    for byte in body:
        if byte == _ESCAPE and not flip:
            flip = _FLIP
        else:
            found.append(byte ^ flip)
            flip = 0
    return bytes(found)


def framed(data: bytes) -> bytes:
    """``data`` as a packet."""
    if any(byte in _SPECIAL for byte in data):
        data = b"".join(
            bytes((_ESCAPE, byte ^ _FLIP)) if byte in _SPECIAL else bytes((byte,)) for byte in data
        )
    return b"$%b#%02x" % (data, sum(data) & 0xFF)
