"""Standard output: all of it or an error, and nothing that a terminal could take for a command."""

from __future__ import annotations

import os
import sys

import click

from relokit.codegen.errors import RelokitError


def emit(text: str) -> None:
    """Print ``text`` and make sure it got there.

    A reader that left early (``| head``) has seen enough and is no error; a full disk is one:
    RelokitError.
    """
    try:
        click.echo(text)
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        # Nothing may be written at exit either: the interpreter would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise RelokitError(
                f"cannot be written: {error.strerror or error}", where="standard output"
            ) from None


def emit_json(document: object) -> None:
    """Print one JSON document."""
    import json

    emit(json.dumps(document, indent=2))


def plain(text: str) -> str:
    """``text`` without control characters: guests, files and their names are not to be trusted."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)
