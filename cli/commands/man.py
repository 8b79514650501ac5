"""``relokit man``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from relokit.cli.once import Command
from relokit.cli.options import force_option
from relokit.cli.parameters import OutputDirectory
from relokit.cli.terminal.output import emit, plain_lines
from relokit.codegen.base.errors import RelokitError
from relokit.codegen.base.version import VERSION


@click.command(
    "man",
    cls=Command,
    help="Print the manual page of relokit, or of one of its commands, made of their --help.",
    epilog="Examples:  relokit man run | man -l -;  relokit man --copy ~/.local/share/man/man1;  "
    "'make install-docs' installs all of them.",
)
@click.argument("name", required=False, metavar="[COMMAND]")
@click.option(
    "--copy",
    type=OutputDirectory(),
    metavar="DIR",
    help="Write all pages there; the directory is made if it is not there.",
)
@force_option
def command(name: str | None, copy: Path | None, force: bool) -> int:
    """The page in roff (man(7)), or all of them as files."""
    if force and copy is None:
        raise click.UsageError("--force is of --copy, which is not there")
    if copy is None:
        emit(_text(name))
        return 0
    if name is not None:
        raise click.UsageError(f"--copy writes all pages: leave out {name!r}")
    from relokit.cli.overview import COMMANDS
    from relokit.cli.overwriting import may_overwrite
    from relokit.codegen.base.atomic import write_together

    pages = {"relokit.1": _text(None)} | {f"relokit-{one}.1": _text(one) for one in COMMANDS}
    files = {file: f"{text}\n".encode() for file, text in pages.items()}
    written = write_together(copy, files, may_overwrite(force))
    if not written:
        raise RelokitError("left as they are", where=str(copy))
    emit(plain_lines(map(str, written)))
    return 0


def _text(name: str | None) -> str:
    """The page of one command, or of all; raises UsageError for a name that is none of them."""
    from relokit.cli.command_list import relokit
    from relokit.cli.overview import COMMANDS

    if name is not None and name not in COMMANDS:
        raise click.UsageError(f"{name!r} is none of {', '.join(COMMANDS)}")
    if name is None:
        lines = list(_page("relokit", relokit, relokit.help or ""))
        lines += [".SH COMMANDS"]
        for other, about in COMMANDS.items():
            lines += [
                ".TP",
                f".B {_roff(other)}",
                f"{_roff(about)} See relokit\\-{_roff(other)}(1).",
            ]
    else:
        found = relokit.get_command(click.Context(relokit, info_name="relokit"), name)
        assert found is not None
        lines = list(_page(f"relokit-{name}", found, COMMANDS[name]))
    return "\n".join(lines)


def _page(title: str, about: click.Command, short: str) -> Iterator[str]:
    words = title.replace("-", " ", 1)
    context = click.Context(about, info_name=words)
    yield f'.TH {_roff(title).upper()} 1 "" "relokit {VERSION}"'
    yield ".SH NAME"
    yield f"{_roff(title)} \\- {_roff(' '.join(short.split()).rstrip('.'))}"
    yield ".SH SYNOPSIS"
    yield f".B {_roff(words)}"
    yield _roff(" ".join(about.collect_usage_pieces(context)))
    yield ".SH DESCRIPTION"
    yield from _paragraphs(about.help or "")
    yield ".SH OPTIONS"
    for one in about.get_params(context):
        record = one.get_help_record(context)
        if record is not None:
            yield from (".TP", f".B {_roff(record[0])}", _roff(record[1]) or "\\&")
    if about.epilog:
        yield ".SH NOTES"
        yield from _paragraphs(about.epilog)


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in text.split("\n\n"):
        verbatim = paragraph.lstrip().startswith("\b")
        lines = [_roff(line) for line in paragraph.replace("\b", "").strip().splitlines()]
        yield ".PP"
        yield from [".nf", *lines, ".fi"] if verbatim else lines


def _roff(text: str) -> str:
    """``text`` on one line of roff: no request, no escape."""
    line = " ".join(text.split(" ")).replace("\\", "\\e").replace("-", "\\-").replace("\n", " ")
    return f"\\&{line}" if line[:1] in (".", "'") else line
