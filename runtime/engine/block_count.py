"""The block hook's array by name: what it has counted, what it stopped for, and what to take back.

The hook counts a block when it is entered, whole. See native_hooks.c.
"""

from __future__ import annotations

from relokit.runtime.engine import native_hooks
from relokit.runtime.engine.native_hooks import BlockSlot, NativeStop, Words

NEVER = (1 << 64) - 1
"""A PC that no instruction has."""


class BlockCount:
    """Instructions and blocks of a run; ``words`` is the array that the hooks have."""

    def __init__(self) -> None:
        self.words: Words = native_hooks.new_counter()

    def begin(self, limit: int) -> None:
        """Count from nothing, up to ``limit`` instructions."""
        self.words[BlockSlot.BEFORE] += self.words[BlockSlot.INSTRUCTIONS]
        self.words[: BlockSlot.STOP] = 0
        self.words[BlockSlot.BLOCKS] = 0
        self.words[BlockSlot.LIMIT] = limit
        self.words[BlockSlot.LOOK] = native_hooks.LOOK_EVERY
        alarm = 0 if self.words[BlockSlot.BOARD] else min(limit, native_hooks.LOOK_EVERY)
        self.words[BlockSlot.ALARM] = alarm
        self.words[BlockSlot.HARMLESS] = NEVER

    def ask(self, board: int, call: int) -> None:
        """Have the hook ask the board at this address, by the function at ``call``."""
        self.words[BlockSlot.BOARD], self.words[BlockSlot.CALL] = board, call

    def tell(self, path: int) -> None:
        """Have the hook tell the path at this address of blocks, or nobody (0)."""
        self.words[BlockSlot.PATH] = path

    @property
    def instructions(self) -> int:
        """Instructions of all blocks that were entered, but for what was taken back."""
        return int(self.words[BlockSlot.INSTRUCTIONS])

    def done_at(self, pc: int) -> int:
        """Instructions before the one at ``pc``, which is being carried out, of all runs."""
        last, size = int(self.words[BlockSlot.LAST]), int(self.words[BlockSlot.LAST_SIZE])
        ahead = (last + size - pc) // 4 if last <= pc < last + size else 0
        return int(self.words[BlockSlot.BEFORE]) + self.instructions - ahead

    @property
    def blocks(self) -> int:
        """Blocks that were entered."""
        return int(self.words[BlockSlot.BLOCKS])

    @property
    def reason(self) -> NativeStop:
        """Why a hook stopped the engine."""
        return NativeStop(int(self.words[BlockSlot.REASON]))

    def go_on(self) -> None:
        """Nothing has stopped the engine."""
        self.words[BlockSlot.REASON] = NativeStop.NONE

    def allow_repeats(self, pc: int) -> None:
        """Go on, and let the block at ``pc`` follow itself."""
        self.words[BlockSlot.HARMLESS] = pc
        self.words[BlockSlot.REPEATS] = NativeStop.NONE
        self.go_on()

    def add_instruction(self) -> None:
        """One more was carried out, by us."""
        self.words[BlockSlot.INSTRUCTIONS] += 1

    def whole_block(self) -> None:
        """Nothing of the last block is left undone, even where the PC is back in it."""
        self.words[BlockSlot.LAST_SIZE] = 0

    def left_at(self, pc: int) -> None:
        """Take back what was counted ahead: the block was left at ``pc``."""
        last, size = int(self.words[BlockSlot.LAST]), int(self.words[BlockSlot.LAST_SIZE])
        if last <= pc < last + size:
            self.words[BlockSlot.INSTRUCTIONS] -= (last + size - pc) // 4
            # So that a second call takes nothing back.
            self.words[BlockSlot.LAST_SIZE] = pc - last
