"""What every command refuses: an option that is given twice, and writing over what it reads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import click

from relokit.cli.parameters import OutputFile
from relokit.codegen.base.errors import RelokitError

WORDS = "relokit.words"
"""What of a context's meta has the words behind the command's name."""


PROJECT = "relokit.toml"
WITHOUT_PROJECT = frozenset({"init", "completion", "man", "explain"})
"""Commands that take nothing from a project, and work where its file is wrong."""


def project_path() -> Path | None:
    """The file of this project: $RELOKIT_PROJECT, or relokit.toml here; None if there is none."""
    named = os.environ.get("RELOKIT_PROJECT")
    if named is not None:
        return Path(named) if named else None
    # A path is made only where there is one: this is what every command does first.
    return Path(PROJECT) if os.path.exists(PROJECT) else None


class Command(click.Command):
    """As click's, but an option that is given twice is refused, unless it takes several values."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click's; raises UsageError, and RelokitError for a file that is read and written."""
        project = project_path()
        if project is not None and ctx.command.name not in WITHOUT_PROJECT:
            from relokit.cli.projects import take_defaults

            take_defaults(ctx, project)
        seen: dict[str | None, str] = {}
        for flag, name in self._given(args):
            if name in seen:
                raise click.UsageError(f"{flag} is given twice: leave one of them out", ctx)
            seen[name] = flag
        ctx.meta[WORDS] = tuple(args)
        rest = super().parse_args(ctx, args)
        self._check_outputs(ctx, project)
        return rest

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """As click's, and ``--limit``."""
        from relokit.cli.limit_option import LIMIT

        *others, last = super().get_params(ctx)
        return [*others, LIMIT, last]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """As click's, in groups where there are many; see :mod:`relokit.cli.help_groups`."""
        from relokit.cli.help_groups import grouped_options

        for heading, rows in grouped_options(self, ctx):
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)

    def _check_outputs(self, ctx: click.Context, project: Path | None) -> None:
        for output in self.params:
            path = ctx.params.get(output.name or "")
            if not isinstance(output.type, OutputFile) or path is None:
                continue
            where = f"{output.opts[-1]} {path}"
            if project is not None and _same(project, path):
                raise _written_over("this directory's project", "is that file", where)
            for name in ctx.obj or ():
                if _same(Path(name), path):
                    raise _written_over(f"@{name}", "is that file", where)
            for one in self.params:
                given = ctx.params.get(one.name or "")
                if one is output or given is None:
                    continue
                is_one = any(_same(path, file) for file in _files(given, one))
                if is_one or _has(given, path):
                    how = "is that file" if is_one else "has that file"
                    raise _written_over(one.get_error_hint(ctx), how, where)

    def _given(self, args: list[str]) -> Iterator[tuple[str, str | None]]:
        """The options with one value that are in ``args``, as they are spelt, and their names."""
        options = {
            flag: one
            for one in self.params
            if isinstance(one, click.Option) and not one.is_flag
            for flag in one.opts
        }
        rest = iter(args)
        for word in rest:
            if word == "--":
                return
            flag, equals, _ = word.partition("=")
            attached = bool(equals)
            if flag not in options and word[:1] == "-" and word[1:2] != "-":
                flag, attached = word[:2], len(word) > 2
            option = options.get(flag)
            if option is None:
                continue
            # What may stand without a value is left to click: it is once there, either way.
            if not attached and not isinstance(option.flag_value, str):
                next(rest, None)
            if not option.multiple:
                yield flag, option.name


def _written_over(what: str, how: str, where: str) -> RelokitError:
    return RelokitError(
        f"{what} {how}: it would be written over", where=where, hint="give another name to write to"
    )


def _same(one: Path, other: Path) -> bool:
    """Whether both are one file, or would be when it is made."""
    with suppress(OSError, ValueError):
        return one.samefile(other)
    with suppress(OSError, ValueError):
        return os.path.realpath(one) == os.path.realpath(other)
    return False


def _has(given: object, path: Path) -> bool:
    """Whether what is ``given`` is a directory with the file ``path`` in it, at any depth."""
    if not isinstance(given, Path) or not path.is_file() or not given.is_dir():
        return False
    return given.resolve() in path.resolve().parents


def _files(value: object, parameter: click.Parameter) -> Iterator[Path]:
    """The files of a parameter's values; of FILE:SYMBOL and ARCHIVE(MEMBER) what is before, too."""
    for one in value if isinstance(value, tuple) else (value,):
        if isinstance(one, Path):
            yield one
        if isinstance(one, Path) or (
            isinstance(one, str) and isinstance(parameter, click.Argument)
        ):
            text = str(one)
            for path in (text, text.rpartition(":")[0], text.rpartition("(")[0]):
                with suppress(OSError, ValueError):
                    if Path(path).is_file():
                        yield Path(path)
