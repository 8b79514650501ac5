"""What a guest prints, bounded, and what of it is waited for."""

from __future__ import annotations

from collections.abc import Callable

from relokit.codegen.base.budget import CONSOLE, LINES, limits


class Screen:
    """What a guest prints: the first of it and the last, however much it is.

    The first ``limit`` bytes are kept, if they are no more than ``lines`` lines, and the LAST ones;
    what is between is counted in ``dropped``. By default these are the limits of the budget.
    ``found`` is called when ``expected`` is printed.
    """

    LAST = 4096

    def __init__(
        self,
        expected: str | None = None,
        found: Callable[[], None] | None = None,
        *,
        limit: int | None = None,
        lines: int | None = None,
    ) -> None:
        self._limit = limits()[CONSOLE] if limit is None else limit
        self._lines = limits()[LINES] if lines is None else lines
        self._expected = (expected or "").encode()
        self._found = found
        self.begin_anew("")

    def begin_anew(self, mark: str) -> None:
        """Keep nothing of what was printed: who prints from now on has all the room. ``seen`` says
        whether ``mark`` was in it, kept or not.
        """
        self._left, self._lines_left = self._limit, self._lines
        self._first, self._last = bytearray(), bytearray()
        self._beyond = self._shown = 0
        self._recent = bytearray()
        self._mark = mark.encode()

    @property
    def seen(self) -> bool:
        """See begin_anew."""
        return not self._mark

    @property
    def expects(self) -> bool:
        """Whether something is waited for that was not printed yet."""
        return bool(self._expected)

    @property
    def last_expected(self) -> int:
        """The last byte of what is waited for."""
        return self._expected[-1]

    def print(self, text: bytes) -> None:
        """Print all of ``text``, of which what is waited for may be the end."""
        for byte in text:
            self.put(byte)

    def put(self, byte: int) -> None:
        """Print one more."""
        if self._left:
            self._first.append(byte)
            self._left -= 1
            if byte == _NEWLINE:
                self._lines_left -= 1
                if not self._lines_left:
                    self._left = 0
        else:
            self._last.append(byte)
            self._beyond += 1
            if len(self._last) > 2 * self.LAST:
                del self._last[: -self.LAST]
        if self._expected or self._mark:
            self._look_for(byte)

    def _look_for(self, byte: int) -> None:
        recent, expected, mark = self._recent, self._expected, self._mark
        recent.append(byte)
        if mark and recent.endswith(mark):
            self._mark = b""
        if expected and recent.endswith(expected) and self._found:
            self._expected = b""
            self._found()
        elif len(recent) > 2 * (most := max(len(expected), len(mark))):
            del recent[:-most]

    @property
    def dropped(self) -> int:
        """Bytes that are not kept."""
        return max(self._beyond - self.LAST, 0)

    @property
    def text(self) -> str:
        """What is kept, undecodable bytes replaced; a line says what is missing."""
        last = bytes(self._last[-self.LAST :])
        missing = f"\n[{self.dropped:,} bytes more]\n".encode() if self.dropped else b""
        return (bytes(self._first) + missing + last).decode("utf-8", "replace")

    def more(self) -> str:
        """Whole lines that were printed since this was asked before, of the first that are kept."""
        end = self._first.rfind(b"\n") + 1
        lines = bytes(self._first[self._shown : end])
        self._shown = max(end, self._shown)
        return lines.decode("utf-8", "replace")

    def rest(self) -> str:
        """All of ``text`` that ``more`` has not given."""
        shown = bytes(self._first[: self._shown]).decode("utf-8", "replace")
        return self.text[len(shown) :]


_NEWLINE = ord("\n")
