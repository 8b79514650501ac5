"""Exit codes, once: what a command ends with, by the verdict on all that it ran."""

from __future__ import annotations

EXIT_PASS, EXIT_USAGE = 0, 2
EXIT_NO_ANSWER = 3
EXIT_SIGNAL = 128
"""And the signal's number."""
EXIT_OF = {
    "pass": EXIT_PASS,
    "fail": 1,
    # The host's time was over, or the engine gave up: there is no verdict.
    "no answer": EXIT_NO_ANSWER,
    # As pytest says that it has collected nothing.
    "nothing": 5,
}
"""By the status of a document."""


def exit_code_of(number: int) -> int:
    """What a command ends with that the signal ``number`` has ended."""
    from relokit.cli.terminal.ended import CLOCKS

    return EXIT_NO_ANSWER if number in CLOCKS else EXIT_SIGNAL + number
