"""``relokit debug``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from relokit.cli.idle import refuse_idle
from relokit.cli.once import Command
from relokit.cli.options import (
    INPUT_FILE,
    cache_option,
    job_options,
    make_job,
    make_target,
    target_options,
    timeout_option,
)
from relokit.cli.parameters import CountParam, OutputFile
from relokit.cli.terminal.output import emit, plain
from relokit.codegen.target import Target
from relokit.runtime.kexec.job import MAX_INSTRUCTIONS, Job

_EPILOG = """\b
relokit debug                                        our own demo kernel
relokit debug --kernel vmlinuz --el vhe --page-size 64k
relokit debug --snapshot DIR                         a machine that was recorded
"""


@click.command(
    "debug",
    cls=Command,
    help="Serve GDB a machine about to leave its kernel, on this host: it steps, halts at "
    "breakpoints and watchpoints, and goes back. The way ends as the new kernel is entered. Prints "
    "what to start GDB with; 'monitor help' there says what else there is.",
    epilog=_EPILOG,
)
@click.option(
    "--port",
    type=CountParam(0, (1 << 16) - 1),
    default=0,
    help="TCP port of 127.0.0.1 to wait on for one GDB. [default: any that is free]",
)
@click.option(
    "--snapshot",
    type=INPUT_FILE,
    metavar="DIR",
    help="Debug the machine in a snapshot ('relokit record') in place of one of ours; --kernel is "
    "then the one that ran, if it is not in there.",
)
@click.option(
    "--symbols-to",
    "symbols",
    type=OutputFile(),
    metavar="FILE",
    help="Write names and source lines of the machine's code to this ELF file first, for GDB.",
)
@job_options
@target_options
@timeout_option("Halt what GDB has asked for if it takes this host so many seconds.")
@click.option(
    "--max-instructions",
    type=CountParam(1, MAX_INSTRUCTIONS),
    help="The way ends after this many instructions. [default: many times what its list needs]",
)
@cache_option
def command(port: int, snapshot: Path | None, symbols: Path | None, **options: Any) -> int:
    """Arguments in, one call of the facade; the result is the exit code."""
    refuse_idle()
    from relokit.cli.terminal.view import Bars
    from relokit.linker.kernel.opened import Files
    from relokit.machines.debugging import debug

    limits = {name: options.pop(name) for name in ("timeout", "max_instructions")}
    files = Files()

    def listening(at: int) -> None:
        file = "" if symbols is None else f" {shlex.quote(str(symbols))}"
        emit(f"gdb-multiarch{file} -ex 'target remote :{at}'")

    with Bars() as bars:
        if snapshot is None:
            target: Target | None = make_target(options, files)
            job = make_job(options, **limits)
        else:
            target, job = None, Job(kernel=options["kernel"], **limits)
        done = debug(
            listening,
            target,
            job,
            port=port,
            snapshot=snapshot,
            symbols=symbols,
            files=files,
            progress=bars.progress,
        )
    emit(plain(f"{done.ended}; {done.instructions:,} instructions were carried out"))
    return 0
