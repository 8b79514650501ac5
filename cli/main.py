"""The ``relokit`` command: dispatch, errors and exit codes.

Exit codes: 0 the checks hold, 1 the run failed its checks, 2 bad usage or input, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module

import click

from relokit.codegen.errors import RelokitError
from relokit.codegen.version import VERSION

EXIT_PASS, EXIT_FAIL, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 130

COMMANDS = {
    "run": "Build the relocation, run it in a machine and judge the hand-over.",
    "export": "Write an ELF: executable, relocatable, or bootable in QEMU.",
    "generate": "Write the rendered assembly, the ld script and a Makefile.",
    "series": "List the fifteen patches and what each changes.",
}


class _Commands(click.Group):
    """Imports a command's module when it is used: ``--version`` pays for nothing else."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = import_module(f"relokit.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 pass, 1 the run failed its checks, 2 bad usage or input.",
)
@click.version_option(VERSION, prog_name="relokit", message="%(prog)s %(version)s")
def relokit() -> None:
    """Generate, assemble, link and run the arm64 kexec relocation, and judge it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in arguments
    try:
        code = relokit.main(args=arguments, prog_name="relokit", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help() if error.ctx else "", err=True)
        return EXIT_USAGE
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.UsageError as error:
        hint = f"see 'relokit {error.ctx.info_name or ''} --help'" if _in_command(error) else None
        return _report(RelokitError(error.format_message(), hint=hint), as_json)
    except click.ClickException as error:
        return _report(RelokitError(error.format_message()), as_json)
    except RelokitError as error:
        return _report(error, as_json)
    except (KeyboardInterrupt, click.Abort):
        click.echo("relokit: interrupted", err=True)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has seen enough; nothing may be written at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_PASS
    return code if isinstance(code, int) else EXIT_PASS


def _in_command(error: click.UsageError) -> bool:
    return error.ctx is not None and error.ctx.parent is not None


def _report(error: RelokitError, as_json: bool) -> int:
    if as_json:
        import json

        fields = {"message": error.message, "where": error.where, "text": error.text}
        fields["hint"] = error.hint
        present = {key: value for key, value in fields.items() if value}
        click.echo(json.dumps({"status": "error", "error": present}, indent=2))
    else:
        click.echo(f"relokit: {error}", err=True)
    return EXIT_USAGE
