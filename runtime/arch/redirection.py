"""System register redirection of the Virtualization Host Extensions (HCR_EL2.E2H = 1).

At EL2 with E2H set, the EL1 name of these registers reaches the EL2 register, and the ``_EL12``
and ``_EL02`` names reach the EL1 and EL0 ones. The engine does neither.
Source: ARM DDI 0487, "Virtualization Host Extensions", the two register redirection tables.
"""

from __future__ import annotations

from relokit.codegen.facts import HCR_EL2_E2H
from relokit.codegen.system_registers import REGISTERS

# EL1 or EL0 name at EL2 -> the register it reaches.
_TO_EL2 = {
    "SCTLR_EL1": "SCTLR_EL2",
    "CPACR_EL1": "CPTR_EL2",
    "ZCR_EL1": "ZCR_EL2",
    "TTBR0_EL1": "TTBR0_EL2",
    "TTBR1_EL1": "TTBR1_EL2",
    "TCR_EL1": "TCR_EL2",
    "SPSR_EL1": "SPSR_EL2",
    "ELR_EL1": "ELR_EL2",
    "AFSR0_EL1": "AFSR0_EL2",
    "AFSR1_EL1": "AFSR1_EL2",
    "ESR_EL1": "ESR_EL2",
    "FAR_EL1": "FAR_EL2",
    "MAIR_EL1": "MAIR_EL2",
    "AMAIR_EL1": "AMAIR_EL2",
    "VBAR_EL1": "VBAR_EL2",
    "CONTEXTIDR_EL1": "CONTEXTIDR_EL2",
    "CNTKCTL_EL1": "CNTHCTL_EL2",
    "CNTP_TVAL_EL0": "CNTHP_TVAL_EL2",
    "CNTP_CTL_EL0": "CNTHP_CTL_EL2",
    "CNTP_CVAL_EL0": "CNTHP_CVAL_EL2",
    "CNTV_TVAL_EL0": "CNTHV_TVAL_EL2",
    "CNTV_CTL_EL0": "CNTHV_CTL_EL2",
    "CNTV_CVAL_EL0": "CNTHV_CVAL_EL2",
}

# _EL12 and _EL02 name -> the register it reaches.
_TO_EL1 = {
    name: name.replace("_EL12", "_EL1").replace("_EL02", "_EL0")
    for name in REGISTERS
    if name.endswith(("_EL12", "_EL02"))
}

TO_EL2: dict[int, int] = {REGISTERS[name]: REGISTERS[to] for name, to in _TO_EL2.items()}
"""Encodings that the engine knows but would answer from the wrong register."""

TO_EL1: dict[int, int] = {REGISTERS[name]: REGISTERS[to] for name, to in _TO_EL1.items()}
"""Encodings that the engine takes for undefined."""


def is_redirecting(hcr: int, el: int) -> bool:
    """Whether redirection is in force with this HCR_EL2 at exception level ``el``."""
    return el == 2 and bool(hcr & HCR_EL2_E2H)


def reached(key: int, hcr: int, el: int) -> int:
    """The encoding of the register that the name with encoding ``key`` reaches."""
    if not is_redirecting(hcr, el):
        return key
    return TO_EL1.get(key, TO_EL2.get(key, key))
