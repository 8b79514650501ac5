"""The errors a person sees: what is wrong, where, and the way out.

Every error relokit raises on purpose is a :class:`RelokitError`. The command line turns one
into a single message and exit code 2; anything else that escapes is a bug.
"""

from __future__ import annotations

MAX_TEXT, MAX_WHERE, MAX_MESSAGE = 240, 1024, 1024
"""Characters of a line that is quoted, of a place, and of a message or a hint: what comes in has
lines of any length."""


class RelokitError(Exception):
    """Bad input or a step that cannot be done.

    ``where`` names the file and line (``relocate.S.j2:41``), ``text`` quotes the offending
    line, ``hint`` says what to do about it.
    """

    def __init__(
        self,
        message: str,
        *,
        where: str | None = None,
        text: str | None = None,
        hint: str | None = None,
    ) -> None:
        if len(message) > MAX_MESSAGE:
            # What is wrong with what is quoted stands behind it.
            message = f"{message[: MAX_MESSAGE // 2]} ... {message[-MAX_MESSAGE // 2 :]}"
        super().__init__(message)
        self.message = message
        self.where = None if where is None else shortened(where, MAX_MESSAGE)
        self.text = None if text is None else shortened(text.strip(), MAX_TEXT)
        self.hint = None if hint is None else shortened(hint, MAX_MESSAGE)

    def __str__(self) -> str:
        message = one_line(self.message)
        where = self.where and one_line(shortened(self.where, MAX_WHERE))
        lines = [f"{where}: {message}" if where else message]
        if self.text:
            lines.append(f"    {one_line(self.text)}")
        if self.hint:
            lines.append(f"hint: {one_line(self.hint)}")
        return "\n".join(lines)


def one_line(text: str) -> str:
    """``text`` with what does not print spelt as an escape: it makes no line of its own.

    That takes line and paragraph separators, characters that reverse the direction of reading, and
    lone surrogates, which have no UTF-8. A tab is a blank.
    """
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() else " " if one == "\t" else one.encode("unicode_escape").decode()
        for one in text
    )


def shortened(text: str, most: int) -> str:
    """``text``, or its beginning with a mark where it has more than ``most`` characters."""
    return text if len(text) <= most else f"{text[:most]} ..."


class TargetError(RelokitError):
    """A combination of page size, VA bits, regime and state that does not exist."""


class TemplateError(RelokitError):
    """A template that does not render."""


class AssemblyError(RelokitError):
    """A statement the assembler does not understand or cannot encode."""


class LinkError(RelokitError):
    """A script, symbol or relocation the linker cannot carry out."""


class FormatError(RelokitError):
    """An input file that is not what it says: ELF, Image, DTB, JSON."""


class MachineError(RelokitError):
    """A guest that cannot be built: memory too small, segments that overlap."""


class BudgetError(RelokitError):
    """More work or memory than a command may take; ``--limit`` allows more."""


class NativeCrashError(RelokitError):
    """A native library (Keystone, Unicorn, libfdt) ended or hung its child process."""


class NativeLibraryError(RelokitError):
    """Our own native library is not there, or is not the one that these modules expect."""
