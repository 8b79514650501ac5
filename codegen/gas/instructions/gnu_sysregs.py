"""Architectural names that Keystone 0.9.2 does not know, or only half, as encodings it does know.

Source: ARM DDI 0487, C5.1 (op0=1: SYS aliases; op0=0: hints and PSTATE), C5.3, C6.2 (HINT) and
D19 / D24 (system register encodings). Every register
is named by its numbers: Keystone refuses to write a read-only one, which GNU as only warns of.
"""

from __future__ import annotations

from relokit.codegen.peripheral_registers import PERIPHERAL_REGISTERS
from relokit.codegen.system_registers import ALIASES, OPERATIONS, REGISTERS, register_key, split_key

# Operations that Keystone lacks by name; the encodings are in system_registers.
_LACKING_OPERATIONS = """
    at:s1e1rp at:s1e1wp dc:cgdsw dc:cgdvac dc:cgdvadp dc:cgdvap dc:cgsw dc:cgvac dc:cgvadp dc:cgvap
    dc:cigdpapa dc:cigdsw dc:cigdvac dc:cigsw dc:cigvac dc:cipapa dc:cvadp dc:cvap dc:gva dc:gzva
    dc:igdsw dc:igdvac dc:igsw dc:igvac tlbi:alle1os tlbi:alle2os tlbi:alle3os tlbi:aside1os
    tlbi:ipas2e1os tlbi:ipas2le1os tlbi:paall tlbi:paallos tlbi:ripas2e1 tlbi:ripas2e1is
    tlbi:ripas2e1os tlbi:ripas2le1 tlbi:ripas2le1is tlbi:ripas2le1os tlbi:rpalos tlbi:rpaos
    tlbi:rvaae1 tlbi:rvaae1is tlbi:rvaae1os tlbi:rvaale1 tlbi:rvaale1is tlbi:rvaale1os tlbi:rvae1
    tlbi:rvae1is tlbi:rvae1os tlbi:rvae2 tlbi:rvae2is tlbi:rvae2os tlbi:rvae3 tlbi:rvae3is
    tlbi:rvae3os tlbi:rvale1 tlbi:rvale1is tlbi:rvale1os tlbi:rvale2 tlbi:rvale2is tlbi:rvale2os
    tlbi:rvale3 tlbi:rvale3is tlbi:rvale3os tlbi:vaae1os tlbi:vaale1os tlbi:vae1os tlbi:vae2os
    tlbi:vae3os tlbi:vale1os tlbi:vale2os tlbi:vale3os tlbi:vmalle1os tlbi:vmalls12e1os
"""

# Operations on everything at once, which take no register.
_WITHOUT_REGISTER = {
    "tlbi alle1os",
    "tlbi alle2os",
    "tlbi alle3os",
    "tlbi paall",
    "tlbi paallos",
    "tlbi vmalle1os",
    "tlbi vmalls12e1os",
}


def _sys(name: str, crn: int | None = None) -> tuple[str, bool]:
    _, op1, usual, crm, op2 = split_key(OPERATIONS[name])
    return (
        f"#{op1}, c{usual if crn is None else crn}, c{crm}, #{op2}",
        name not in _WITHOUT_REGISTER,
    )


SYSTEM_REGISTERS: dict[str, str] = {
    name.lower(): "s{}_{}_c{}_c{}_{}".format(*split_key(key))
    for name, key in (
        *REGISTERS.items(),
        *((one, register_key(one)) for one in ALIASES),
        *PERIPHERAL_REGISTERS.items(),
    )
}
"""Register name to its generic spelling ``s<op0>_<op1>_c<CRn>_c<CRm>_<op2>``."""

SYSTEM_OPERATIONS: dict[tuple[str, str], tuple[str, bool]] = {
    (instruction, operation): _sys(f"{instruction} {operation}")
    for instruction, _, operation in (entry.partition(":") for entry in _LACKING_OPERATIONS.split())
}
"""(instruction, operation) to its ``sys`` operands, and whether it takes a register."""

HINTS = {
    "dgh": 6,
    "xpaclri": 7,
    "pacia1716": 8,
    "pacib1716": 10,
    "autia1716": 12,
    "autib1716": 14,
    "esb": 16,
    "psb csync": 17,
    "tsb csync": 18,
    "csdb": 20,
    "paciaz": 24,
    "paciasp": 25,
    "pacibz": 26,
    "pacibsp": 27,
    "autiaz": 28,
    "autiasp": 29,
    "autibz": 30,
    "autibsp": 31,
    "bti": 32,
    "bti c": 34,
    "bti j": 36,
    "bti jc": 38,
}
"""Names of HINT numbers (ARM DDI 0487, C6.2 HINT)."""

SPELLINGS = {"ssbb": "dsb #0", "pssbb": "dsb #4"}
"""Barriers that are other spellings of DSB (ARM DDI 0487, C6.2 SSBB, PSSBB)."""

WORDS = {
    "dsb oshnxs": 0xD503323F,
    "dsb nshnxs": 0xD503363F,
    "dsb ishnxs": 0xD5033A3F,
    "dsb synxs": 0xD5033E3F,
    "sb": 0xD50330FF,
    "eretaa": 0xD69F0BFF,
    "eretab": 0xD69F0FFF,
    "retaa": 0xD65F0BFF,
    "retab": 0xD65F0FFF,
}
"""Instructions without registers that Keystone cannot be asked for (ARM DDI 0487, C6.2)."""

# PSTATE field: op1, op2, largest immediate (ARM DDI 0487, C5.2 and C6.2 MSR (immediate)).
_PSTATE = {
    "uao": (0, 3, 1),
    "pan": (0, 4, 1),
    "spsel": (0, 5, 1),
    "ssbs": (3, 1, 1),
    "dit": (3, 2, 1),
    "tco": (3, 4, 1),
    "daifset": (3, 6, 15),
    "daifclr": (3, 7, 15),
}


def register(name: str) -> str:
    """The spelling of system register ``name`` (lower case) that Keystone takes."""
    return SYSTEM_REGISTERS.get(name, name)


def pstate_limit(field: str) -> int | None:
    """Largest immediate of ``msr <field>, #imm``; None if there is no such PSTATE field."""
    entry = _PSTATE.get(field)
    return None if entry is None else entry[2]


def pstate_word(field: str, immediate: int) -> int:
    """The MSR (immediate) word that writes ``immediate`` to PSTATE ``field``."""
    op1, op2, _ = _PSTATE[field]
    return 0xD500401F | op1 << 16 | immediate << 8 | op2 << 5
