"""Which registers a debugger sees, and what GDB is told of them.

Source: "Target Descriptions" and "AArch64 Features" of GDB's manual; the system registers by
ARM DDI 0487's names.
"""

from __future__ import annotations

from collections.abc import Iterator

from relokit.codegen.base.nouns import dataclass

GENERAL = 31
SP, PC, CPSR = GENERAL, GENERAL + 1, GENERAL + 2
"""Numbers of registers behind x0 to x30."""
CURRENT_EL = "CurrentEL"
_OF_EACH = ("SCTLR", "TCR", "TTBR0", "TTBR1", "MAIR", "VBAR", "ESR", "FAR", "ELR", "SPSR")


@dataclass(frozen=True, slots=True)
class Register:
    """One that GDB sees: of ``size`` bytes; ``system`` ones go by their architectural name."""

    name: str
    size: int
    type: str
    system: bool = False


_CORE = (
    *(Register(f"x{number}", 8, "int") for number in range(GENERAL)),
    Register("sp", 8, "data_ptr"),
    Register("pc", 8, "code_ptr"),
    Register("cpsr", 4, "int"),
)
CORE = len(_CORE)
"""How many there are in the packet that has all of them."""


def registers(*, has_el2: bool, has_vhe: bool) -> tuple[Register, ...]:
    """All of a CPU, by GDB's number: EL2's where it has one, TTBR1_EL2 where that has VHE."""
    levels = (1, 2) if has_el2 else (1,)
    names = [
        f"{name}_EL{el}"
        for el in levels
        for name in _OF_EACH
        if not (name == "TTBR1" and el == 2) or has_vhe
    ]
    banks = [f"SP_EL{el}" for el in (0, *levels)]
    own = ["HCR_EL2"] if has_el2 else []
    system = (*names, *own, *banks, CURRENT_EL)
    return (*_CORE, *(Register(name, 8, "int", system=True) for name in system))


def description(all_of_them: tuple[Register, ...]) -> bytes:
    """The target's description, as XML."""
    return "\n".join(_lines(all_of_them)).encode()


def _lines(all_of_them: tuple[Register, ...]) -> Iterator[str]:
    yield '<?xml version="1.0"?>'
    yield '<!DOCTYPE target SYSTEM "gdb-target.dtd">'
    yield '<target version="1.0">'
    yield "<architecture>aarch64</architecture>"
    yield '<feature name="org.gnu.gdb.aarch64.core">'
    yield from map(_line, all_of_them[:CORE])
    yield "</feature>"
    yield '<feature name="relokit.system">'
    yield from map(_line, all_of_them[CORE:])
    yield "</feature>"
    yield "</target>"


def _line(one: Register) -> str:
    more = ' group="system" save-restore="no"' if one.system else ""
    return f'<reg name="{one.name}" bitsize="{8 * one.size}" type="{one.type}"{more}/>'
