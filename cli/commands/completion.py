"""``relokit completion``."""

from __future__ import annotations

import click

from relokit.cli.once import Command
from relokit.cli.terminal.output import emit

SHELLS = ("bash", "zsh", "fish")


@click.command(
    "completion",
    cls=Command,
    help="Print what completes relokit's command line in a shell.",
    epilog='Examples:  eval "$(relokit completion bash)";  relokit completion fish > '
    "~/.config/fish/completions/relokit.fish;  'make install-docs' installs all three.",
)
@click.argument("shell", type=click.Choice(SHELLS))
def command(shell: str) -> int:
    """Click's own, of the whole command."""
    from click.shell_completion import ShellComplete, get_completion_class

    from relokit.cli.command_list import relokit

    found = get_completion_class(shell)
    assert found is not None
    # Bash's own starts a bash to see how old it is, and this host's need not be who reads this.
    emit(ShellComplete.source(found(relokit, {}, "relokit", "_RELOKIT_COMPLETE")).strip())
    return 0
