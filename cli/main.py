"""The ``relokit`` command: whatever ends it, and what with.

Exit codes: 0 the checks hold, 1 the run failed its checks, 2 bad usage or input, 3 no answer (the
host's time was over, or the engine went down), 5 nothing was run, and 128 plus the signal's number
when interrupted: 130 for Ctrl-C. What is imported here stands before the first handler of a signal,
so it is next to nothing: all else is imported inside, where an interrupt is met with one line.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from contextlib import suppress

from relokit.codegen.base.told_to_end import all_is_said, ignore_signals, take_signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line (by default the process's own); returns the exit code."""
    own_process = arguments is None
    as_json = False
    try:
        if own_process:
            take_signals()
            _keep_no_half_modules()
        arguments = list(sys.argv[1:] if arguments is None else arguments)
        as_json = "--json" in arguments
        from relokit.cli.answering import answered, take_over_process
        from relokit.cli.exit_codes import EXIT_USAGE

        if own_process:
            take_over_process()
        try:
            code = answered(arguments, as_json, own_process)
        except MemoryError:
            # Not even for what is to be said of it.
            with suppress(OSError):
                os.write(2, b"relokit: out of memory\n")
            code = EXIT_USAGE
        if own_process:
            all_is_said()
    except KeyboardInterrupt as interrupt:
        if sys.stderr is not None and sys.stderr.isatty():
            print(file=sys.stderr)
        number = interrupt.args[0] if interrupt.args else signal.SIGINT
        from relokit.cli.answering import ended_by

        code = ended_by(number, as_json)
    if own_process:
        ignore_signals()
    return code


def _keep_no_half_modules() -> None:
    """Where files are limited in size: the interpreter takes a part of a write for all of it, and
    what it has compiled, cut short, would end every later start.
    """
    if resource.getrlimit(resource.RLIMIT_FSIZE)[0] != resource.RLIM_INFINITY:
        sys.dont_write_bytecode = True
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
