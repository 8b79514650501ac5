"""Cases from good inputs: bytes, numbers in them, words of a language, structures."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

MAX_CASE = 1 << 20
"""Bytes: nothing grows without end by being doubled."""
ODD = sorted(
    {
        (1 << bits) + more & (1 << 64) - 1
        for bits in (0, 3, 7, 8, 12, 15, 16, 21, 24, 31, 32, 33, 39, 47, 48, 52, 56, 63, 64)
        for more in (-1, 0, 1)
    }
)
"""Numbers at which something overflows, changes its sign or is one too many."""
LONG = ("9" * 400, "9" * 5000)
"""Numbers of more digits than 64 bits have, and than Python reads."""
_NUMBER = re.compile(rb"0[xX][0-9a-fA-F]+|[0-9]+")


def mutated(random: Random, seeds: Sequence[bytes]) -> bytes:
    """A seed with some bytes, numbers or stretches of it changed."""
    data = bytearray(random.choice(seeds))
    for _ in range(1 << random.randrange(4)):
        _change_bytes(random, data, seeds)
    return bytes(data[:MAX_CASE])


def within(spots: Callable[[bytes], Sequence[int]]) -> Callable[[Random, Sequence[bytes]], bytes]:
    """As :func:`mutated`, with most changes at ``spots`` of a seed: where its fields are."""

    def mutate(random: Random, seeds: Sequence[bytes]) -> bytes:
        if random.random() < 0.3:
            return mutated(random, seeds)
        data = bytearray(random.choice(seeds))
        places = spots(bytes(data))
        for _ in range(1 << random.randrange(3)):
            if places:
                _put_number(random, data, random.choice(places))
        return bytes(data)

    return mutate


def _change_bytes(random: Random, data: bytearray, seeds: Sequence[bytes]) -> None:
    size = len(data)
    kind = random.randrange(9)
    if not size or kind == 0:
        at = random.randint(0, size)
        data[at:at] = random.randbytes(1 << random.randrange(6))
        return
    at = random.randrange(size)
    length = min(1 << random.randrange(10), size - at)
    if kind == 1:
        data[at] ^= 1 << random.randrange(8)
    elif kind == 2:
        data[at] = random.choice((0, 1, 0x7F, 0x80, 0xFF, random.randrange(256)))
    elif kind in (3, 4):
        _put_number(random, data, at & ~7 if random.random() < 0.7 else at)
    elif kind == 5:
        del data[at : at + length]
    elif kind == 6:
        part = data[at : at + length] * random.choice((1, 1, 2, 8))
        to = random.randint(0, size)
        data[to:to] = part
    elif kind == 7:
        other = random.choice(seeds)
        start = random.randrange(len(other) + 1)
        data[at : at + length] = other[start : start + length]
    elif random.random() < 0.3:
        del data[at:]
    else:
        data[at : at + length] = bytes([random.choice((0, 0xFF))]) * length


def _put_number(random: Random, data: bytearray, at: int) -> None:
    size = random.choice((1, 2, 4, 4, 8))
    order = "big" if random.random() < 0.2 else "little"
    at = max(0, min(at, len(data) - size))
    old = int.from_bytes(data[at : at + size], "little" if order == "little" else "big")
    kind = random.randrange(4)
    if kind == 0:
        new = random.choice(ODD)
    elif kind == 1:
        new = old + random.choice((-8, -4, -1, 1, 4, 8, 1 << 12))
    elif kind == 2:
        new = random.randrange(len(data) + 8)
    else:
        new = old ^ 1 << random.randrange(8 * size)
    data[at : at + size] = (new & (1 << 8 * size) - 1).to_bytes(size, order)  # type: ignore[arg-type]


def text_of(words: str) -> Callable[[Random, Sequence[bytes]], bytes]:
    """Texts: lines and numbers of the seeds, ``words`` of their language; now and then bytes."""
    coded = [word.encode() for word in words.split()]

    def mutate(random: Random, seeds: Sequence[bytes]) -> bytes:
        if random.random() < 0.1:
            return mutated(random, seeds)
        lines = random.choice(seeds).split(b"\n")
        for _ in range(1 << random.randrange(4)):
            _change_lines(random, lines, seeds, coded)
        return b"\n".join(lines)[:MAX_CASE]

    return mutate


def _change_lines(
    random: Random, lines: list[bytes], seeds: Sequence[bytes], words: Sequence[bytes]
) -> None:
    at = random.randrange(len(lines))
    line = lines[at]
    kind = random.randrange(10)
    if kind == 0 and len(lines) > 1:
        del lines[at : at + random.randint(1, 4)]
        lines += [] if lines else [b""]
    elif kind == 1:
        lines[at:at] = lines[at : at + random.randint(1, 6)] * random.choice((1, 1, 1, 40))
    elif kind == 2:
        others = random.choice(seeds).split(b"\n")
        start = random.randrange(len(others))
        lines[at:at] = others[start : start + random.randint(1, 6)]
    elif kind == 3:
        other = random.randrange(len(lines))
        lines[at], lines[other] = lines[other], line
    elif kind in (4, 5):
        lines[at] = _other_number(random, line)
    elif kind in (6, 7):
        tokens = re.split(rb"(\W+)", line)
        tokens[random.randrange(len(tokens))] = random.choice(words)
        lines[at] = b"".join(tokens)
    elif kind == 8:
        place = random.randint(0, len(line))
        lines[at] = (
            line[:place] + random.choice(words) * random.choice((1, 1, 1, 300)) + line[place:]
        )
    else:
        tokens = re.split(rb"(\W+)", line)
        first, second = random.randrange(len(tokens)), random.randrange(len(tokens))
        tokens[first], tokens[second] = tokens[second], tokens[first]
        del tokens[random.randrange(len(tokens))]
        lines[at] = b"".join(tokens)


def _other_number(random: Random, line: bytes) -> bytes:
    found = list(_NUMBER.finditer(line))
    if not found:
        return line + random.choice((b" 0", b"-1", b"0x", *(one.encode() for one in LONG)))
    one = random.choice(found)
    number = random.choice(ODD) * random.choice((1, 1, 1, -1))
    new = random.choice((f"{number:#x}", f"{number}", *LONG, "1e9", "0b1", "-"))
    return line[: one.start()] + new.encode() + line[one.end() :]


def json_of(random: Random, text: bytes) -> bytes:
    """A JSON document with some of its values changed, taken out, or there twice; what is none any
    more has some bytes changed.
    """
    try:
        whole = [json.loads(text)]
    except ValueError:
        return mutated(random, [text])
    for _ in range(1 << random.randrange(3)):
        holder: Any = whole
        key: Any = 0
        while random.random() < 0.85 and isinstance(holder[key], dict | list) and holder[key]:
            holder = holder[key]
            keys = list(holder) if isinstance(holder, dict) else range(len(holder))
            key = random.choice(keys)
        _change_value(random, holder, key)
    return json.dumps(whole[0]).encode()


def _change_value(random: Random, holder: Any, key: Any) -> None:
    kind = random.randrange(6)
    value = holder[key]
    if kind == 0 and len(holder) > 1:
        del holder[key]
    elif kind == 1 and isinstance(holder, list):
        holder[key:key] = [value] * random.choice((1, 1, 9))
    elif kind == 2 and isinstance(value, int):
        holder[key] = value ^ 1 << random.randrange(64)
    elif kind == 3 and isinstance(value, str) and value:
        at = random.randrange(len(value))
        holder[key] = value[:at] + chr(random.choice((0, 10, 48, 120, 0x7F, 0xFFFD))) + value[at:]
    elif kind == 4:
        holder[key] = random.choice(list(holder.values() if isinstance(holder, dict) else holder))
    else:
        odd = random.choice(ODD) * random.choice((1, -1))
        holder[key] = random.choice((None, True, 1.5, "", [], {}, hex(odd & MASK), odd, odd, "x0"))


MASK = (1 << 64) - 1


def documents(words: str) -> Callable[[Random, Sequence[bytes]], bytes]:
    """JSON: most of it sound, with other values; some as text of those words."""
    as_text = text_of(words)

    def mutate(random: Random, seeds: Sequence[bytes]) -> bytes:
        if random.random() < 0.3:
            return as_text(random, seeds)
        return json_of(random, random.choice(seeds))

    return mutate
