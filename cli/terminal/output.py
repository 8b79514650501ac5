"""Standard output: all of it or an error, and nothing that a terminal could take for a command."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import field
from errno import EAGAIN
from typing import ClassVar

import click

from relokit.codegen.base.documents import ABSENT, document
from relokit.codegen.base.errors import RelokitError
from relokit.codegen.base.nouns import dataclass

WIDTH = 80
"""Columns of text where there is no terminal to say."""


@dataclass(frozen=True, slots=True)
class ErrorText:
    """What an error says; see RelokitError."""

    message: str
    where: str | None = field(default=None, metadata=ABSENT)
    text: str | None = field(default=None, metadata=ABSENT)
    hint: str | None = field(default=None, metadata=ABSENT)


@dataclass(frozen=True, slots=True)
class ErrorDocument:
    """What a command with ``--json`` prints that cannot be done."""

    SCHEMA: ClassVar[str] = "relokit.error/1"

    status: str
    error: ErrorText


class OutputError(RelokitError):
    """Standard output takes nothing."""


def emit(text: str) -> bool:
    """Print ``text`` and make sure it got there; returns whether anyone reads on.

    A reader that left early (``| head``) has seen enough and is no error; a full disk is one:
    OutputError.
    """
    try:
        _write(f"{text}\n")
    except OSError as error:
        discard_output()
        if not isinstance(error, BrokenPipeError):
            raise OutputError(
                f"cannot be written: {error.strerror or error}", where="standard output"
            ) from None
        return False
    return True


def _write(text: str) -> None:
    """Put all of ``text`` on standard output, also where it is not buffered: a write may be a part.

    Without a buffer (PYTHONUNBUFFERED) the interpreter loses the rest in silence.
    """
    stream = sys.stdout
    if stream is None:
        return
    if not colours():
        text = click.unstyle(text)
    binary = getattr(stream, "buffer", None)
    if binary is None:
        stream.write(text)
    else:
        stream.flush()
        rest = memoryview(text.encode(stream.encoding, stream.errors or "strict"))
        while rest:
            count = binary.write(rest)
            if not count:
                raise BlockingIOError(EAGAIN, "it takes nothing more")
            rest = rest[count:]
        binary.flush()
    stream.flush()


def colours() -> bool:
    """Whether standard output gets colours: a terminal, or FORCE_COLOR, and no NO_COLOR."""
    if os.environ.get("NO_COLOR"):
        return False
    stream = sys.stdout
    return bool(os.environ.get("FORCE_COLOR")) or (stream is not None and stream.isatty())


def discard_output() -> None:
    """Send standard output nowhere, so that the interpreter does not try again at its exit."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError:
        # No descriptor is left for that: what is in the buffer is put away with it.
        sys.stdout = None


def emit_json(value: object) -> None:
    """Print the JSON document of ``value``."""
    emit(json_text(value))


def json_text(value: object, *, indent: int | None = 2) -> str:
    """The JSON document of ``value``, on one line if ``indent`` is None."""
    import json

    return json.dumps(document(value), indent=indent)


def plain(text: str) -> str:
    """``text`` without control characters: guests, files and their names are not to be trusted.

    It is one line, whatever is in it: who has several gives them to :func:`plain_lines`.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\t" else "\ufffd" for c in text)


def plain_lines(lines: Iterable[str]) -> str:
    """``lines``, each as :func:`plain` has it: no name in them makes another one."""
    return "\n".join(map(plain, lines))
