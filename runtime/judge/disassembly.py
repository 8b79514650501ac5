"""Instruction words as text, by Capstone, with system registers spelt by our own table."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from relokit.codegen.system_registers import decode_system

BEFORE, AFTER = 5, 3


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


def listing(
    fetch: Callable[[int], int | None],
    pc: int,
    *,
    before: int = BEFORE,
    after: int = AFTER,
    note: Callable[[int], str | None] = lambda _: None,
) -> tuple[str, ...]:
    """The instructions around ``pc``, one a line, ``>`` marking it.

    ``fetch`` gives the word at an address or None (shown as ``(unreadable)``, and only at
    ``pc`` itself). ``note`` gives a remark for an address, such as its source line.
    """
    lines = []
    for address in _around(pc, before, after):
        word = fetch(address)
        if word is None and address != pc:
            continue
        text = "(unreadable)" if word is None else f"{word:08x}  {disassemble(word, address)}"
        remark = note(address)
        mark = ">" if address == pc else " "
        lines.append(f"{mark} {address:#x}: {text}" + (f"  // {remark}" if remark else ""))
    return tuple(lines)


def _around(pc: int, before: int, after: int) -> Iterable[int]:
    return (
        address
        for address in range(pc - 4 * before, pc + 4 * after + 4, 4)
        if 0 <= address < 1 << 64
    )
