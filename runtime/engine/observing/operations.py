"""Count what maintenance a guest carries out: system instructions by name, barriers by name.

Both are counted by native code, so a run that is observed takes a few percent longer, and one
that is not pays nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from unicorn import unicorn_const as u

from relokit.codegen.instruction_forms import barrier_name
from relokit.codegen.system_registers import operation_name
from relokit.runtime.engine import native_hooks
from relokit.runtime.engine.counting import Counting
from relokit.runtime.engine.cpu import Cpu


class OperationCounter(Counting):
    """Counts, while it is entered, every SYS instruction (DC, IC, TLBI, AT) of ``cpu``.

    The engine has no hook for barriers: those in the ``code_size`` bytes at ``code`` (PC values,
    MMU off or mapped to itself; the code must be there already) are counted one by one.
    """

    def __init__(self, cpu: Cpu, code: int, code_size: int) -> None:
        super().__init__(cpu)
        self._system = np.zeros(native_hooks.ENCODINGS, dtype=np.uint64)
        words = np.frombuffer(cpu.memory.read(code, code_size), dtype="<u4")
        self._barriers = [
            (name, np.zeros(1, dtype=np.uint64), code + 4 * index)
            for index, word in enumerate(words.tolist())
            if (name := barrier_name(word))
        ]

    def _add_hooks(self) -> Iterator[int]:
        uc = self._cpu.uc
        self._cpu.count_operations(self._system)
        address = native_hooks.code_counter_address()
        for _, counter, at in self._barriers:
            yield native_hooks.add_native_hook(uc, u.UC_HOOK_CODE, address, counter, at=at)

    def __exit__(self, *exc: object) -> None:
        super().__exit__(*exc)
        self._cpu.count_operations(None)

    def counts(self) -> dict[str, int]:
        """Executions so far by name, ``{"dc civac": 4672, "dsb sy": 73, ...}``, sorted."""
        counts = {
            operation_name(int(key)): int(self._system[key]) for key in np.flatnonzero(self._system)
        }
        for name, counter, _ in self._barriers:
            if counter[0]:
                counts[name] = counts.get(name, 0) + int(counter[0])
        return dict(sorted(counts.items()))
