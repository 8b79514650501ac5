"""A command line is carried out, and whatever comes of it is told, with an exit code."""

from __future__ import annotations

import atexit
import gc
import io
import os
import sys
from contextlib import suppress

from relokit.cli.exit_codes import EXIT_NO_ANSWER, EXIT_PASS, EXIT_USAGE, exit_code_of
from relokit.cli.overview import COMMANDS, page_asked_for
from relokit.codegen.base.errors import NativeCrashError, RelokitError
from relokit.codegen.base.told_to_end import told

GARBAGE_THRESHOLD = 50_000
"""New objects that may be part of a cycle, before such cycles are looked for."""


def answered(arguments: list[str], as_json: bool, own_process: bool) -> int:
    """Carry the command out; whatever comes of it but an interrupt is told, and an exit code."""
    if not own_process:
        from relokit.codegen.base.host_file import forget_files

        forget_files()
    try:
        files = [word[1:] for word in arguments if _is_file(word)]
        words = _with_files(arguments) if files else arguments
        page = page_asked_for(words)
        if page is None:
            return _dispatch(words, files, own_process)
        print(page, flush=True)
        return EXIT_PASS
    except BrokenPipeError:
        # The reader of a help text has left early (``| head``).
        from relokit.cli.terminal.output import discard_output

        discard_output()
        return EXIT_PASS
    except RelokitError as error:
        code = EXIT_NO_ANSWER if isinstance(error, NativeCrashError) else EXIT_USAGE
        return _report(error, as_json, code)
    except MemoryError:
        return _report(_out_of_memory(), as_json)
    except OSError as error:
        return _report(_of_the_host(error), as_json)
    except ImportError as error:
        return _report(_not_imported(error), as_json)
    except Exception as error:
        return _report(_defect(error), as_json)


def take_over_process() -> None:
    """Print what the terminal has no character for, and all of what is printed. OpenBLAS, which
    nothing here needs more than one thread of, sends SIGINT where it gets none, which would be
    taken for a person's.

    Garbage is looked for less often: what starting up makes stays. And not once more when the
    interpreter ends: what is left goes with the process.
    """
    gc.set_threshold(GARBAGE_THRESHOLD)
    atexit.register(_leave_garbage)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
    raw = getattr(sys.stdout, "buffer", None)
    if isinstance(raw, io.RawIOBase):
        # PYTHONUNBUFFERED: of a write that is done in part the rest is lost, without a word.
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(raw),
            sys.stdout.encoding,
            sys.stdout.errors,
        )


def _leave_garbage() -> None:
    """LIEF counts what it holds at the end, and says so on stderr: that is looked for."""
    if "lief" not in sys.modules:
        gc.freeze()


def _with_files(arguments: list[str]) -> list[str]:
    """``arguments``, with the words of FILE in place of each ``@FILE``; raises RelokitError."""
    from relokit.cli.argument_files import words_of

    return [one for word in arguments for one in (words_of(word[1:]) if _is_file(word) else [word])]


def _is_file(word: str) -> bool:
    return word.startswith("@") and len(word) > 1


def _dispatch(arguments: list[str], files: list[str], own_process: bool) -> int:
    """Run click's group, on one budget; raises RelokitError for what click has to say."""
    import click

    from relokit.cli.command_list import relokit
    from relokit.cli.limit_option import start_clocks
    from relokit.codegen.base.budget import budgeted, set_limits

    set_limits({})
    if own_process:
        _check_room()
        start_clocks()
    try:
        with budgeted(anew=True):
            code = relokit.carry_out(arguments, files)
    except RelokitError:
        # A file that is written to meanwhile may seem to be anything.
        from relokit.codegen.base.host_file import check_unchanged

        check_unchanged()
        raise
    except click.exceptions.Abort:
        # An interrupt, or the end of the input, that met a question of click's.
        raise KeyboardInterrupt(*told()) from None
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help() if error.ctx else "", err=True)
        return EXIT_USAGE
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        command = next((word for word in arguments if word in COMMANDS), None)
        shown = f"relokit {command}" if command else "relokit"
        message = error.format_message().rstrip(".")
        raise RelokitError(message, hint=f"see '{shown} --help'") from None
    return code if isinstance(code, int) else EXIT_PASS


