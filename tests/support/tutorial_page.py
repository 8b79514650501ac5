"""docs/tutorial.md, carried out: its files written, its commands and Python run, what they print.

cd tests && ../.venv/bin/python -m support.tutorial_page
"""

from __future__ import annotations

import contextlib
import doctest
import io
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from relokit.cli.main import main

PAGE = Path(__file__).resolve().parents[2] / "docs" / "tutorial.md"
_FILE = re.compile(r"<!-- file: (\S+) -->\n\n?((?:    .*\n|\n(?=    ))+)")
_SHELL = re.compile(r"^    \$ .*\n(?:    .*\n|\n(?=    (?!\$ |>>> )))*", re.MULTILINE)
_PYTHON = re.compile(r"^    >>> .*\n(?:    .*\n)*", re.MULTILINE)


def carried_out(text: str) -> str:
    """``text`` with what its commands and its Python print now, in the current directory."""
    for name, code in _FILE.findall(text):
        Path(name).write_text("".join(f"{line[4:]}\n" for line in code.splitlines()))
    told = _SHELL.sub(lambda block: "".join(_commands(block[0])), text)
    return _PYTHON.sub(lambda block: _python(block[0]), told)


def _commands(block: str) -> Iterator[str]:
    for line in block.splitlines():
        if line.startswith("    $ "):
            yield f"{line}\n"
            yield from (f"    {one}".rstrip() + "\n" for one in _run(line[6:]).splitlines())


def _run(command: str) -> str:
    """What ``command`` prints: in this process where it is ours, and piped into the rest."""
    words, _, rest = command.partition(" | ")
    if not words.startswith("relokit "):
        return _shell(command, "")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        main(shlex.split(words)[1:])
    return _shell(rest, printed.getvalue()) if rest else printed.getvalue()


def _shell(command: str, given: str) -> str:
    environment = os.environ | {"LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        ["sh", "-c", command], input=given, capture_output=True, text=True, check=True,
        env=environment,
    )  # fmt: skip
    return done.stdout


def _python(block: str) -> str:
    """The examples of ``block``, with what they print."""
    names: dict[str, object] = {}
    told = []
    for example in doctest.DocTestParser().get_examples(block):
        first, *more = example.source.splitlines()
        told += [f"    >>> {first}", *(f"    ... {line}".rstrip() for line in more)]
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(example.source, "tutorial", "single"), names)
        told += [f"    {line}" for line in printed.getvalue().splitlines()]
    return "".join(f"{line}\n" for line in told)


if __name__ == "__main__":
    text = PAGE.read_text("utf-8")
    here = Path.cwd()
    with TemporaryDirectory() as folder:
        os.chdir(folder)
        done = carried_out(text)
        os.chdir(here)
    PAGE.write_text(done, "utf-8")
