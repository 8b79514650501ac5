"""CodePath: which code was executed in which order, as far as it is kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from relokit.codegen.base.nouns import dataclass

PATH_HEAD = 1 << 10
"""Blocks that are kept from the beginning."""
PATH_TAIL = 1 << 13
"""Blocks that are kept before the end."""
PATH_BLOCK = np.dtype([("pc", "<u8"), ("before", "<u8"), ("length", "<u4"), ("times", "<u4")])
"""A block, as native code writes it (path.c)."""


@dataclass(frozen=True, slots=True)
class CodePath:
    """``blocks`` are PATH_BLOCKs in the order in which they were entered.

    The instructions from VA ``pc`` on, ``length`` of them, were begun ``times`` in succession,
    after ``before`` others; the last time may have ended early, where the next block begins sooner.
    Of more than PATH_HEAD + PATH_TAIL blocks ``left_out`` are missing between those.
    """

    blocks: bytes
    left_out: int = 0

    def rows(self) -> npt.NDArray[Any]:
        """The blocks as an array of PATH_BLOCK; what is no whole block at the end is left out."""
        whole = len(self.blocks) // PATH_BLOCK.itemsize
        return np.frombuffer(self.blocks, PATH_BLOCK, whole)
