"""What counts while it is entered: native hooks that come and go with a block."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Self

from relokit.runtime.engine import native_hooks
from relokit.runtime.engine.cpu import Cpu


class Counting(ABC):
    """A context in which the hooks of a subclass are on ``cpu``."""

    def __init__(self, cpu: Cpu) -> None:
        self._cpu = cpu
        self._hooks: list[int] = []

    def __enter__(self) -> Self:
        self._hooks.extend(self._add_hooks())
        self._cpu.flush_code()
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            native_hooks.remove_native_hook(self._cpu.uc, hook)
        self._hooks.clear()
        # Translated code holds the addresses of the hooks, which the engine frees at the next run.
        self._cpu.flush_code()

    @abstractmethod
    def _add_hooks(self) -> Iterator[int]:
        """Add them one by one; yields their handles."""
