"""The commands by name, each imported when it is used: ``--version`` pays for nothing else."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

from relokit.codegen.base.version import VERSION

PROGRAM = "relokit"
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

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def carry_out(self, arguments: list[str]) -> Any:
        """As click's main, which lets no KeyboardInterrupt through: it puts an empty line before,
        and an Abort in its place. Raises whatever click does.
        """
        self._main_shell_completion({}, PROGRAM)
        with self.make_context(PROGRAM, arguments) as ctx:
            return self.invoke(ctx)


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 pass, 1 the run failed its checks, 2 bad usage or input, 3 no answer, "
    "5 nothing was run, 130 Ctrl-C.",
)
@click.version_option(VERSION, prog_name="relokit", message="%(prog)s %(version)s")
def relokit() -> None:
    """Generate, assemble, link and run the arm64 kexec relocation, and judge it."""


PROJECT_META = "relokit.project"
"""Where a context keeps its project, if it has one."""
