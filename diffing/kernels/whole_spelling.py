"""Words of a whole program as text: those of some functions, as diffing/instructions/decode.py has
them, without an object for each.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from relokit.codegen.base.bits import MASK64
from relokit.codegen.instruction_forms import ADD, ADR, ADRP, WITHIN_PAGE
from relokit.diffing.instructions.decode import spelt_once, with_low_half
from relokit.diffing.kernels.whole_text import KernelText
from relokit.diffing.read.extents import TYPE_HASH
from relokit.diffing.read.references import Flag, Ints, TextReader, spans
from relokit.diffing.read.routine import MAX_STRING, string_shown

_POINTS = (ADD, ADR, ADRP)
"""What takes an address, which may be that of a string."""


class Spelling:
    """The words of ``functions``, numbers of those of ``text``, as a person reads them.

    ``names`` are those of all numbers that ``text`` has. What is given as a word is its number in
    ``text``, of one of these functions.
    """

    def __init__(self, text: KernelText, functions: Ints, names: list[str]) -> None:
        self._text, self._names = text, names
        self._symbols: list[int] = text.program.symbols.tolist()
        chosen = np.unique(functions)
        lengths = text.lengths[chosen]
        words = text.raw[spans(text.starts[chosen], lengths)]
        base = text.program.base & WITHIN_PAGE
        reader = TextReader(words, text.offsets[chosen], lengths, base)
        # The hash of its type is in front of what has a name.
        hashed = ~np.isin(text.offsets[chosen], text.program.symbols)
        firsts = np.cumsum(lengths) - lengths
        reader.flags[firsts[hashed]] = Flag.LITERAL
        self._first: dict[int, int] = dict(zip(chosen.tolist(), firsts.tolist(), strict=True))
        self._hash: dict[int, int] = dict(
            zip(chosen.tolist(), np.where(hashed, TYPE_HASH, 0).tolist(), strict=True)
        )
        self._flags, self._targets = reader.flags, reader.target
        self._fixed: dict[int, tuple[str, str]] = {}
        self._relative: dict[int, tuple[str, str, int, int]] = {}

    def offset(self, function: int, word: int) -> int:
        """Where a word is, in bytes from what the function's name is of."""
        return 4 * (word - int(self._text.starts[function])) - self._hash[function]

    def texts(self, function: int, words: Iterable[int]) -> dict[int, str]:
        """By number, the text of ``words`` of a function."""
        numbers = [*words]
        if not numbers:
            return {}
        values: list[int] = self._text.raw[numbers].tolist()
        new = dict.fromkeys(values)
        fixed, relative = spelt_once(
            tuple(one for one in new if one not in self._fixed and one not in self._relative)
        )
        self._fixed |= fixed
        self._relative |= relative
        start = int(self._text.starts[function])
        shift = self._first[function] - start
        return {
            number: self._told(function, value, number + shift)
            for number, value in zip(numbers, values, strict=True)
        }

    def _told(self, function: int, word: int, at: int) -> str:
        flags = int(self._flags[at])
        if flags & Flag.LITERAL:
            return f".word {word:#010x}"
        fixed = self._fixed.get(word)
        if fixed is None:
            mnemonic, operands, _, _ = self._relative[word]
            return f"{mnemonic} {operands}{self._place(function, word, at, flags)}"
        mnemonic, operands = fixed
        if flags & Flag.REFERS:
            operands = with_low_half(operands, self._place(function, word, at, flags))
        return f"{mnemonic} {operands}".rstrip()

    def _place(self, function: int, word: int, at: int, flags: int) -> str:
        target = int(self._targets[at])
        if flags & Flag.INSIDE and not flags & Flag.BY_PAGE:
            return f"<+{target - int(self._text.offsets[function]) - self._hash[function]:#x}>"
        program = self._text.program
        row = int(np.searchsorted(program.symbols, target, "right")) - 1
        distance = target - self._symbols[row]
        named = row >= 0 and distance <= program.reach
        if not named or distance:
            whole = flags & (Flag.TAKES | Flag.COMPLETED)
            if whole and target >= 0 and any(form.holds(word) for form in _POINTS):
                found = string_shown(program.content[target : target + MAX_STRING])
                if found:
                    return found
            if not named:
                return f"{program.base + target & MASK64:#x}"
        name = self._names[int(program.numbers[row])]
        return f"{name}+{distance:#x}" if distance else name
