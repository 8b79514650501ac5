"""Instruction words as text, by Capstone, with system registers spelt by our own table."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from relokit.codegen.system_registers import decode_system
from relokit.runtime.record.scene import SeenWord


@cache
def _capstone() -> Any:
    # Some 60 ms to import; only a report needs it.
    import capstone

    return capstone.Cs(capstone.CS_ARCH_ARM64, capstone.CS_MODE_LITTLE_ENDIAN)


def disassemble(word: int, address: int) -> str:
    """Text of one instruction word at ``address``; what is none becomes ``.inst 0x...``."""
    system = decode_system(word)
    if system:
        return system.text
    for _, _, mnemonic, operands in _capstone().disasm_lite(word.to_bytes(4, "little"), address):
        return f"{mnemonic} {operands}".rstrip()
    return f".inst {word:#010x}"


def listing(words: Iterable[SeenWord], pc: int) -> tuple[str, ...]:
    """``words`` one a line, with their source lines, ``>`` marking the one at ``pc``.

    What cannot be fetched is shown as ``(unreadable)``, and only at ``pc`` itself.
    """
    lines = []
    for seen in words:
        address, word = seen.address, seen.word
        if word is None and address != pc:
            continue
        text = "(unreadable)" if word is None else f"{word:08x}  {disassemble(word, address)}"
        mark = ">" if address == pc else " "
        lines.append(
            f"{mark} {address:#x}: {text}" + (f"  // {seen.source}" if seen.source else "")
        )
    return tuple(lines)
