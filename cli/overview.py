"""The commands by name, and the page that ``relokit --help`` shows of them: made without click,
which takes more time to import than all else there is to do.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from relokit.codegen.base.version import VERSION

PROGRAM = "relokit"
VERSION_LINE = f"{PROGRAM} {VERSION}"
ABOUT = "Generate, assemble, link and run the arm64 kexec relocation, and judge it."
OPTIONS = {
    "--version": "Show the version and exit.",
    "-h, --help": "Show this message and exit.",
}
COMMANDS = {
    "run": "Build the relocation, run it in a machine and judge the hand-over.",
    "kexec": "Boot a shipped kernel, have it kexec, and judge it doing that.",
    "record": "Drive a QEMU to where its kernel leaves, and keep that as a snapshot.",
    "show": "Show a machine before it leaves its kernel, and after: who owns what.",
    "debug": "Serve GDB a machine: step it, watch it, go back, up to the new kernel.",
    "judge": "Judge a trace that run has written, again and without running.",
    "export": "Write an ELF: executable, relocatable, or bootable in QEMU.",
    "init": "Write a relokit.toml: this directory's options, thresholds, accepted findings.",
    "templates": "List the built-in templates, or copy them to change one.",
    "generate": "Write the rendered assembly, the ld script and a Makefile.",
    "matrix": "Run every combination of state, page size, regime, path and payload.",
    "mutate": "Put one thing wrong, run, judge: does the book find it? For every thing there is.",
    "time": "How long the move takes on machines, by what it does, counted.",
    "series": "The fifteen patches with measured evidence; or one of them from every side.",
    "explain": "What a rule asks for, why, and what mends it.",
    "completion": "Print what completes the command line in bash, zsh or fish.",
    "man": "Print a manual page, of all or of one command.",
    "diff": "Compare machine code: states, objects, ELF files, shipped kernels.",
}
EXIT_CODES = (
    "Exit codes: 0 pass, 1 the run failed its checks, 2 bad usage or input, 3 no answer, "
    "5 nothing was run, 130 Ctrl-C."
)

MOST_COLUMNS, LEAST_COLUMNS = 100, 52
"""Of a page of help, whatever the terminal has; so has click those of the commands."""
_COLUMNS = 80
_INDENT = 2
_MARGIN = 2
"""Columns that stay free on the right, as in click's pages."""


def page_asked_for(arguments: list[str]) -> str | None:
    """What these arguments ask for, if that is but the version or the page of help."""
    if arguments == ["--version"]:
        return VERSION_LINE
    return overview() if arguments in (["--help"], ["-h"]) else None


def overview(columns: int | None = None) -> str:
    """The page, for a terminal of so many ``columns``: by default for the one there is."""
    width = max(min(columns or _columns(), MOST_COLUMNS), LEAST_COLUMNS) - _MARGIN
    return "\n".join(
        (
            f"Usage: {PROGRAM} [OPTIONS] COMMAND [ARGS]...",
            "",
            *_indented(ABOUT, _INDENT, width),
            "",
            "Options:",
            *_rows(OPTIONS, width),
            "",
            "Commands:",
            *_rows(COMMANDS, width),
            "",
            *_indented(EXIT_CODES, _INDENT, width),
        )
    )


def _columns() -> int:
    """As shutil says, whose import would take longer than the page."""
    given = os.environ.get("COLUMNS", "")
    if given.isdecimal() and len(given) < 6 and int(given):
        return int(given)
    try:
        return os.get_terminal_size(1).columns or _COLUMNS
    except OSError:
        return _COLUMNS


def _rows(rows: dict[str, str], width: int) -> Iterator[str]:
    """Names in a column, and beside each what it is."""
    column = _INDENT + max(map(len, rows)) + 2
    for name, text in rows.items():
        first, *others = _indented(text, column, width)
        yield f"{'':{_INDENT}}{name}".ljust(column) + first[column:]
        yield from others


def _indented(text: str, indent: int, width: int) -> Iterable[str]:
    """``text`` in lines of at most ``width`` columns, broken at blanks."""
    line = ""
    for word in text.split():
        if line and indent + len(line) + 1 + len(word) > width:
            yield f"{'':{indent}}{line}"
            line = word
        else:
            line = f"{line} {word}" if line else word
    yield f"{'':{indent}}{line}"
