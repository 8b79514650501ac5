"""One instruction in, four bytes out: Keystone, kept in a child process.

Keystone may end or crash its process, or drop a statement without a word, so it only ever sees
one plain instruction a line, symbolic fields zeroed, and every one must come back as 4 bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from relokit.codegen.base.child import Child
from relokit.codegen.base.errors import NativeCrashError

# A mnemonic and operands. No directive, label, separator, string, literal pool or new line.
_INSTRUCTION = re.compile(
    r"[a-z][a-z0-9]*(?:\.[a-z]{2})?(?: [a-z0-9_.,#\[\]{}!\- ]{1,200})?", re.ASCII
)

# Keystone takes the number in these relative to where it thinks the instruction lies, so each
# of them is assembled alone, at address 0.
_PLACED = re.compile(r"(?:b|bl|b\.?[a-z]{2}|cbn?z|tbn?z|adrp?) |(?:ldr|ldrsw|prfm) [^\[]*$")

BATCH = 4096
"""Instructions sent to the child in one request."""
REMEMBERED = 2 * BATCH
"""Encodings kept in this process."""
CRASH_LIMIT = 8
"""Statements that may end the child before the whole request is given up."""
TIMEOUT = 20.0
"""Seconds one request may take, the child's start included."""

_BAD = b"\0\0\0\0"


class Encoder:
    """Encodes instructions with Keystone; remembers what it has encoded."""

    def __init__(self) -> None:
        self._child = Child("relokit.codegen.gas.instructions.encoder", library="Keystone")
        self._known: dict[str, bytes] = {}

    def start(self) -> None:
        """Start the child now, so that it is ready when the first statement is."""
        self._child.start()

    def close(self) -> None:
        """End the child; a later call starts another."""
        self._child.close()

    def __enter__(self) -> Encoder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def encode(self, statements: Sequence[str]) -> list[bytes | str]:
        """4 bytes for each statement (one instruction each), or what is wrong with it.

        Raises NativeCrashError if Keystone dies on several statements.
        """
        known = self._known
        errors: dict[str, str] = {}
        missing = []
        for statement in dict.fromkeys(statements):
            if statement not in known:
                if _INSTRUCTION.fullmatch(statement):
                    missing.append(statement)
                else:
                    errors[statement] = "not a plain instruction"
        if missing:
            if len(known) + len(missing) > REMEMBERED:
                self._known = known = {s: known[s] for s in statements if s in known}
            for at in range(0, len(missing), BATCH):
                self._learn(missing[at : at + BATCH], errors)
        return [errors[s] if s in errors else known[s] for s in statements]

    def _learn(self, statements: Sequence[str], errors: dict[str, str]) -> None:
        """Encode into ``_known`` or ``errors``; a statement that ends the child is singled out."""
        with suppress(NativeCrashError):
            self._take(statements, self._ask(statements), errors)
            return
        self._ask(["nop"])  # raises if no statement is to blame
        crashes = 0
        for statement in statements:
            try:
                self._take([statement], self._ask([statement]), errors)
            except NativeCrashError as crash:
                crashes += 1
                if crashes == CRASH_LIMIT:
                    raise
                errors[statement] = str(crash)

    def _ask(self, statements: Sequence[str]) -> bytes:
        return self._child.call("\n".join(statements).encode("ascii"), timeout=TIMEOUT)

    def _take(self, statements: Sequence[str], answer: bytes, errors: dict[str, str]) -> None:
        count = len(statements)
        for line in answer[4 * count :].decode("utf-8", "replace").splitlines():
            index, _, message = line.partition("\t")
            errors[statements[int(index)]] = message
        for at, statement in enumerate(statements):
            if statement not in errors:
                self._known[statement] = answer[4 * at : 4 * at + 4]


# What follows runs in the child.

_keystone: Any = None


def prepare() -> None:
    """Load Keystone."""
    global _keystone
    import keystone

    _keystone = keystone.Ks(keystone.KS_ARCH_ARM64, keystone.KS_MODE_LITTLE_ENDIAN)


def serve(request: bytes, _progress: Callable[[bytes], None]) -> bytes:
    """Lines of instructions to 4 bytes each, then one ``index TAB message`` line per refusal."""
    statements = request.decode("ascii").split("\n")
    words: dict[str, bytes] = {}
    together = [s for s in statements if not _PLACED.match(s)]
    answer, error = _assemble("\n".join(together)) if together else (b"", None)
    if error is None and len(answer) == 4 * len(together):
        words = {s: answer[4 * at : 4 * at + 4] for at, s in enumerate(together)}
    good, refusals = [], []
    for index, statement in enumerate(statements):
        word = words.get(statement)
        if word is None:
            word, error = _assemble(statement)
            if error is None and len(word) != 4:
                error = f"Keystone makes {len(word)} bytes of it, not 4"
            if error is not None:
                word = _BAD
                refusals.append(f"{index}\t{error}\n")
        good.append(word)
    return b"".join(good) + "".join(refusals).encode()


def _assemble(text: str) -> tuple[bytes, str | None]:
    from keystone import KsError

    try:
        words, _ = _keystone.asm(text, 0, True)
    except KsError as error:
        # "Unknown error" is what Keystone says of most wrong operands.
        reason = str(error).replace("Unknown error", "wrong operand, or one out of range")
        return b"", f"Keystone refuses it: {reason}"
    return words or b"", None
