"""How often each instruction of a piece of code was executed, and what that is by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
from unicorn import unicorn_const as u

from relokit.codegen.instruction_forms import barrier_name
from relokit.codegen.system_registers import SystemInstruction, decode_system
from relokit.runtime.engine import native_hooks
from relokit.runtime.engine.counting import Counting
from relokit.runtime.engine.cpu import Cpu

READS, WRITES = ("mrs",), ("msr", "msr-imm")
OPERATIONS = ("sys", "sysl")


class ExecutionProfile(Counting):
    """Counts, while it is entered, each of the ``size`` bytes' instructions at PC ``code``.

    The words are those that are there when this is made: code that changes itself is counted as
    what it was. MMU off, or ``code`` mapped to itself.
    """

    def __init__(self, cpu: Cpu, code: int, size: int) -> None:
        super().__init__(cpu)
        self._words = np.frombuffer(cpu.memory.read(code, size), dtype="<u4")
        self._state = native_hooks.new_profile(code, len(self._words))
        self._span = (code, code + size - 1)

    def _add_hooks(self) -> Iterator[int]:
        first, last = self._span
        yield native_hooks.add_native_hook(
            self._cpu.uc,
            u.UC_HOOK_CODE,
            native_hooks.profile_address(),
            self._state,
            at=first,
            last=last,
        )

    def barriers(self) -> dict[str, int]:
        """Executed barriers by name, sorted."""
        counts: Counter[str] = Counter()
        for word, count in self._executed():
            name = barrier_name(word)
            if name is not None:
                counts[name] += count
        return dict(sorted(counts.items()))

    def system(self, forms: tuple[str, ...]) -> dict[str, int]:
        """Executed system instructions of ``forms`` by register or operation, sorted."""
        counts: Counter[str] = Counter()
        for instruction, count in self._system(forms):
            counts[instruction.name] += count
        return dict(sorted(counts.items()))

    def writable(self) -> dict[str, int]:
        """The system registers that an MSR of the code names, executed or not: to encodings."""
        found = (decode_system(word) for word in np.unique(self._words).tolist())
        return {one.name: one.key for one in found if one is not None and one.form == "msr"}

    def _system(self, forms: tuple[str, ...]) -> Iterator[tuple[SystemInstruction, int]]:
        for word, count in self._executed():
            instruction = decode_system(word)
            if instruction is not None and instruction.form in forms:
                yield instruction, count

    def _executed(self) -> Iterator[tuple[int, int]]:
        """Distinct words that were executed, with their counts."""
        counts = self._state[native_hooks.PROFILE_COUNTS :]
        for index in np.flatnonzero(counts).tolist():
            yield int(self._words[index]), int(counts[index])
