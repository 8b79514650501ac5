"""The hashes of functions' types that a kernel built with kCFI has in front of them.

An Image does not say where data is. A hash stands in front of a function whose address may be
taken, behind the end of the function before; of others there is none. (Clang: -fsanitize=kcfi; on
arm64 nothing is between hash and function, since CALL_OPS excludes kCFI in its Kconfig.)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from relokit.codegen.instruction_forms import BRANCH_OR_CALL, BRK, NOP, REGISTER_BRANCH
from relokit.linker.kernel.kallsyms import Kallsyms

KCFI = "report_cfi_failure"
"""What a kernel has that checks types (kernel/cfi.c)."""
HASH = 4
"""Bytes."""
_BRK_MASK = 0xFFE0001F
_TEXT = "_stext", "_etext"


def has_hashes(symbols: Kallsyms) -> bool:
    """Whether this kernel checks types."""
    return KCFI in symbols


def hashed(image: memoryview, symbols: Kallsyms, functions: Iterable[int]) -> Iterator[int]:
    """Those of ``functions``, ascending offsets, that have a hash in front of them."""
    text = _text(image, symbols)
    for at in functions:
        if HASH * 2 <= at <= len(image) and not at % 4:
            word, before = _word(image, at - HASH), _word(image, at - 2 * HASH)
            if _ends(before, at - 2 * HASH, text) and not _ends(word, at - HASH, text):
                yield at


def _text(image: memoryview, symbols: Kallsyms) -> range:
    if all(name in symbols for name in _TEXT):
        return range(*(symbols.offset(name) for name in _TEXT))
    return range(len(image))


def _word(image: memoryview, at: int) -> int:
    return int.from_bytes(image[at : at + 4], "little")


def _ends(word: int, at: int, text: range) -> bool:
    """Whether nothing comes behind ``word`` but by a jump, or it fills up."""
    if word in (0, NOP) or word & _BRK_MASK == BRK:
        return True
    if BRANCH_OR_CALL.holds(word):
        # A call that does not come back may be the last of a function.
        distance = (word & 0x3FFFFFF ^ 0x2000000) - 0x2000000
        return at + 4 * distance in text
    # Returns and jumps by a register, authenticated ones too; calls go on (C4.1, opc).
    return REGISTER_BRANCH.holds(word) and word >> 21 & 0x7 != 1
