"""Arguments of the benchmark's commands, for argparse; each refusal says what is taken."""

from __future__ import annotations

from argparse import ArgumentTypeError
from pathlib import Path

LARGEST = 8192
"""MiB to move: twice as much is touched, and as much is written to a file."""
MOST_ROUNDS = 99


def rounds(text: str) -> int:
    """How often each is measured."""
    return _number(text, MOST_ROUNDS)


def sizes(text: str) -> tuple[int, ...]:
    """MiB, with commas, ascending."""
    found = tuple(_number(one, LARGEST) for one in text.split(","))
    if list(found) != sorted(set(found)):
        raise ArgumentTypeError(f"{text[:80]!r}: from small to large, each once")
    return found


def folder(text: str) -> Path:
    """One that is there."""
    if not Path(text).is_dir():
        raise ArgumentTypeError(f"{text[:200]!r} is no folder; make it first")
    return Path(text)


def _number(text: str, most: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 7 and 1 <= int(text) <= most):
        raise ArgumentTypeError(f"{text[:40]!r} is no number from 1 to {most}")
    return int(text)
