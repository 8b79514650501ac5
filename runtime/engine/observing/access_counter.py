"""Count what a guest's loads and stores do: how many accesses, of how many bytes.

Counted by native code as the engine makes them: a pair is two accesses, a vector register of 128
bits is two of 8 bytes, and DC ZVA is a store for each byte of its block and two for looking. A
store that nothing answers is made twice, once to learn its address.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from unicorn import unicorn_const as u

from relokit.codegen.base.nouns import dataclass
from relokit.runtime.engine import native_hooks
from relokit.runtime.engine.counting import Counting
from relokit.runtime.engine.cpu import Cpu


@dataclass(frozen=True, slots=True)
class Accesses:
    """Accesses and bytes, of loads and of stores."""

    loads: int
    stores: int
    loaded: int
    stored: int


class AccessCounter(Counting):
    """Counts, while it is entered, every load and store of ``cpu``, whatever code makes it."""

    def __init__(self, cpu: Cpu) -> None:
        super().__init__(cpu)
        self._loads = np.zeros(2, dtype=np.uint64)
        self._stores = np.zeros(2, dtype=np.uint64)

    def _add_hooks(self) -> Iterator[int]:
        address = native_hooks.access_counter_address()
        for kind, counter in (
            (u.UC_HOOK_MEM_READ, self._loads),
            (u.UC_HOOK_MEM_WRITE, self._stores),
        ):
            yield native_hooks.add_native_hook(self._cpu.uc, kind, address, counter)

    def counts(self) -> Accesses:
        """What was counted so far."""
        count, size = native_hooks.ACCESSES, native_hooks.ACCESS_BYTES
        return Accesses(
            loads=int(self._loads[count]),
            stores=int(self._stores[count]),
            loaded=int(self._loads[size]),
            stored=int(self._stores[size]),
        )
