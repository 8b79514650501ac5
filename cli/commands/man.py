"""``relokit man``."""

from __future__ import annotations

from collections.abc import Iterator

import click

from relokit.cli.once import Command
from relokit.cli.terminal.output import emit
from relokit.codegen.base.version import VERSION


@click.command(
    "man",
    cls=Command,
    help="Print the manual page of relokit, or of one of its commands, made of their --help.",
    epilog="Example:  relokit man run | man -l -;  'make install-docs' installs all of them.",
)
@click.argument("name", required=False, metavar="[COMMAND]")
def command(name: str | None) -> int:
    """The page in roff (man(7))."""
    from relokit.cli.command_list import COMMANDS, relokit

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
    emit("\n".join(lines))
    return 0


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