def _check_room() -> None:
    import resource

    limits = (resource.getrlimit(one)[0] for one in (resource.RLIMIT_AS, resource.RLIMIT_DATA))
    if any(limit != resource.RLIM_INFINITY for limit in limits):
        from relokit.codegen.base.process_limits import check_room

        check_room()


def ended_by(number: int, as_json: bool) -> int:
    """Tell that the signal ``number`` has ended the command; returns the exit code."""
    return _report(_why_it_ends(number), as_json, exit_code_of(number))


def _why_it_ends(number: int) -> RelokitError:
    """A person's signal, or one of our clocks."""
    from relokit.cli.terminal.ended import CLOCKS, over

    return over(number) if number in CLOCKS else RelokitError("interrupted")


def _out_of_memory() -> RelokitError:
    from relokit.codegen.base.process_limits import ANY, shortage

    hint = shortage(ANY) or "ask for less guest memory, or free some"
    return RelokitError("out of memory", hint=hint)


def _of_the_host(error: OSError) -> RelokitError:
    """A help text that cannot be printed, no process to be had: files have their own errors."""
    from relokit.cli.terminal.output import OutputError, discard_output

    cause = error.strerror or str(error)
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        discard_output()
        return OutputError(f"cannot be written: {cause}", where="standard output")
    if isinstance(error, BlockingIOError):
        return RelokitError(
            f"no process or thread can be started: {cause}",
            hint="'ulimit -u' says how many there may be; so may a container's limit",
        )
    return RelokitError(cause, where=error.filename)


def _not_imported(error: ImportError) -> RelokitError:
    """A library that is not there, or has no room: what it says of itself may be a page."""
    from relokit.codegen.base.process_limits import shortage

    hint = shortage() or "install relokit again: `pip install --force-reinstall relokit`"
    cause = (str(error).strip().splitlines() or ["nobody says why"])[-1]
    return RelokitError(f"a library cannot be imported: {cause}", hint=hint)


def _defect(error: Exception) -> RelokitError:
    """What no one foresaw, in one line and with its place: a bug of ours, not a verdict.

    Unless it is the host's: no thread is to be had.
    """
    import traceback

    from relokit.codegen.base.process_limits import no_thread

    if isinstance(error, EOFError) and "marshal" in str(error):
        return _cut_short()
    if (short := no_thread(error)) is not None:
        return _of_the_host(short)
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return RelokitError(
        f"internal error: {type(error).__name__}: {error}",
        where=f"{frame.filename}:{frame.lineno}",
        hint="this is a defect of relokit: please report it with the command line",
    )


def _cut_short() -> RelokitError:
    """A compiled module that a full disk, or a limit of the size of files, has not let be whole."""
    from pathlib import Path

    import relokit

    return RelokitError(
        "a module that the interpreter has compiled is cut short",
        where=str(Path(relokit.__file__).parent),
        hint="remove the folders __pycache__ there: 'find . -name __pycache__ -exec rm -r {} +'",
    )


def _report(error: RelokitError, as_json: bool, code: int = EXIT_USAGE) -> int:
    from relokit.cli.terminal.output import (
        ErrorDocument,
        ErrorText,
        OutputError,
        emit_json,
        plain_lines,
    )

    if as_json and not isinstance(error, OutputError):
        with suppress(OutputError):
            text = ErrorText(error.message, error.where, error.text, error.hint)
            emit_json(ErrorDocument("error", text))
            return code
    if sys.stderr is not None:
        lines = str(error).split("\n")
        with suppress(OSError):
            print(f"relokit: {plain_lines(lines)}", file=sys.stderr, flush=True)
    return code
