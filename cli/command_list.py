"""Click's group of the commands, each imported when it is used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

from relokit.cli.overview import (
    ABOUT,
    COMMANDS,
    EXIT_CODES,
    MOST_COLUMNS,
    PROGRAM,
    VERSION_LINE,
    overview,
)
from relokit.codegen.base.version import VERSION


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = import_module(f"relokit.cli.commands.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            from difflib import get_close_matches

            alike = get_close_matches(args[0][:40], COMMANDS, n=2)
            if alike:
                meant = " or ".join(f"'{name}'" for name in alike)
                ctx.fail(f"No such command '{args[0]}': did you mean {meant}?")
        return super().resolve_command(ctx, args)

    def get_help(self, ctx: click.Context) -> str:
        """The page that is made without click."""
        return overview()

    def carry_out(self, arguments: list[str], files: list[str]) -> Any:
        """As click's main, which lets no KeyboardInterrupt through: it puts an empty line before,
        and an Abort in its place. Some of the words are from ``files``. Raises whatever click does.
        """
        self._main_shell_completion({}, PROGRAM)
        with self.make_context(PROGRAM, arguments, obj=files) as ctx:
            return self.invoke(ctx)


@click.group(
    cls=_Commands,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": MOST_COLUMNS,
    },
    help=ABOUT,
    epilog=EXIT_CODES,
)
@click.version_option(VERSION, message=VERSION_LINE)
def relokit() -> None:
    pass


PROJECT_META = "relokit.project"
"""Where a context keeps its project, if it has one."""
