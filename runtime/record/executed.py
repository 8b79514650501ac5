"""Executed: how often each block of code was run, all of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from relokit.codegen.base.nouns import dataclass

MAX_EXECUTED = 1 << 14
"""Blocks that there is room for; a move has a few dozen."""
EXECUTED_BLOCK = np.dtype([("pc", "<u8"), ("times", "<u8"), ("length", "<u8")])
"""A block, as native code writes it (path.c)."""


@dataclass(frozen=True, slots=True)
class Executed:
    """``blocks`` are EXECUTED_BLOCKs, ascending by VA and length: of what a trace is of, all.

    The ``length`` instructions from VA ``pc`` on were begun ``times``. Blocks overlap: one that
    ended early is another one, and so is what was entered elsewhere.
    """

    blocks: bytes

    def rows(self) -> npt.NDArray[Any]:
        """The blocks as an array; what is no whole block at the end is left out."""
        whole = len(self.blocks) // EXECUTED_BLOCK.itemsize
        return np.frombuffer(self.blocks, EXECUTED_BLOCK, whole)
